#!/usr/bin/env bash
# Power fails under load: the guest is killed while clients write to three
# servers, one with its pool on fs-dax and two on device-dax. In a second boot
# all three pools recover; the histories of both boots together are
# linearizable, and nothing acknowledged is lost at any replica.
#
#   power_loss.sh [FABRIC]   shm or verbs; over soft-RoCE all pools are on
#                            device-dax
#
# Only when named: power_loss_verbs has all of it but the pool on fs-dax.
# Works in the current folder. Run by tests/guest/run.sh.
set -euo pipefail
scenarios=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest=$scenarios/..
readonly scenarios guest
readonly KEYS=20

start_client() { # number arguments...
  local number=$1
  shift
  "$WHALE_BUILD/tests/process_test_client" --cluster 127.0.0.1:7400 \
    --history "out/history.$number" --client "$number" --seed "$number" \
    --keys $KEYS --in-flight 8 "$@"
}

inside() { # boot fabric
  # shellcheck source=tests/guest/inside.sh
  source "$guest/inside.sh"
  dax_directory 0 /mnt/pm
  local server first_on_device=2
  if [[ $2 == verbs ]]; then
    rxe_here
    first_on_device=1
  fi
  for ((server = first_on_device; server <= 3; ++server)); do
    device_dax "$server"
    mkdir -p "/mnt/pm/server-$server"
    ln -sfn "$DAX_DEVICE" "/mnt/pm/server-$server/pool"
  done
  "$WHALE_BUILD/tools/whale" dev --dir /mnt/pm --domain pmem --shards 2 \
    --fabric "$2" --pool-bytes 200MiB --start-timeout 170s \
    --ready-file /run/ready >"out/cluster.$1" 2>&1 &
  local cluster=$!
  wait_until 180 test -e /run/ready
  case $1 in
    first)
      start_client 1 --operations 1000000 &
      start_client 2 --operations 1000000 &
      wait -n # the power fails before
      return 1
      ;;
    second)
      "$WHALE_BUILD/tools/whale" status
      start_client 3 --operations 500 --final-replicas 3
      kill -INT "$cluster"
      wait "$cluster"
      ;;
  esac
}

history_bytes() { cat out/history.* 2>/dev/null | wc -c; }

boot() { # which arguments-of-run_in_guest...
  local which=$1
  shift
  "$guest/run_in_guest.sh" --timeout 600 --share out --nvdimm nvdimm0 \
    --nvdimm nvdimm1 --nvdimm nvdimm2 --nvdimm nvdimm3 "$@" \
    env WHALE_BUILD="$WHALE_BUILD" \
    "$scenarios/power_loss.sh" --inside "$which" "$fabric"
}

if [[ ${1-} == --inside ]]; then
  inside "$2" "$3"
  exit
fi

fabric=${1-shm}
least_history_bytes=300000
# Soft-RoCE is slow under emulation.
[[ $fabric == shm ]] || least_history_bytes=100000
mkdir -p out
truncate -s 320M nvdimm0
truncate -s 256M nvdimm1 nvdimm2 nvdimm3
boot first --pid-file emulator.pid &
running=$!
until (($(history_bytes) >= least_history_bytes)); do
  if ! kill -0 "$running" 2>/dev/null; then
    status=0
    wait "$running" || status=$?
    cat out/cluster.first || true
    exit "$status"
  fi
  sleep 0.2
done
kill -KILL "$(cat emulator.pid)"
wait "$running" || true
echo "== Power is back =="
status=0
boot second || status=$?
if [[ $status != 0 ]]; then
  cat out/cluster.second
  exit "$status"
fi
result=$("$WHALE_BUILD/tests/process_test_check_histories" out/history.1 \
  out/history.2 --boot out/history.3) || {
  echo "$result"
  exit 1
}
echo "RESULT: $result"
