# shellcheck shell=bash disable=SC2034,SC2154,SC2016
# What vs_redis.sh, vs_etcd.sh and vs_floor.sh have in common: options, a Whale
# cluster, runs of the harness, medians. Sourced, not run. bash, jq.
#
# A repetition measures every system once, one after the other, each freshly
# started and alone; so what slows the machine down for a while slows them all
# down, and a ratio is formed within its repetition. The figure reported is the
# median of these ratios.
#
# The caller defines usage_text, calls parse_options "$@", measure and report.

bench_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly bench_dir
json_file=
records=100000
operations=200000
latency_operations=20000
repetitions=5
value_bytes=100
whale=$bench_dir/../build/release/tools/whale
driver=
work=$(mktemp -d "${TMPDIR:-/tmp}/whale-compare.XXXXXX")
pids=()

print_help() {
  cat <<TEXT
$usage_text
  --json FILE              all figures as JSON
  --records N              loaded before measuring ($records)
  --operations N           of each run with 32 in flight ($operations);
                           Whale $whale_times times as many
  --latency-operations N   of each run with one in flight ($latency_operations)
  --repetitions N          of everything ($repetitions)
  --value-bytes N          ($value_bytes)
  --whale BINARY           (build/release/tools/whale)
  --driver BINARY          (bench/whale_bench_peer beside it)
TEXT
}

die() {
  echo "${0##*/}: $*" >&2
  exit 2
}

parse_options() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      --json) json_file=${2-} ;;
      --records) records=${2-} ;;
      --operations) operations=${2-} ;;
      --latency-operations) latency_operations=${2-} ;;
      --repetitions) repetitions=${2-} ;;
      --value-bytes) value_bytes=${2-} ;;
      --whale) whale=${2-} ;;
      --driver) driver=${2-} ;;
      -h | --help)
        print_help
        exit 0
        ;;
      *) die "unknown option $1; --help lists them" ;;
    esac
    [[ -n ${2-} ]] || die "$1 needs a value"
    shift 2
  done
  local number
  for number in records operations latency_operations repetitions value_bytes; do
    [[ ${!number} =~ ^[1-9][0-9]*$ ]] ||
      die "--${number//_/-}: \"${!number}\" is not a positive number"
  done
  driver=${driver:-$(dirname "$whale")/../bench/whale_bench_peer}
  [[ -x $whale ]] || die "no program $whale; build the release or give --whale"
  [[ -x $driver ]] || die "no program $driver; build it or give --driver"
  [[ -z $json_file ]] || : >"$json_file"
}

needs() { # program package
  command -v "$1" >/dev/null ||
    die "$1 is missing: deploy/install_packages.sh --bench (or apt-get install $2)"
}

stop_all() {
  local pid
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  pids=()
}
finish() {
  trap - EXIT INT TERM
  stop_all
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

port_is_free() { ! (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_ports() { # how many in a row; prints the first
  local first=$((22000 + $$ % 200 * 40)) offset
  while true; do
    for ((offset = 0; offset < $1; ++offset)); do
      port_is_free $((first + offset)) || break
    done
    [[ $offset -lt $1 ]] || break
    first=$((first + $1))
  done
  echo "$first"
}

wait_until() { # what command...: polls the command, gives up after a minute
  local what=$1 deadline=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $deadline ]] || die "$what did not start"
    sleep 0.1
  done
}

# Logs are not cleaned, so a pool holds all that a repetition writes.
start_whale() { # argument for --primaries-on
  local port writes=$((records + operations + latency_operations))
  local pool=$((writes * (value_bytes + 160) * 3 / 2 + 512 * 1024 * 1024))
  port=$(free_ports 16)
  whale_address=127.0.0.1:$port
  rm -f "$work/ready"
  "$whale" dev --port "$port" --primaries-on "$1" --pool-bytes "$pool" \
    --ready-file "$work/ready" >"$work/whale.log" 2>&1 &
  pids+=($!)
  wait_until "the Whale cluster" test -e "$work/ready"
}

run_whale() { # file phase workload pipeline operations
  "$whale" bench ycsb --cluster "$whale_address" --quiet --phase "$2" \
    --workload "$3" --distribution uniform --pipeline "$4" \
    --records "$records" --operations "$5" --value-bytes "$value_bytes" \
    --json "$1" >/dev/null
}

run_driver() { # file phase workload pipeline operations, further arguments
  local file=$1 phase=$2 workload=$3 pipeline=$4 count=$5
  shift 5
  "$driver" --phase "$phase" --workload "$workload" --distribution uniform \
    --pipeline "$pipeline" --records "$records" --operations "$count" \
    --value-bytes "$value_bytes" --json "$file" "$@"
}

# The runs of one repetition, on a system that is running. RUN is run_whale or a
# function of the same form.
measure() { # repetition system run
  local to=$work/$1.$2
  "$3" "$to.load.json" load w 32 "$operations"
  "$3" "$to.put32.json" run w 32 "$operations"
  "$3" "$to.get32.json" run c 32 "$operations"
  "$3" "$to.put1.json" run w 1 "$latency_operations"
  "$3" "$to.get1.json" run c 1 "$latency_operations"
}

# Runs about as long as the others' are, not a fraction of a second.
readonly whale_times=10
measure_whale() { # repetition
  local on operations=$((whale_times * operations))
  for on in 1 0; do
    start_whale "$on"
    measure "$1" "$([[ $on -eq 1 ]] && echo whale || echo whale_spread)" run_whale
    stop_all
  done
}

# Prints all runs as one JSON array of {repetition, system, run, figures}.
collect() {
  local file name
  for file in "$work"/*.json; do
    name=${file##*/}
    IFS=. read -r repetition system run _ <<<"$name"
    jq --arg r "$repetition" --arg s "$system" --arg n "$run" '
      .phases[-1] as $p | ($p.kinds | to_entries[0].value) as $k
      | {repetition: ($r | tonumber), system: $s, run: $n,
         operations_per_second: $p.operations_per_second}
        + ($k | {mean_us, p50_us, p95_us, p99_us, p99_9_us, max_us})' "$file"
  done | jq -s 'sort_by(.repetition)'
}

