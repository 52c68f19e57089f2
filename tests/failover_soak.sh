#!/bin/sh
# Random schedules of faults against whole clusters of processes, one cluster
# per seed: servers killed or stopped, two at once, the coordinator among them;
# in the end all acknowledged writes must be there and histories linearizable.
# Each takes 15 to 30 s. Prints each schedule; stops at the first that fails.
# Before them a minute without the coordinator.
#
#   failover_soak.sh BUILD_DIRECTORY [FIRST..LAST]
set -eu
export WHALE_FAILOVER_SEEDS=${2:-1..200} WHALE_WITHOUT_COORDINATOR_MS=60000
exec "$1/tests/process_failover_test" \
  --gtest_filter=Failover.WritesAndReads*:Failover.SchedulesLoseNothing
