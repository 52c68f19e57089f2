#!/usr/bin/env bash
# Every YCSB workload under every policy, each on a fresh cluster, with
# --verify: afterwards all replicas must be byte-identical below the commit
# watermark. Long (half an hour or so at a million records): not part of CI.
#   tests/ycsb_matrix.sh WHALE [RECORDS [OPERATIONS]]
set -euo pipefail
[[ $# -ge 1 && $# -le 3 ]] || {
  sed -n '2,5s/^# \?//p' "$0" >&2
  exit 2
}
whale=$1
records=${2-1000000}
operations=${3-$records}

failed=0
printf '%-8s %-40s %12s %12s  %s\n' workload policy load/s run/s verify
for mirrors in 0 1 2; do
  for by_value in 0 auto; do
    for workload in a b c d f; do
      policy="mirrors=$mirrors,by-value-max-bytes=$by_value"
      output=$("$whale" bench ycsb --dev --workload "$workload" \
        --records "$records" --operations "$operations" --pipeline 32 \
        --pool-bytes 3GiB --policy "$policy" --verify --quiet 2>&1) &&
        verdict=$(grep "^\[VERIFY\]" <<<"$output") || {
        verdict="FAILED: $(tail -3 <<<"$output")"
        failed=1
      }
      mapfile -t rates < <(sed -n 's/^\[OVERALL\], Throughput.*, //p' \
        <<<"$output")
      printf '%-8s %-40s %12s %12s  %s\n' "$workload" "$policy" \
        "${rates[0]-}" "${rates[1]-}" "$verdict"
    done
  done
done
exit "$failed"
