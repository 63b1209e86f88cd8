# Installs a package in a copy of a clean Debian, as root, in namespaces of its own. In: that Debian, the folder of the copy,
# the package, one of a later revision, which is only laid there, and the checkout with its pages. Out: a host that tells a story at its boot. It must never
# start anything, nor write beside the copy.
set -eu
debian=$1 host=$2 package=$3 later=$4 checkout=$5
cp -a --reflink=auto "$debian" "$host"
mount -t proc proc "$host/proc"
printf '0123456789abcdef0123456789abcdef\n' >"$host/etc/machine-id"
echo host >"$host/etc/hostname"
echo '127.0.0.1 localhost host' >"$host/etc/hosts"
mkdir "$host/packages"
cp "$package" "$host/packages/gateway.deb"
cp "$later" "$host/packages/later.deb"
ln -s gateway.deb "$host/packages/gateway_0.1.0-1_amd64.deb"
cp "$checkout/README.md" "$checkout"/docs/*.md "$host/packages/"
chroot "$host" dpkg --install /packages/gateway.deb
chroot "$host" dpkg --verify gateway
chroot "$host" bash -n /usr/share/bash-completion/completions/gateway
test -L "$host/etc/systemd/system/multi-user.target.wants/gateway.service"
ls "$host"/usr/share/man/man5/gateway.toml.5* >/dev/null
test -e "$host/usr/share/man/man1/gateway-attach.1" || test -e "$host/usr/share/man/man1/gateway-attach.1.gz"
grep -q '"CycloneDX"' "$host/usr/share/doc/gateway/gateway.cdx.json"

# A shop, a bot that asks for it as soon as the host is up, and a service that is attached by itself.
cat >>"$host/etc/postgresql/15/main/postgresql.conf" <<'EOF'
listen_addresses = '10.0.0.5'
jit = off
EOF
printf 'hostssl all shop_app 0.0.0.0/0 scram-sha-256\nhost all all 0.0.0.0/0 trust\n' >>"$host/etc/postgresql/15/main/pg_hba.conf"
unit() { cat >"$host/etc/systemd/system/$1"; }
unit shop.service <<'EOF'
[Unit]
Before=postgresql@15-main.service gateway.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ip address add 10.0.0.5/32 dev lo
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
ExecStart=-/usr/bin/psql -h 10.0.0.5 -U postgres -c "DROP TABLE IF EXISTS nothing"
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
ExecStart=/usr/bin/psql -h 10.0.0.5 -U postgres -c "DROP TABLE IF EXISTS nothing"
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
# What its pages call ClickHouse on this host: the one server that the machine reaches.
unit store.socket <<'EOF'
[Socket]
ListenStream=127.0.0.1:8123
[Install]
WantedBy=sockets.target
EOF
unit store.service <<'EOF'
[Service]
ExecStartPre=/bin/ip link set eth0 up
ExecStartPre=/bin/ip address replace 10.0.2.15/24 dev eth0
ExecStart=/lib/systemd/systemd-socket-proxyd 10.0.2.100:8123
EOF
# What PostgreSQL proves to be.
chroot "$host" openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=shop -addext subjectAltName=IP:10.0.0.5 \
    -addext basicConstraints=critical,CA:FALSE -keyout /etc/postgresql/shop.key -out /etc/postgresql/shop.pem 2>/dev/null
chroot "$host" chown postgres /etc/postgresql/shop.key
cat >>"$host/etc/postgresql/15/main/postgresql.conf" <<'EOF'
ssl = on
ssl_cert_file = '/etc/postgresql/shop.pem'
ssl_key_file = '/etc/postgresql/shop.key'
EOF
for user in bot carol alice; do
    chroot "$host" adduser --quiet --system --group --no-create-home --home /nonexistent $user
done
cat >>"$host/etc/gateway/gateway.toml" <<'EOF'

[[attach]]
name = "ci"
cgroup = "/system.slice/ci.service"

[exec]
users = ["carol"]
EOF
chroot "$host" systemctl --quiet enable store.socket shop.service bot.service story.service
chroot "$host" systemctl --quiet mask serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer \
    systemd-timesyncd.service dpkg-db-backup.timer e2scrub_all.timer
umount "$host/proc"
