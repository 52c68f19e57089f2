#!/usr/bin/env bash
# Three servers on three hosts, with pools on device-dax, coordinator and
# clients on a fourth, all over soft-RoCE: `whale doctor`, and a mixed YCSB that
# is verified at every replica; then, under load, two hosts are cut off in turn
# and plugged in again, after which they are full members. The histories are
# linearizable and nothing acknowledged is lost. Before: a pool on fs-dax, which
# this adapter's on-demand paging is too broken for, and durable writes between
# two hosts over IPv6.
#
# Works in the current folder. Run by tests/guest/run.sh.
set -euo pipefail
scenarios=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest=$scenarios/..
whale=$WHALE_BUILD/tools/whale
readonly scenarios guest whale
readonly COORDINATOR=10.88.0.4:7400 SHARDS=2 KEYS=20 CLIENT_HOST=4

status_now() {
  on_host $CLIENT_HOST "$whale" status --json --cluster $COORDINATOR \
    >status 2>/dev/null
}

# Whether all three servers are full members of all shards.
all_active() {
  status_now && jq -e '[.shards[] | select(.active and (.replicas | length) ==
    3)] | length == '$SHARDS status >/dev/null
}

# Whether server $1 is a member of nothing any more.
is_out() {
  status_now && jq -e '[.shards[].replicas[] | select(.server == '"$1"')] ==
    []' status >/dev/null
}

# Operations that the clients were told to have succeeded.
answered() { cat out/history.* 2>/dev/null | grep -cE '^A [0-9]+ 0 ' || true; }

answered_more_than() { # before by
  (($(answered) >= $1 + $2))
}

# Waits for the load to go on.
load_goes_on() {
  wait_until 120 answered_more_than "$(answered)" 100
}

say() { # what happened
  echo "RESULT: $1 after $SECONDS s, $(answered) operations"
}

# A host loses its cable under load, and gets it back.
cut_and_join() { # host
  load_goes_on
  cut_host "$1"
  wait_until 120 is_out "$1"
  say "server $1 is out"
  load_goes_on
  join_host "$1"
  wait_until 120 all_active
  say "server $1 is back"
}

# A process of its own name, so that it can be told to stop. Some of its reads
# are for one server only: one that is cut off must not hold them for long.
start_client() { # number arguments...
  local number=$1
  shift
  exec ip netns exec h$CLIENT_HOST \
    "$WHALE_BUILD/tests/process_test_client" --cluster $COORDINATOR \
    --history "out/history.$number" --client "$number" --seed "$number" \
    --keys $KEYS --in-flight 8 --timeout-ms 5000 "$@"
}

# Refused, unless a later kernel's on-demand paging works: what must not be is
# that bytes go astray.
try_fs_dax() {
  dax_directory 3 /mnt/pm
  on_host 1 timeout 60 "$whale" serve --id 1 --dir /mnt/pm/server \
    --coordinator $COORDINATOR --http-port 7410 --shards 1 --domain pmem \
    --fabric verbs --pool-bytes 64MiB >out/fs-dax 2>&1 || true
  if grep -q 'on-demand paging is broken' out/fs-dax; then
    grep -q 'use device-dax' out/fs-dax
  else
    grep -q 'serving fabric' out/fs-dax
  fi
}

# The index of a host's global IPv6 address in its adapter's table.
ipv6_index() { # host
  local gid
  gid=$(on_host "$1" grep -rls '^fd88:' \
    "/sys/class/infiniband/rxe$1/ports/1/gids" || true)
  basename "$gid"
}

# Durable writes from one host to another, with GIDs that were named.
persist_over_ipv6() {
  local owner
  owner="[$(host_address 1 6)]:7500"
  (exec ip netns exec h1 "$whale" bench persist --listen "$owner" \
    --verbs "gid-index=$(ipv6_index 1)" >out/persist 2>&1) &
  wait_until 60 grep -qs '(fd88::1)' out/persist
  # The first attempt to connect has a second, in which a busy machine may not
  # even answer.
  wait_until 60 on_host 2 "$whale" bench persist --connect "$owner" \
    --operations 20 --verbs "gid-index=$(ipv6_index 2)"
  kill -TERM $!
  wait $!
}

inside() {
  # shellcheck source=tests/guest/inside.sh
  source "$guest/inside.sh"
  make_hosts 4
  try_fs_dax
  echo "== Durable writes over IPv6 =="
  persist_over_ipv6
  local i
  on_host $CLIENT_HOST "$whale" coordinator --store file:/run/coordinator \
    --host 0.0.0.0 --port 7400 --replicas 3 --shards $SHARDS --lease 2s \
    >out/coordinator 2>&1 &
  for i in 1 2 3; do
    device_dax $((i - 1))
    mkdir -p "/run/whale/server-$i"
    ln -s "$DAX_DEVICE" "/run/whale/server-$i/pool"
    on_host "$i" "$whale" serve --id "$i" --dir "/run/whale/server-$i" \
      --coordinator $COORDINATOR --http-port 7410 --shards $SHARDS \
      --domain pmem --fabric verbs >"out/server-$i" 2>&1 &
  done
  wait_until 240 all_active
  echo "RESULT: three servers after $SECONDS s"
  on_host $CLIENT_HOST "$whale" doctor --cluster $COORDINATOR \
    --dir /mnt/pm --pool-bytes 1MiB

  echo "== YCSB, verified =="
  on_host $CLIENT_HOST "$whale" bench ycsb --workload a --records 200 \
    --operations 500 --pipeline 8 --value-bytes 1000 --threads 1 --quiet \
    --verify --dir /run/whale --cluster $COORDINATOR | tee ycsb
  echo "RESULT: $(grep Throughput ycsb | tail -1) (soft-RoCE under emulation)"

  echo "== Hosts are cut off =="
  (start_client 1 --operations 1000000) &
  local first=$!
  (start_client 2 --operations 1000000) &
  local second=$!
  for i in 3 1; do cut_and_join "$i"; done
  load_goes_on
  kill -TERM "$first" "$second"
  wait "$first" "$second"
  (start_client 3 --operations 100 --timeout-ms 60000 --final-replicas 3)
  "$WHALE_BUILD/tests/process_test_check_histories" out/history.* | tee checked
  echo "RESULT: $(tail -1 checked)"
}

if [[ ${1-} == --inside ]]; then
  trap '[[ $? == 0 ]] || tail -n 20 out/coordinator out/server-* out/fs-dax' \
    EXIT
  inside
  exit
fi

mkdir -p out
truncate -s 192M nvdimm0 nvdimm1 nvdimm2
truncate -s 128M nvdimm3
# Far more than it takes, for machines that are busy with other things.
"$guest/run_in_guest.sh" --timeout 1200 --share out --nvdimm nvdimm0 \
  --nvdimm nvdimm1 --nvdimm nvdimm2 --nvdimm nvdimm3 \
  env WHALE_BUILD="$WHALE_BUILD" "$scenarios/hosts.sh" --inside
