//! What a client has to know to take the gateway for the server: which lines, by client and version, and what `exec` shows.

use std::fs;
use std::process::Command;

use crate::host::{Host, Ran, SERVER, USER, ran};

/// Where the page about SSH has its table of clients.
const PAGE: &str = include_str!("../../../docs/ssh.md");
/// Debian's package of each client, and how the table calls it.
const CLIENTS: [(&str, &str); 5] = [
    ("openssh-client", "OpenSSH"),
    ("python3-asyncssh", "asyncssh"),
    ("golang-golang-x-crypto-dev", "golang.org/x/crypto/ssh"),
    ("python3-paramiko", "Paramiko"),
    ("libssh2-1", "libssh2"),
];

const ASYNCSSH: &str = "import asyncio, asyncssh, sys
async def main():
    async with asyncssh.connect(sys.argv[2], username='deploy', known_hosts=sys.argv[1], client_keys=None, config=None, agent_path=None) as c:
        print((await c.run('echo in', check=True)).stdout, end='')
asyncio.run(main())
";
const PARAMIKO: &str = "import paramiko, sys
client = paramiko.SSHClient()
client.load_host_keys(sys.argv[1])
client.connect(sys.argv[2], username='deploy', password='nobody asks', allow_agent=False, look_for_keys=False)
print(client.exec_command('echo in')[1].read().decode(), end='')
";
const GO: &str = "package main
import (\"fmt\"; \"os\"; \"golang.org/x/crypto/ssh\"; \"golang.org/x/crypto/ssh/knownhosts\")
func try() (string, error) {
	known, err := knownhosts.New(os.Args[1])
	if err != nil { return \"\", err }
	client, err := ssh.Dial(\"tcp\", os.Args[2] + \":22\", &ssh.ClientConfig{User: \"deploy\", HostKeyCallback: known})
	if err != nil { return \"\", err }
	session, err := client.NewSession()
	if err != nil { return \"\", err }
	said, err := session.Output(\"echo in\")
	return string(said), err
}
func main() {
	said, err := try()
	if err != nil { fmt.Fprintln(os.Stderr, err); os.Exit(1) }
	fmt.Print(said)
}
";

impl Host {
    /// What a client does that knows this line and nothing else.
    fn trusting(&self, client: &str, line: &str) -> Ran {
        let file = self.world.file("known", &format!("{line}\n")).display().to_string();
        let script = |text: &str| self.world.file("client.py", text).display().to_string();
        let python =
            |text: &str| ran(&mut self.command(&["timeout", "300", "/usr/bin/python3", &script(text), &file, SERVER]));
        match client {
            "OpenSSH" => {
                let (global, user) = (format!("GlobalKnownHostsFile={file}"), "UserKnownHostsFile=/dev/null");
                self.ssh(&["-o", &global, "-o", user, "--", "echo in"])
            }
            "asyncssh" => python(ASYNCSSH),
            "Paramiko" => python(PARAMIKO),
            "libssh2" => {
                self.world.sh(&format!(
                    "mkdir -p /run/home/.ssh; cp {file} /run/home/.ssh/known_hosts; chmod 755 /run/home/.ssh"
                ));
                let url = format!("sftp://{SERVER}/etc/hostname");
                let mut got = ran(&mut self.command(&["curl", "-sS", "-m", "300", "-u", "deploy:nobody-asks", &url]));
                got.out = if got.code == Some(0) { "in\n".to_owned() } else { got.out };
                got
            }
            _ => ran(&mut self.command(&["timeout", "300", &self.go(), &file, SERVER])),
        }
    }

    /// The client in Go, built once.
    fn go(&self) -> String {
        let program = self.world.directory().join("client-go");
        if !program.exists() {
            let source = self.world.file("client.go", GO);
            self.world.sh(&format!(
                "export GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE={0}/go-cache GOFLAGS=-p=1; go build -o {0}/client-go {1}",
                self.world.directory().display(),
                source.display()
            ));
        }
        program.display().to_string()
    }
}

/// Debian's version of a package, without what Debian added.
fn version(package: &str) -> String {
    let said = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output().unwrap();
    let version = String::from_utf8(said.stdout).unwrap();
    let upstream = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
    let numbers: Vec<_> = upstream.split(|c: char| !c.is_ascii_digit()).take(2).collect();
    numbers.join(".")
}

#[test]
fn clients_take_the_lines_that_the_table_says() {
    let host = Host::new();
    let _gateway = host.attach();
    let plain = host.world.cli(&["trust", "--ssh"]).out;
    let authority = host.world.cli(&["trust", "--ssh-host-authority"]).out;
    assert!(authority.starts_with("@cert-authority * ssh-ed25519 "), "{authority}");
    let lines = [plain.clone(), authority, plain.replacen('*', SERVER, 1)];
    let mut seen = Vec::new();
    for (package, name) in CLIENTS {
        let takes = lines.each_ref().map(|line| {
            let ran = host.trusting(name, line.trim());
            assert!(ran.code == Some(0) || !ran.err.is_empty(), "{name}: {ran:?}");
            if ran.code == Some(0) && ran.out == "in\n" { "yes" } else { "no" }
        });
        let more = if name == "libssh2" { " (curl)" } else { "" };
        seen.push(format!("| {name} {}{more} | {} |", version(package), takes.join(" | ")));
    }
    let table: Vec<_> =
        PAGE.lines().filter(|line| CLIENTS.iter().any(|(_, name)| line.starts_with(&format!("| {name} ")))).collect();
    assert_eq!(seen, table);
    // Whoever knows none of it takes nothing.
    let other = format!("* {}", host.host_key());
    for (_, name) in CLIENTS {
        assert_ne!(host.trusting(name, &other).code, Some(0), "{name}");
    }
}

#[test]
fn a_certificate_of_our_key_is_for_the_names_of_its_target_alone() {
    let host = Host::new();
    let config = host.target().replace("addresses = [", "addresses = [\"web.test\", ");
    let _gateway = host.attach_with(&config, &[]);
    let line = host.world.cli(&["trust", "--ssh-host-authority"]).out;
    host.world.sh(&format!("echo '{}' > /etc/ssh/ssh_known_hosts", line.trim()));
    for (name, is_taken) in [(SERVER, true), ("web.test", true), ("db.test", false), ("10.77.0.3", false)] {
        let alias = format!("HostKeyAlias={name}");
        let ran = host.ssh(&["-o", &alias, "--", "echo in"]);
        assert_eq!(ran.out == "in\n", is_taken, "{name}: {ran:?}");
    }
}

#[test]
fn exec_shows_its_command_our_key_beside_what_the_system_knows() {
    let host = Host::new();
    let config = host.world.file("gateway.toml", &host.target()).display().to_string();
    let exec = |script: &str| {
        let mut command = host.world.command("/run/it/gateway");
        command.args(["exec", "--user", "agent", "--config", &config, "--", "sh", "-c", script]);
        ran(&mut command)
    };
    let options = Host::options().join(" ");
    let script = format!("cat /etc/ssh/ssh_known_hosts; ssh {options} {USER}@{SERVER} echo in");
    // No such file there.
    let first = exec(&script);
    let ours = host.world.cli(&["trust", "--ssh"]).out;
    assert_eq!(first.out, format!("{ours}in\n"), "{first:?}");
    assert_eq!(host.world.sh("ls /etc/ssh"), "", "and nobody else's");
    // One that ends without a line's end.
    let theirs = format!("other.test {}", host.host_key());
    host.world.sh(&format!("printf %s '{theirs}' > /etc/ssh/ssh_known_hosts"));
    let second = exec(&script);
    assert_eq!(second.out, format!("{theirs}\n{ours}in\n"), "{second:?}");
    assert_eq!(host.world.sh("cat /etc/ssh/ssh_known_hosts"), theirs);
    assert_ne!(exec("echo x >> /etc/ssh/ssh_known_hosts").code, Some(0));
    assert!(fs::read_to_string(host.file("log")).unwrap().contains("Accepted publickey"));
}
