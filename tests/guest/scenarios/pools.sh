#!/usr/bin/env bash
# Pools on fs-dax and device-dax: made, opened, refused; what `whale doctor`
# says of the memory; and memory that the kernel knows to be damaged, which is
# refused by file and offset.
#
# Works in the current folder. Run by tests/guest/run.sh.
set -euo pipefail
scenarios=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest=$scenarios/..
readonly scenarios guest

expect() { # text in file
  grep -qF -- "$1" "$2" && return
  echo "expected \"$1\" in:"
  cat "$2"
  return 1
}

# Marks the page at `offset` of a file as damaged.
damage() { # file offset
  local block
  block=$(filefrag -b4096 -v "$1" | awk -v page=$(($2 / 4096)) '
    /^ *[0-9]+:/ {
      gsub(/[.:]/, " ")
      if (page >= $2 && page <= $3) print $4 + page - $2
    }')
  echo "$((block * 8)) 8" >/sys/block/pmem0/badblocks
}

inside() {
  # shellcheck source=tests/guest/inside.sh
  source "$guest/inside.sh"
  local whale=$WHALE_BUILD/tools/whale
  dax_directory 0 /mnt/pm
  device_dax 1
  WHALE_TEST_DAX_DIRECTORY=/mnt/pm WHALE_TEST_DAX_DEVICE=$DAX_DEVICE \
    "$WHALE_BUILD/pmem/dax_pool_test" --gtest_brief=1 | tee tests
  expect "[  PASSED  ] 4 tests." tests

  "$whale" doctor --dir /mnt/pm --pool-bytes 32MiB | tee doctor
  expect "/dev/pmem0: region0 of ACPI.NFIT" doctor
  expect "persistence domain memory_controller" doctor
  expect "mounted on /mnt/pm with DAX" doctor
  expect "$DAX_DEVICE: region1 of ACPI.NFIT" doctor
  expect "pools in /mnt/pm: DAX (MAP_SYNC)" doctor
  expect "survive loss of power" doctor

  "$whale" dev --dir /mnt/pm/cluster --domain pmem --shards 1 --replicas 1 \
    --pool-bytes 64MiB --ready-file /run/ready >cluster 2>&1 &
  wait_until 120 test -e /run/ready
  kill -INT $!
  wait $!
  umount /mnt/pm # no page of it stays mapped
  dax_directory 0 /mnt/pm
  local offset=$((20 << 20))
  damage /mnt/pm/cluster/server-1/pool $offset
  local status=0
  "$whale" serve --id 1 --dir /mnt/pm/cluster/server-1 --shards 1 \
    --domain pmem >damaged 2>&1 || status=$?
  expect "memory under /mnt/pm/cluster/server-1/pool is damaged at offset $offset" \
    damaged
  "$whale" doctor --dir /mnt/pm --pool-bytes 32MiB >doctor || status=$status$?
  expect "PROBLEM  /dev/pmem0: damaged at sector" doctor
  [[ $status == 22 ]]
}

if [[ ${1-} == --inside ]]; then
  inside
  exit
fi

truncate -s 256M nvdimm0 nvdimm1
"$guest/run_in_guest.sh" --nvdimm nvdimm0 --nvdimm nvdimm1 \
  env WHALE_BUILD="$WHALE_BUILD" "$scenarios/pools.sh" --inside
