#!/usr/bin/env bash
# Simulated clusters with random seeds, on all cores, for so many minutes.
#
#   soak.sh --minutes N [--jobs J] [--first-seed S] [--coverage | --sim PROGRAM]
#
# Prints a line each minute, then what was run: seeds, virtual time,
# operations, faults and changes by kind, and which kinds never came. A seed
# that fails does not end the soak: it is printed with its replay command, and
# the exit code is 1.
#
# --coverage: runs a build that counts lines, several times slower, and names
# the lines of the protocol's cores that no seed came to (tests/coverage.sh).
# --sim: runs this whale_sim; without, builds the release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

minutes=
jobs=$(nproc)
coverage=
sim=
# Few enough that seeds of several soaks do not meet, small enough to read.
first_seed=$(($(od -An -N5 -tu8 /dev/urandom)))
while [[ $# -gt 0 ]]; do
  case $1 in
    --minutes) minutes=${2:?--minutes needs a number} && shift ;;
    --jobs) jobs=${2:?--jobs needs a number} && shift ;;
    --first-seed) first_seed=${2:?--first-seed needs a number} && shift ;;
    --coverage) coverage=1 ;;
    --sim) sim=${2:?--sim needs a program} && shift ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
  shift
done
if [[ ! $minutes =~ ^[0-9]+$ || $minutes -lt 1 ]]; then
  usage >&2
  exit 2
fi

if [[ -n $coverage ]]; then
  tests/coverage.sh --build-only
  sim=${WHALE_COVERAGE_DIR:-build/coverage}/sim/whale_sim
elif [[ -z $sim ]]; then
  cmake --preset release >/dev/null
  cmake --build --preset release --target whale_sim_program
  sim=build/release/sim/whale_sim
fi

results=$(mktemp -d "${TMPDIR:-/tmp}/whale-soak.XXXXXX")
pids=()
cleanup() {
  trap - EXIT
  [[ ${#pids[@]} -eq 0 ]] || kill "${pids[@]}" 2>/dev/null || true
  rm -rf "$results"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

readonly CHUNK=10
end=$((SECONDS + minutes * 60))
# Jobs take seeds in chunks, each every jobs-th one.
job() { # number
  local seed=$((first_seed + $1 * CHUNK)) code
  while [[ $SECONDS -lt $end ]]; do
    code=0
    nice -n 10 "$sim" --keep-going --seeds "$seed..$((seed + CHUNK - 1))" \
      >>"$results/$1.out" 2>&1 || code=$?
    # A crash ends the process with its chunk; what it printed says where.
    if [[ $code -ne 0 ]]; then
      echo "$seed $code" >>"$results/failed"
      echo "FAILED: one of the seeds $seed..$((seed + CHUNK - 1)), exit code $code"
    fi
    seed=$((seed + jobs * CHUNK))
  done
}

# Adds up what the runs printed.
totals() {
  cat "$results"/*.out 2>/dev/null | awk '
    / runs, .* virtual s in / {
      runs += $1; virtual += $3; events += $9; operations += $11
      answered += substr($13, 2)
    }
    /^faults:/ || /^changes / || /^rare:/ {
      gsub(/^faults:|^rare:|,/, " ")
      name = ""
      for (i = 1; i <= NF; ++i) {
        if ($i ~ /^[0-9]+$/) {
          if (!(name in count)) names[++kinds] = name
          count[name] += $i
          name = ""
        } else {
          name = name (name == "" ? "" : " ") $i
        }
      }
    }
    END {
      printf "%d seeds, %.2f virtual hours, %.0f events, %.0f operations (%.0f answered)\n",
        runs, virtual / 3600, events, operations, answered
      if (short) exit
      for (i = 1; i <= kinds; ++i) {
        printf "  %-52s %d\n", names[i], count[names[i]]
        if (count[names[i]] == 0) never = never " \"" names[i] "\""
      }
      print "never seen:" (never == "" ? " nothing, each kind came" : never)
    }' "${1+short=1}" -
}

echo "soak: $minutes min, $jobs jobs, seeds from $first_seed"
for ((j = 0; j < jobs; ++j)); do
  job "$j" &
  pids+=($!)
done
while [[ $SECONDS -lt $end ]]; do
  left=$((end - SECONDS))
  sleep $((left < 60 ? left : 60))
  echo "$((minutes * 60 - (end > SECONDS ? end - SECONDS : 0))) s: $(totals short)"
done
wait "${pids[@]}"
pids=()

echo
totals
# User and system time of all that was waited for: a busy or slow machine runs
# fewer seeds in the same minutes.
times >"$results/times"  # in this shell: another has no children
awk 'NR == 2 {
  split($1 "m" $2, t, /[ms]+/)
  printf "%.2f hours of processor time\n", (t[1] * 60 + t[2] + t[3] * 60 + t[4]) / 3600
}' "$results/times"
[[ -z $coverage ]] || tests/coverage.sh --report-only
if [[ -e $results/failed ]]; then
  echo
  echo "FAILED:"
  grep -hE '^seed [0-9]+:|^replay:|replay: ' "$results"/*.out || true
  echo "chunks (first seed, exit code):"
  cat "$results/failed"
  exit 1
fi
