# Installs a package in a copy of a clean Debian, as root, in namespaces of its own. In: that Debian, the folder of the copy,
# the package, and one of a later revision, which is only laid there. Out: a host that tells a story at its boot. It must never
# start anything, nor write beside the copy.
set -eu
debian=$1 host=$2 package=$3 later=$4
cp -a --reflink=auto "$debian" "$host"
mount -t proc proc "$host/proc"
printf '0123456789abcdef0123456789abcdef\n' >"$host/etc/machine-id"
echo host >"$host/etc/hostname"
echo '127.0.0.1 localhost host' >"$host/etc/hosts"
mkdir "$host/packages"
cp "$package" "$host/packages/gateway.deb"
cp "$later" "$host/packages/later.deb"
chroot "$host" dpkg --install /packages/gateway.deb
chroot "$host" dpkg --verify gateway
chroot "$host" bash -n /usr/share/bash-completion/completions/gateway
test -L "$host/etc/systemd/system/multi-user.target.wants/gateway.service"
ls "$host"/usr/share/man/man5/gateway.toml.5* >/dev/null
test -e "$host/usr/share/man/man1/gateway-attach.1" || test -e "$host/usr/share/man/man1/gateway-attach.1.gz"
grep -q '"CycloneDX"' "$host/usr/share/doc/gateway/gateway.cdx.json"

# A shop, a bot that asks for it as soon as the host is up, and a service that is attached by itself.
cat >>"$host/etc/postgresql/15/main/postgresql.conf" <<'EOF'
listen_addresses = '10.99.0.1'
jit = off
EOF
echo 'host all all 10.99.0.0/24 trust' >>"$host/etc/postgresql/15/main/pg_hba.conf"
unit() { cat >"$host/etc/systemd/system/$1"; }
unit shop.service <<'EOF'
[Unit]
Before=postgresql@15-main.service gateway.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ip address add 10.99.0.1/32 dev lo
[Install]
WantedBy=multi-user.target
EOF
unit bot.service <<'EOF'
[Unit]
After=postgresql.service postgresql@15-main.service
[Service]
Slice=agents.slice
User=bot
Type=oneshot
ExecStart=-/usr/bin/psql -h 10.99.0.1 -U postgres -c "DROP TABLE IF EXISTS nothing"
[Install]
WantedBy=multi-user.target
EOF
# With a cgroup of its own, which systemd removes after each of its runs.
unit ci.service <<'EOF'
[Unit]
StartLimitIntervalSec=0
[Service]
User=bot
Type=oneshot
ExecStart=/usr/bin/psql -h 10.99.0.1 -U postgres -c "DROP TABLE IF EXISTS nothing"
EOF
unit story.service <<'EOF'
[Unit]
After=multi-user.target bot.service
[Service]
Type=oneshot
ExecStart=/bin/bash /vm/story.sh
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=graphical.target
EOF
for user in bot carol; do
    chroot "$host" adduser --quiet --system --group --no-create-home --home /nonexistent $user
done
cat >>"$host/etc/gateway/gateway.toml" <<'EOF'

[[attach]]
name = "ci"
cgroup = "/system.slice/ci.service"

[exec]
users = ["carol"]
EOF
chroot "$host" systemctl --quiet enable shop.service bot.service story.service
chroot "$host" systemctl --quiet mask serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer \
    systemd-timesyncd.service dpkg-db-backup.timer e2scrub_all.timer
umount "$host/proc"
