//! The ClickHouse that the pages are tried with. In: a folder. Out: what a server needs there to have the logins of
//! docs/clickhouse.md, with their grants and no other right. It must never be one that somebody else uses.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;

use anyhow::{Context, Result, ensure};

/// The logins, and their passwords as the pages have them.
const LOGINS: [(&str, &str); 3] =
    [("gateway_ship", "ship-password"), ("gateway_migrate", "migrate-password"), ("gateway_read", "read-password")];

/// A server that ends with this.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes its users, and returns a port that nobody has.
pub(super) fn set_up(root: &Path, home: &Path) -> Result<u16> {
    fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
    let page = fs::read_to_string(root.join("docs/clickhouse.md")).context("cannot read docs/clickhouse.md")?;
    let mut users = user("default", "", "");
    for (name, password) in LOGINS {
        let of_name =
            |line: &str| line.strip_suffix(&format!(" TO {name};")).map(|grant| format!("<query>{grant}</query>"));
        let grants: String = page.lines().filter_map(of_name).collect();
        ensure!(!grants.is_empty(), "docs/clickhouse.md grants nothing to {name}");
        users += &user(name, password, &format!("<grants>{grants}</grants>"));
    }
    let path = home.join("config.xml");
    let text = format!(
        "<clickhouse><users_config>{0}</users_config><user_directories><users_xml><path>{0}</path></users_xml></user_directories>\
         <profiles><default/></profiles><quotas><default/></quotas><users>{users}</users></clickhouse>",
        path.display()
    );
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(free.context("no port is free")?.port())
}

fn user(name: &str, password: &str, inside: &str) -> String {
    format!(
        "<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>\
         <quota>default</quota>{inside}</{name}>"
    )
}
