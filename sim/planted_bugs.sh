#!/usr/bin/env bash
# Every planted bug must be found: runs seeds until one fails, and prints which;
# without the bug that seed must pass. As many bugs at once as there are
# processors. Needs a build with -DWHALE_PLANTED_BUGS=ON.
#
#   planted_bugs.sh WHALE_SIM [SEEDS [BUG...]]
set -uo pipefail
export sim=$1
export seeds=${2:-300}
shift
[[ $# -eq 0 ]] || shift

find_bug() { # name
  local output code seed
  output=$("$sim" --bug "$1" --seeds "1..$seeds" 2>&1)
  code=$?
  if [[ $code -eq 0 ]]; then
    echo "$1: NOT FOUND in $seeds seeds"
    return 1
  fi
  seed=$(sed -n 's/.*whale_sim --seed \([0-9]*\) .*/\1/p' <<<"$output" | head -1)
  if [[ $code -gt 3 || -z $seed ]]; then
    echo "$1: the run failed: $output"
    return 1
  fi
  if ! "$sim" --seed "$seed" >/dev/null 2>&1; then
    echo "$1: NOT FOUND: seed $seed fails without it, too"
    return 1
  fi
  echo "$1: seed $seed (exit code $code)"
}
export -f find_bug

if [[ $# -gt 0 ]]; then printf '%s\n' "$@"; else "$sim" --list-bugs; fi |
  xargs -P "$(nproc)" -I{} bash -c 'find_bug {}'
