#!/usr/bin/env bash
# For how long writes stop when a server is killed, beyond its lease.
#
#   bench/failover.sh BUILD_DIRECTORY [RECORDS [ROUNDS]]
#
# Per round: a cluster with RECORDS records, one server killed under puts, each
# server in turn. A server asks for its lease again after a quarter of it, so at
# the moment of the kill between three quarters and all of it are left; what is
# printed as the pause beyond the lease assumes three quarters: never too small.
set -euo pipefail
# shellcheck source=bench/dev_cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/dev_cluster.sh"

records=${2:-1000000}
rounds=${3:-6}
readonly lease_ms=400
gap=$build/bench/whale_failover_gap

for ((i = 0; i < rounds; ++i)); do
  start_dev --lease "${lease_ms}ms" --pool-bytes 2GiB
  "$whale" bench ycsb --cluster "$cluster" --workload a \
    --records "$records" --operations 1 --threads 1 --pipeline 32 \
    --value-bytes 100 >"$work/load.log" 2>&1
  await_whole # loading may have cost a slow machine a replica
  victim=$(process_of $((i % 3 + 1)))
  kill -STOP "$dev" # it would start the server again
  "$gap" --cluster "$cluster" --kill "$victim" >"$work/gap"
  read -r longest median refused <"$work/gap"
  awk -v l="$longest" -v m="$median" -v r="$refused" -v s=$((i % 3 + 1)) \
    -v lease="$lease_ms" 'BEGIN { printf "server %d: longest pause %.0f ms," \
    " median of the keys %.0f ms, beyond the lease at most %.0f ms," \
    " %d puts failed\n", s, l, m, l - 0.75 * lease, r }'
  stop_dev
done
