//! Files: SFTP and scp, operation by operation.

use crate::host::{Host, Ran, SERVER, ran};

const PERMIT: &str = "@id(\"in\") permit (principal, action in [Ssh::Action::\"login\", Ssh::Action::\"exec\", Ssh::Action::\"sftp_list\"], resource);
    @id(\"read\") permit (principal, action == Ssh::Action::\"sftp_read\", resource) when { context.path like \"/run/deploy/*\" };
    @id(\"write\") permit (principal, action in [Ssh::Action::\"sftp_write\", Ssh::Action::\"sftp_rename\", Ssh::Action::\"sftp_attributes\"], resource) when { context.path like \"/run/deploy/inbox/*\" };";

impl Host {
    fn attach_files(&self) -> crate::gateway::Gateway<'_> {
        self.world.sh(
            "mkdir /run/deploy/inbox; echo secret > /run/secret; chmod 644 /run/secret
             chown -R $(stat -c %u:%g /run/deploy) /run/deploy; head -c 3000000 /dev/urandom > /run/home/big; chmod 644 /run/home/big",
        );
        self.attach_policies(PERMIT)
    }

    fn sftp(&self, batch: &str) -> Ran {
        let file = self.world.file("batch", batch);
        let user = format!("deploy@{SERVER}");
        ran(&mut self.command(&[
            "timeout",
            "60",
            "sftp",
            "-q",
            "-b",
            &file.display().to_string(),
            "-o",
            "BatchMode=yes",
            &user,
        ]))
    }
}

#[test]
fn sftp_is_judged_by_operation_and_path_and_transfers_are_kept() {
    let host = Host::new();
    let _gateway = host.attach_files();
    let good = host.sftp(
        "put /run/home/big /run/deploy/inbox/big\nget /run/deploy/inbox/big /run/home/back\nls /run/deploy/inbox\n",
    );
    assert_eq!(good.code, Some(0), "{good:?}");
    let sum = host.world.sh("sha256sum < /run/home/big");
    assert_eq!(host.world.sh("sha256sum < /run/home/back"), sum);
    let hash = sum.split(' ').next().unwrap();
    for direction in ["write", "read"] {
        let transfer = host.world.event("ssh.transfer", |body| body["direction"] == direction);
        assert_eq!((&transfer["sha256"], &transfer["bytes"]), (&hash.into(), &3_000_000.into()), "{transfer}");
        assert_eq!(transfer["complete"], true);
    }
    for (batch, reached) in [
        ("get /run/secret /run/home/stolen\n", "test ! -s /run/home/stolen"),
        ("get /run/deploy/../secret /run/home/stolen\n", "test ! -s /run/home/stolen"),
        ("put /run/home/big /run/deploy/outside\n", "test ! -e /run/deploy/outside"),
        ("rm /run/deploy/inbox/big\n", "test -e /run/deploy/inbox/big"),
        ("rename /run/deploy/inbox/big /run/deploy/inbox/.bashrc\n", "test -e /run/deploy/inbox/big"),
    ] {
        let denied = host.sftp(batch);
        assert_ne!(denied.code, Some(0), "{batch}: {denied:?}");
        host.world.sh(reached);
    }
    assert!(host.requests("file").iter().any(|body| body["text"].as_str().unwrap().contains("/run/secret")
        && body["decision"]["verdict"] == "deny"));
}

#[test]
fn scp_is_judged_likewise_in_both_of_its_protocols() {
    let host = Host::new();
    let _gateway = host.attach_files();
    for mode in ["-O", "-s"] {
        let script = |words: &str| {
            ran(&mut host.command(&["timeout", "60", "sh", "-c", &format!("scp {mode} -q -o BatchMode=yes {words}")]))
        };
        let good = script(&format!("/run/home/big deploy@{SERVER}:/run/deploy/inbox/{}", &mode[1..]));
        assert_eq!(good.code, Some(0), "{mode}: {good:?}");
        let sums = host.world.sh(&format!("cmp /run/home/big /run/deploy/inbox/{} && echo same", &mode[1..]));
        assert_eq!(sums, "same\n");
        let denied = script(&format!("/run/home/big deploy@{SERVER}:/run/deploy/outside"));
        assert_ne!(denied.code, Some(0), "{mode}: {denied:?}");
        host.world.sh("test ! -e /run/deploy/outside");
        let stolen = script(&format!("deploy@{SERVER}:/run/secret /run/home/stolen"));
        assert_ne!(stolen.code, Some(0), "{mode}: {stolen:?}");
        host.world.sh("test ! -s /run/home/stolen");
    }
    assert!(host.world.events("ssh.transfer").len() >= 2);
}

#[test]
fn a_file_that_holds_a_value_does_not_leave() {
    let host = Host::new();
    let _gateway = host.attach();
    host.world.sh("echo card 4242424242424242 > /run/deploy/cards; chmod 644 /run/deploy/cards");
    let stopped = host.sftp("get /run/deploy/cards /run/home/cards\n");
    assert_ne!(stopped.code, Some(0), "{stopped:?}");
    assert!(!host.world.sh("cat /run/home/cards 2>/dev/null || true").contains("4242424242424242"));
}
