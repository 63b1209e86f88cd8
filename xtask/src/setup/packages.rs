//! The Debian packages that build and tests need. In: nothing. Out: names, each with its reason. It must never name a
//! package that Debian 12 lacks.
// TABLE:

/// A package, and what it is for.
pub(crate) struct Package {
    /// Debian's name of it.
    pub(crate) name: &'static str,
    /// Who needs it.
    pub(crate) reason: &'static str,
}

const fn package(name: &'static str, reason: &'static str) -> Package {
    Package { name, reason }
}

/// The compiler of the kernel side: not needed where rustup has a nightly with rust-src.
pub(crate) const EBPF_COMPILER: [Package; 3] = [
    package("rustc-web", "compiler of the eBPF programs, with the LLVM of llvm-22-dev"),
    package("cargo-web", "cargo of the same version as rustc-web"),
    package("rust-web-src", "source of core, which is built for the eBPF target"),
];

/// What bpf-linker is built with.
pub(crate) const LINKER: [Package; 4] = [
    package("llvm-22-dev", "the LLVM that bpf-linker links"),
    package("libpolly-22-dev", "linked by llvm-22-dev"),
    package("libzstd-dev", "linked by llvm-22-dev"),
    package("zlib1g-dev", "linked by llvm-22-dev"),
];

/// Everything else.
pub(crate) const OTHERS: [Package; 60] = [
    package("clang", "bindings of the SQL parser: compiler headers"),
    package("libclang-dev", "bindings of the SQL parser: libclang"),
    package("iproute2", "tests: network namespaces, veth"),
    package("util-linux", "tests: nsenter, unshare, setpriv"),
    package("dnsmasq-base", "tests: a server for names"),
    package("bind9-dnsutils", "tests: the stock dig"),
    package("procps", "tests: processes and limits of the host"),
    package("postgresql-15", "tests: the real server; pgbench for the numbers"),
    package("postgresql-client-15", "tests: the stock psql"),
    package("pgbouncer", "tests and numbers: a pooler"),
    package("haproxy", "numbers: a plain relay of bytes, and one that ends TLS"),
    package("nghttp2-client", "numbers: many requests over HTTP"),
    package("sqlsmith", "tests: a generator of random queries"),
    package("valgrind", "tests: counts instructions"),
    package("openssh-server", "tests: the real SSH server"),
    package("openssh-client", "tests: the stock ssh"),
    package("rsync", "tests: over ssh; builds the API server"),
    package("git", "tests: over ssh"),
    package("ansible-core", "tests: over ssh"),
    package("python3-paramiko", "tests: an SSH client that is not OpenSSH"),
    package("python3-asyncssh", "tests: an SSH client that is not OpenSSH"),
    package("golang-golang-x-crypto-dev", "tests: an SSH client that is not OpenSSH"),
    package("chromium", "tests: a browser at the console"),
    package("curl", "demo: asks ClickHouse; tests: an SFTP client with libssh2"),
    package("openssl", "demo: the certificate of its server"),
    package("rsyslog", "tests: a syslog server"),
    package("rsyslog-openssl", "tests: its TLS"),
    package("socat", "tests: odd clients and servers"),
    package("python3-venv", "tests: drivers from PyPI, apart from the system's"),
    package("golang-go", "tests: the drivers lib/pq and pgx"),
    package("golang-github-lib-pq-dev", "tests: the driver lib/pq"),
    package("golang-github-jackc-pgx-v4-dev", "tests: the driver pgx"),
    package("openjdk-17-jdk-headless", "tests: the driver JDBC"),
    package("libpostgresql-jdbc-java", "tests: the driver JDBC"),
    package("libhibernate3-java", "tests: an object mapper"),
    package("libjavassist-java", "tests: what it makes classes with"),
    package("libzookeeper-java", "tests: a ZooKeeper, which a cluster of ClickHouse servers needs"),
    package("bzip2", "tests: the source package of the server is packed"),
    package("qemu-system-x86", "tests: machines with other kernels, virtiofsd beside it"),
    package("busybox-static", "tests: what such a machine starts with"),
    package("kmod", "tests: modules of other kernels"),
    package("xz-utils", "tests: modules of other kernels are packed"),
    package("podman", "tests: a container engine"),
    package("runc", "tests: what it starts containers with"),
    package("netavark", "tests: its networks"),
    package("iptables", "tests: its address translation"),
    package("nftables", "tests: packets that are rewritten behind the hooks"),
    package("wireguard-tools", "tests: a tunnel with keys of its own"),
    package("sudo", "tests: the user behind sudo"),
    package("etcd-server", "tests: what the API server keeps its objects in"),
    package("containerd", "tests: what the kubelet starts containers with"),
    package("conntrack", "tests: the kubelet wants it"),
    package("golang-1.19-go", "tests: builds the API server and the kubelet"),
    package("dpkg-dev", "tests: unpacks their source package"),
    package("make", "tests: generates part of their source"),
    package("jq", "tests: likewise"),
    package("mmdebstrap", "tests: a clean Debian that packages are tried on"),
    package("debian-archive-keyring", "tests: whose packages are signed by these keys"),
    package("systemd", "tests: counts what a unit may reach"),
    package("gcc", "tests: likewise"),
];
