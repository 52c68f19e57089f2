#!/usr/bin/env bash
# What it costs when an empty replica joins under load: p99 of writes before and
# while it copies, and how exactly the rate limit of copying holds.
#
#   bench/join.sh BUILD_DIRECTORY [LOG_MIB [LIMIT_MIB [RATE]]]
#
# A cluster with logs of LOG_MIB per server; one server is killed, its pool
# removed, and it comes back empty. It copies LIMIT_MIB per second at most,
# while RATE writes per second are due, their latency counted from then.
set -euo pipefail
# shellcheck source=bench/dev_cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/dev_cluster.sh"

log_mib=${2:-2048}
limit_mib=${3:-64}
rate=${4:-5000}
readonly victim=3 value_bytes=1000 record_bytes=1072
readonly metrics=http://127.0.0.1:$((port + 9 + victim))/metrics
records=$((log_mib * 1024 * 1024 / record_bytes))
# Less than the copying takes.
seconds=$((log_mib * 2 / 3 / limit_mib))
operations=$((rate * seconds))

ycsb() { # arguments...
  "$whale" bench ycsb --cluster "$cluster" --workload w --records "$records" \
    --value-bytes "$value_bytes" --threads 1 --pipeline 64 --quiet "$@"
}
writes() { # name
  ycsb --phase run --operations "$operations" --rate "$rate" \
    --json "$work/$1.json" >/dev/null
}
p99() { # name
  jq '[.. | objects | .kinds? // empty | .[].p99_us] | max' "$work/$1.json"
}
# "nanoseconds bytes", what the server has copied by now.
copied() {
  curl -sf "$metrics" | awk -v now="$(date +%s%N)" \
    '/^whale_copied_bytes_total/ { sum += $2 } END { if (NR) print now, sum }'
}
start_dev --shards 4 --copy-bytes-per-second "${limit_mib}MiB" \
  --pool-bytes $(((log_mib * 3 / 2 + 3 * seconds * rate * record_bytes / 1048576 + 512) / 256 * 256))MiB
ycsb --phase load --operations 1 >/dev/null
await_whole
writes before

process=$(process_of "$victim")
kill -STOP "$dev" # it would start the server again
kill -KILL "$process"
while kill -0 "$process" 2>/dev/null &&
  [[ $(ps -o stat= -p "$process") != Z* ]]; do
  sleep 0.05
done
rm -rf "$work/data/server-$victim"
kill -CONT "$dev"
until [[ $(copied 2>/dev/null | cut -d' ' -f2) -gt 0 ]]; do sleep 0.05; done

writes during &
while kill -0 $! 2>/dev/null; do
  copied
  sleep 0.5
done >"$work/copied"
wait $!
await_whole

echo "log of $log_mib MiB per server, $rate writes of $value_bytes bytes per second"
printf 'p99 of writes: before %.0f us, while a replica copies %.0f us\n' \
  "$(p99 before)" "$(p99 during)"
# Whole windows of about two seconds.
awk -v limit="$limit_mib" '
  { time[NR] = $1; bytes[NR] = $2 }
  END {
    low = 1e18; high = 0
    for (i = 1; i + 4 <= NR; ++i) {
      rate = (bytes[i + 4] - bytes[i]) / (time[i + 4] - time[i]) * 1e9 / 1048576
      if (rate < low) low = rate
      if (rate > high) high = rate
    }
    all = (bytes[NR] - bytes[1]) / (time[NR] - time[1]) * 1e9 / 1048576
    printf "copied %.1f MiB/s of %d (within 2 s: %.1f to %.1f), %+.1f %%\n",
      all, limit, low, high, (all / limit - 1) * 100
  }' "$work/copied"
