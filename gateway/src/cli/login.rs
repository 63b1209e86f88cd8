//! `gateway login` and `logout`: a person at the console of another host (RFC 8252).
//!
//! In: where the console is. Out: a login that is kept for the commands to come. It sends a person's browser to the issuer,
//! takes the code that comes back, and brings it to the console, which asks the issuer itself: no token comes to this host.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Output;
use super::callback::Callback;
use super::kept::{Entered, Folder, Login};
use super::remote::{At, LogInAgain, Remote, authorities, now};
use super::serve::runtime;
use super::terminal::visible;
use crate::audit::time::Timestamp;

/// A code waits no longer, whatever the console says.
const MAX_WAIT: u64 = 1_800;

/// Where, and how.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: At,
    /// Who vouches for the console's certificate, in PEM; kept with the login [default: the authorities of this system]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the page to visit, and start no browser
    #[arg(long)]
    no_browser: bool,
    /// Log in with a browser of any host, by a code that is typed there (RFC 8628), where the console allows that
    #[arg(long, conflicts_with = "no_browser")]
    device: bool,
    /// Log in nowhere: say where you are logged in
    #[arg(long, conflicts_with_all = ["ca", "no_browser", "device"])]
    status: bool,
}

/// Where.
#[derive(Debug, Args)]
pub(super) struct LogoutArguments {
    #[command(flatten)]
    at: At,
}

/// What a console answers who begins.
#[derive(Deserialize)]
struct Begun {
    login: String,
    address: String,
    state: String,
}

