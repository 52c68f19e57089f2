#!/usr/bin/env bash
# Bad input to the `whale` program and to a running cluster: every case must end
# with the right exit code and a message that names what is wrong, and the
# cluster must go on.
#
#   cli_test.sh WHALE
set -uo pipefail
whale=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/whale-cli-test.XXXXXX")
port=$((14000 + $$ % 180 * 32))
failures=0
cases=0
dev_pid=

stop_cluster() {
  if [[ -n $dev_pid ]]; then
    kill -INT "$dev_pid" 2>/dev/null
    wait "$dev_pid"
    local code=$?
    dev_pid=
    return "$code"
  fi
}
cleanup() {
  trap - EXIT
  stop_cluster
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# expect NAME CODE REGEX COMMAND...: the command ends with CODE, and what it
# prints (output and errors) matches REGEX.
expect() {
  local name=$1 code=$2 regex=$3 output got
  shift 3
  output=$(timeout 60 "$@" 2>&1 </dev/null)
  got=$?
  cases=$((cases + 1))
  if [[ $got -ne $code ]] || ! grep -Eqi -- "$regex" <<<"$output"; then
    failures=$((failures + 1))
    printf 'FAILED %s\n  %s\n  exit code %s, expected %s; output should match /%s/:\n%s\n' \
      "$name" "$*" "$got" "$code" "$regex" "${output:0:2000}"
  fi
}
# The same for a shell expression.
expect_sh() { expect "$1" "$2" "$3" bash -c "$4"; }

start_cluster() { # folder, further arguments
  local folder=$1
  shift
  "$whale" dev --dir "$folder" --port "$port" "$@" >"$work/dev.log" 2>&1 &
  dev_pid=$!
  until "$whale" put cli-test ready >/dev/null 2>&1; do
    if ! kill -0 "$dev_pid" 2>/dev/null; then
      wait "$dev_pid"
      dev_pid=
      return 1
    fi
  done
}

export WHALE_CLUSTER=127.0.0.1:$port

# ---------------------------------------------------------------- no cluster

expect "version" 0 '^whale [0-9]+\.[0-9]+' "$whale" --version
expect "help" 0 'usage' "$whale" --help
for command in dev serve coordinator put get delete cas status load dump \
  "bench ycsb" doctor "log dump" "log verify"; do
  read -r -a words <<<"$command"
  expect "help of $command" 0 '--help' "$whale" "${words[@]}" --help
done
expect "no command" 2 'whale' "$whale"
expect "unknown command" 2 'frobnicate|command' "$whale" frobnicate
expect "unknown flag" 2 'no flag --replcas.*--replicas' \
  "$whale" dev --replcas 3
expect "missing argument" 2 'key' "$whale" get
expect "superfluous argument" 2 'too|many|extra|expect' \
  "$whale" get one two three
expect "count that is none" 2 'replicas' "$whale" dev --replicas many
expect "count out of bounds" 2 'replicas' "$whale" dev --replicas 0
expect "unknown workload" 2 'workload' "$whale" bench ycsb --workload z

printf 'replcas = 3\n' >"$work/unknown.toml"
expect "unknown configuration key" 2 'replcas' \
  "$whale" dev --config "$work/unknown.toml"
printf 'replicas = \n' >"$work/syntax.toml"
expect "configuration that is no TOML" 2 'syntax.toml' \
  "$whale" dev --config "$work/syntax.toml"
expect "configuration that is not there" 2 'absent.toml' \
  "$whale" dev --config "$work/absent.toml"
expect "bad value in the environment" 2 'WHALE_REPLICAS' \
  env WHALE_REPLICAS=many "$whale" dev

expect "cluster that is not there" 2 "$port" "$whale" get key --timeout 1s
expect "address that is none" 2 'nonsense' \
  "$whale" get key --cluster nonsense --timeout 1s

# ---------------------------------------------------------------- a cluster

if ! start_cluster "$work/data"; then
  echo "FAILED: the cluster does not start"
  cat "$work/dev.log"
  exit 1
fi

expect "put" 0 '' "$whale" put key value
expect "get" 0 '^value$' "$whale" get key
expect "get of nothing" 1 'not|found|no such' "$whale" get nothing
expect "delete" 0 '' "$whale" delete key
expect "delete of nothing" 1 'not|found|no such' "$whale" delete key
expect "cas of an absent key" 0 '' "$whale" cas key 0 first
expect "cas that fails" 1 'version|compar' "$whale" cas key 12345 second
expect "cas with a version that is none" 2 '"x".*number' "$whale" cas key x second
expect "failed cas changed nothing" 0 '^first$' "$whale" get key
expect_sh "value from standard input" 0 '^piped$' \
  "printf piped | '$whale' put key - && '$whale' get key"
expect "json of put" 0 '' \
  bash -c "'$whale' put key value --json | jq -e '.version > 0 and .copies > 0'"
expect "json of get" 0 '' \
  bash -c "'$whale' get key --json | jq -e '.value == \"value\"'"
expect "json of status" 0 '' bash -c "'$whale' status --json | jq -e ."
expect "status" 0 'survives' "$whale" status
expect "json of doctor" 0 '' bash -c "'$whale' doctor --json | jq -e ."

expect "empty key" 2 'key' "$whale" put "" value
long_key=$(head -c 4097 /dev/zero | tr '\0' k)
expect "key over the limit" 2 '4096|4 ?KiB' "$whale" put "$long_key" value
expect "key at the limit" 0 '' "$whale" put "${long_key:1}" value
expect_sh "value over the limit" 2 '4194304|4 ?MiB' \
  "head -c 4194305 /dev/zero | '$whale' put key -"
expect_sh "value at the limit" 0 '' \
  "head -c 4194304 /dev/zero | '$whale' put key - &&
   test \$('$whale' get key | head -c 4194304 | wc -c) -eq 4194304"

printf 'a\tvalue\nno tab here\n' >"$work/bad.tsv"
expect "load of a file with a bad line" 2 'line 2' \
  "$whale" load "$work/bad.tsv"
expect "load of a file that is not there" 2 'absent.tsv' \
  "$whale" load "$work/absent.tsv"
printf 'tsv-key\ttsv\\tvalue\n' >"$work/good.tsv"
expect "load" 0 '' "$whale" load "$work/good.tsv"
expect "loaded" 0 'tsv.value' "$whale" get tsv-key
printf 'tsv-key\nno-such-key\n' >"$work/keys"
expect "dump of these keys" 0 '' \
  "$whale" dump --keys "$work/keys" "$work/dump.tsv"
expect "dumped" 0 '^tsv-key	tsv.tvalue$' cat "$work/dump.tsv"
expect "dump of what a cluster cannot list" 2 '--pool.*--keys' \
  "$whale" dump "$work/dump.tsv"

expect "port in use" 2 "$port|in use" \
  "$whale" dev --dir "$work/other" --port "$port"
expect "folder in use" 2 "$work/data|in use|lock" \
  "$whale" dev --dir "$work/data" --port $((port + 16))

# Garbage to every port that the cluster listens on.
hex_ports=$(awk '$4 == "0A" {split($2, a, ":"); print a[2]}' \
  /proc/net/tcp /proc/net/tcp6 2>/dev/null | sort -u)
garbage_ports=0
for hex in $hex_ports; do
  number=$((16#$hex))
  if [[ $number -ge $port && $number -lt $((port + 32)) ]]; then
    garbage_ports=$((garbage_ports + 1))
    for size in 1 100 100000; do
      head -c "$size" /dev/urandom 2>/dev/null >"/dev/tcp/127.0.0.1/$number" ||
        true
    done
    printf 'GET /nothing HTTP/1.1\r\n\r\n' >"/dev/tcp/127.0.0.1/$number" || true
  fi
done
expect "garbage went to the coordinator and the servers" 0 '' \
  test "$garbage_ports" -ge 4
expect "the cluster goes on" 0 '^first-after$' \
  bash -c "'$whale' put key first-after && '$whale' get key"
expect "every process goes on" 0 '' kill -0 "$dev_pid"

expect "metrics" 0 'whale_' bash -c "
  exec 3<>/dev/tcp/127.0.0.1/$((port + 10))
  printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
  timeout 5 cat <&3"

stop_cluster
expect "a clean stop" 0 '' test $? -eq 0

# ---------------------------------------------------------------- offline

pools=()
for server in 1 2 3; do pools+=(--pool "$work/data/server-$server/pool"); done
expect "offline dump" 0 '' "$whale" dump "${pools[@]}" "$work/pool.tsv"
expect "dumped offline" 0 '^tsv-key	tsv.tvalue$' cat "$work/pool.tsv"
expect "verify" 0 '' "$whale" log verify "$work/data/server-1/pool"
expect "verify of what is no pool" 2 'pool' "$whale" log verify "$whale"
expect "another number of replicas" 2 '3 replicas' \
  "$whale" dev --dir "$work/data" --port "$port" --replicas 5
expect "a pool larger than the memory" 2 'file system has' \
  "$whale" dev --port "$port" --pool-bytes 900GiB

# A /dev/shm as small as containers have it, where one can be made.
small_shm=(unshare --user --map-root-user --mount sh -c
  'mount -t tmpfs -o size=16m tmpfs /dev/shm && "$@"' sh)
if "${small_shm[@]}" true 2>/dev/null; then
  expect "/dev/shm too small" 2 '/dev/shm.*--dir' \
    "${small_shm[@]}" "$whale" dev --port "$port"
fi
expect "rings of another size than the cluster's" 2 'rings of 64 slots' bash -c "
  mv '$work/data/server-1/pool' '$work/own'
  '$whale' dev --dir '$work/data' --port '$port' --ring-slots 64
  code=\$?
  rm '$work/data/server-1/pool'
  mv '$work/own' '$work/data/server-1/pool'
  exit \$code"

# What a killed run without --dir left in shared memory goes at the next start;
# nothing else does.
start_without_folder() {
  "$whale" dev --port "$port" >"$work/dev.log" 2>&1 &
  dev_pid=$!
  until "$whale" put cli-test ready >/dev/null 2>&1; do
    if ! kill -0 "$dev_pid" 2>/dev/null; then
      wait "$dev_pid" 2>/dev/null
      dev_pid=
      return 1
    fi
  done
}
foreign=/dev/shm/whale-dev-cli-test-$$
mkdir "$foreign"
start_without_folder
killed=$dev_pid
kill -KILL "$killed"
wait "$killed" 2>/dev/null
expect_sh "left-overs of a killed run" 0 '' "ls -d /dev/shm/whale-dev-$killed-*"
# The killed run's children end with it, but not at the same instant: until
# then their ports are in use.
until start_without_folder || ! grep -q 'in use' "$work/dev.log"; do :; done
next=$dev_pid
expect_sh "left-overs are gone" 2 '' "ls -d /dev/shm/whale-dev-$killed-*"
expect "what is not the project's stays" 0 '' test -d "$foreign"
stop_cluster
expect "a clean stop again" 0 '' test $? -eq 0
expect_sh "nothing left in shared memory" 2 '' "ls -d /dev/shm/whale-dev-$next-*"
rmdir "$foreign"

if [[ $failures -gt 0 ]]; then
  echo "$failures of $cases cases failed"
  exit 1
fi
echo "$cases cases passed"
