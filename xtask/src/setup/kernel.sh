# Gets the newest kernel of a Debian suite. In: a folder to make, the suite. Out: the folder with `vmlinuz`, `lib/modules`
# and `version`, which comes last. It must never install anything, nor touch the machine's own package lists.
set -eu
folder=$1 suite=$2
part=$folder.part
rm -rf "$part"
mkdir -p "$part/lists/partial" "$part/cache/archives/partial" "$part/root" "$part/debs"
key=/usr/share/keyrings/debian-archive-keyring.gpg
# The mirror that this machine has its own suite from holds the others too.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | awk '$2 !~ /-/ { print $1; exit }')
test -n "$mirror" || { echo "apt has no suite of Debian's main archive in its sources" >&2; exit 1; }
echo "deb [arch=amd64 signed-by=$key] $mirror $suite main" >"$part/sources.list"

# The machine's settings for proxies stay in force; its sources and lists are left alone.
options="-q -o Dir::Etc::sourcelist=$part/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$part/lists
    -o Dir::Cache=$part/cache -o Debug::NoLocking=1 -o Acquire::Languages=none -o Acquire::Retries=3"
if [ "$(id -u)" = 0 ]; then options="$options -o APT::Sandbox::User=root"; fi
apt-get $options update >/dev/null
names=$(apt-cache $options depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances linux-image-cloud-amd64 | grep -E '^linux-(image|modules|binary)-[0-9].*-cloud-amd64$' | sort -u)
test -n "$names" || { echo "there is no cloud kernel in $suite" >&2; exit 1; }
(cd "$part/debs" && apt-get $options download $names >/dev/null)
for deb in "$part"/debs/*.deb; do dpkg -x "$deb" "$part/root"; done

# Newer packages are for merged /usr, and have the kernel beside its modules.
modules=$part/root/lib/modules
test -d "$modules" || modules=$part/root/usr/lib/modules
version=$(ls "$modules")
mkdir -p "$part/lib"
mv "$modules" "$part/lib/modules"
cp "$part"/root/boot/vmlinuz-* "$part/vmlinuz" 2>/dev/null || cp "$part/lib/modules/$version/vmlinuz" "$part/vmlinuz"
find "$part/lib/modules" -name '*.ko.xz' -exec xz --decompress {} +
/sbin/depmod --basedir "$part" "$version" 2>/dev/null
rm -rf "$part/root" "$part/debs" "$part/lists" "$part/cache" "$part/sources.list"
echo "$version" >"$part/version"
rm -rf "$folder"
mv "$part" "$folder"
