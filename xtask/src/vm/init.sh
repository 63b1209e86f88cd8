#!/bin/busybox sh
# The first process of the machine. In: modules, `guest.sh` and `job` beside it. Out: the files of the machine that
# runs us below a layer of our own, and `guest.sh` started there. It must never mount them writable.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod "$module" || echo "cannot load $module"; done
$b mount -t virtiofs -o ro machine /lower || $b poweroff -f
$b mount -t tmpfs -o mode=755 upper /upper || $b poweroff -f
$b mkdir /upper/upper /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work overlay /root || $b poweroff -f
$b mkdir /root/vm
$b cp /guest.sh /job /root/vm/
exec $b switch_root /root /bin/sh /vm/guest.sh
