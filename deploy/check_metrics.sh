#!/usr/bin/env bash
# Whether every metric that the dashboard and the alert rules name is one that
# the program exports.
#
#   deploy/check_metrics.sh WHALE
set -euo pipefail
whale=$1
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp -d "${TMPDIR:-/tmp}/whale-metrics.XXXXXX")
port=$((13000 + $$ % 30 * 32))
"$whale" dev --port "$port" --shards 2 --ready-file "$work/ready" >"$work/log" 2>&1 &
dev=$!
cleanup() {
  kill -INT "$dev" 2>/dev/null || true
  wait "$dev" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
until [[ -e $work/ready ]]; do
  kill -0 "$dev" || { cat "$work/log" >&2; exit 1; }
  sleep 0.05
done

scrape() { # port
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
  cat <&3
  exec 3<&-
}
{ scrape $((port + 9)); scrape $((port + 10)); } >"$work/metrics"

missing=0
for name in $(grep -oh 'whale_[a-z_]*' "$here/grafana/whale.json" \
    "$here/prometheus/alerts.yaml" | sort -u); do
  if ! grep -q "^$name[ {]" "$work/metrics"; then
    echo "nobody exports $name" >&2
    missing=1
  fi
done
[[ $missing -eq 0 ]] && echo "all metrics of dashboard and alerts are exported"
exit "$missing"
