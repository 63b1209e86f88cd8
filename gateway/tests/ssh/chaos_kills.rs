//! Commands over SSH under random kills.

use std::process::Stdio;

use crate::chaos::{Chaos, SETTINGS};
use crate::clickhouse::ClickHouse;
use crate::host::Host;

#[test]
fn chaos_of_commands_leaves_none_without_its_event() {
    let host = Host::new();
    let store = ClickHouse::migrated(&host.world);
    let configuration = host.target().replacen('\n', &format!("\n{SETTINGS}{}", store.section()), 1);
    Chaos {
        name: "ssh",
        world: &host.world,
        store: &store,
        attach: &|| host.attach_with(&configuration, &[]),
        work: &|markers| {
            for marker in markers {
                let mut command = host.ssh_command(&["--", &format!("touch /run/deploy/{marker}")]);
                command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
            }
        },
        batch: 1,
        received: &|| host.world.sh("ls /run/deploy"),
        kind: "ssh.request",
    }
    .run();
}
