#!/usr/bin/env bash
# Three servers on three hosts, with pools on DAX, and clients on a fourth, all
# over soft-RoCE: a mixed YCSB that is verified at every replica; then a host
# cut off in the middle of a load and plugged in again, after which it is a full
# member, the histories are linearizable and nothing acknowledged is lost.
#
# Works in the current folder. Run by tests/guest/run.sh.
set -euo pipefail
scenarios=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest=$scenarios/..
whale=$WHALE_BUILD/tools/whale
readonly scenarios guest whale
readonly COORDINATOR=10.88.0.1:7400 SHARDS=2 KEYS=20 CLIENT_HOST=4

# Whether all three servers are full members of all shards.
all_active() {
  on_host $CLIENT_HOST "$whale" status --json --cluster $COORDINATOR \
    >status 2>/dev/null &&
    jq -e '[.shards[] | select(.active and (.replicas | length) == 3)] |
      length == '$SHARDS status >/dev/null
}

# Whether server $1 is a member of nothing any more.
is_out() {
  on_host $CLIENT_HOST "$whale" status --json --cluster $COORDINATOR \
    >status 2>/dev/null &&
    jq -e '[.shards[].replicas[] | select(.server == '"$1"')] == []' status \
      >/dev/null
}

history_bytes() { cat out/history.* 2>/dev/null | wc -c; }

grown_by() { # bytes-before bytes
  (($(history_bytes) >= $1 + $2))
}

start_client() { # number arguments...
  local number=$1
  shift
  on_host $CLIENT_HOST "$WHALE_BUILD/tests/process_test_client" \
    --cluster $COORDINATOR --history "out/history.$number" \
    --client "$number" --seed "$number" --keys $KEYS --in-flight 8 "$@"
}

# A process of its own name, so that it can be told to stop.
start_endless_client() { # number
  exec ip netns exec h$CLIENT_HOST \
    "$WHALE_BUILD/tests/process_test_client" --cluster $COORDINATOR \
    --history "out/history.$1" --client "$1" --seed "$1" --keys $KEYS \
    --in-flight 8 --operations 1000000 --timeout-ms 120000
}

inside() {
  # shellcheck source=tests/guest/inside.sh
  source "$guest/inside.sh"
  make_hosts 4
  dax_directory 0 /mnt/pm
  local i before
  on_host 1 "$whale" coordinator --store file:/mnt/pm/coordinator \
    --host 0.0.0.0 --port 7400 --replicas 3 --shards $SHARDS --lease 5s \
    >out/coordinator 2>&1 &
  for i in 1 2 3; do
    mkdir -p "/mnt/pm/server-$i"
    on_host "$i" "$whale" serve --id "$i" --dir "/mnt/pm/server-$i" \
      --coordinator $COORDINATOR --http-port 7410 --shards $SHARDS \
      --domain pmem --fabric verbs --pool-bytes 200MiB >"out/server-$i" 2>&1 &
  done
  wait_until 120 all_active
  on_host $CLIENT_HOST "$whale" doctor --cluster $COORDINATOR \
    --dir /mnt/pm --pool-bytes 1MiB

  echo "== YCSB, verified =="
  on_host $CLIENT_HOST "$whale" bench ycsb --workload a --records 500 \
    --operations 2000 --pipeline 8 --value-bytes 1000 --threads 1 --quiet \
    --verify --dir /mnt/pm --cluster $COORDINATOR

  echo "== A host is cut off =="
  (start_endless_client 1) &
  local first=$!
  (start_endless_client 2) &
  local second=$!
  wait_until 60 grown_by 0 50000
  cut_host 3
  wait_until 60 is_out 3
  before=$(history_bytes)
  wait_until 60 grown_by "$before" 50000
  join_host 3
  wait_until 120 all_active
  before=$(history_bytes)
  wait_until 60 grown_by "$before" 50000
  kill -TERM "$first" "$second"
  wait "$first" "$second"
  start_client 3 --operations 200 --final-replicas 3
  "$WHALE_BUILD/tests/process_test_check_histories" out/history.*
}

if [[ ${1-} == --inside ]]; then
  trap '[[ $? == 0 ]] || tail -n 20 out/coordinator out/server-* status' EXIT
  inside
  exit
fi

mkdir -p out
truncate -s 768M nvdimm0
"$guest/run_in_guest.sh" --share out --nvdimm nvdimm0 \
  env WHALE_BUILD="$WHALE_BUILD" "$scenarios/hosts.sh" --inside
