#!/usr/bin/env bash
# Whale against etcd on this machine: puts and linearizable gets, the same
# harness, keys, values and operations in flight for both.
#
#   bench/vs_etcd.sh [--json FILE] [--help]
#
# etcd: Debian's etcd-server, three members on loopback, default configuration.
# What is fairest to etcd was chosen:
#  - Its data lie in shared memory, as Whale's do, so that the fsync of its log
#    costs a system call and no disk.
#  - The client talks to the leader, on one connection, with 32 asynchronous
#    calls in flight (or one), so that etcd can batch its proposals.
# Whale: `whale dev` with its defaults, one client, 32 in flight or one; all
# shards' primaries on one server (whale), or spread (whale_spread).
set -euo pipefail
usage_text='usage: bench/vs_etcd.sh [options]'
# shellcheck source=bench/compare.sh
source "$(dirname "${BASH_SOURCE[0]}")/compare.sh"

readonly promise_etcd='put: a majority (two of three members) has the write in its synced log; linearizable. Here the logs lie in memory that survives processes only'
readonly promise_whale='put: the write is in the logs of all three servers; linearizable at every replica. The logs survive what the domain says'

memory=/dev/shm
[[ -w $memory ]] || memory=$work
etcd_data=$(mktemp -d "$memory/whale-etcd.XXXXXX")
trap 'finish; rm -rf "$etcd_data"' EXIT

start_etcd() {
  local first i members=
  first=$(free_ports 6)
  for i in 0 1 2; do
    members+=${members:+,}m$i=http://127.0.0.1:$((first + 3 + i))
  done
  rm -rf "${etcd_data:?}"/*
  for i in 0 1 2; do
    etcd --name "m$i" --data-dir "$etcd_data/m$i" --log-level error \
      --listen-client-urls "http://127.0.0.1:$((first + i))" \
      --advertise-client-urls "http://127.0.0.1:$((first + i))" \
      --listen-peer-urls "http://127.0.0.1:$((first + 3 + i))" \
      --initial-advertise-peer-urls "http://127.0.0.1:$((first + 3 + i))" \
      --initial-cluster "$members" --initial-cluster-token "whale-$$" \
      >"$work/etcd-$i.log" 2>&1 &
    pids+=($!)
  done
  etcd_members=127.0.0.1:$first,127.0.0.1:$((first + 1)),127.0.0.1:$((first + 2))
  wait_until "etcd with three members" etcd_is_ready
  etcd_port=$(etcd_status | jq -r '.[]
    | select(.Status.header.member_id == .Status.leader) | .Endpoint' |
    sed 's/.*://')
}

etcd_status() {
  ETCDCTL_API=3 etcdctl --endpoints "$etcd_members" endpoint status -w json
}

etcd_is_ready() {
  [[ $(etcd_status | jq '[.[].Status.leader | select(. != null and . != 0)]
    | length') -eq 3 ]]
}

run_etcd() { # as run_whale
  run_driver "$@" --store etcd --port "$etcd_port"
}

# As many as etcd does in some seconds.
records=20000 operations=40000 latency_operations=5000
parse_options "$@"
needs etcd etcd-server
needs etcdctl etcd-client
needs jq jq
for ((i = 1; i <= repetitions; ++i)); do
  echo "repetition $i of $repetitions" >&2
  start_etcd
  measure "$i" etcd run_etcd
  stop_all
  measure_whale "$i"
done

collect | jq --argjson circumstances "$(circumstances)" \
  --arg version "$(etcd --version | sed -n 's/^etcd Version: //p')" \
  --arg etcd "$promise_etcd" --arg whale "$promise_whale" "$jq_functions"'
  {benchmark: "vs_etcd",
   put_throughput_ratio: rate("whale"; "put32"; "etcd"; "put32"),
   put_throughput_ratio_spread: rate("whale_spread"; "put32"; "etcd"; "put32"),
   put_latency_ratio: latency("whale"; "put1"; "etcd"; .p50_us),
   put_p99_latency_ratio: latency("whale"; "put1"; "etcd"; .p99_us),
   get_throughput_ratio: rate("whale"; "get32"; "etcd"; "get32"),
   get_throughput_ratio_spread: rate("whale_spread"; "get32"; "etcd"; "get32"),
   get_latency_ratio: latency("whale"; "get1"; "etcd"; .p50_us),
   promises: {etcd: $etcd, whale: $whale}}
  + $circumstances + {etcd_version: $version, medians: medians, raw: .}' \
  >"$work/report"
[[ -z $json_file ]] || cp "$work/report" "$json_file"
echo "Whale against etcd $(jq -r .etcd_version "$work/report")"
show_report
