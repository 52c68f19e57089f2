#!/bin/sh
# Every planted bug must be found: runs seeds until one fails, and prints
# which. Needs a build with -DWHALE_PLANTED_BUGS=ON.
#
#   planted_bugs.sh WHALE_SIM [SEEDS [BUG...]]
set -u
sim=$1
seeds=${2:-300}
shift
[ $# -gt 0 ] && shift
bugs=${*:-$("$sim" --list-bugs)}
missed=0
for bug in $bugs; do
  output=$("$sim" --bug "$bug" --seeds "1..$seeds" 2>&1)
  code=$?
  if [ $code -eq 0 ]; then
    echo "$bug: NOT FOUND in $seeds seeds"
    missed=$((missed + 1))
  elif [ $code -gt 3 ]; then
    echo "$bug: the run failed: $output"
    exit 1
  else
    echo "$output" |
      sed -n "s/.*whale_sim --seed \([0-9]*\) .*/$bug: seed \1 (exit code $code)/p" |
      head -1
  fi
done
exit $((missed > 0))
