#!/usr/bin/env bash
# Builds the fuzzers of tests/fuzz with clang and runs each for a while.
#
#   fuzz.sh [--seconds N] [TARGET...]   all targets, 60 s each, by default
#   fuzz.sh --replay TARGET FILE        one input, with the sanitizers' report
#   fuzz.sh --list                      only prints the targets
#
# Needs the Debian packages clang and libclang-rt-dev. Works in build/fuzz
# (WHALE_FUZZ_DIR names another place): what the fuzzers learn stays in
# corpus/TARGET there and is where the next run begins, after the seeds that
# tests/fuzz/corpus and the program fuzz_seeds give. An input that fails is kept
# in crashes/TARGET, with the command that replays it. Exit code 1 if there is
# one.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly WORK=${WHALE_FUZZ_DIR:-$root/build/fuzz}
readonly TARGETS=(config_file delivery log messages pool state_file)

usage() { sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

known() { # target
  [[ " ${TARGETS[*]} " == *" $1 "* ]] && return
  echo "fuzz.sh: no target $1; there are ${TARGETS[*]}" >&2
  exit 2
}

seconds=60
replay=
targets=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --seconds)
      seconds=${2:?--seconds needs a number}
      shift
      ;;
    --replay)
      known "${2:?--replay needs a target and a file}"
      replay=${3:?--replay needs a target and a file}
      targets=("$2")
      shift 2
      ;;
    --list)
      printf '%s\n' "${TARGETS[@]}"
      exit 0
      ;;
    -*)
      usage >&2
      exit 2
      ;;
    *)
      known "$1"
      targets+=("$1")
      ;;
  esac
  shift
done
[[ ${#targets[@]} -gt 0 ]] || targets=("${TARGETS[@]}")

if ! command -v clang++ >/dev/null; then
  echo "fuzz.sh: clang++ is missing: apt-get install clang libclang-rt-dev" >&2
  exit 2
fi

export UBSAN_OPTIONS=print_stacktrace=1
[[ -z $replay ]] || replay=$(realpath "$replay")
cmake -S "$root" -B "$WORK" -G Ninja -DCMAKE_CXX_COMPILER=clang++ \
  -DCMAKE_BUILD_TYPE=Debug -DCMAKE_UNITY_BUILD=ON \
  -DCMAKE_UNITY_BUILD_BATCH_SIZE=16 -DWHALE_FUZZ=ON >/dev/null
cmake --build "$WORK" --target fuzz_seeds "${targets[@]/%/_fuzz}"

if [[ -n $replay ]]; then
  exec "$WORK/tests/fuzz/${targets[0]}_fuzz" "$replay"
fi

"$WORK/tests/fuzz/fuzz_seeds" "$WORK/seeds"
failed=0
for target in "${targets[@]}"; do
  corpus=$WORK/corpus/$target
  crashes=$WORK/crashes/$target
  mkdir -p "$corpus" "$crashes"
  given=()
  for dir in "$root/tests/fuzz/corpus/$target" "$WORK/seeds/$target"; do
    [[ ! -d $dir ]] || given+=("$dir")
  done
  log=$WORK/$target.log
  if nice -n 10 "$WORK/tests/fuzz/${target}_fuzz" -max_total_time="$seconds" \
    -max_len=4096 -timeout=20 -artifact_prefix="$crashes/" "$corpus" \
    "${given[@]}" >"$log" 2>&1; then
    echo "$target: $(grep -E '^Done' "$log")," \
      "coverage $(grep -oE 'cov: [0-9]+' "$log" | tail -1 | cut -c6-)"
    continue
  fi
  failed=1
  crash=$(grep -oE "$crashes/[a-z]+-[0-9a-f]+" "$log" | tail -1)
  grep -m1 -E 'ERROR|runtime error|Check failed|WHALE_CHECK' "$log" || true
  echo "$target: FAILED, log in $log; replay with"
  echo "  tests/fuzz.sh --replay $target $crash"
done
exit $failed
