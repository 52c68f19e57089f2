#!/usr/bin/env bash
# Which lines of the protocol's cores the simulator and the cores' own tests
# run: a table with the missing lines by number.
#
#   coverage.sh [--seeds N] [--fail-under PERCENT]
#                            so many seeds (40) beside the tests
#   coverage.sh --build-only a build with all counters at zero
#   coverage.sh --report-only what the counters say now
#
# Works in build/coverage (WHALE_COVERAGE_DIR names another place). Needs the
# Debian package gcovr.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly WORK=${WHALE_COVERAGE_DIR:-$root/build/coverage}
# The pure state machines: folders, and the cores of control/ and client/.
readonly CORES='(primary|chain|metadata_mcast)/[a-z_]*\.(cc|h)|control/(change|change_directive|change_members|change_missing|cluster_map|copy_progress|coordinator_core|cut|formation|leases|placement|plans|policy|refusals|registry|stored_state)\.(cc|h)|client/(buffers|connections|core|core_impl|intrusive_list|messages|operation|replies|request_window|requests|retries|routing|sessions)\.(cc|h)'
readonly NOT_CORES='.*(_test\.cc|test_[a-z]*\.h)'
readonly TESTS=(
  backup_log_test forwarder_test missing_values_test progress_test chain_test
  replica_state_test
  mcast_cells_test commit_tracker_test pending_table_test delivery_sender_test
  delivery_test committer_test ordering_test change_steps_test
  coordinator_core_test cut_test leases_test missing_test plans_test policy_test
  refusals_test file_store_test
  client_buffers_test client_core_test client_hostile_test client_retries_test
  client_sessions_test server_test holes_test change_test)

usage() { sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

build() {
  cmake -S "$root" -B "$WORK" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
    -DWHALE_BUILD_BENCH=OFF -DWHALE_COVERAGE=ON >/dev/null
  cmake --build "$WORK" --target whale_sim_program "${TESTS[@]}"
  find "$WORK" -name '*.gcda' -delete
}

run() {
  local pattern
  pattern=$(IFS='|' && echo "${TESTS[*]}")
  ctest --test-dir "$WORK" -R "^($pattern)\$" -j "$(nproc)" --no-tests=error \
    --output-on-failure
  nice -n 10 "$WORK/sim/whale_sim" --seeds "1..$seeds"
}

report() {
  (cd "$WORK" && gcovr --root "$root" --object-directory . \
    --filter "$root/($CORES)" --exclude "$NOT_CORES" \
    --gcov-ignore-parse-errors --fail-under-line "$fail_under" .)
}

seeds=40
fail_under=0
steps=(build run report)
while [[ $# -gt 0 ]]; do
  case $1 in
    --seeds) seeds=${2:?--seeds needs a number} && shift ;;
    --fail-under) fail_under=${2:?--fail-under needs a number} && shift ;;
    --build-only) steps=(build) ;;
    --report-only) steps=(report) ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
  shift
done
if ! command -v gcovr >/dev/null; then
  echo "coverage.sh: gcovr is missing: apt-get install gcovr" >&2
  exit 2
fi
for step in "${steps[@]}"; do "$step"; done
