#!/usr/bin/env bash
# How near Whale's puts come to what shared memory allows on this machine.
#
#   bench/vs_floor.sh [--json FILE] [--help]
#
# The floor (bench/floor) has as many processes, sleeps as Whale's do, and does
# nothing but the copies: client to primary, into three logs, a cell for each
# backup, and the answer. `harness` is the load generator alone, on a store
# that answers at once: its cost is in Whale's figures and not in the floor's.
set -euo pipefail
usage_text='usage: bench/vs_floor.sh [options]'
# shellcheck source=bench/compare.sh
source "$(dirname "${BASH_SOURCE[0]}")/compare.sh"

run_floor() { # file depth operations, further arguments
  local file=$1 depth=$2 count=$3
  shift 3
  "$floor" --depth "$depth" --operations "$count" \
    --value-bytes "$value_bytes" --json "$file" "$@" >/dev/null
}

measure_floor() { # repetition
  # As short as Whale's runs would say little: the floor is so much faster.
  run_floor "$work/$1.floor.put32.json" 32 $((5 * operations))
  run_floor "$work/$1.floor.put1.json" 1 $((5 * latency_operations))
  run_floor "$work/$1.floor_written_back.put32.json" 32 $((5 * operations)) \
    --write-back
  run_floor "$work/$1.floor_written_back.put1.json" 1 \
    $((5 * latency_operations)) --write-back
  run_driver "$work/$1.harness.put32.json" run w 32 "$operations" --store none
}

parse_options "$@"
needs jq jq
floor=$(dirname "$driver")/whale_floor
[[ -x $floor ]] || die "no program $floor; build it"
for ((i = 1; i <= repetitions; ++i)); do
  echo "repetition $i of $repetitions" >&2
  measure_floor "$i"
  measure_whale "$i"
done

collect | jq --argjson circumstances "$(circumstances)" "$jq_functions"'
  {benchmark: "vs_floor",
   put_throughput_ratio: rate("whale"; "put32"; "floor"; "put32"),
   put_throughput_ratio_spread: rate("whale_spread"; "put32"; "floor"; "put32"),
   put_latency_ratio: latency("whale"; "put1"; "floor"; .p50_us),
   put_throughput_ratio_written_back:
     rate("whale"; "put32"; "floor_written_back"; "put32"),
   harness_ns_per_operation:
     (of("harness"; "put32") | map(1e9 / .operations_per_second) | median)}
  + $circumstances + {medians: medians, raw: .}' >"$work/report"
[[ -z $json_file ]] || cp "$work/report" "$json_file"

cat <<TEXT
Whale against the floor of this machine, $(jq -r \
  '"\(.value_bytes) B values, \(.records) records, \(.repetitions) repetitions, \(.cpus) processors"' "$work/report")

$(show_medians "$work/report")

$(jq -r '"Whale over floor: \(.put_throughput_ratio * 100 | round / 100) of its puts per second with 32 in flight (\(.put_throughput_ratio_spread * 100 | round / 100) with primaries spread),
floor over Whale: \(.put_latency_ratio * 100 | round / 100) of its median latency with one in flight;
the harness alone takes \(.harness_ns_per_operation | round) ns per operation."' "$work/report")
TEXT
