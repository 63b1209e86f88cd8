# Builds the programs in Go that try the gateway's Kubernetes side. In: a folder, the sources. Out: the programs there, built
# with Debian sid's Go and libraries: those of Debian 12 are older than what they try. It must never change the package
# lists of the machine, install anything there, nor need root.
set -eu
folder=$1
sources=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/go/src"
: >"$work/status"
# The mirror that this machine has, for another suite.
uri=$(find /etc/apt -name '*.list' -o -name '*.sources' | xargs cat | grep -v security |
    sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\).*/\2/p' | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri sid main" >"$work/sources.list"
apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists" \
        -o Dir::State::status="$work/status" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" \
        -o Debug::NoLocking=1 -o APT::Sandbox::User= -o Acquire::Retries=3 "$@" </dev/null
}
apt update
# As if nothing was installed, so that all that they depend on comes along.
apt --no-install-recommends --download-only --yes install golang-go golang-k8s-client-go-dev golang-k8s-apiserver-dev
for package in "$work"/archives/golang*.deb; do dpkg -x "$package" "$work/all"; done
cp -r "$sources" "$work/go/src/programs"
export GOROOT="$(echo "$work"/all/usr/lib/go-1.*)" GO111MODULE=off GOTOOLCHAIN=local CGO_ENABLED=0 GOCACHE="$work/cache"
export GOPATH="$work/go:$work/all/usr/share/gocode"
mkdir -p "$folder"
# The one that is looked for comes last.
for program in typed lines front; do "$GOROOT/bin/go" build -o "$folder/$program" "programs/$program"; done
