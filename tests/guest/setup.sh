#!/usr/bin/env bash
# Prepares what the guest needs, from Debian's packages: a kernel with soft-RoCE
# and DAX, an initial file system, and a layer of newer RDMA libraries. Nothing
# of it touches this machine's own kernel, libraries or package sources.
#
#   tests/guest/setup.sh           prepare what is missing
#   tests/guest/setup.sh --print   only print the directory
#
# All lies in one directory, build/guest by default; WHALE_GUEST_DIR names
# another, which may be kept from run to run. It is prepared anew when this
# script has changed. The packages come from the mirror that apt uses here;
# WHALE_DEBIAN_MIRROR names another.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
guest_dir=${WHALE_GUEST_DIR:-$root/build/guest}
readonly here root guest_dir
# 6.12 of bookworm-backports has rxe too, but neither one per network namespace
# nor registration of files on DAX by on-demand paging.
readonly KERNEL_SUITE=trixie-backports
# The first Debian release whose libibverbs has ibv_wr_flush.
readonly LAYER_SUITE=trixie
readonly LAYER_PACKAGES=(libc6 libc-bin libibverbs1 libibverbs-dev
  ibverbs-providers ibverbs-utils librdmacm1t64 librdmacm-dev libnl-3-200
  libnl-route-3-200)
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

case "${1-}" in
  "") ;;
  --print)
    echo "$guest_dir"
    exit 0
    ;;
  *)
    sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac

fail() {
  echo "setup.sh: $*" >&2
  exit 1
}

mirror() {
  if [[ -n ${WHALE_DEBIAN_MIRROR-} ]]; then
    echo "$WHALE_DEBIAN_MIRROR"
    return
  fi
  # shellcheck disable=SC2016  # apt's own variables
  apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
    'Created-By: Packages' | awk -F'|' '$1 == "Debian" && $2 == "Debian" {
      print $3
      exit
    }'
}

# Prepares apt's own state for one suite below a directory; sets `apt_options`.
use_suite() { # suite directory
  local apt=$2
  mkdir -p "$apt"/{sources,lists/partial,cache/archives/partial}
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
    "$debian" "$1" "$KEYRING" >"$apt/sources/guest.sources"
  : >"$apt/status"
  apt_options=(-qq -o Dir::Etc::sourcelist=/dev/null
    -o "Dir::Etc::sourceparts=$apt/sources" -o "Dir::State::lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o "Dir::State::status=$apt/status"
    -o APT::Sandbox::User= -o Acquire::Retries=3)
  apt-get "${apt_options[@]}" update ||
    fail "no package lists of $1 from $debian; is the mirror reachable?" \
      "WHALE_DEBIAN_MIRROR names another"
}

unpack() { # directory package...
  local into=$1 debs
  shift
  debs=$(mktemp -d "$work/debs.XXXXXX")
  (cd "$debs" && apt-get "${apt_options[@]}" download "$@") ||
    fail "cannot download: $*"
  mkdir -p "$into"
  local deb
  for deb in "$debs"/*.deb; do dpkg -x "$deb" "$into"; done
  rm -rf "$debs"
}

# The packages that a package needs and whose names match.
needs() { # package pattern
  apt-cache "${apt_options[@]}" depends "$1" |
    awk -v pattern="$2" '$1 == "Depends:" && $2 ~ pattern { print $2 }'
}

fetch_kernel() { # directory
  local image packages version modules
  use_suite "$KERNEL_SUITE" "$work/kernel-apt"
  image=$(needs linux-image-amd64 '^linux-image-[0-9]' | head -1)
  # Newer images are split.
  mapfile -t packages < <(needs "$image" '^linux-(base|binary|modules)-[0-9]')
  [[ ${#packages[@]} -gt 0 ]] || packages=("$image")
  unpack "$1/root" "${packages[@]}"
  modules=$(find "$1/root" -type d -path '*lib/modules/[0-9]*' -prune)
  version=$(basename "$modules")
  mkdir -p "$1/lib"
  mv "$(dirname "$modules")" "$1/lib/modules"
  /sbin/depmod -b "$1" "$version"
  mv "$(find "$1" -name 'vmlinuz*' | head -1)" "$1/vmlinuz"
  rm -rf "$1/root"
  echo "$version" >"$1/version"
}

# busybox, the modules that mounting this machine's files takes, and a first
# program that does it.
build_initrd() { # kernel-directory file
  local tree version module file
  version=$(cat "$1/version")
  tree=$(mktemp -d "$work/initrd.XXXXXX")
  mkdir -p "$tree"/{bin,modules,proc,sys,dev,lower,layer,upper,newroot}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  for module in virtio_pci 9pnet_virtio 9p overlay; do
    # A dependency comes before what needs it.
    /sbin/modprobe -d "$1" -S "$version" --show-depends "$module" |
      awk '$1 == "insmod" { print $2 }'
  done | awk '!seen[$0]++' | while read -r file; do
    module=$(basename "${file%.xz}")
    case $file in
      *.xz) xz -dc "$file" >"$tree/modules/$module" ;;
      *) cp "$file" "$tree/modules/$module" ;;
    esac
    echo "$module" >>"$tree/modules/order"
  done
  install -m 755 "$here/initramfs_init.sh" "$tree/init"
  (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$2"
  rm -rf "$tree"
}

fetch_layer() { # directory
  use_suite "$LAYER_SUITE" "$work/layer-apt"
  unpack "$1" "${LAYER_PACKAGES[@]}"
  rm -rf "$1"/usr/share/{doc,man,lintian,locale,bug}
}

mkdir -p "$guest_dir"
exec 9>"$guest_dir/lock"
flock 9
stamp=$(cat "$here/setup.sh" "$here/initramfs_init.sh" | sha256sum)
[[ $(cat "$guest_dir/stamp" 2>/dev/null) != "$stamp" ]] || exit 0

"$root/deploy/install_packages.sh" --guest
debian=$(mirror)
[[ -n $debian ]] ||
  fail "apt knows no Debian mirror here; run apt-get update, or name one in" \
    "WHALE_DEBIAN_MIRROR"
work=$(mktemp -d "$guest_dir/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "Preparing the guest in $guest_dir"
rm -rf "$guest_dir"/{stamp,kernel,layer,initrd}
fetch_kernel "$work/kernel"
build_initrd "$work/kernel" "$work/initrd"
fetch_layer "$work/layer"
mv "$work"/{kernel,layer,initrd} "$guest_dir"
echo "$stamp" >"$guest_dir/stamp"
echo "Ready: kernel $(cat "$guest_dir/kernel/version"), rdma-core of" \
  "$LAYER_SUITE, $(du -sh "$guest_dir" | cut -f1) in all"
