#!/usr/bin/env bash
# The main job: starts three replicas on this machine, writes and reads through
# them, runs a short YCSB, shows the cluster's status, and stops everything.
#
#   deploy/main_job.sh WHALE DIR [FLAG...]
#
# WHALE is the program, DIR a folder for the data, FLAGs are further ones of
# `whale dev`: other fabrics and memory differ in nothing else. RECORDS and
# OPERATIONS are YCSB's.
set -euo pipefail
if [[ $# -lt 2 ]]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
fi
whale=$1
dir=$2
shift 2
work=$(mktemp -d "${TMPDIR:-/tmp}/whale-main-job.XXXXXX")
dev_pid=
cleanup() {
  trap - EXIT INT TERM
  if [[ -n $dev_pid ]]; then
    kill -TERM "$dev_pid" 2>/dev/null || true
    wait "$dev_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

port_is_free() { ! (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port=7400
while ! port_is_free "$port" || ! port_is_free "$((port + 10))"; do
  port=$((port + 100))
done
export WHALE_CLUSTER=127.0.0.1:$port

run() {
  printf '\n$ whale %s\n' "$*"
  "$whale" "$@"
}

printf '\n== A cluster of three replicas ==\n'
printf '$ whale dev --dir %s --port %s' "$dir" "$port"
[[ $# -eq 0 ]] || printf ' %s' "$@"
echo
"$whale" dev --dir "$dir" --port "$port" --ready-file "$work/ready" "$@" \
  >"$work/dev.log" 2>&1 &
dev_pid=$!
until [[ -e $work/ready ]]; do
  if ! kill -0 "$dev_pid" 2>/dev/null; then
    echo "The cluster did not start:" >&2
    cat "$work/dev.log" >&2
    exit 1
  fi
  sleep 0.1
done
cat "$work/dev.log"

run put greeting "hello, whale"
run get greeting
run delete greeting
run get greeting || echo "(exit code $?: the key is gone)"
run bench ycsb --workload a --records "${RECORDS-100000}" \
  --operations "${OPERATIONS-200000}" --threads 1 --pipeline 32 \
  --value-bytes 100
run status

printf '\n== Stop ==\n'
kill -INT "$dev_pid"
wait "$dev_pid"
dev_pid=
echo "Stopped."
