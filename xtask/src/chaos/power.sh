# One life of a host whose gateway keeps its journal on the disk. In: the number of the life, and the seconds after which its
# power is cut; 0.0: never. Out: what was recorded in lives before, what the server receives in this one, and as the last line
# `vm: status N`. It must never write to the disk what the gateway did not.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb
echo "vm: begins on $(uname -r)"
status=0
systemctl is-active gateway.service || status=1
mountpoint -q /var/lib/gateway || status=1
gateway audit verify || status=1
gateway events --kind postgres.statement --json | grep -o 'mark[0-9]*x[0-9]*y' | sort -u | sed 's/^/vm: says recorded /'
if [ "$seconds" = 0.0 ] || [ $status != 0 ]; then
    journalctl --unit gateway.service --unit shop.service --boot --output cat | tail -n 20
    echo "vm: status $status"
    echo o >/proc/sysrq-trigger
    sleep 60
fi

for client in 1 2 3; do
    seq 1 100000 | sed "s/.*/SELECT 'mark$life${client}x&y';/" |
        systemd-run --quiet --pipe --slice=agents --uid=bot -- psql -XAtq -h 10.0.0.5 -U postgres >/dev/null 2>&1 &
done
tail -n +1 -F /var/log/postgresql/postgresql-15-main.log | grep --line-buffered -o 'mark[0-9]*x[0-9]*y' |
    sed -u 's/^/vm: says received /' &
sleep "$seconds"
# Nothing is written to disks, nor unmounted: what the kernel had in memory is gone.
echo "vm: status 0"
echo b >/proc/sysrq-trigger
sleep 60
