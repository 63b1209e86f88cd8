# Installs Debian packages as root. In: their names. Out: the packages, and no running server.
# It must never leave a database cluster, a daemon or a setting behind that the machine did not have before.
set -eu
export DEBIAN_FRONTEND=noninteractive

# Debian starts what it installs unless this file says no.
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf
made_policy=
restore() {
    if [ -n "$made_policy" ]; then rm -f "$policy"; fi
    if [ -e "$clusters.before" ]; then mv -f "$clusters.before" "$clusters"; fi
}
trap restore EXIT
if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

install() {
    apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null
}
apt-get update -q -o Acquire::Retries=3 </dev/null || echo "apt-get update failed: going on with the lists that are there"
case " $* " in
*" postgresql-15 "*)
    # The tests make clusters of their own; Debian would make and start one of its own.
    install postgresql-common
    cp -p "$clusters" "$clusters.before"
    echo 'create_main_cluster = false' >>"$clusters"
    ;;
esac
install "$@"

# Only the programs are wanted: a daemon that is new here is not started at boot either.
if [ -d /run/systemd/system ]; then
    case " $* " in *" pgbouncer "*) systemctl disable --quiet pgbouncer ;; esac
    case " $* " in *" haproxy "*) systemctl disable --quiet haproxy ;; esac
    case " $* " in *" openssh-server "*) systemctl disable --quiet ssh ;; esac
    case " $* " in *" rsyslog "*) systemctl disable --quiet rsyslog syslog.socket ;; esac
    case " $* " in *" etcd-server "*) systemctl disable --quiet etcd ;; esac
    case " $* " in *" containerd "*) systemctl disable --quiet containerd ;; esac
    case " $* " in *" podman "*)
        systemctl disable --quiet podman.socket podman.service podman-restart.service podman-auto-update.timer \
            podman-auto-update.service
        ;;
    esac
fi
