//! Sessions that are open while hooks and maps are taken away and put back, and while the configuration is read anew.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use crate::shop::{Shop, Side};
use crate::wait::for_some_within;

/// Hooks and maps are looked at every ten seconds.
const A_LOOK: Duration = Duration::from_secs(30);

/// A psql that stays.
struct Open {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Open {
    fn new(shop: &Shop) -> Self {
        let mut psql = shop.command(Side::Inside, &[], &["psql", "-XAtqw"]);
        let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// The server's process for this session, asked of the server.
    fn backend(&mut self) -> String {
        self.input.write_all(b"SELECT pg_backend_pid();\n").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sessions_go_on_over_a_reload_and_a_repair() {
    let shop = Shop::new();
    let gateway = shop.attach_with("");
    let mut open = Open::new(&shop);
    let backend = open.backend();
    assert_ne!(backend, "");
    shop.world.file("gateway.toml", "version = 1\n[egress]\ndefault = \"deny\"\n");
    let other = shop.world.top().join("other");
    std::fs::create_dir_all(&other).unwrap();
    let said = shop.world.cli(&["attach", "--cgroup", other.to_str().unwrap(), "--name", "other"]);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(open.backend(), backend, "a reload: {}", gateway.output());
    let pins = || shop.world.sh("ls -R /sys/fs/bpf/gateway/v1");
    let all = pins();
    let repaired = || shop.world.events("attachment.repaired").len();
    for taken in ["links/connect4", "links/*", "maps-*/flow", "maps-*/*"] {
        let before = repaired();
        shop.world.sh(&format!("rm /sys/fs/bpf/gateway/v1/*/{taken}"));
        assert_ne!(pins(), all);
        for_some_within(A_LOOK, "the repair", || (pins() == all && repaired() > before).then_some(()));
        assert_eq!(open.backend(), backend, "{taken}: {}", gateway.output());
    }
    assert!(shop.world.cli(&["detach", "other"]).status.success());
    assert_eq!(open.backend(), backend, "another reload: {}", gateway.output());
    assert_eq!(shop.psql(&["SELECT 'again'"]).out, "again");
}
