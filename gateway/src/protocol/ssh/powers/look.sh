LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
user=$(id -un)
echo gateway-looks
echo "uid $(id -u)"
for group in $(id -Gn); do echo "group $group"; done
if command -v sudo >/dev/null 2>&1; then
  sudo -n -l </dev/null 2>&1 | head -n 200 | while IFS= read -r line; do printf "sudo %s\n" "$line"; done
fi
for path in /etc/passwd /etc/shadow /etc/group /etc/sudoers /etc/sudoers.d /etc/crontab /etc/cron.d /etc/cron.hourly /etc/cron.daily \
  /etc/cron.weekly /etc/cron.monthly /var/spool/cron /var/spool/cron/crontabs /etc/ssh /etc/ssh/sshd_config /etc/ssh/sshd_config.d \
  /etc/systemd/system /etc/profile /etc/profile.d /etc/pam.d /etc/ld.so.preload /etc/ld.so.conf.d /usr/local/bin /usr/local/sbin \
  /root /root/.ssh /root/.ssh/authorized_keys; do
  test -w "$path" && echo "writes $path"
done
for path in /run/docker.sock /var/run/docker.sock /run/podman/podman.sock /run/containerd/containerd.sock /run/crio/crio.sock \
  /run/libvirt/libvirt-sock /var/lib/lxd/unix.socket /var/snap/lxd/common/lxd/unix.socket /var/lib/incus/unix.socket; do
  test -S "$path" && test -w "$path" && echo "engine $path"
done
for path in /etc/shadow /etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_rsa_key /etc/ssh/ssh_host_ecdsa_key /dev/mem \
  /etc/kubernetes/admin.conf /etc/rancher/k3s/k3s.yaml; do
  test -r "$path" && echo "reads $path"
done
head -n 500 /etc/passwd | while IFS=: read -r name secret uid gid about home shell; do
  test "$name" = "$user" && continue
  for path in "$home/.ssh/authorized_keys" "$home/.ssh"; do
    if test -w "$path"; then printf "enters %s\n" "$name"; break; fi
  done
done
for path in "$HOME"/.ssh/*; do
  test -f "$path" && test -r "$path" && IFS= read -r line <"$path" 2>/dev/null || continue
  case $line in *"PRIVATE KEY-----"*) printf "key %s\n" "$path" ;; esac
done 2>/dev/null | head -n 20
for path in "$HOME"/.kube/config "$HOME"/.aws/credentials "$HOME"/.pgpass "$HOME"/.docker/config.json "$HOME"/.git-credentials "$HOME"/.netrc; do
  test -r "$path" && printf "login %s\n" "$path"
done
for path in "$SSH_AUTH_SOCK" /tmp/ssh-*/agent.* /run/user/$(id -u)/keyring/ssh /run/user/$(id -u)/gnupg/S.gpg-agent.ssh; do
  test -S "$path" && test -w "$path" && printf "agent %s\n" "$path"
done | head -n 20
echo gateway-looked
