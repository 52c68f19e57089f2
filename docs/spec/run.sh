#!/usr/bin/env bash
# Checks the models: every configuration without a mistake must hold, every
# mistake must be found. Needs spin and gcc (Debian packages of those names).
#
#   run.sh            everything; see README.md for what it costs
#   run.sh --quick    a part that takes a minute to a minute and a half
#   run.sh NAME...    configurations whose names begin with one of these
#   run.sh --list     only prints them
#
# For each configuration: states, depth, memory in MB, seconds, result. "holds"
# means that all reachable states were visited; "holds, hashed" that only
# hashes of them were kept, so that some may have been missed; "hashed, cut
# short" that the search ran into WHALE_SPEC_SECONDS (600) without an error,
# which only the hashed ones may. What spin makes goes to build/spec;
# WHALE_SPEC_DIR names another place, WHALE_SPEC_MEMORY_MB another bound than
# 10000. Exit code 1: a configuration failed, a mistake was not found, or a
# search ended early.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly OUT=${WHALE_SPEC_DIR:-$here/../../build/spec}
readonly MEMORY_MB=${WHALE_SPEC_MEMORY_MB:-10000}
readonly SECONDS_HASHED=${WHALE_SPEC_SECONDS:-600}

usage() { sed -n '2,17s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
configurations() { grep -v '^ *\(#\|$\)' "$here/configurations"; }

quick=0
names=()
for argument in "$@"; do
  case $argument in
    --quick) quick=1 ;;
    --list)
      configurations
      exit 0
      ;;
    -*)
      usage >&2
      exit 2
      ;;
    *) names+=("$argument") ;;
  esac
done

for tool in spin gcc; do
  if ! command -v "$tool" >/dev/null; then
    echo "run.sh: the Debian package '$tool' is missing:" \
      "apt-get install $tool" >&2
    exit 2
  fi
done

wanted() { # name, quick or full
  [[ $quick -eq 0 || $2 == quick ]] || return 1
  [[ ${#names[@]} -gt 0 ]] || return 0
  local name
  for name in "${names[@]}"; do
    [[ $1 != "$name"* ]] || return 0
  done
  return 1
}

# Compiles a verifier in the current directory; most mistakes are found sooner
# than an optimizing compiler is done.
build() { # search model definitions...
  local search=$1 model=$2 flags=()
  shift 2
  case $search in
    all) flags=(-O2 -DCOLLAPSE) ;;
    found) flags=(-O0 -DCOLLAPSE) ;;
    backwards) flags=(-O2 -DCOLLAPSE -DT_REVERSE) ;;
    hashed) flags=(-O2 -DBITSTATE) ;;
    *)
      echo "no such search: $search"
      return 1
      ;;
  esac
  rm -f ./*.trail
  cp "$here/$model.pml" . && spin -a "$@" "$model.pml" >spin.log &&
    gcc -w -DSAFETY -DMEMLIM="$MEMORY_MB" "${flags[@]}" -o pan pan.c
}

search() { # search
  case $1 in
    hashed)
      timeout -s INT "$SECONDS_HASHED" ./pan -n -E -m300000 -w32 -k3
      ;;
    *) ./pan -n -E -m300000 -w24 ;;
  esac >pan.log 2>&1
}

value_of() { # pattern: prints the first number that follows or precedes it
  grep -m1 -oE "$1" pan.log | grep -oE '[0-9][0-9.e+]*' | head -1
}

verdict() { # name search; sets result, returns 1 if it is not as it should be
  local errors
  errors=$(value_of 'errors: [0-9]+')
  result="no result: see $PWD/pan.log"
  [[ -n $errors ]] || return 1
  if [[ $1 == */* ]]; then
    result=found
    [[ $errors -ne 0 ]] || result="NOT FOUND"
    [[ $errors -ne 0 ]]
    return
  fi
  if [[ $errors -ne 0 ]]; then
    result="FAILS: cd $PWD && spin -t -p -g $(cat definitions) $(ls ./*.pml)"
    return 1
  fi
  if grep -qE 'max search depth too small|-DMEMLIM' pan.log; then
    result="NOT FINISHED: depth or memory"
    return 1
  fi
  result=holds
  [[ $2 != hashed ]] || result="holds, hashed"
  if grep -q 'not completed' pan.log; then
    result="hashed, cut short"
    [[ $2 == hashed ]]
  fi
}

failed=0
total=0
printf '%-34s %10s %6s %7s %5s  %s\n' configuration states depth MB s result
while read -r name when search model definitions; do
  wanted "$name" "$when" || continue
  total=$((total + 1))
  mkdir -p "$OUT/$name"
  cd "$OUT/$name" || exit 1
  echo "$definitions" >definitions
  begun=$SECONDS
  # shellcheck disable=SC2086  # definitions are words
  if ! build "$search" "$model" $definitions >build.log 2>&1; then
    echo "$name: does not build, see $PWD/build.log" >&2
    exit 1
  fi
  search "$search"
  verdict "$name" "$search" || failed=$((failed + 1))
  printf '%-34s %10.0f %6s %7.0f %5d  %s\n' "$name" \
    "$(value_of '[0-9][0-9.e+]* states, stored')" \
    "$(value_of 'depth reached [0-9]+')" \
    "$(value_of '[0-9.]+[[:space:]]total actual memory')" \
    $((SECONDS - begun)) "$result"
done < <(configurations)

if [[ $total -eq 0 ]]; then
  echo "run.sh: no such configuration; --list prints them" >&2
  exit 2
fi
echo "$total configurations, $failed not as they should be"
[[ $failed -eq 0 ]]
