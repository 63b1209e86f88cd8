# Makes a clean Debian 12 with systemd and PostgreSQL, as root. In: a folder to make. Out: the folder with `etc/installed`, which
# comes last. It must never install anything on this machine.
set -eu
folder=$1
# The mirror that this machine has its own suite from.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | awk '$2 !~ /-/ { print $1; exit }')
test -n "$mirror" || { echo "apt has no suite of Debian's main archive in its sources" >&2; exit 1; }
rm -rf "$folder" "$folder.part"
mmdebstrap --quiet --variant=minbase --include=systemd-sysv,dbus,adduser,procps,postgresql-15,iproute2,ca-certificates \
    --aptopt='Acquire::Retries "3"' --format=directory bookworm "$folder.part" "$mirror"
mv "$folder.part" "$folder"
touch "$folder/etc/installed"
