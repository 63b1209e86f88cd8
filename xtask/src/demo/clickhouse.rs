//! A real ClickHouse with three logins: one defines tables, one adds rows, one reads. In: a world. Out: the server on its
//! loopback, with the gateway's tables. No login may do what another is for, and the agent has none.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::servers::{Server, operator, secret};
use super::world::{Side, World};
use crate::ebpf::cache_dir;
use crate::run::{checkout, quiet, until};
use crate::setup::clickhouse_library;

/// Where it listens, in the network namespace of the gateway and the agent.
const PORT: u16 = 8123;
/// Of `default` the engine needs the first two by itself; nobody has a password for it, nor a use.
const USERS: &str = "<clickhouse>
  <users_config>FOLDER/config.xml</users_config>
  <user_directories><users_xml><path>FOLDER/config.xml</path></users_xml></user_directories>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password> <profile>default</profile> <quota>default</quota> <networks><ip>::1</ip><ip>127.0.0.1</ip></networks>
      <grants><query>GRANT SYSTEM LISTEN ON *.*</query><query>GRANT SELECT ON system.numbers</query></grants>
    </default>
LOGINS  </users>
</clickhouse>
";
const LOGIN: &str = "    <NAME>
      <password>PASSWORD</password> <profile>default</profile> <quota>default</quota> <networks><ip>::1</ip><ip>127.0.0.1</ip></networks>
      <grants>GRANTS</grants>
    </NAME>
";
/// Who may do what.
const LOGINS: [(&str, &[&str]); 3] = [
    ("migrate", &["GRANT ALL ON gateway.*", "GRANT TABLE ENGINE ON *", "GRANT SELECT ON system.*"]),
    ("ship", &["GRANT INSERT ON gateway.*", "GRANT SELECT ON gateway.migrations"]),
    ("auditor", &["GRANT SELECT ON gateway.*"]),
];

/// Asks as the auditor. Not by an argument, which the agent could see: by a file.
const ASK: &str = r#"#!/bin/sh -e
# Asks the demo's ClickHouse as a login that may only read: auditor "SELECT ..."
exec 'FOLDER/operator' curl --silent --show-error --fail-with-body --config 'FOLDER/secret/auditor.curl' \
    --data-binary "$1" 'http://127.0.0.1:PORT/?database=gateway&default_format=PrettyCompactMonoBlock'
"#;

/// Starts it.
pub(super) fn start(world: &World) -> Result<Server> {
    let home = world.directory().join("clickhouse");
    DirBuilder::new().mode(0o700).create(&home).with_context(|| format!("cannot make `{}`", home.display()))?;
    let mut logins = String::new();
    for (name, grants) in LOGINS {
        let grants: String = grants.iter().map(|grant| format!("<query>{grant}</query>")).collect();
        let password = secret(world, name)?;
        logins += &LOGIN.replace("NAME", name).replace("PASSWORD", &password).replace("GRANTS", &grants);
        world.file(&format!("secret/{name}.curl"), &format!("user = \"{name}:{password}\"\n"))?;
    }
    world.file(
        "clickhouse/config.xml",
        &USERS.replace("FOLDER", &home.display().to_string()).replace("LOGINS", &logins),
    )?;
    let folder = world.directory().display().to_string();
    world.script("auditor", &ASK.replace("FOLDER", &folder).replace("PORT", &PORT.to_string()))?;
    let mut command = world.command(Side::Operator, "/usr/bin/python3");
    command.arg(checkout()?.join("xtask/src/lab/clickhouse.py")).arg(clickhouse_library(&cache_dir()?));
    let mut running = Server::start(world, "clickhouse", command.arg(&home).arg(PORT.to_string()))?;
    let ping = format!("http://127.0.0.1:{PORT}/ping");
    until("ClickHouse", || {
        running.check()?;
        Ok(world.command(Side::Operator, "curl").args(["--silent", "--fail", &ping]).output()?.status.success())
    })?;
    Ok(running)
}

/// Its tables, by the login that may make them.
pub(super) fn migrate(world: &World) -> Result<()> {
    let at = |name: &str| world.directory().join(name).display().to_string();
    let (config, password) = (at("gateway.toml"), at("secret/migrate"));
    operator(world, &["audit", "migrate", "--config", &config, "--user", "migrate", "--password-file", &password])
        .map(drop)
}

/// Asks as the auditor.
pub(super) fn ask(world: &World, sql: &str) -> Result<String> {
    quiet(Command::new(way_in(world)).arg(sql))
}

/// The script that asks as the auditor; people use it too.
pub(super) fn way_in(world: &World) -> PathBuf {
    world.directory().join("auditor")
}
