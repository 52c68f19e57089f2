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

build=$1
records=${2:-1000000}
rounds=${3:-6}
readonly lease_ms=400
readonly port=${PORT:-17400}
whale=$build/tools/whale
gap=$build/bench/whale_failover_gap
work=$(mktemp -d -p /dev/shm whale-test.XXXXXX)
dev=

stop() {
  [[ -z $dev ]] || { kill -CONT "$dev"; kill -INT "$dev"; wait "$dev"; } || true
  dev=
}
trap 'stop; rm -rf "$work"' EXIT

for ((i = 0; i < rounds; ++i)); do
  "$whale" dev --port "$port" --dir "$work/data" --lease "${lease_ms}ms" \
    --pool-bytes 2GiB --ready-file "$work/ready" >"$work/dev.log" 2>&1 &
  dev=$!
  until [[ -e $work/ready ]]; do
    kill -0 "$dev" || { cat "$work/dev.log"; exit 2; }
    sleep 0.1
  done
  "$whale" bench ycsb --cluster "127.0.0.1:$port" --workload a \
    --records "$records" --operations 1 --threads 1 --pipeline 32 \
    --value-bytes 100 >"$work/load.log" 2>&1
  # Loading may have cost a slow machine a replica.
  while "$whale" status --cluster "127.0.0.1:$port" |
    grep -E 'not served| of 3 replicas' >"$work/lacks"; do
    sleep 0.2
  done
  victim=$(pgrep -P "$dev" -f "serve --id $((i % 3 + 1)) ")
  kill -STOP "$dev" # it would start the server again
  "$gap" --cluster "127.0.0.1:$port" --kill "$victim" >"$work/gap"
  read -r longest median refused <"$work/gap"
  awk -v l="$longest" -v m="$median" -v r="$refused" -v s=$((i % 3 + 1)) \
    -v lease="$lease_ms" 'BEGIN { printf "server %d: longest pause %.0f ms," \
    " median of the keys %.0f ms, beyond the lease at most %.0f ms," \
    " %d puts failed\n", s, l, m, l - 0.75 * lease, r }'
  stop
  rm -rf "$work/data" "$work/ready"
done
