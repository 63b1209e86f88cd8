//! The real parts of the demo: PostgreSQL with a small shop, ClickHouse, the gateway. In: a world. Out: each of them
//! running in it, or what it said instead. The agent's side is given no password of any.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::world::{DATABASE, Side, World};
use crate::run::{line, quiet, run, until};

/// Debian's programs of the server.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const SHOP: &str = include_str!("shop.sql");
const POLICY: &str = include_str!("policy.cedar");
const MASKING: &str = include_str!("masking.toml");
/// The name in the server's certificate, which the gateway verifies.
const NAME: &str = "db.shop.demo";
/// Connections from elsewhere: TLS and a password, which the gateway alone has.
const ACCESS: &str = "local all postgres peer\nhostssl shop shop_app all scram-sha-256\n";
const CONFIGURATION: &str = r#"version = 1

[policy]
dir = "DIRECTORY/policies"

[masking]
file = "DIRECTORY/masking.toml"

[[attach]]
name = "shop-agent"
cgroup = "CGROUP"
groups = ["local:agents"]

[[target]]
name = "shop"
protocol = "postgres"
addresses = ["ADDRESS"]
environment = "production"
  [target.tls]
  mode = "verify-full"
  ca = "DIRECTORY/ca.pem"
  name = "NAME"
  [target.credential]
  user = "shop_app"
  for_users = ["agent"]
  password = { file = "DIRECTORY/secret/shop_app" }

[audit.clickhouse]
url = "http://127.0.0.1:8123"
user = "ship"
password = { file = "DIRECTORY/secret/ship" }
"#;

/// A server that runs; it ends with its world.
pub(super) struct Server {
    child: Child,
    log: std::path::PathBuf,
}

impl Server {
    /// Starts it, its output into a file of the world's.
    pub(super) fn start(world: &World, name: &str, command: &mut Command) -> Result<Self> {
        let log = world.directory().join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("cannot make `{}`", log.display()))?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("cannot start `{}`", line(command)))?;
        Ok(Self { child, log })
    }

    /// Errs with what it said when it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended ({status}): {}", self.said().trim()),
        }
    }

    /// What it said so far.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// PostgreSQL in its network namespace, with the shop in it.
pub(super) fn postgres(world: &World) -> Result<Server> {
    let home = world.directory().join("postgres");
    let data = home.join("data");
    fs::create_dir(&home).with_context(|| format!("cannot make `{}`", home.display()))?;
    // Nobody but the server looks in: its socket is there too.
    run(Command::new("chmod").arg("700").arg(&home))?;
    run(Command::new("chown").arg("postgres:").arg(&home))?;
    let server = |program: &str| {
        let mut command = world.command(Side::Database, "setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]);
        command.arg(Path::new(PROGRAMS).join(program));
        command
    };
    let options = ["--auth=peer", "--no-sync", "--no-instructions", "--locale=C.UTF-8", "--encoding=UTF8"];
    quiet(server("initdb").args(options).arg("--pgdata").arg(&data))?;
    certificate(world, &data)?;
    fs::write(data.join("pg_hba.conf"), ACCESS).context("cannot write pg_hba.conf")?;
    let mut command = server("postgres");
    command.arg("-D").arg(&data);
    let sockets = format!("unix_socket_directories={}", home.display());
    let listen = format!("listen_addresses={DATABASE}");
    // Nothing here outlives the demo: no fsync, and no shared memory that a killed server leaves on the host.
    let settings = [&listen, &sockets, "fsync=off", "dynamic_shared_memory_type=mmap", "ssl=on"];
    let files = ["ssl_cert_file=server.pem", "ssl_key_file=server.key"];
    for setting in settings.into_iter().chain(files) {
        command.args(["-c", setting]);
    }
    let mut running = Server::start(world, "postgres", &mut command)?;
    until("PostgreSQL", || {
        running.check()?;
        Ok(administrator(world, "postgres", "SELECT 1").is_ok())
    })?;
    fill(world)?;
    Ok(running)
}

fn fill(world: &World) -> Result<()> {
    let password = secret(world, "shop_app")?;
    administrator(world, "postgres", &format!("CREATE ROLE shop_app LOGIN PASSWORD '{password}'"))?;
    administrator(world, "postgres", "CREATE DATABASE shop OWNER shop_app")?;
    administrator(world, "shop", &format!("SET ROLE shop_app;\n{SHOP}")).map(drop)
}

/// A password of this demo alone, in a file of its name.
pub(super) fn secret(world: &World, name: &str) -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("no randomness")?;
    let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    world.file(&format!("secret/{name}"), &password)?;
    Ok(password)
}

