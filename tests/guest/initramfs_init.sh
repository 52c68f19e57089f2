#!/bin/busybox sh
# The guest's first program: the machine's own root, read-only, under memory
# that takes all changes; then init.sh goes on. It runs from the initial file
# system, with busybox only.
#
# Folders from outside, by tag: `hostroot`; `control` at /run/guest; `modules`;
# `layer` between root and changes, if there.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev

die() {
  echo "initramfs: $*" >/dev/console
  poweroff -f
}

share() { # tag directory options
  mount -t 9p -o "trans=virtio,version=9p2000.L,msize=524288,$3" "$1" "$2"
}

while read -r module; do
  insmod "/modules/$module" || die "cannot load $module"
done </modules/order

share hostroot /lower ro,cache=loose || die "cannot mount the root"
lower=/lower
# The kernel ends a tag with a zero byte.
if cat /sys/bus/virtio/drivers/9pnet_virtio/*/mount_tag | tr '\0' '\n' |
  grep -qx layer; then
  share layer /layer ro,cache=loose || die "cannot mount the layer"
  lower=/layer:/lower
fi
mount -t tmpfs -o size=75% none /upper
mkdir /upper/files /upper/work
mount -t overlay -o "lowerdir=$lower,upperdir=/upper/files,workdir=/upper/work" \
  none /newroot || die "cannot lay the root together"
mount -t proc none /newroot/proc
mount -t sysfs none /newroot/sys
mount --move /dev /newroot/dev
mount -t tmpfs none /newroot/run
mkdir -p /newroot/run/guest /newroot/usr/lib/modules
share control /newroot/run/guest rw || die "cannot mount the control folder"
share modules /newroot/usr/lib/modules ro,cache=loose ||
  die "cannot mount the modules"
exec switch_root /newroot /bin/bash /run/guest/init.sh
