#!/usr/bin/env bash
# What an idle cluster costs: starts one, leaves it alone for 10 s and prints
# the processor time of all its processes, in percent of one core.
#
#   tests/idle_cpu.sh [WHALE]        default: build/release/tools/whale
#
# A measurement, not a test: the exit code is 0 whatever the figure.
set -euo pipefail
whale=${1:-$(dirname "${BASH_SOURCE[0]}")/../build/release/tools/whale}
seconds=10
work=$(mktemp -d "${TMPDIR:-/tmp}/whale-idle.XXXXXX")
dev_pid=
cleanup() {
  trap - EXIT
  if [[ -n $dev_pid ]]; then
    kill -TERM "$dev_pid" 2>/dev/null || true
    wait "$dev_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

port=$((21000 + $$ % 300 * 32))
"$whale" dev --dir "$work/data" --port "$port" >"$work/log" 2>&1 &
dev_pid=$!
until "$whale" put idle ready --cluster "127.0.0.1:$port" >/dev/null 2>&1; do
  kill -0 "$dev_pid" 2>/dev/null || {
    cat "$work/log" >&2
    exit 1
  }
done

# Clock ticks of `whale dev` and its children, in user and kernel mode.
ticks() {
  local total=0 stat fields
  for stat in /proc/[0-9]*/stat; do
    fields=$(sed 's/.*) //' "$stat" 2>/dev/null) || continue
    read -r -a fields <<<"$fields"
    if [[ $stat == "/proc/$dev_pid/stat" || ${fields[1]-} == "$dev_pid" ]]; then
      total=$((total + fields[11] + fields[12]))
    fi
  done
  echo "$total"
}

before=$(ticks)
sleep "$seconds"
after=$(ticks)
hertz=$(getconf CLK_TCK)
awk -v t=$((after - before)) -v s="$seconds" -v hz="$hertz" 'BEGIN {
  printf "idle cluster: %.1f %% of one core over %d s\n", 100 * t / hz / s, s
}'
