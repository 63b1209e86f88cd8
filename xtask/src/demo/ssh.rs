//! The SSH part of the demo: a web server's sshd beside the database, and what an agent with stock ssh is let do there.
//! In: a world. Out: the server, its target, its steps. The key that logs in is root's alone.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::screen::{Screen, Voice};
use super::servers::{Server, operator};
use super::story::{after, by_operator};
use super::world::{DATABASE, Side, World};
use crate::run::{quiet, until};

/// At the server alone.
const USER: &str = "deploy";
const CARD: &str = "4012888888881881";
const SSHD: &str = "Port 22
ListenAddress ADDRESS
HostKey DIRECTORY/secret/host_key
AuthorizedKeysFile DIRECTORY/authorized_keys
StrictModes no
UsePAM no
PidFile none
";
const TARGET: &str = r#"
[[target]]
name = "web"
protocol = "ssh"
addresses = ["ADDRESS"]
environment = "production"
  [target.ssh]
  host_keys = ["HOST_KEY"]
  [target.credential]
  user = "deploy"
  key = { file = "DIRECTORY/secret/deploy" }
"#;

/// sshd in the network namespace of the database.
pub(super) fn server(world: &World) -> Result<Server> {
    let folder = world.directory().display().to_string();
    for key in ["host_key", "deploy"] {
        let path = world.directory().join("secret").join(key);
        quiet(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path))?;
    }
    fs::copy(world.directory().join("secret/deploy.pub"), world.directory().join("authorized_keys"))
        .context("cannot copy a key")?;
    let configuration = world.file("sshd", &SSHD.replace("ADDRESS", DATABASE).replace("DIRECTORY", &folder))?;
    let fill = format!(
        "cd /run/{USER}; mkdir -p releases/1.4 releases/1.5; echo 'Ada Costa, {CARD}, 48.90' >failed.csv; \
         chown -R --reference=. ."
    );
    quiet(world.command(Side::Database, "sh").args(["-ec", &fill]))?;
    let mut command = world.command(Side::Database, "/usr/sbin/sshd");
    let mut running = Server::start(world, "sshd", command.args(["-D", "-e", "-f"]).arg(configuration))?;
    until("sshd", || {
        running.check()?;
        Ok(running.said().contains("Server listening"))
    })?;
    Ok(running)
}

/// Its lines of gateway.toml.
pub(super) fn target(world: &World) -> Result<String> {
    let key = world.directory().join("secret/host_key.pub");
    let key = fs::read_to_string(key).context("cannot read the host key")?;
    let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let folder = world.directory().display().to_string();
    Ok(TARGET.replace("ADDRESS", DATABASE).replace("HOST_KEY", &key).replace("DIRECTORY", &folder))
}

/// Has ssh take the gateway for every server: the one thing that is set up on its side.
pub(super) fn trust(world: &World) -> Result<()> {
    quiet(world.command(Side::Operator, "sh").args(["-ec", "gateway trust --ssh >/etc/ssh/ssh_known_hosts"])).map(drop)
}

/// A command of the agent, and all that it says.
fn agent(world: &World, arguments: &str) -> Command {
    let mut ssh = world.command(Side::Agent, "timeout");
    let script = format!("exec ssh -o BatchMode=yes {arguments} 2>&1");
    ssh.args(["60", "sh", "-c", &script]).stdout(Stdio::piped());
    ssh
}

fn typed(world: &World, screen: &Screen, command: &str) -> Result<String> {
    screen.typed(Voice::Agent, &format!("ssh {USER}@{DATABASE} '{command}'"));
    let output = agent(world, &format!("{USER}@{DATABASE} '{command}'")).output()?;
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    screen.shows(&seen);
    Ok(seen)
}

/// A command that is allowed, and one that is not.
pub(super) fn commands(world: &World, screen: &mut Screen) -> Result<()> {
    screen.step("The same over SSH: a command is allowed and masked, one that leads on to another host is denied");
    let seen = typed(world, screen, "whoami; cat failed.csv")?;
    let claim = "it runs as `deploy`, with the gateway's key; the card number is hidden, its length kept";
    let is_masked = seen.contains(USER) && seen.contains("****************") && !seen.contains(CARD);
    screen.check(is_masked, claim, &seen)?;
    let seen = typed(world, screen, "ls; nc 10.99.0.7 5432")?;
    let policy = "denied by policy guard.ssh.relay";
    screen.check(seen.contains(policy) && !seen.contains("releases"), "nothing of the line has run", &seen)
}

/// A command that waits, and the recording of its terminal.
pub(super) fn held(world: &World, screen: &mut Screen) -> Result<()> {
    screen.step("A command that removes files waits for a person; what its terminal showed is replayed");
    let command = format!("-tt {USER}@{DATABASE} 'rm -rv releases/1.4; ls releases'");
    screen.typed(Voice::Agent, &format!("ssh {command}"));
    let mut ssh = agent(world, &command).spawn().context("cannot start ssh")?;
    let mut output = BufReader::new(ssh.stdout.take().context("no output of ssh")?);
    let mut told = String::new();
    output.read_line(&mut told)?;
    screen.shows(&told);
    let held = told.contains("held by policy web.removals");
    screen.check(held, "the agent is told at once, on its terminal", &told)?;
    let ticket = after(&told, "it waits as request ")?;
    by_operator(world, screen, &["approve", &ticket, "--reason", "1.4 is not served any more"])?;
    let mut rest = String::new();
    output.read_to_string(&mut rest)?;
    ssh.wait()?;
    screen.typed(Voice::Agent, "(ssh has waited, and goes on)");
    screen.shows(&rest);
    screen.check(rest.contains("removed directory") && rest.contains("1.5"), "the command has run", &rest)?;
    let asked = operator(world, &["events", "--kind", "approval.requested", "--json"])?;
    let about = asked.lines().find(|line| line.contains(&ticket)).context("no event of the request")?;
    let session = after(&about.replace('"', " "), "session : ")?;
    until("the recording", || Ok(operator(world, &["replay", &session])?.contains("end    the client closed")))?;
    let played = by_operator(world, screen, &["replay", &session, "--play", "--speed", "20"])?;
    let same = rest.lines().all(|line| line.starts_with("Connection to") || played.contains(line.trim_end()));
    screen.check(same, "the recording shows what the terminal showed", &played)
}
