//! The four ways to one PostgreSQL, started and stopped here. In: a world. Out: what reaches the server by each of them.
//! It must never give one way a setting that makes it do less than it would in production.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::report::Ways;
use super::world::{HOME, Place, Running, World};
use crate::run::{quiet, until};

/// Debian's programs of the server.
pub(super) const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// Accounts of pgbench: 100,000 for each unit.
const SCALE: &str = "10";
/// As in Debian's package, but for sessions that keep their server connection, trust, and as many clients as come.
const PGBOUNCER: &str = "[databases]
* = host=127.0.0.1 port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
unix_socket_dir =
auth_type = trust
auth_file = USERS
pool_mode = session
max_client_conn = 500
default_pool_size = 300
ignore_startup_parameters = extra_float_digits
";
/// Labels on two columns of it; the detectors search the others.
const MASKING: &str = r#"version = 1
[[column]]
at = ["undeclared/shop/public.customers.email"]
class = "email"
[[column]]
at = ["undeclared/shop/public.customers.card"]
class = "card"
"#;
/// What the long read reads: two columns that masking hides.
const TABLES: &str = "create table customers as select id, 'user' || id || '@example.com' as email,
 '4111111111111111' as card, 'a note about customer ' || id as note from generate_series(1, 100000) id;
 vacuum analyze customers";

/// How a client reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Direct,
    Relay,
    PgBouncer,
    Gateway,
}

/// All of them, in the order of the table.
pub(super) const WAYS: [Way; 4] = [Way::Direct, Way::Relay, Way::PgBouncer, Way::Gateway];

impl Ways for Way {
    const GATEWAY: Self = Self::Gateway;

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::PgBouncer => "pgbouncer",
            Self::Gateway => "gateway",
        }
    }
}

impl Way {
    /// Where its clients connect: those of the gateway mean the server itself.
    pub(super) fn address(self) -> SocketAddr {
        let port = match self {
            Self::Direct | Self::Gateway => 5432,
            Self::PgBouncer => 6432,
            Self::Relay => 7432,
        };
        SocketAddr::from(([127, 0, 0, 1], port))
    }
}

/// Everything that runs; fields end in this order, the server last.
pub(super) struct Lab<'w> {
    gateway: Running,
    engine: u32,
    relay: Running,
    pgbouncer: Running,
    _postgres: Running,
    world: &'w World,
}

impl<'w> Lab<'w> {
    /// Starts all of it, and sees that the gateway judges.
    pub(super) fn start(world: &'w World) -> Result<Self> {
        let postgres = postgres(world)?;
        let users = world.file("users.txt", "\"agent\" \"\"\n")?;
        let config = world.file("pgbouncer.ini", &PGBOUNCER.replace("USERS", &users.display().to_string()))?;
        let mut pgbouncer = world.command_as("postgres", "/usr/sbin/pgbouncer");
        let pgbouncer = Running::start("pgbouncer", pgbouncer.arg(config), &world.log("pgbouncer"))?;
        let mut relay = world.command_as("postgres", format!("{HOME}/xtask"));
        relay.args(["bench", "relay"]).args([Way::Relay, Way::Direct].map(|way| way.address().to_string()));
        let relay = Running::start("relay", &mut relay, &world.log("relay"))?;
        let masking = world.file("masking.toml", MASKING)?;
        let (gateway, engine) = gateway(world, &format!("version = 1\n[masking]\nfile = {masking:?}\n"))?;
        let lab = Self { gateway, engine, relay, pgbouncer, _postgres: postgres, world };
        for way in WAYS {
            let name = format!("an answer by way of {}", way.name());
            until(&name, || Ok(lab.psql(way, "select 1").output()?.status.success()))?;
        }
        let refused = lab.psql(Way::Gateway, "drop table customers").output()?;
        let said = String::from_utf8_lossy(&refused.stderr);
        ensure!(said.contains("by policy"), "the gateway let `drop table` through: {said}");
        Ok(lab)
    }

