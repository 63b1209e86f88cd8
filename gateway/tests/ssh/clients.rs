//! Other clients than ssh, each at a real task.

use std::process::Command;

use crate::host::{Host, Ran, SERVER, ran};

/// With all that clients run, scripts among it, since that is what some of them do.
const PERMIT: &str = "@id(\"all\") permit (
    principal, action in [Action::\"session\", Action::\"run\", Action::\"read\", Action::\"write\"], resource);";

impl Host {
    fn attach_clients(&self) -> crate::gateway::Gateway<'_> {
        let file = self.world.file("policies/test.cedar", PERMIT);
        let directory = file.parent().unwrap().display().to_string();
        let config = self.target() + "[policy]\ndisable = [\"guard.ssh.opaque\"]\n";
        self.attach_with(&config, &["--policies", &directory])
    }

    /// A shell script inside, as the client's user.
    fn script(&self, script: &str) -> Ran {
        ran(self
            .command(&["timeout", "120", "sh", "-ec", script])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
    }

    fn sums(&self, directory: &str) -> String {
        self.world.sh(&format!("cd {directory} && find . -type f -not -path './.git/*' | sort | xargs sha256sum"))
    }
}

/// Files of several sizes, one of them large.
const FILES: &str =
    "mkdir -p /run/home/in/sub; cd /run/home/in; head -c 5000000 /dev/urandom > large; echo text > text;
    : > empty; head -c 70000 /dev/zero > sub/zeros";

#[test]
fn scp_copies_both_ways_by_both_of_its_protocols() {
    let host = Host::new();
    let _gateway = host.attach();
    for mode in ["-O", "-s"] {
        let (up, back) = (format!("/run/deploy/up{mode}"), format!("/run/home/back{mode}"));
        let ran = host.script(&format!(
            "{FILES}; scp {mode} -q -r /run/home/in deploy@{SERVER}:{up}; scp {mode} -q -r deploy@{SERVER}:{up} {back}"
        ));
        assert_eq!(ran.code, Some(0), "{mode}: {ran:?}");
        assert_eq!(host.sums("/run/home/in"), host.sums(&up), "{mode}");
        assert_eq!(host.sums("/run/home/in"), host.sums(&back), "{mode}");
    }
}

#[test]
fn rsync_copies_and_updates() {
    let host = Host::new();
    let _gateway = host.attach();
    let ran = host.script(&format!(
        "{FILES}; rsync -a /run/home/in/ deploy@{SERVER}:/run/deploy/up/; echo more >> text
         rsync -a --delete /run/home/in/ deploy@{SERVER}:/run/deploy/up/; rsync -a deploy@{SERVER}:/run/deploy/up/ /run/home/back/"
    ));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(host.sums("/run/home/in"), host.sums("/run/deploy/up"));
    assert_eq!(host.sums("/run/home/in"), host.sums("/run/home/back"));
}

#[test]
fn git_clones_and_pushes() {
    let host = Host::new();
    let _gateway = host.attach();
    host.world
        .sh("git init -q --bare /run/deploy/repo.git; chown -R $(stat -c %u:%g /run/deploy) /run/deploy/repo.git");
    let ran = host.script(&format!(
        "export HOME=/run/home GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a; cd /run/home
         git clone -q deploy@{SERVER}:/run/deploy/repo.git one; cd one; head -c 300000 /dev/urandom > file; git add file
         git commit -q -m first; git push -q origin HEAD:main; git clone -q -b main deploy@{SERVER}:/run/deploy/repo.git ../two
         cmp file ../two/file"
    ));
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn paramiko_runs_commands_and_copies_both_ways() {
    let host = Host::new();
    let _gateway = host.attach();
    let key = host.world.sh("cut -d' ' -f2- /etc/ssh/ssh_known_hosts");
    let known = host.world.file("paramiko_hosts", &format!("{SERVER} {key}"));
    let script = format!(
        "import paramiko\nclient = paramiko.SSHClient()\nclient.load_host_keys('{}')\n\
         client.connect('{SERVER}', username='deploy', password='nobody asks', allow_agent=False, look_for_keys=False)\n\
         for number in range(3):\n  i, out, err = client.exec_command('echo %d; exit %d' % (number, number))\n  \
         print(out.read().decode().strip(), out.channel.recv_exit_status())\n\
         i, out, err = client.exec_command('wc -c')\ni.write('x' * 500000)\ni.channel.shutdown_write()\nprint(out.read().decode().strip())\n\
         files = client.open_sftp()\nfiles.put('/run/home/in/large', '/run/deploy/large')\nfiles.get('/run/deploy/large', '/run/home/back')\n",
        known.display()
    );
    let file = host.world.file("client.py", &script);
    let ran = host.script(&format!(
        "{FILES}; /usr/bin/python3 {}; cmp large ../back; cmp large /run/deploy/large",
        file.display()
    ));
    assert_eq!((ran.out.as_str(), ran.code), ("0 0\n1 1\n2 2\n500000\n", Some(0)), "{ran:?}");
}

#[test]
fn libssh2_copies_both_ways() {
    let host = Host::new();
    let _gateway = host.attach();
    let key = host.world.sh("cut -d' ' -f2- /etc/ssh/ssh_known_hosts");
    let ran = host.script(&format!(
        "{FILES}; mkdir -p /run/home/.ssh; echo '{SERVER} {}' > /run/home/.ssh/known_hosts
         export HOME=/run/home; cd /run/home
         curl -sS -u deploy:nobody-asks -T in/large sftp://{SERVER}/run/deploy/large
         curl -sS -u deploy:nobody-asks -o back sftp://{SERVER}/run/deploy/large; cmp in/large back; curl --version",
        key.trim()
    ));
    assert!(ran.code == Some(0) && ran.out.contains("libssh2/"), "{ran:?}");
    let transfers = host.world.events("ssh.transfer");
    assert_eq!(transfers.len(), 2, "{transfers:?}");
}

#[test]
fn ansible_runs_a_module() {
    let host = Host::new();
    let _gateway = host.attach_clients();
    let ran = host.script(&format!(
        "export HOME=/run/home LC_ALL=C.UTF-8 ANSIBLE_SSH_TRANSFER_METHOD=piped ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3; cd /run/home
         ansible all -i {SERVER}, -u deploy -m ping; ansible all -i {SERVER}, -u deploy -m copy -a 'content=placed dest=/run/deploy/placed'"
    ));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("\"ping\": \"pong\""), "{ran:?}");
    assert_eq!(host.world.sh("cat /run/deploy/placed"), "placed");
}

#[test]
fn many_sessions_at_once_are_served() {
    let host = Host::new();
    let _gateway = host.attach();
    let children: Vec<_> = (0..40)
        .map(|number| {
            let mut ssh: Command = host.ssh_command(&[&format!("echo {number}")]);
            ssh.stdout(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{number}\n"));
    }
}
