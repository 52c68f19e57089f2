#!/usr/bin/env bash
# Whale against Redis on this machine: puts and gets, the same harness, keys,
# values and operations in flight for both.
#
#   bench/vs_redis.sh [--json FILE] [--help]
#
# Redis: Debian's redis-server, one primary and two replicas on loopback,
# default configuration but `save ""` and `appendonly no`, so that it never
# touches a disk. A put is SET and WAIT 2 in one packet, a get is GET. What is
# fairest to Redis was chosen:
#  - 32 in flight are 32 connections with one operation each, since WAIT blocks
#    its connection; all from one thread with epoll, so that the other
#    processor is Redis's. Redis serves the 32 in a batch per turn of its own
#    event loop and asks its replicas for acknowledgements once per turn.
#  - One in flight is one blocking connection without epoll.
#  - The client composes and checks packets by hand (bench/peers/redis_store.h).
#  - Also shown, as `put32_gathered` and `get32_gathered`: one connection, 32
#    operations and one WAIT per packet. That is more than was asked of Whale,
#    whose every operation is sent and answered by itself: no operation of a
#    batch is answered before the last.
# Whale: `whale dev` with its defaults, one client, 32 in flight or one; all
# shards' primaries on one server (whale), or spread (whale_spread).
set -euo pipefail
usage_text='usage: bench/vs_redis.sh [options]'
# shellcheck source=bench/compare.sh
source "$(dirname "${BASH_SOURCE[0]}")/compare.sh"

readonly promise_redis='SET, WAIT 2: the write is in the memory of three Redis processes, executed by all three; a process that dies loses its copy, and a failover may lose an acknowledged write'
readonly promise_whale='put: the write is in the logs of three servers and no later failure of a process loses it (kill -9 of all included); the logs survive what the domain says; linearizable at every replica'

start_redis() {
  local port server arguments
  redis_port=$(free_ports 3)
  for server in 0 1 2; do
    port=$((redis_port + server))
    mkdir -p "$work/redis-$server"
    arguments=(--port "$port" --bind 127.0.0.1 --save '' --appendonly no
      --dir "$work/redis-$server" --repl-diskless-sync-delay 0
      --daemonize no)
    [[ $server -eq 0 ]] || arguments+=(--replicaof "127.0.0.1 $redis_port")
    redis-server "${arguments[@]}" >"$work/redis-$server/log" 2>&1 &
    pids+=($!)
  done
  wait_until "Redis with two replicas" redis_is_ready
}

redis_is_ready() {
  [[ $(redis-cli -p "$redis_port" info replication |
    grep -c '^slave[01]:.*state=online') -eq 2 ]]
}

run_redis() { # as run_whale
  local gather=()
  # Loading is not measured: as fast as it goes.
  [[ $2 != load ]] || gather=(--gather)
  run_driver "$@" --port "$redis_port" "${gather[@]}"
}

measure_redis() { # repetition
  start_redis
  measure "$1" redis run_redis
  local to=$work/$1.redis
  run_driver "$to.put32_gathered.json" run w 32 "$operations" \
    --port "$redis_port" --gather
  run_driver "$to.get32_gathered.json" run c 32 "$operations" \
    --port "$redis_port" --gather
  stop_all
}

parse_options "$@"
needs redis-server redis-server
needs redis-cli redis-tools
needs jq jq
for ((i = 1; i <= repetitions; ++i)); do
  echo "repetition $i of $repetitions" >&2
  measure_redis "$i"
  measure_whale "$i"
done

collect | jq --argjson circumstances "$(circumstances)" \
  --arg version "$(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/')" \
  --arg redis "$promise_redis" --arg whale "$promise_whale" "$jq_functions"'
  {benchmark: "vs_redis",
   put_throughput_ratio: rate("whale"; "put32"; "redis"; "put32"),
   put_throughput_ratio_spread: rate("whale_spread"; "put32"; "redis"; "put32"),
   put_latency_ratio: latency("whale"; "put1"; "redis"; .p50_us),
   put_p99_latency_ratio: latency("whale"; "put1"; "redis"; .p99_us),
   get_throughput_ratio: rate("whale"; "get32"; "redis"; "get32"),
   get_throughput_ratio_spread: rate("whale_spread"; "get32"; "redis"; "get32"),
   put_latency_ratio_spread: latency("whale_spread"; "put1"; "redis"; .p50_us),
   get_latency_ratio: latency("whale"; "get1"; "redis"; .p50_us),
   put_throughput_ratio_gathered:
     rate("whale"; "put32"; "redis"; "put32_gathered"),
   get_throughput_ratio_gathered:
     rate("whale"; "get32"; "redis"; "get32_gathered"),
   promises: {redis: $redis, whale: $whale}}
  + $circumstances + {redis_version: $version, medians: medians, raw: .}' \
  >"$work/report"
[[ -z $json_file ]] || cp "$work/report" "$json_file"

echo "Whale against Redis $(jq -r .redis_version "$work/report")"
show_report
