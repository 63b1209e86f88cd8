//! A ClickHouse of our own.
//!
//! In: a world. Out: a real server on its loopback, with the logins and grants of `docs/clickhouse.md`, and answers of it.
//! It ends with its handle, and with this process.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::cluster::cached;
use crate::wait;
use crate::world::World;

/// Where it listens.
pub const PORT: u16 = 8123;
/// Of `gateway_ship`, the login of the gateway.
pub const PASSWORD: &str = "ship-horse-battery";
/// Of `gateway_migrate` and `gateway_read`.
pub const OPERATORS_PASSWORD: &str = "operators-horse";

const DOCUMENT: &str = include_str!("../../../docs/clickhouse.md");

/// Sends its standard input as a statement; prints the answer, or fails with it.
const ASK: &str = r"
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], data=sys.stdin.buffer.read())
request.add_header('X-ClickHouse-User', sys.argv[2])
request.add_header('X-ClickHouse-Key', sys.argv[3])
try:
    sys.stdout.buffer.write(urllib.request.urlopen(request, timeout=60).read())
except urllib.error.HTTPError as error:
    sys.stdout.buffer.write(error.read())
    sys.exit(1)
";

/// A server in a world.
pub struct ClickHouse<'w> {
    world: &'w World,
    port: u16,
    directory: PathBuf,
    server: Option<Child>,
}

impl<'w> ClickHouse<'w> {
    /// Starts one without any database of ours.
    pub fn start(world: &'w World) -> Self {
        Self::start_with(world, PORT, "")
    }

    /// The same at a port of its own, with more in its configuration.
    pub fn start_with(world: &'w World, port: u16, more: &str) -> Self {
        let directory = world.directory().join(format!("clickhouse-{port}"));
        fs::create_dir(&directory).unwrap();
        let users = directory.join("users.xml");
        let config = format!(
            "<clickhouse><users_config>{0}</users_config><user_directories><users_xml><path>{0}</path></users_xml>\
             </user_directories>{more}</clickhouse>",
            users.display()
        );
        fs::write(directory.join("config.xml"), config).unwrap();
        fs::write(users, users_xml()).unwrap();
        let mut server = Self { world, port, directory, server: None };
        server.go_on();
        server
    }

    /// The same with the schema of this version.
    pub fn migrated(world: &'w World) -> Self {
        let server = Self::start(world);
        let said = server.migrate();
        assert!(said.status.success(), "{said:?}");
        server
    }

    /// `gateway audit migrate` as the operator's login.
    pub fn migrate(&self) -> crate::gateway::Said {
        let password = self.world.file("migrate-password", OPERATORS_PASSWORD);
        let config = self.world.file("store.toml", &format!("version = 1\n{}", self.section()));
        self.world.cli(&[
            "audit",
            "migrate",
            "--config",
            config.to_str().unwrap(),
            "--user",
            "gateway_migrate",
            "--password-file",
            password.to_str().unwrap(),
        ])
    }

    /// What a configuration says of it.
    pub fn section(&self) -> String {
        let password = self.world.file("ship-password", PASSWORD);
        format!(
            "[audit.clickhouse]\nurl = \"http://127.0.0.1:{}\"\nuser = \"gateway_ship\"\n\
             password = {{ file = \"{}\" }}\n",
            self.port,
            password.display()
        )
    }

    /// Starts it again with all that it keeps.
    pub fn go_on(&mut self) {
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/src/lab/clickhouse.py");
        let library = cached("clickhouse-").join("node_modules/@chdb/lib-linux-x64-gnu/libchdb.so");
        let log = File::create(self.directory.join("log")).unwrap();
        let mut command = self.world.command("/usr/bin/python3");
        command.arg(launcher).arg(library).arg(&self.directory).arg(self.port.to_string()).arg("with-parent");
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(command.spawn().unwrap());
        wait::until("a ClickHouse that is up", || {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(self.directory.join("log")).unwrap());
            self.try_ask("default", "", "SELECT 1").is_ok()
        });
    }

    /// A signal to it, for one that stops or goes on.
    pub fn signal(&self, signal: Signal) {
        crate::gateway::send(self.server.as_ref().unwrap().id(), signal);
    }

    /// SIGKILL.
    pub fn die(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// What it answers to the one who may do all.
    pub fn ask(&self, sql: &str) -> String {
        self.try_ask("default", "", sql).unwrap()
    }

    /// What it answers to somebody; `Err` where it refuses.
    pub fn try_ask(&self, user: &str, password: &str, sql: &str) -> Result<String, String> {
        let url = format!("http://127.0.0.1:{}/", self.port);
        let mut command = self.world.command("/usr/bin/python3");
        command.args(["-c", ASK, &url, user, password]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child: Child = Command::spawn(command.stderr(Stdio::null())).unwrap();
        child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if output.status.success() { Ok(text) } else { Err(text) }
    }
}

impl Drop for ClickHouse<'_> {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// The logins of the documentation with the grants of the documentation, and one that may do all.
fn users_xml() -> String {
    let user = |name: &str, password: &str, inside: &str| {
        format!(
            "<{name}><password>{password}</password><networks><ip>::/0</ip></networks><profile>default</profile>\
             <quota>default</quota>{inside}</{name}>"
        )
    };
    let grants = |name: &str| -> String {
        let of_name = |line: &str| {
            let grant = line.strip_suffix(&format!(" TO {name};"))?;
            grant.starts_with("GRANT ").then(|| format!("<query>{grant}</query>"))
        };
        let grants: String = DOCUMENT.lines().filter_map(of_name).collect();
        assert!(!grants.is_empty(), "docs/clickhouse.md grants nothing to {name}");
        format!("<grants>{grants}</grants>")
    };
    format!(
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users>{}{}{}{}</users></clickhouse>",
        user("default", "", ""),
        user("gateway_ship", PASSWORD, &grants("gateway_ship")),
        user("gateway_migrate", OPERATORS_PASSWORD, &grants("gateway_migrate")),
        user("gateway_read", OPERATORS_PASSWORD, &grants("gateway_read")),
    )
}

/// The statements of the documentation that ask something.
pub fn questions() -> Vec<String> {
    let blocks = DOCUMENT.split("```sql\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let statements = blocks.flat_map(|(block, _)| block.split(";\n").map(|text| text.trim().to_owned()));
    let asked: Vec<String> = statements.filter(|text| text.starts_with("SELECT")).collect();
    assert!(asked.len() >= 6, "{asked:?}");
    asked
}
