# Gets PostgreSQL's own regression tests. In: a folder. Out: their SQL and data there, from Debian's source package of the
# server that the tests run. It must never change the package lists of the machine, nor need root.
set -eu
folder=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/source"
# The machine's own sources as sources of source packages, in lists of our own.
find /etc/apt -name '*.list' -exec cat {} + | sed -n 's/^deb /deb-src /p' >"$work/sources.list"
find /etc/apt -name '*.sources' | while read -r file; do
    grep -q 'debian.org' "$file" || continue
    sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/$(basename "$file")"
done
mkdir "$work/parts"
for file in "$work"/*.sources; do [ ! -e "$file" ] || mv "$file" "$work/parts/"; done
apt() {
    program=$1
    shift
    "$program" -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/parts" \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" \
        -o APT::Sandbox::User= -o Acquire::Retries=3 "$@" </dev/null
}
apt apt-get update
cd "$work/source"
# A mirror may know of a newer one than it has.
for version in $(apt apt-cache showsrc postgresql-15 | sed -n 's/^Version: //p' | sort -Vru); do
    if apt apt-get source --download-only "postgresql-15=$version"; then break; fi
done
mkdir -p "$folder"
tar -xjf postgresql-15_*.orig.tar.bz2 --strip-components=4 -C "$folder" --wildcards \
    '*/src/test/regress/sql' '*/src/test/regress/data' '*/src/test/regress/parallel_schedule'