    /// A client of this way.
    pub(super) fn client(&self, way: Way, program: &str) -> Command {
        let place = if way == Way::Gateway { Place::Inside } else { Place::Beside };
        self.world.client(place, program)
    }

    /// A folder that clients may write to.
    pub(super) fn clients_folder(&self) -> std::path::PathBuf {
        self.world.clients_folder()
    }

    /// The process that stands in between, where one does.
    pub(super) fn proxy(&self, way: Way) -> Option<u32> {
        match way {
            Way::Direct => None,
            Way::Relay => Some(self.relay.pid()),
            Way::PgBouncer => Some(self.pgbouncer.pid()),
            Way::Gateway => Some(self.engine),
        }
    }

    /// Errs when one of them has ended: its numbers would be those of something else.
    pub(super) fn check(mut self) -> Result<()> {
        self.gateway.check()?;
        self.relay.check()?;
        self.pgbouncer.check()
    }

    fn psql(&self, way: Way, text: &str) -> Command {
        let mut psql = self.client(way, &format!("{PROGRAMS}/psql"));
        let address = way.address();
        psql.args(["-X", "-q", "-U", "agent", "-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
        psql.args(["-c", text, "shop"]);
        psql
    }
}

fn postgres(world: &World) -> Result<Running> {
    let program = |name: &str| world.command_as("postgres", format!("{PROGRAMS}/{name}"));
    let data = format!("{HOME}/data");
    let options = ["--auth=trust", "--no-sync", "--no-instructions", "--locale=C.UTF-8", "--encoding=UTF8"];
    quiet(program("initdb").args(options).arg("--pgdata").arg(&data))?;
    let mut server = program("postgres");
    server.args(["-D", &data]);
    let sockets = format!("unix_socket_directories={HOME}");
    // The data is in memory, and nothing but what is measured runs.
    for setting in ["listen_addresses=127.0.0.1", "max_connections=400", "fsync=off", "autovacuum=off", &sockets] {
        server.args(["-c", setting]);
    }
    let running = Running::start("postgres", &mut server, &world.log("postgres"))?;
    until("PostgreSQL", || Ok(program("pg_isready").args(["-q", "-h", HOME]).status()?.success()))?;
    let sql = |database: &str, user: &str, text: &str| {
        quiet(program("psql").args(["-X", "-q", "-h", HOME, "-U", user, "-c", text, database]))
    };
    sql("postgres", "postgres", "create role agent login")?;
    sql("postgres", "postgres", "create database shop owner agent")?;
    for statement in TABLES.split(';') {
        sql("shop", "agent", statement)?;
    }
    quiet(program("pgbench").args(["-i", "-q", "-s", SCALE, "-h", HOME, "-U", "agent", "shop"]))?;
    Ok(running)
}

/// A gateway with this configuration, and its process that reads what clients send.
pub(super) fn gateway(world: &World, configuration: &str) -> Result<(Running, u32)> {
    let log = world.log("gateway");
    let mut attach = world.command(format!("{HOME}/gateway"));
    let configuration = world.file("gateway.toml", configuration)?;
    attach.args(["attach", "--name", "bench", "--cgroup"]).arg(world.attached()).arg("--config").arg(configuration);
    let mut running = Running::start("gateway", &mut attach, &log)?;
    until("the gateway", || {
        running.check().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(fs::read_to_string(&log)?.contains("is intercepted"))
    })?;
    let engine = engine_of(running.pid())?;
    Ok((running, engine))
}

/// The child of the warden that reads what clients send.
fn engine_of(warden: u32) -> Result<u32> {
    let children = fs::read_to_string(format!("/proc/{warden}/task/{warden}/children"))?;
    let is_engine = |pid: &&str| {
        let words = fs::read(Path::new("/proc").join(pid).join("cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == b"engine")
    };
    let engine = children.split_whitespace().find(is_engine).context("the warden has no engine")?;
    Ok(engine.parse()?)
}
