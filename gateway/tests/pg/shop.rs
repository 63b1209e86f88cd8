//! A host with an attached cgroup, a stock psql in it, and a real server at the far end of a cable.
//!
//! In: a server. Out: what psql said inside and outside, what reached the server, what the journal has. Each has a
//! database and an address of its own, so that one server serves many at once.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::cluster::{self, Cluster};
use crate::gateway::Gateway;
use crate::wait;
use crate::world::{As, World};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A query that no server ends by itself, in any amount of memory.
pub const ENDLESS: &str = "SELECT count(*) FROM (SELECT generate_series(1, 900000000000))";

/// A world with a database in it.
pub struct Shop {
    /// The host.
    pub world: World,
    /// The server.
    pub cluster: &'static Cluster,
    /// The database that `agent` owns.
    pub database: String,
    /// The server's address.
    pub address: String,
}

/// What a client did.
#[derive(Debug)]
pub struct Ran {
    /// Whether it ended well.
    pub ok: bool,
    /// Its output.
    pub out: String,
    /// Its errors.
    pub err: String,
}

/// Where a client runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In the attached cgroup.
    Inside,
    /// Next to it.
    Outside,
}

impl Shop {
    /// With the shared server.
    pub fn new() -> Self {
        Self::at(cluster::remote())
    }

    /// With this one.
    pub fn at(cluster: &'static Cluster) -> Self {
        let world = World::new();
        let address = cable(&world, cluster);
        let database = format!("shop_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        cluster.admin(&format!("CREATE DATABASE {database} OWNER agent"));
        cluster.admin_of(
            &database,
            "SET ROLE agent; CREATE TABLE orders (id int PRIMARY KEY, item text);
             INSERT INTO orders SELECT g, 'item ' || g FROM generate_series(1, 100) g; GRANT ALL ON orders TO PUBLIC",
        );
        Self { world, cluster, database, address }
    }

    /// A program there, as somebody who is not root, with a small environment and these variables.
    pub fn command(&self, side: Side, variables: &[(&str, &str)], program: &[&str]) -> Command {
        let cgroup = self.world.cgroup();
        self.command_in((side == Side::Inside).then_some(cgroup.as_path()), variables, program)
    }

    /// The same in a cgroup.
    pub fn command_in(&self, cgroup: Option<&Path>, variables: &[(&str, &str)], program: &[&str]) -> Command {
        let mut command = self.world.command_as(As { cgroup, ..As::default() });
        command.args(["env", "-i", "-C", "/run/home", "PATH=/usr/bin:/bin", "HOME=/run/home", "LC_ALL=C.UTF-8"]);
        command.args([("PGHOST", self.address.as_str()), ("PGDATABASE", &self.database), ("PGUSER", "agent")].map(set));
        command.args(variables.iter().copied().map(set)).args(program).stdin(Stdio::null());
        command
    }

    /// psql with these statements, one message each.
    pub fn psql_on(&self, side: Side, variables: &[(&str, &str)], statements: &[&str]) -> Ran {
        let mut command = self.command(side, variables, &["timeout", "60", "psql", "-XAtqw"]);
        for statement in statements {
            command.args(["-c", statement]);
        }
        ran(&mut command)
    }

    /// The same inside, as the owner of the tables.
    pub fn psql(&self, statements: &[&str]) -> Ran {
        self.psql_on(Side::Inside, &[], statements)
    }

    /// Starts psql inside with one statement.
    pub fn start_psql(&self, statement: &str) -> Child {
        let mut command = self.command(Side::Inside, &[], &["psql", "-XAtqw", "-c", statement]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Rows of the superuser, past the gateway.
    pub fn admin(&self, sql: &str) -> String {
        self.cluster.admin_of(&self.database, sql)
    }

    /// Waits until the server runs a statement with this in it.
    pub fn runs(&self, marker: &str) {
        wait::until("the statement at the server", || self.is_running(marker));
    }

    /// Whether it does.
    pub fn is_running(&self, marker: &str) -> bool {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{marker}%'
             AND datname = current_database() AND pid <> pg_backend_pid()"
        );
        self.admin(&sql) != "0"
    }

    /// How many statements with this in them reached the server, in this database.
    pub fn reached(&self, text: &str) -> usize {
        let prefix = format!("{} ", self.database);
        self.cluster.log().lines().filter(|line| line.starts_with(&prefix) && line.contains(text)).count()
    }

    /// Journaled statements of this database, with what came of each.
    pub fn statements(&self) -> Vec<(Value, Option<Value>)> {
        let outcomes = self.world.events("postgres.outcome");
        let statements = self.world.events("postgres.statement");
        let outcome = |event: &Value| {
            let same =
                |outcome: &&Value| outcome["session"] == event["session"] && outcome["body"]["request"] == event["seq"];
            outcomes.iter().find(same).map(|outcome| outcome["body"].clone())
        };
        statements.iter().map(|event| (event["body"].clone(), outcome(event))).collect()
    }

    /// Waits for a journaled statement with this in its text and an outcome; returns both.
    pub fn journaled(&self, text: &str) -> (Value, Value) {
        wait::for_some(&format!("`{text}` in the journal"), || {
            let with = |(statement, _): &(Value, Option<Value>)| statement["text"].to_string().contains(text);
            let (statement, outcome) = self.statements().into_iter().find(with)?;
            Some((statement, outcome?))
        })
    }

    /// Attaches with a configuration of these lines.
    pub fn attach_with(&self, configuration: &str) -> Gateway<'_> {
        let file = self.world.file("gateway.toml", &format!("version = 1\n{configuration}"));
        self.world.attach(&["--config", file.to_str().unwrap()])
    }
}

fn set((name, value): (&str, &str)) -> String {
    format!("{name}={value}")
}

/// Runs a client to its end.
pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ran { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Lays a cable between the world and the server, and returns the server's address.
fn cable(world: &World, cluster: &Cluster) -> String {
    let (number, pid) = (cluster.next_cable(), cluster.pid());
    let network = format!("10.78.{number}");
    world.sh(&format!(
        "ip link add cable type veth peer name cable{number} netns {pid}
         ip addr add {network}.1/24 dev cable; ip link set cable up
         nsenter --target {pid} --net sh -ec 'ip addr add {network}.2/24 dev cable{number}; ip link set cable{number} up'"
    ));
    format!("{network}.2")
}
