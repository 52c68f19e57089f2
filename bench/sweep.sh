#!/usr/bin/env bash
# How speed changes with the size of values, mirrors, what goes by value,
# operations in flight, clients and workload: a table and plots for each.
#
#   bench/sweep.sh --out DIR [options]
#     --repetitions N   of every point, alternating (5)
#     --series A[,B..]  only these; --help lists them
#     --whale BINARY    (build/release/tools/whale)
#
# A point is one run of `whale bench ycsb --dev` with defaults but for what the
# series is about. DIR/SERIES holds the run of median throughput of each point
# as JSON, and report.md with plots (bench/report). About 20 minutes.
#
# Series:
#   values-m0, values-m1, values-m2   puts of 16 B to 4 MiB, 0 to 2 mirrors
#   by-value    puts of 1 KiB with by-value-max-bytes 0, 256, 4096, all
#   in-flight   puts of 100 B, 1 to 256 in flight
#   clients     puts of 100 B, 1 to 8 client processes with 8 in flight
#   ycsb        workloads a, b, c, d, f as YCSB defines them, 32 in flight
#   reads       gets of 100 B at the primaries, at one replica, at any
#   window      puts of 4 KiB that only the primary has at first (m = 0), and
#               the most bytes that were in a window (in window.txt)
set -euo pipefail
bench_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=
repetitions=5
series=values-m0,values-m1,values-m2,by-value,in-flight,clients,ycsb,reads,window
whale=$bench_dir/../build/release/tools/whale

die() {
  echo "${0##*/}: $*" >&2
  exit 2
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --out) out=${2-} ;;
    --repetitions) repetitions=${2-} ;;
    --series) series=${2-} ;;
    --whale) whale=${2-} ;;
    -h | --help)
      sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
      exit 0
      ;;
    *) die "unknown option $1; --help lists them" ;;
  esac
  [[ -n ${2-} ]] || die "$1 needs a value"
  shift 2
done
[[ -n $out ]] || die "--out DIR is missing; --help shows how"
[[ $repetitions =~ ^[1-9][0-9]*$ ]] || die "--repetitions: not a positive number"
[[ -x $whale ]] || die "no program $whale; build the release or give --whale"
command -v jq >/dev/null ||
  die "jq is missing: deploy/install_packages.sh --bench"

work=$(mktemp -d "${TMPDIR:-/tmp}/whale-sweep.XXXXXX")
dev_pid=
finish() {
  trap - EXIT INT TERM
  if [[ -n $dev_pid ]]; then
    kill -TERM "$dev_pid" 2>/dev/null || true
    wait "$dev_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Before anything is measured: what bench/report needs at the end.
command -v gnuplot >/dev/null ||
  die "gnuplot is missing: deploy/install_packages.sh --bench"

# All points: series, name, and the flags of its runs.
points=()
point() { points+=("$*"); }

puts() { # series name value-bytes flags...: as many as take a second or so
  local bytes=$3 operations pool=1GiB
  operations=$((256 * 1024 * 1024 / (bytes + 160)))
  operations=$((operations > 300000 ? 300000 : operations))
  # The largest fill little more than half of a segment.
  [[ $bytes -lt 1000000 ]] || pool=3GiB
  point "$1" "$2" --workload w --distribution uniform --value-bytes "$bytes" \
    --operations "$operations" --records $((operations / 4)) \
    --pool-bytes "$pool" "${@:4}"
}

for m in 0 1 2; do
  for bytes in 16 100 1024 4096 16384 65536 1048576 4194304; do
    puts "values-m$m" "$bytes" "$bytes" --pipeline 32 --mirrors "$m"
  done
done
for most in 0 256 4096 64MiB; do
  puts by-value "$most" 1024 --pipeline 32 --by-value-max-bytes "$most"
done
for depth in 1 2 4 8 16 32 64 128 256; do
  puts in-flight "$depth" 100 --pipeline "$depth"
done
for clients in 1 2 4 8; do
  puts clients "$clients" 100 --pipeline 8 --processes "$clients"
done
for workload in a b c d f; do
  point ycsb "$workload" --workload "$workload" --records 100000 \
    --operations 300000 --pipeline 32
done
gets=(--workload c --distribution uniform --value-bytes 100 --pipeline 32
  --records 100000 --operations 1000000)
point reads primaries "${gets[@]}"
point reads one-replica "${gets[@]}" --replica 1
point reads any-replica "${gets[@]}" --any-replica

wanted() { [[ ,$series, == *,$1,* ]]; }
for name in ${series//,/ }; do
  [[ $name == window || " ${points[*]} " == *" $name "* ||
    "${points[0]}" == "$name "* ]] || die "no series $name; --help lists them"
done

for ((i = 1; i <= repetitions; ++i)); do
  echo "repetition $i of $repetitions" >&2
  for entry in "${points[@]}"; do
    read -r -a flags <<<"$entry"
    wanted "${flags[0]}" || continue
    "$whale" bench ycsb --dev --quiet "${flags[@]:2}" \
      --json "$work/$i.${flags[0]}.${flags[1]}" >"$work/log" 2>&1 || {
      cat "$work/log" >&2
      die "this failed: whale bench ycsb --dev --quiet ${flags[*]:2}"
    }
  done
done

median_run() { # files...: the one of median throughput
  local file
  for file in "$@"; do
    echo "$(jq '.phases[-1].operations_per_second' "$file") $file"
  done | sort -g | sed -n "$((($# + 1) / 2))s/.* //p"
}

for name in ${series//,/ }; do
  [[ $name != window ]] || continue
  mkdir -p "$out/$name"
  files=()
  for entry in "${points[@]}"; do
    read -r -a flags <<<"$entry"
    [[ ${flags[0]} == "$name" ]] || continue
    files+=("$out/$name/${flags[1]}.json")
    cp "$(median_run "$work"/*."$name.${flags[1]}")" "${files[-1]}"
  done
  over=()
  case $name in
    values-*) over=(--x value_bytes) ;;
    in-flight) over=(--x pipeline) ;;
    clients) over=(--x processes) ;;
  esac
  "$bench_dir/report" --out "$out/$name" "${over[@]}" "${files[@]}"
done

if wanted window; then
  mkdir -p "$out/window"
  port=$((23000 + $$ % 200 * 16))
  "$whale" dev --port "$port" --mirrors 0 --by-value-max-bytes 0 \
    --ready-file "$work/ready" >"$work/log" 2>&1 &
  dev_pid=$!
  for ((i = 0; i < 600; ++i)); do
    [[ ! -e $work/ready ]] || break
    sleep 0.1
  done
  "$whale" bench ycsb --cluster "127.0.0.1:$port" --quiet --workload w \
    --value-bytes 4096 --records 10000 --operations 50000 --pipeline 64 \
    --json "$out/window/puts.json" >/dev/null
  sleep 2 # until the servers have told
  "$whale" status --cluster "127.0.0.1:$port" --json |
    jq -r '[.. | .window_high_water_bytes? // empty | tonumber] | max
      | "most bytes acknowledged that lacked a copy somewhere: \(.)"' |
    tee "$out/window/window.txt"
fi
