#!/usr/bin/env bash
# From a fresh Debian 12 to a running cluster: installs what is missing, builds
# the release, starts three replicas on this machine, writes and reads through
# them, runs a short YCSB, shows the cluster's status, and stops everything.
#
#   deploy/quickstart.sh
#
# Leaves nothing behind but build/release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deploy/install_packages.sh
echo "== Build (the first time takes some minutes) =="
cmake --preset release >/dev/null
cmake --build --preset release --target whale
whale=build/release/tools/whale

work=$(mktemp -d "${TMPDIR:-/tmp}/whale-quickstart.XXXXXX")
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
printf '$ whale dev --dir %s --port %s\n' "$work/data" "$port"
"$whale" dev --dir "$work/data" --port "$port" >"$work/dev.log" 2>&1 &
dev_pid=$!
for _ in $(seq 300); do
  if "$whale" put quickstart ready >/dev/null 2>&1; then break; fi
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
run bench ycsb --workload a --records 100000 --operations 200000 \
  --threads 1 --pipeline 32 --value-bytes 100
run status

printf '\n== Stop ==\n'
kill -INT "$dev_pid"
wait "$dev_pid" || true
dev_pid=
echo "Stopped. Try it yourself: $whale dev"