# jq functions over that array: `rate` is a median of ratios of throughputs,
# `latency` one of latencies (theirs over ours).
readonly jq_functions='
  def median: sort | if length == 0 then null
    elif length % 2 == 1 then .[(length - 1) / 2]
    else (.[length / 2 - 1] + .[length / 2]) / 2 end;
  def of($s; $r): map(select(.system == $s and .run == $r));
  def pairs($a; $ra; $b; $rb; f):
    [of($a; $ra), of($b; $rb)] | transpose
    | map(select(.[0] and .[1]) | (.[0] | f) / (.[1] | f));
  def rate($ours; $run; $theirs; $their_run):
    pairs($ours; $run; $theirs; $their_run; .operations_per_second) | median;
  def latency($ours; $run; $theirs; f):
    pairs($theirs; $run; $ours; $run; f) | median;
  def medians: group_by([.system, .run]) | map({
    key: (.[0].system + "." + .[0].run),
    value: (map(del(.repetition, .system, .run) | to_entries) | add
            | group_by(.key) | map({key: .[0].key,
                                    value: (map(.value) | median)})
            | from_entries)}) | from_entries;'

# Where and on what this ran: of the last run on Whale.
circumstances() {
  jq '{commit, host, fabric, domain, policy, pinning, value_bytes,
       distribution}' "$work/1.whale.put32.json" |
    jq --argjson cpus "$(nproc)" --argjson records "$records" \
      --argjson operations "$operations" --argjson times "$whale_times" \
      --argjson repetitions "$repetitions" \
      --argjson latency_operations "$latency_operations" \
      --arg load "$(cut -d' ' -f1-3 /proc/loadavg)" \
      '. + {cpus: $cpus, records: $records, operations: $operations,
            whale_operations: ($operations * $times),
            latency_operations: $latency_operations,
            repetitions: $repetitions, load_average_at_end: $load}'
}

show_medians() { # file
  jq -r '.medians | to_entries[]
    | select(.key | test("load$") | not)
    | [.key, (.value | .operations_per_second, .p50_us, .p99_us, .max_us)]
    | @tsv' "$1" |
    awk -F'\t' 'BEGIN { printf "%-28s %12s %10s %10s %10s\n", "medians",
        "operations/s", "p50 us", "p99 us", "max us" }
      { printf "%-28s %12.0f %10.1f %10.1f %10.1f\n", $1, $2, $3, $4, $5 }'
}

# What a comparison of stores prints, from $work/report.
show_report() {
  jq -r '"\(.value_bytes) B values, \(.records) records, \(.repetitions) repetitions, \(.cpus) processors",
    "An answer means:",
    (.promises | to_entries[] | "  \(.key)  \(.value)"),
    "  (Whale here: \(.domain))", ""' "$work/report"
  show_medians "$work/report"
  echo
  echo "Whale is so many times as fast (medians of ratios)"
  jq -r 'to_entries[] | select(.key | test("_ratio"))
    | [.key, (.value * 100 | round / 100)] | @tsv' "$work/report" |
    awk -F'\t' '{ printf "  %-32s %8.2f\n", $1, $2 }'
}
