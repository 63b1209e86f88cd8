#!/bin/busybox sh
# The first process of the machine. In: beside it modules, `vm` with what is for the system, `where` with the root of that on
# the machine that runs us, and `first` with what it starts with. Out: those files below a layer of our own, and it started. It must never mount them writable.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod "$module" || echo "cannot load $module"; done
$b mount -t virtiofs -o ro machine /lower || $b poweroff -f
$b mount -t tmpfs -o mode=755 upper /upper || $b poweroff -f
$b mkdir /upper/upper /upper/work
$b mount -t overlay -o lowerdir=/lower$($b cat /where),upperdir=/upper/upper,workdir=/upper/work overlay /root || $b poweroff -f
$b mkdir /root/vm
$b cp /vm/* /root/vm/
for path in /proc /sys /dev; do $b umount -l $path; done
exec $b switch_root /root $($b cat /first)
