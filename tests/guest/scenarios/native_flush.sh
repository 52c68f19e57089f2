#!/usr/bin/env bash
# The provider of verbs built against a libibverbs that has RDMA FLUSH, which
# Debian 12's has not: the conformance suite in a guest that has both.
#
#   native_flush.sh [--costs]   also what it costs, with a `whale` built so
#
# Works in the current folder. Run by tests/guest/run.sh.
set -euo pipefail
scenarios=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest=$scenarios/..
root=$guest/../..
readonly scenarios guest root
build=$WHALE_BUILD-native-flush

inside() {
  # shellcheck source=tests/guest/inside.sh
  source "$guest/inside.sh"
  rxe_here
  WHALE_REQUIRE_RDMA=1 WHALE_NATIVE_FLUSH=1 \
    "$build/fabric/verbs_conformance_test" --gtest_brief=1 \
    --gtest_filter='*nativeflush*:VerbsRegions.*' | tee conformance
  echo "RESULT: conformance $(grep -E 'PASSED.* [1-9][0-9]* tests' conformance)"
  [[ ${1-} == --costs ]] || return 0
  "$build/tools/whale" bench persist --operations 100 --verbs flush=native |
    tee persist
  grep -q '(native flush)' persist
}

if [[ ${1-} == --inside ]]; then
  inside "${@:2}"
  exit
fi
targets=(verbs_conformance_test)
[[ ${1-} != --costs ]] || targets+=(whale)

cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=16 \
  -DWHALE_BUILD_BENCH=OFF \
  -DWHALE_IBVERBS_ROOT="$("$guest/setup.sh" --print)/layer" >/dev/null
cmake --build "$build" --target "${targets[@]}"
"$guest/run_in_guest.sh" --layer env WHALE_BUILD="$WHALE_BUILD" \
  "$scenarios/native_flush.sh" --inside "$@"
