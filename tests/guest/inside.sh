# shellcheck shell=bash
# For scripts that run in the guest: persistent memory, and hosts as network
# namespaces with soft-RoCE. To be sourced; needs root and set -euo pipefail.
#
#   dax_directory N DIRECTORY   mounts NVDIMM N with DAX; makes namespace and
#                               file system if there are none
#   device_dax N                sets DAX_DEVICE to NVDIMM N's /dev/dax...; makes
#                               the namespace if there is none
#   rxe_here                    soft-RoCE over a link that leads nowhere
#   make_hosts N                namespaces h1 .. hN, joined by a bridge, each
#                               with soft-RoCE; addresses: host_address
#   on_host I COMMAND...        runs in namespace hI; `exec` in a subshell
#                               before it for a process that is to be killed
#   host_address I [6]          its IPv4 or IPv6 address
#   cut_host I, join_host I     pulls and plugs its cable
#   wait_until S COMMAND...     retries for S seconds; fails with the command

# Hosts of the guest trust each other.
export WHALE_ALLOW_PLAINTEXT=true

wait_until() { # seconds command...
  local left=$1 last=$SECONDS
  shift
  until "$@"; do
    # A guest that stood still has not waited.
    if ((SECONDS > last)); then
      last=$SECONDS
      ((left--)) || true
    fi
    if ((left <= 0)); then
      echo "gave up waiting for: $*" >&2
      return 1
    fi
    sleep 0.1
  done
}

load_modules() { # module...
  local module
  for module in "$@"; do
    # ndctl's hooks complain where there is no TPM.
    modprobe "$module" 2>/dev/null || modprobe "$module"
  done
}

load_pmem_modules() {
  load_modules nfit nd_pmem device_dax dax_pmem
  wait_until 20 test -e "/sys/bus/nd/devices/region$1"
}

# Makes NVDIMM N's only namespace one of `mode` unless it is so already.
pmem_namespace() { # N mode
  load_pmem_modules "$1"
  local mode
  mode=$(ndctl list -n "namespace$1.0" 2>/dev/null | jq -r '.[0].mode // ""')
  [[ $mode == "$2" ]] ||
    ndctl create-namespace -f -e "namespace$1.0" -m "$2" --map=mem >/dev/null
}

dax_directory() { # N directory
  pmem_namespace "$1" fsdax
  load_modules ext4
  wait_until 20 test -b "/dev/pmem$1"
  if [[ $(blkid -o value -s TYPE "/dev/pmem$1") != ext4 ]]; then
    # DAX needs blocks as large as pages.
    mkfs.ext4 -q -b 4096 "/dev/pmem$1"
  fi
  mkdir -p "$2"
  mount -o dax=always "/dev/pmem$1" "$2"
}

device_dax() { # N
  pmem_namespace "$1" devdax
  wait_until 20 test -c "/dev/dax$1.0"
  # shellcheck disable=SC2034  # for the script that sources this
  DAX_DEVICE=/dev/dax$1.0
}

rxe_here() {
  load_modules rdma_rxe rdma_ucm dummy
  ip link add rxe_net0 type dummy
  ip address add 10.77.0.1/24 dev rxe_net0
  ip link set rxe_net0 up
  rdma link add rxe0 type rxe netdev rxe_net0
}

host_address() { # I [6]
  if [[ ${2-4} == 6 ]]; then echo "fd88::$1"; else echo "10.88.0.$1"; fi
}

on_host() { # I command...
  local host=h$1
  shift
  ip netns exec "$host" "$@"
}

make_hosts() { # N
  local i
  load_modules rdma_rxe rdma_ucm veth bridge
  # Each host sees its own adapter only.
  rdma system set netns exclusive
  ip link add hosts type bridge
  ip link set hosts up
  for ((i = 1; i <= $1; ++i)); do
    ip netns add "h$i"
    ip link add "cable$i" type veth peer name eth0 netns "h$i"
    ip link set "cable$i" master hosts up
    ip -n "h$i" address add "$(host_address "$i")/24" dev eth0
    ip -n "h$i" -6 address add "$(host_address "$i" 6)/64" dev eth0 nodad
    ip -n "h$i" link set eth0 up
    ip -n "h$i" link set lo up
    on_host "$i" rdma link add "rxe$i" type rxe netdev eth0
    rdma dev set "rxe$i" netns "h$i"
  done
}

cut_host() { ip -n "h$1" link set eth0 down; }
# IPv6 addresses went with the link.
join_host() {
  ip -n "h$1" link set eth0 up
  ip -n "h$1" -6 address replace "$(host_address "$1" 6)/64" dev eth0 nodad
}
