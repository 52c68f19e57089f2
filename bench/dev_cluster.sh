# shellcheck shell=bash
# A cluster of `whale dev` in a folder of its own, which is gone with the
# script. Sourced by scripts whose first argument is a build directory and whose
# head says how they are called. PORT: where, and above.
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }
case ${1-} in
  -h | --help) usage && exit 0 ;;
  '') usage >&2 && exit 2 ;;
esac
readonly build=$1
whale=$build/tools/whale
if [[ ! -x $whale ]]; then
  echo "${0##*/}: no program $whale; build the release, or name its directory" >&2
  exit 2
fi
readonly port=${PORT:-17400}
readonly cluster=127.0.0.1:$port
work=$(mktemp -d -p /dev/shm whale-test.XXXXXX)
dev=

stop_dev() {
  [[ -z $dev ]] || { kill -CONT "$dev"; kill -INT "$dev"; wait "$dev"; } || true
  dev=
}
trap 'stop_dev; rm -rf "$work"' EXIT

start_dev() { # arguments of whale dev...
  rm -rf "$work/data" "$work/ready"
  "$whale" dev --port "$port" --dir "$work/data" --ready-file "$work/ready" \
    "$@" >"$work/dev.log" 2>&1 &
  dev=$!
  until [[ -e $work/ready ]]; do
    kill -0 "$dev" || { cat "$work/dev.log"; exit 2; }
    sleep 0.1
  done
}

await_whole() {
  until "$whale" status --cluster "$cluster" >"$work/status" &&
    ! grep -qE 'not served| of 3 replicas' "$work/status"; do
    sleep 0.2
  done
}

process_of() { # server
  pgrep -P "$dev" -f "serve --id $1 "
}
