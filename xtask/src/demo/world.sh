# A host of the demo's own, as root, in fresh mount, network and IPC namespaces. In: DIRECTORY, CGROUP, GATEWAY, AGENT_UID.
# Out: "ready", then nothing until standard input ends; then all of it is removed, however the demo came to its end.
# It must never end a process that is not in CGROUP.
set -u

clean_up() {
    for level in "$CGROUP/agent" "$CGROUP/host" "$CGROUP"; do
        tries=0
        while [ -d "$level" ] && ! rmdir "$level" 2>/dev/null && [ $tries -lt 100 ]; do
            # One write from Linux 5.14 on.
            echo 1 2>/dev/null >"$level/cgroup.kill" || kill -KILL $(cat "$level/cgroup.procs") 2>/dev/null
            tries=$((tries + 1))
            sleep 0.05
        done
    done
    # Files of the journal are append-only: with the flag set they could not be removed.
    chattr -R -f -a "$DIRECTORY" 2>/dev/null
    rm -rf "$DIRECTORY"
    if [ -d "$CGROUP" ] || [ -d "$DIRECTORY" ]; then
        echo "demo: left behind, remove them by hand: $CGROUP $DIRECTORY" >&2
    else
        echo "demo: stopped and removed" >&2
    fi
}

set_up() {
    mkdir -p "$CGROUP/agent" "$CGROUP/host" &&
        mkdir -m 755 "$DIRECTORY" && mkdir -m 700 "$DIRECTORY/state" "$DIRECTORY/secret" &&
        cp /etc/passwd "$DIRECTORY/passwd" &&
        echo "agent:x:$AGENT_UID:$AGENT_UID:agent:/run/home:/bin/sh" >>"$DIRECTORY/passwd" &&
        mount -t tmpfs -o mode=755 none /run &&
        mount -t tmpfs -o mode=755 none /var/lib &&
        mount -t tmpfs -o mode=1777 none /dev/shm &&
        echo "deploy:x:$((AGENT_UID + 1)):$((AGENT_UID + 1)):deploy:/run/deploy:/bin/sh" >>"$DIRECTORY/passwd" &&
        mount -t tmpfs -o mode=755 none /etc/ssh &&
        mount -t bpf -o mode=700 none /sys/fs/bpf &&
        mkdir -m 755 /run/sshd && mkdir -m 755 /run/deploy && chown "$((AGENT_UID + 1)):$((AGENT_UID + 1))" /run/deploy &&
        mkdir -p /run/demo /run/gateway /var/lib/gateway &&
        mkdir -m 700 /run/home && chown "$AGENT_UID" /run/home &&
        mount --bind "$DIRECTORY/state" /var/lib/gateway &&
        mount --bind "$DIRECTORY/passwd" /etc/passwd &&
        touch /run/demo/gateway && mount --bind "$GATEWAY" /run/demo/gateway &&
        ip link set lo up &&
        ip netns add database &&
        ip link add cable type veth peer name cable netns database &&
        ip addr add 10.99.0.1/24 dev cable && ip link set cable up &&
        ip -n database link set lo up &&
        ip -n database addr add 10.99.0.2/24 dev cable && ip -n database link set cable up
}

umask 022
trap clean_up EXIT
# Whoever reads us may be gone already: caught, it does not end us before the clean-up.
trap : PIPE HUP INT TERM
set_up || exit 1
echo ready
cat >/dev/null