/// The same by device code.
#[derive(Deserialize)]
struct Device {
    login: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Polled {
    Waiting { waiting: u64 },
    Entered(Entered),
}

pub(super) fn run(arguments: &Arguments, output: Output) -> anyhow::Result<()> {
    let folder = Folder::own()?;
    if arguments.status {
        return status(&folder, &arguments.at, output);
    }
    let url = match arguments.at.url()? {
        Some(url) => url,
        None => only(&folder)?.context("at which console? Name it: `gateway login --console https://HOST`")?,
    };
    let ca = match &arguments.ca {
        Some(path) => Some(authorities(path)?),
        // As at the last login there; one that cannot be read any more has none.
        None => folder.read(&url).ok().flatten().and_then(|login| login.ca),
    };
    let remote = Remote::new(&url, ca.as_deref())?;
    let entered = runtime()?.block_on(async {
        if arguments.device { by_device(&remote).await } else { log_in(&remote, !arguments.no_browser).await }
    })?;
    let fresh_for = entered.fresh_for;
    let login = Login::new(remote.url(), ca, entered, now());
    folder.write(&login)?;
    output.print(&told(&login), |_| {
        format!("{}\ndecisions count for {} minutes, then log in again", words(&login), fresh_for / 60)
    })
}

async fn log_in(remote: &Remote, starts_browser: bool) -> anyhow::Result<Entered> {
    let callback = Callback::open().await?;
    let port = callback.port();
    let begun: Begun = remote.post("/api/v1/login", &json!({ "port": port })).await?;
    // It is handed to another program, and to a terminal.
    let is_page = begun.address.starts_with("https://") && begun.address.chars().all(|c| c.is_ascii_graphic());
    ensure!(is_page, "the console leads to a page that is none: `{}`", visible(&begun.address));
    eprintln!(
        "Log in on this page, in a browser of this host (over SSH, with `-L {port}:127.0.0.1:{port}`):\n\n  {}\n",
        begun.address
    );
    if starts_browser {
        start_browser(&begun.address);
    }
    let brought = callback.wait(&begun.state).await?;
    let back = json!({ "login": begun.login, "state": begun.state, "code": brought.code, "iss": brought.issuer });
    remote.post("/api/v1/login/code", &back).await
}

/// By a code that the person types at the issuer, wherever their browser is.
async fn by_device(remote: &Remote) -> anyhow::Result<Entered> {
    let device: Device = remote.post("/api/v1/login/device", &json!({})).await?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(device.expires_in.min(MAX_WAIT));
    let complete = device.verification_uri_complete.map(|page| format!(", or {}", visible(&page))).unwrap_or_default();
    eprintln!(
        "Log in on this page, in a browser of any host{complete}:\n\n  {}\n\nand type this code there, which nobody but you should have:\n\n  {}\n",
        visible(&device.verification_uri),
        visible(&device.user_code)
    );
    let mut pause = device.interval;
    loop {
        tokio::time::sleep(Duration::from_secs(pause.clamp(1, 60))).await;
        ensure!(tokio::time::Instant::now() < deadline, "nobody typed the code in its time: begin again");
        match remote.post("/api/v1/login/device/poll", &json!({ "login": device.login })).await? {
            Polled::Waiting { waiting } => pause = waiting,
            Polled::Entered(entered) => return Ok(entered),
        }
    }
}

/// Where a person sits, and is not root: a browser of root's would be one.
fn start_browser(address: &str) {
    let sits = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if sits && !rustix::process::geteuid().is_root() {
        let mut browser = Command::new("xdg-open");
        // Where there is none, the page is printed.
        let _ = browser.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    }
}

fn status(folder: &Folder, at: &At, output: Output) -> anyhow::Result<()> {
    let all = match at.url()? {
        Some(url) => vec![url],
        None => folder.consoles()?,
    };
    let mut logins = Vec::new();
    for url in all {
        logins.extend(folder.read(&url)?);
    }
    ensure!(!logins.is_empty(), "you are logged in at no console");
    let mut told_of = Vec::new();
    let mut lines = String::new();
    let mut over = 0;
    for login in logins {
        let asked = Remote::of(login.clone()).and_then(|remote| runtime()?.block_on(remote.get::<Value>("/api/v1/me")));
        let line = match &asked {
            Ok(me) => {
                let fresh = me.get("fresh_for").and_then(Value::as_u64).unwrap_or_default();
                let fresh = if fresh == 0 {
                    "decisions need a new login".to_owned()
                } else {
                    format!("decisions count for {fresh} s")
                };
                format!("{}, {fresh}\n", words(&login))
            }
            Err(error) => format!("{error:#}\n"),
        };
        over += usize::from(asked.is_err());
        let mut one = told(&login);
        if let Some(one) = one.as_object_mut() {
            let error = asked.as_ref().err().map(|error| format!("{error:#}"));
            one.insert(
                "fresh_for".to_owned(),
                asked.ok().and_then(|me| me.get("fresh_for").cloned()).unwrap_or_default(),
            );
            one.insert("error".to_owned(), json!(error));
        }
        told_of.push(one);
        lines += &line;
    }
    output.print(&told_of, |_| lines)?;
    if over > 0 {
        bail!("{over} of them do not count now");
    }
    Ok(())
}

pub(super) fn log_out(arguments: &LogoutArguments, output: Output) -> anyhow::Result<()> {
    let folder = Folder::own()?;
    let url = match arguments.at.url()? {
        Some(url) => url,
        None => only(&folder)?.context("you are logged in at no console")?,
    };
    let login = folder.read(&url)?.with_context(|| format!("you are not logged in at {url}"))?;
    // Here it is over, whatever the console says.
    folder.remove(&url)?;
    if login.ends > now() {
        let told = runtime()?.block_on(Remote::of(login)?.post::<Value>("/api/v1/logout", &json!({})));
        // Where it is over already, that is what was wanted.
        let told = told.map(drop).or_else(|error| if error.is::<LogInAgain>() { Ok(()) } else { Err(error) });
        told.context("the login is forgotten here, and may count at the console still")?;
    }
    output.print(&json!({ "console": url, "state": "logged out" }), |_| format!("you are logged out at {url}"))
}

/// The console, where there is a login at one alone.
fn only(folder: &Folder) -> anyhow::Result<Option<String>> {
    let mut all = folder.consoles()?;
    ensure!(all.len() < 2, "you are logged in at {}: name one with --console", all.join(", "));
    Ok(all.pop())
}

fn words(login: &Login) -> String {
    let groups =
        if login.groups.is_empty() { "in no group".to_owned() } else { format!("in {}", login.groups.join(", ")) };
    visible(&format!("you are logged in at {} as {}, {groups}, until {}", login.console, login.name, ends(login)))
}

/// What may be told of it: who and where, nothing that speaks for them.
fn told(login: &Login) -> Value {
    json!({ "console": login.console, "name": login.name, "groups": login.groups, "ends": ends(login) })
}

fn ends(login: &Login) -> Timestamp {
    Timestamp::from_micros(login.ends.saturating_mul(1_000_000))
}
