#!/usr/bin/env bash
# The fabric `verbs` on soft-RoCE: the conformance suite; a cluster of three
# servers with TLS and tokens under YCSB, compared at every replica; the work
# requests that a put takes, counted; the servers asleep once nobody asks
# anything of them; and what durable remote writes cost.
#
# Works in the current folder. Run by tests/guest/run.sh.
set -euo pipefail
scenarios=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest=$scenarios/..
readonly scenarios guest
readonly UPDATES=100 IDLE_SECONDS=10

# Prints how many more WRITEs than flushes the primary's fabric has posted. It
# is the server that flushes: backups have nothing to deliver.
writes_without_flushes() {
  local port
  for port in 7410 7411 7412; do
    curl -s "http://127.0.0.1:$port/metrics" | awk '
      /^whale_verbs_requests_total{kind="write"}/ { writes = $2 }
      /^whale_verbs_requests_total{kind="flush"}/ { flushes = $2 }
      END { print flushes, writes - flushes }'
  done | sort -n | tail -1 | cut -d " " -f 2
}

update() { # count
  "$whale" bench ycsb --workload w --phase run --records 50 --operations "$1" \
    --threads 1 --pipeline 1 --value-bytes 100 --quiet >update 2>&1
}

# Each batch of delivery to a backup has one cell and one flush, and of the
# records of one small put one WRITE. So WRITEs less flushes are the puts times
# the backups, whatever an idle primary sends besides. What a client's session
# adds falls out between two runs but for a record that travels with a put, or
# the end of an old session: a few, where a put that took one more or less would
# make hundreds.
count_requests() {
  local before after once twice
  before=$(writes_without_flushes)
  update $UPDATES
  after=$(writes_without_flushes)
  once=$((after - before))
  update $((2 * UPDATES))
  twice=$(($(writes_without_flushes) - after))
  echo "RESULT: $UPDATES more puts took $((twice - once)) more WRITEs than" \
    "flushes at 2 backups"
  local off=$((twice - once - 2 * UPDATES))
  [[ ${off#-} -le 8 ]]
}

# Processor time of all servers since they began.
server_ticks() {
  local stats=() pid
  for pid in $(pgrep -f 'whale serve'); do stats+=("/proc/$pid/stat"); done
  awk '{ ticks += $14 + $15 } END { print ticks }' "${stats[@]}"
}

# Three servers that poll take all of this machine's processors; asleep they
# take what their timers, leases and heartbeats do.
measure_idle() {
  local before share
  before=$(server_ticks)
  sleep $IDLE_SECONDS
  share=$((100 * ($(server_ticks) - before) / IDLE_SECONDS / $(getconf CLK_TCK)))
  echo "RESULT: three idle servers take $share % of one processor of" \
    "$(nproc) (soft-RoCE under emulation)"
  ((share < 150))
}

inside() {
  # shellcheck source=tests/guest/inside.sh
  source "$guest/inside.sh"
  whale=$WHALE_BUILD/tools/whale
  rxe_here
  WHALE_REQUIRE_RDMA=1 "$WHALE_BUILD/fabric/verbs_conformance_test" \
    --gtest_brief=1 | tee conformance
  echo "RESULT: conformance $(grep -F PASSED conformance)"

  "$whale" dev --fabric verbs --shards 1 --pool-bytes 128MiB --tls \
    --dir /run/cluster --start-timeout 140s \
    --ready-file /run/ready >cluster 2>&1 &
  local cluster=$!
  wait_until 150 test -e /run/ready || {
    cat cluster
    return 1
  }
  local tls=/run/cluster/tls
  export WHALE_TLS_CA=$tls/ca.pem WHALE_TLS_CERT=$tls/cert.pem
  export WHALE_TLS_KEY=$tls/key.pem WHALE_TOKEN_FILE=$tls/admin.token
  "$whale" status
  "$whale" bench ycsb --workload a --records 500 --operations 2000 \
    --threads 1 --pipeline 8 --value-bytes 400 --quiet --verify | tee ycsb
  echo "RESULT: $(grep -E 'Throughput' ycsb | tail -1) (soft-RoCE under" \
    "emulation)"
  count_requests
  measure_idle
  kill -INT "$cluster"
  wait "$cluster"
  "$whale" bench persist --operations 100
}

if [[ ${1-} == --inside ]]; then
  inside
  exit
fi

# Far more than it takes, for machines that are busy with other things.
"$guest/run_in_guest.sh" --timeout 600 env WHALE_BUILD="$WHALE_BUILD" \
  "$scenarios/verbs.sh" --inside
