# Boots a machine, as root, in a mount namespace of its own. In: a folder of this run with `initramfs`, a kernel, seconds,
# arguments of the kernel, a processor, the image of a disk or nothing, a port there and one of this machine or nothing, and folders of this machine that must be seen. Out: the console on standard output; 0 when the machine switched itself
# off, 124 when its time was over. It must never let the guest write to this machine but to its disk: what it sees is read-only.
set -eu
run=$1 kernel=$2 seconds=$3 arguments=$4 processor=$5 disk=$6 ports=$7
shift 7

show() { # folder
    mount --bind "$1" "$run/machine$1"
    mount -o remount,bind,ro "$run/machine$1"
}
mkdir -p "$run/machine"
show /
# Folders may be mounts of their own, which a bind of / leaves out.
for folder in "$@"; do show "$folder"; done

/usr/lib/qemu/virtiofsd --socket-path="$run/files" -o source="$run/machine" -o cache=always >"$run/virtiofsd.log" 2>&1 &
tries=0
until [ -S "$run/files" ]; do
    tries=$((tries + 1))
    if [ $tries -gt 200 ]; then cat "$run/virtiofsd.log"; exit 1; fi
    sleep 0.05
done

# A network of one server, each connection to which is one to the port.
network=
if [ -n "$ports" ]; then
    network="-netdev user,id=one,ipv6=off,restrict=on,guestfwd=tcp:10.0.2.100:${ports% *}-cmd:$run/connect -device virtio-net-pci,netdev=one,romfile="
    printf '#!/bin/sh\nexec socat - TCP4:127.0.0.1:%s\n' "${ports#* }" >"$run/connect"
    chmod 755 "$run/connect"
fi

# What the guest wrote is in the image at once, as far as anybody but this machine's own power cut can tell.
drive=
if [ -n "$disk" ]; then drive="-drive file=$disk,format=raw,if=none,id=disk,cache=writeback -device virtio-blk-pci,drive=disk"; fi

# TCG on one thread runs everywhere; KVM and several threads do not. With -icount the guest's clock counts its own
# instructions, two nanoseconds each: it is not late for its deadlines where the emulation is slow.
exec timeout --kill-after=5 "$seconds" qemu-system-x86_64 -accel tcg,thread=single -icount shift=1 -cpu "$processor" -smp 1 \
    -m 3G -object memory-backend-memfd,id=memory,size=3G,share=on -numa node,memdev=memory \
    -no-reboot -nodefaults -display none -monitor none -serial stdio \
    -chardev socket,id=files,path="$run/files" -device vhost-user-fs-pci,queue-size=1024,chardev=files,tag=machine \
    $network $drive -kernel "$kernel" -initrd "$run/initramfs" -append "console=ttyS0 quiet panic=-1 $arguments" </dev/null
