#!/usr/bin/env bash
# Instructions per put and per get, by role, counted by callgrind on a cluster
# in one thread (whale_one_process): a figure that a busy machine does not
# change. Compared with the budget in bench/instructions.txt: more than 5 % over
# it fails.
#
#   bench/instructions.sh [--program whale_one_process] [--record]
#
# --record writes the budget instead: after a change that is meant to cost, or
# that saves. 100-byte values, 32 in flight; needs valgrind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=build/release/bench/whale_one_process
budget=bench/instructions.txt
record=0
while [[ $# -gt 0 ]]; do
  case $1 in
    --program) program=${2-} && shift 2 ;;
    --record) record=1 && shift ;;
    *)
      sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
      exit 2
      ;;
  esac
done
for needed in valgrind callgrind_annotate "$program"; do
  command -v "$needed" >/dev/null || {
    echo "$0: $needed is missing; build it, or deploy/install_packages.sh --ci" >&2
    exit 2
  }
done

readonly operations=20000 allowed_percent=5
work=$(mktemp -d "${TMPDIR:-/tmp}/whale-instructions.XXXXXX")
trap 'rm -rf "$work"' EXIT
valgrind -q --tool=callgrind --toggle-collect=measured \
  --callgrind-out-file="$work/out" \
  "$program" --operations "$operations" --records "$operations" \
  2>"$work/log" || {
  tail -5 "$work/log" >&2
  exit 1
}
# Inclusive costs: "1,234 (56.7%)  file:put_primary [program]". A function is
# listed per file of inlined code; its largest entry is all of it.
callgrind_annotate --inclusive=yes --threshold=100 "$work/out" |
  sed -nE 's/^ *([0-9,]+) .*:((put|get)_(submit|client|primary|backups))( .*)?$/\2 \1/p' |
  tr -d , |
  awk -v n="$operations" '
    $2 > most[$1] { most[$1] = $2 }
    END { for (name in most) printf "%s %.0f\n", name, most[name] / n }' |
  sort >"$work/counts"
[[ $(wc -l <"$work/counts") -eq 8 ]] || {
  echo "$0: callgrind did not see the functions it should:" >&2
  cat "$work/counts" >&2
  exit 1
}
if [[ $record -eq 1 ]]; then
  {
    echo "# Instructions per operation, by bench/instructions.sh --record"
    cat "$work/counts"
  } >"$budget"
  cat "$budget"
  exit 0
fi
join <(grep -v '^#' "$budget" | sort) "$work/counts" |
  awk -v allowed="$allowed_percent" '
    BEGIN { printf "%-12s %10s %10s %8s\n", "instructions", "budget", "now", "" }
    {
      # A few instructions are no growth.
      over = $3 > $2 * (1 + allowed / 100) + 5
      printf "%-12s %10d %10d %+7.1f%%%s\n", $1, $2, $3,
        ($3 / $2 - 1) * 100, over ? "  TOO MANY" : ""
      failed += over
      budget += $2
      now += $3
    }
    END {
      if (now < budget * (1 - allowed / 100))
        print "Less than the budget: record it with bench/instructions.sh --record"
      if (failed) {
        print "More than " allowed " % over the budget: mend it, or record it"
        exit 1
      }
    }'
