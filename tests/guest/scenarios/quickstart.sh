#!/usr/bin/env bash
# The main job of the quickstart, deploy/main_job.sh, on real verbs and
# persistent memory: servers and clients over soft-RoCE, all pools on
# device-dax. Nothing differs but the flags of `whale dev` and that YCSB has
# fewer operations, since all of it is emulated.
#
# Works in the current folder. Run by tests/guest/run.sh.
set -euo pipefail
scenarios=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest=$scenarios/..
readonly scenarios guest

inside() {
  # shellcheck source=tests/guest/inside.sh
  source "$guest/inside.sh"
  rxe_here
  local server
  for server in 1 2 3; do
    device_dax $((server - 1))
    mkdir -p "/run/data/server-$server"
    ln -s "$DAX_DEVICE" "/run/data/server-$server/pool"
  done
  RECORDS=2000 OPERATIONS=4000 "$guest/../../deploy/main_job.sh" \
    "$WHALE_BUILD/tools/whale" /run/data --fabric verbs --domain pmem \
    --pool-bytes 200MiB --start-timeout 300s | tee job
  # The status that it shows must be of what was asked for.
  [[ $(grep -cE '^[1-3] +alive +verbs +pmem +power ' job) == 3 ]]
  echo "RESULT: $(grep Throughput job | tail -1) (soft-RoCE under emulation)"
}

if [[ ${1-} == --inside ]]; then
  trap '[[ $? == 0 ]] || tail -n 20 /run/data/log/*' EXIT
  inside
  exit
fi

truncate -s 256M nvdimm0 nvdimm1 nvdimm2
# Far more than it takes, for machines that are busy with other things.
"$guest/run_in_guest.sh" --timeout 600 --nvdimm nvdimm0 --nvdimm nvdimm1 \
  --nvdimm nvdimm2 env WHALE_BUILD="$WHALE_BUILD" \
  "$scenarios/quickstart.sh" --inside
