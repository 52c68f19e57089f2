#!/usr/bin/env bash
# Installs the Debian 12 packages that building and testing Whale needs.
#
#   deploy/install_packages.sh         what the build and the tests need
#   deploy/install_packages.sh --ci    also what .ci/run needs: checks, fuzzers, models, guest
#   deploy/install_packages.sh --guest only what tests/guest needs beside the build
#   deploy/install_packages.sh --bench also what comparisons and plots need
#   deploy/install_packages.sh --list  only prints the names
#
# Idempotent: does nothing when all are there, and asks the network for package
# lists only when a missing package cannot be installed without.
set -euo pipefail

packages=(
  cmake g++ ninja-build pkg-config ccache mold
  libabsl-dev libgrpc++-dev libprotobuf-dev protobuf-compiler
  protobuf-compiler-grpc
  libcli11-dev libspdlog-dev libtomlplusplus-dev nlohmann-json3-dev
  libxxhash-dev libpmem-dev libibverbs-dev prometheus-cpp-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  libssl-dev openssl etcd-server dpkg-dev jq
)
# A QEMU guest with soft-RoCE and an emulated NVDIMM, and what it runs.
guest_packages=(qemu-system-x86 busybox-static kmod cpio xz-utils iproute2
                rdma-core ibverbs-providers ibverbs-utils ndctl e2fsprogs jq curl)

case "${1-}" in
  "") ;;
  --ci) packages+=(git clang-format clang-tidy clang libclang-rt-dev spin
                  valgrind gcovr "${guest_packages[@]}") ;;
  --guest) packages=("${guest_packages[@]}") ;;
  --bench) packages+=(redis-server redis-tools etcd-client gnuplot-nox) ;;
  --list)
    printf '%s\n' "${packages[@]}"
    exit 0
    ;;
  *)
    echo "usage: $0 [--ci | --guest | --bench | --list]" >&2
    exit 2
    ;;
esac

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $state == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "$0: needs apt-get (Debian 12); elsewhere install by hand:" \
    "${missing[*]}" >&2
  exit 1
fi

as_root=()
if [[ $EUID -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "$0: run as root, or install sudo; missing: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

install_missing() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
}

echo "Installing: ${missing[*]}"
# Stale package lists name versions that the mirror has dropped: then, too,
# fresh lists and a second try are the cure.
if ! apt-cache show --no-all-versions "${missing[@]}" >/dev/null 2>&1 ||
  ! install_missing; then
  "${as_root[@]}" apt-get update -qq
  install_missing
fi
