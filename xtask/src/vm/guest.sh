# What a system's start would do, then the job. In: `/vm/job`, commands with a word on each line and an empty line after
# each. Out: what they print, on the console, and as the last line `vm: status N`. It must never say 0 when one failed.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts pts /dev/pts
ln -s /proc/self/fd /dev/fd
mount -t tmpfs -o mode=755 run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf -o mode=700 bpf /sys/fs/bpf
mount -t securityfs security /sys/kernel/security
ip link set lo up

# A file system that knows the append-only flag on every kernel (tmpfs: since 6.0).
export TMPDIR=/vm/tmp
mkdir /vm/tmp /vm/memory
mount -t tmpfs memory /vm/memory
truncate -s 2G /vm/memory/disk
mkfs.ext4 -q /vm/memory/disk

status=0
begin() {
    modprobe loop && mount -o loop /vm/memory/disk /vm/tmp && chmod 1777 /vm/tmp || status=1
    echo "vm: begins on $(uname -r)"
}
set --
while IFS= read -r word; do
    if [ -n "$word" ]; then
        set -- "$@" "$word"
        continue
    fi
    # Functions and built-ins change this shell, which is what `cd` and `export` are for.
    "$@" </dev/null || status=$?
    set --
done </vm/job
echo "vm: status $status"
echo o >/proc/sysrq-trigger
sleep 60
