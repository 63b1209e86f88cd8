# A host after its boot, with the gateway from its package. In: what `install.sh` laid there. Out: a line for each thing that
# held, and as the last line `vm: status N`. It must never say 0 when one did not.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb
echo "vm: begins on $(uname -r)"
status=0
said=/tmp/said

check() { # what it shows, command
    what=$1
    shift
    if "$@" >$said 2>&1; then
        echo "ok $what"
    else
        status=1
        echo "FAILED $what"
        tail -n 20 $said
    fi
}
end() {
    if [ $status != 0 ]; then journalctl --unit gateway.service --unit agents.slice --unit ci.service --boot --output short-precise | tail -n 120; fi
    echo "vm: status $status"
    echo o >/proc/sysrq-trigger
    sleep 60
}
refused() { # command
    if "$@"; then return 1; fi
}
agent() { # command, in the slice; its output is what it says
    systemd-run --quiet --wait --pipe --slice=agents --uid=bot -- "$@"
}
ask() { # statement
    agent psql -h 10.0.0.5 -U postgres -Atc "$1" 2>&1
}
denied() {
    ask "DROP TABLE IF EXISTS nothing" | grep -q "denied by policy guard.postgres.destructive"
}
until_ok() { # command
    for _ in $(seq 150); do
        if "$@"; then return 0; fi
        sleep 0.2
    done
    return 1
}
users() {
    ps -o user:20= -C gateway | sort -u
}
engine_is_its_own() {
    users | tee $said.users | grep -qx gateway && grep -qx root $said.users
}
attached() {
    gateway status | grep -q agents && gateway status | grep -q ci
}
bot_was_denied() {
    journalctl --unit bot.service --boot --output cat | grep -q "denied by policy guard.postgres.destructive"
}
ci_is_denied() {
    for _ in $(seq 20); do
        refused systemctl start ci.service
    done
    denied=$(journalctl --unit ci.service --boot --output cat | grep -c "denied by policy guard.postgres.destructive")
    echo "$denied of 20 runs were denied"
    test "$denied" = 20
}
command_is_denied() {
    setpriv --reuid=carol --regid=carol --clear-groups gateway exec -- \
        psql -h 10.0.0.5 -U postgres -c "DROP TABLE IF EXISTS nothing" 2>&1 | tee $said.exec
    grep -q "denied by policy guard.postgres.destructive" $said.exec
}
closed() {
    ask "SELECT 1" | tee $said.closed
    refused grep -qx 1 $said.closed
}
slice_waits() {
    systemctl stop agents.slice
    refused agent true
    systemctl status agents.slice | grep -q "Assert.*failed\|assertion failed"
}
gone() {
    refused test -e /usr/bin/gateway -o -e /etc/gateway -o -e /var/lib/gateway/ca -o -e /sys/fs/bpf/gateway
}

# Runs the commands of a page, in order: lines of code that begin with `$ `, with what follows them up to `END` where they say
# so. What they print has the lines below them, in order, with anything between them and at `…`; one with none below it succeeds.
page() { # name
    page=$1 command='' expected='' body=''
    while IFS= read -r line; do
        text=${line#    }
        case $line in "    "*) ;; *) text='' ;; esac
        if [ -n "$body" ]; then
            command="$command
$text"
            if [ "$text" = END ]; then body=''; fi
        elif [ "${text#\$ }" != "$text" ]; then
            command_is_done
            command=${text#\$ } expected=''
            case $command in *"<<'END'"*) body=yes ;; esac
        elif [ -n "$text" ]; then
            expected="$expected$text
"
        else
            command_is_done
        fi
    done <"/packages/$1"
    command_is_done
}
command_is_done() {
    if [ -n "$command" ]; then check "$page: $command" says_so_soon; fi
    command=''
}
says_so_soon() {
    for _ in $(seq 20); do
        if says_so >$said.now; then return 0; fi
        sleep 0.5
    done
    cat $said.now
    return 1
}
says_so() {
    printed=$(cd /packages && bash -c ". /packages/sudo; $command" 2>&1 </dev/null)
    ended=$?
    printf '%s\n' "$printed"
    if [ -z "$expected" ]; then return $ended; fi
    # Each line between ends of its own, so that two that follow each other need not share one.
    lines() { sed 's/^ *//; s/ *$//' | sed "s/^/</; s/\$/>/" | tr -d '\n'; }
    pattern=$(printf '%s' "$expected" | sed 's/[][*?\\]/\\&/g; s/…/*/g' | lines | sed 's/></>*</g')
    case $(printf '%s\n' "$printed" | lines) in *$pattern*) return 0 ;; esac
    return 1
}

check "the service runs since the boot" systemctl is-active gateway.service
if [ $status != 0 ]; then end; fi
check "its attachments are in force" attached
check "the engine has a user of its own" engine_is_its_own
check "what started in the slice at boot was intercepted" bot_was_denied
check "a read goes through" test "$(ask 'SELECT 40 + 2')" = 42
check "a card number in it is masked" test "$(ask "SELECT '4111 1111 1111 1111'")" != "4111 1111 1111 1111"
check "a destructive statement is denied" denied
check "a service with a cgroup of its own is intercepted from its first step at each of its runs" ci_is_denied
check "a user who may runs a command, intercepted, without being root" command_is_denied
systemd-run --quiet --slice=agents --uid=bot --unit=worker sleep 3600
worker=$(systemctl show --property MainPID worker.service)
check "the journal is sound" gateway audit verify

systemctl stop gateway.service
check "a gateway that is stopped leaves its gates closed" closed
systemctl start gateway.service
check "and opens them when it is back" denied
printf '\n[[attach]]\nname = "late"\ncgroup = "/late.slice"\n' >>/etc/gateway/gateway.toml
check "a reload is taken" systemctl reload gateway.service
check "and attaches what the configuration names besides" until_ok sh -c 'gateway status | grep -q late'
check "a restart too" systemctl restart gateway.service
check "what it denied is denied after it" denied
check "a later package installs over it" dpkg --install /packages/later.deb
check "as the version that runs" test "$(dpkg-query --show --showformat '${Version}' gateway)" = 0.1.0-2
check "with the same attachments" until_ok attached
check "what it denied is denied after it too" denied
check "a runtime in the slice goes on over all of that" test "$(systemctl show --property MainPID worker.service)" = "$worker"
check "a removal under hooks is refused" refused dpkg --remove gateway
check "and leaves it running" systemctl is-active gateway.service

systemctl stop gateway.service
check "purge opens the gates" gateway purge
echo nonsense >>/etc/gateway/gateway.toml
systemctl start --no-block gateway.service
check "without its gateway nothing starts in the slice" slice_waits
systemctl stop gateway.service
check "it is removed" dpkg --remove gateway
check "and purged" dpkg --purge gateway
check "nothing of it is left but its journal" gone
check "which is there" test -d /var/lib/gateway/journal

# What a stranger does, who has a host and the README.
runuser -u postgres -- psql -qc "CREATE ROLE app LOGIN" -c "CREATE DATABASE shop OWNER app" \
    -c "CREATE ROLE shop_app LOGIN PASSWORD 'correct horse'"
cat >/packages/sudo <<'EOF'
sudo() {
    if [ "$1" != -u ]; then "$@"; return; fi
    user=$2
    shift 2
    setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@"
}
EOF
page README.md
page coding-agent.md
page bots.md

end
