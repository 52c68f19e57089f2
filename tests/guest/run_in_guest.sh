#!/usr/bin/env bash
# Runs a command as root in a QEMU guest that sees this machine's files
# read-only, and exits with the command's status.
#
#   tests/guest/run_in_guest.sh [OPTION...] COMMAND [ARGUMENT...]
#
#   --nvdimm FILE    an emulated NVDIMM with FILE's bytes; may be given again
#   --share DIR      DIR, at the same path, keeps what the guest writes there;
#                    all its other writes vanish with it
#   --layer          with the newer RDMA libraries over the machine's own
#   --timeout S      kill the guest after S seconds (300)
#   --memory SIZE    3G by default
#   --cpus N         2 by default
#   --pid-file FILE  the emulator's process, for those that want to kill it
#   --kvm            let the processor run the guest (faster; needs a /dev/kvm
#                    that works); without it all is emulated
#
# Exit status: the command's; 124 when the time was over; 125 when there was no
# guest, or it was lost in mid-run. A guest that does not boot is tried three
# times: the emulator now and then fails while the kernel patches its code.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly BOOT_SECONDS=120
# The kernel must not conclude from a slow host that its timers are broken.
kernel_arguments="console=ttyS0 quiet panic=-1 mitigations=off"
kernel_arguments+=" no_timer_check tsc=reliable nowatchdog"
readonly kernel_arguments

usage() { sed -n '2,21s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

nvdimms=()
share=
layer=
timeout_seconds=300
memory=3G
cpus=2
pid_file=
machine=(-accel tcg,thread=multi,tb-size=512 -cpu max)
while [[ $# -gt 0 ]]; do
  case $1 in
    --nvdimm) nvdimms+=("$(realpath "$2")") && shift ;;
    --share) share=$(realpath "$2") && shift ;;
    --layer) layer=1 ;;
    --timeout) timeout_seconds=$2 && shift ;;
    --memory) memory=$2 && shift ;;
    --cpus) cpus=$2 && shift ;;
    --pid-file) pid_file=$2 && shift ;;
    --kvm) machine=(-accel kvm -cpu host) ;;
    --help)
      usage
      exit 0
      ;;
    -*)
      usage >&2
      exit 2
      ;;
    *) break ;;
  esac
  shift
done
if [[ $# -eq 0 ]]; then
  usage >&2
  exit 2
fi

"$here/setup.sh"
guest_dir=$("$here/setup.sh" --print)

comma() { printf '%s' "${1//,/,,}"; } # as QEMU wants it within an option

folder() { # tag directory options
  printf '%s' "local,path=$(comma "$2"),mount_tag=$1,security_model=none$3"
}

options=("${machine[@]}" -smp "$cpus" -nodefaults -display none -no-reboot
  -kernel "$guest_dir/kernel/vmlinuz" -initrd "$guest_dir/initrd"
  -append "$kernel_arguments"
  -device virtio-serial-pci -chardev stdio,id=output,signal=off
  -device virtconsole,chardev=output
  -virtfs "$(folder hostroot / ,readonly=on,multidevs=remap)"
  -virtfs "$(folder modules "$guest_dir/kernel/lib/modules" ,readonly=on)")
[[ -z $layer ]] ||
  options+=(-virtfs "$(folder layer "$guest_dir/layer" ,readonly=on)")
[[ -z $share ]] || options+=(-virtfs "$(folder share "$share" "")")
if [[ ${#nvdimms[@]} -eq 0 ]]; then
  options+=(-machine q35 -m "$memory")
else
  options+=(-machine q35,nvdimm=on,nvdimm-persistence=mem-ctrl
    -m "$memory,slots=${#nvdimms[@]},maxmem=64G")
fi
for i in "${!nvdimms[@]}"; do
  file=${nvdimms[i]}
  options+=(-device "nvdimm,id=nvdimm$i,memdev=memory$i" -object
    "memory-backend-file,id=memory$i,share=on,mem-path=$(comma "$file"),size=$(stat -c %s "$file")")
done

control=
emulator=
cleanup() {
  trap - EXIT
  if [[ -n $emulator ]]; then
    kill "$emulator" 2>/dev/null || true
    wait "$emulator" 2>/dev/null || true
  fi
  [[ -z $control ]] || rm -rf "$control"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Makes the folder by which the guest learns what to do.
prepare() { # command...
  rm -rf "$control"
  control=$(mktemp -d "${TMPDIR:-/tmp}/whale-guest.XXXXXX")
  cp "$here/init.sh" "$control/init.sh"
  printf '%q ' "$@" >"$control/command"
  pwd >"$control/directory"
  [[ -z $share ]] || echo "$share" >"$control/share"
}

running() { kill -0 "$emulator" 2>/dev/null; }

start() {
  qemu-system-x86_64 "${options[@]}" -serial "file:$control/console" \
    -virtfs "$(folder control "$control" "")" </dev/null &
  emulator=$!
  local deadline=$((SECONDS + BOOT_SECONDS))
  while [[ ! -e $control/up ]] && running && ((SECONDS < deadline)) &&
    ! grep -qs 'Kernel panic' "$control/console"; do
    sleep 0.1
  done
  [[ -e $control/up ]]
}

# Waits for the end; prints the exit status that the guest left.
finish() {
  local left=$timeout_seconds last=$SECONDS
  while running && ((left > 0)); do
    sleep 0.1
    # What this machine stood still is not the guest's time.
    if ((SECONDS > last)); then
      last=$SECONDS
      ((left--)) || true
    fi
  done
  local status=125
  if running; then
    echo "run_in_guest.sh: killed after $timeout_seconds s; --timeout" \
      "allows more" >&2
    status=124
    kill -KILL "$emulator"
  fi
  wait "$emulator" 2>/dev/null || true
  emulator=
  if [[ $status == 125 && -s $control/status ]]; then
    status=$(cat "$control/status")
  elif [[ $status == 125 ]]; then
    echo "run_in_guest.sh: the guest was lost; the end of its console:" >&2
    tail -n 20 "$control/console" >&2
  fi
  return "$status"
}

for _ in 1 2 3; do
  prepare "$@"
  if start; then
    [[ -z $pid_file ]] || echo "$emulator" >"$pid_file"
    status=0
    finish || status=$?
    exit "$status"
  fi
  kill -KILL "$emulator" 2>/dev/null || true
  wait "$emulator" 2>/dev/null || true
  emulator=
  echo "run_in_guest.sh: the guest did not boot; the end of its console:" >&2
  tail -n 20 "$control/console" >&2 || true
done
exit 125
