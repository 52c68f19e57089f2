#!/usr/bin/env bash
# Runs scenarios in the guest, on programs that were built here.
#
#   tests/guest/run.sh [--build DIR] [SCENARIO...]
#
# DIR is build/release by default; SCENARIOs are names in tests/guest/scenarios,
# without .sh, by default all but those that say "Only when named". A scenario
# runs in a folder of its own, which is kept when it fails. Never skips: what a
# scenario lacks is an error. One whose guest was lost in mid-run (an emulator
# fault) is run once more.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
readonly here root
readonly GUEST_LOST=125

build=$root/build/release
names=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --build)
      build=$(realpath "$2")
      shift
      ;;
    -*)
      sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
      exit 2
      ;;
    *) names+=("$1") ;;
  esac
  shift
done
if [[ ${#names[@]} -eq 0 ]]; then
  for file in "$here"/scenarios/*.sh; do
    grep -q '^# Only when named' "$file" || names+=("$(basename "$file" .sh)")
  done
fi

"$here/setup.sh"
export WHALE_BUILD=$build

run_once() { # name; sets `folder`
  folder=$(mktemp -d "${TMPDIR:-/tmp}/whale-guest-$1.XXXXXX")
  (cd "$folder" && "$here/scenarios/$1.sh") >"$folder/log" 2>&1
}

failed=0
for name in "${names[@]}"; do
  begun=$SECONDS
  status=0
  run_once "$name" || status=$?
  if [[ $status == "$GUEST_LOST" ]]; then
    echo "$name: the guest was lost ($folder/log); once more"
    status=0
    run_once "$name" || status=$?
  fi
  if [[ $status == 0 ]]; then
    echo "$name: passed in $((SECONDS - begun)) s"
    sed -n 's/^RESULT: /  /p' "$folder/log"
    rm -rf "$folder"
  else
    failed=1
    echo "$name: FAILED with $status; all of it is in $folder"
    tail -n 40 "$folder/log"
  fi
done
exit $failed