/// Runs SQL at the server, past the gateway, and returns the rows.
pub(super) fn administrator(world: &World, database: &str, sql: &str) -> Result<String> {
    let mut psql = world.command(Side::Database, "setpriv");
    psql.args([
        "--reuid=postgres",
        "--regid=postgres",
        "--init-groups",
        "--",
        "psql",
        "-XAtq",
        "-v",
        "ON_ERROR_STOP=1",
    ]);
    psql.arg("-h").arg(world.directory().join("postgres")).args(["-d", database]);
    // Not as an argument, which every process could read: there may be a password in it.
    let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no input of psql")?.write_all(sql.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the server refused: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An authority of a day, and the server's certificate by it.
fn certificate(world: &World, data: &Path) -> Result<()> {
    let (ca, ca_key) = (world.directory().join("ca.pem"), world.directory().join("secret/ca.key"));
    let (server, key) = (data.join("server.pem"), data.join("server.key"));
    let request = |subject: &str, key: &Path, certificate: &Path| {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]);
        openssl.args(["-subj", subject, "-keyout"]).arg(key).arg("-out").arg(certificate);
        openssl
    };
    quiet(&mut request("/CN=demo authority", &ca_key, &ca))?;
    let names = format!("subjectAltName=DNS:{NAME}");
    let mut signed = request(&format!("/CN={NAME}"), &key, &server);
    signed.arg("-CA").arg(&ca).arg("-CAkey").arg(&ca_key);
    quiet(signed.args(["-addext", &names, "-addext", "basicConstraints=critical,CA:FALSE"]))?;
    quiet(Command::new("chown").arg("postgres:").args([&server, &key])).map(drop)
}

/// What the gateway is told: gateway.toml, and the policies and labels that it names.
pub(super) fn configure(world: &World) -> Result<()> {
    world.file("policies/shop.cedar", POLICY)?;
    world.file("masking.toml", MASKING)?;
    let folder = world.directory().display().to_string();
    let settings =
        [("DIRECTORY", folder.as_str()), ("CGROUP", &world.attached()), ("ADDRESS", DATABASE), ("NAME", NAME)];
    let configuration = settings.iter().fold(CONFIGURATION.to_owned(), |text, (from, to)| text.replace(from, to));
    world.file("gateway.toml", &(configuration + &super::ssh::target(world)? + &super::kube::target(world)?)).map(drop)
}

/// `gateway run` with the agent's cgroup attached.
pub(super) fn gateway(world: &World) -> Result<Server> {
    let mut command = world.command(Side::Operator, "gateway");
    command.args(["run", "--config"]).arg(world.directory().join("gateway.toml"));
    let mut running = Server::start(world, "gateway", &mut command)?;
    until("the gateway", || {
        running.check()?;
        Ok(running.said().contains("is intercepted"))
    })?;
    Ok(running)
}

/// Runs a command of the gateway on the operator's side; returns what it printed.
pub(super) fn operator(world: &World, arguments: &[&str]) -> Result<String> {
    quiet(world.command(Side::Operator, "gateway").args(arguments))
}

/// The same for a command that must fail; returns all that it printed.
pub(super) fn operator_fails(world: &World, arguments: &[&str]) -> Result<String> {
    let output = world.command(Side::Operator, "gateway").args(arguments).output()?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    ensure!(!output.status.success(), "`gateway {}` succeeded: {said}", arguments.join(" "));
    Ok(said)
}
