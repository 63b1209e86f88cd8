//! `gateway exec`: run a command in a fresh cgroup, intercepted.
//!
//! The cgroup and its hooks are there before the command: a child of ours moves in, gives up root, and becomes it.

use std::env::VarsOs;
use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use gateway_common::sys::{self, Unshare};
use rustix::fs::{Gid, Uid};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::CapabilitySet;
use tokio::signal::unix::{SignalKind, signal};

use super::serve::{Serving, running, runtime};
use super::user;
use super::{Files, fail, own_exec};
use crate::control::client::Client;
use crate::control::service::{AttachRequest, Attached, Detached, Status};
use crate::host::cgroup::{self, COMMANDS, Hierarchy};
use crate::host::process;
use crate::host::user::User;
use crate::policy::vocabulary::OPEN_GROUP;
use crate::sandbox::typing;
use crate::trust::{KNOWN_HOSTS, SSH_CONFIG, SYSTEM_AUTHORITIES};

/// What would lead a command to helpers outside, or was said to the gateway.
const REMOVED: [&str; 5] = ["SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "DOCKER_HOST", "CONTAINER_HOST", "NOTIFY_SOCKET"];
const PREFIXES: [&str; 3] = ["DBUS_", "SUDO_", "LISTEN_"];
/// How what the command trusts is mounted.
const PROTECTED: MountFlags = MountFlags::RDONLY.union(MountFlags::NOSUID).union(MountFlags::NODEV);

/// What to run, and as whom.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A name for it [default: the command's]
    #[arg(long)]
    name: Option<String>,
    /// Run it as this user [default: the one behind sudo]
    #[arg(long)]
    user: Option<String>,
    /// Run it as root, which can get around the gateway
    #[arg(long, conflicts_with = "user")]
    as_root: bool,
    #[command(flatten)]
    files: Files,
    /// The command
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// What the child becomes.
#[derive(Debug, Args)]
pub(super) struct ChildArguments {
    #[arg(long)]
    cgroup: PathBuf,
    #[arg(long)]
    user: String,
    #[arg(long)]
    ca_bundle: Option<PathBuf>,
    #[arg(long)]
    known_hosts: Option<PathBuf>,
    #[arg(long)]
    descriptors: Option<u64>,
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    match try_run(arguments) {
        Ok(status) => status,
        Err(error) => fail(error.as_ref()),
    }
}

fn try_run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        let Files { config, policies } = &arguments.files;
        if arguments.user.is_some() || arguments.as_root || config.is_some() || policies.is_some() {
            bail!("--user, --as-root, --config and --policies are root's: leave them out, or use sudo");
        }
        match own_exec::become_command(arguments.name, &arguments.command)? {}
    }
    let user = user::choose(arguments.user.as_deref(), arguments.as_root)?;
    let hierarchy = Hierarchy::find()?;
    let program = arguments.command.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let name_is_given = arguments.name.is_some();
    let name = arguments.name.unwrap_or_else(|| plain(&program.to_string_lossy()));
    let cgroup = hierarchy.mount().join(COMMANDS).join(format!("exec-{name}-{}", std::process::id()));
    fs::create_dir_all(&cgroup).with_context(|| format!("cannot make {}: run it with sudo", cgroup.display()))?;
    let request = AttachRequest {
        name: name.clone(),
        cgroup: cgroup.clone(),
        groups: vec![OPEN_GROUP.to_owned()],
        runs_as: Some(user.uid),
        tied: true,
        ..AttachRequest::default()
    };
    let result = runtime()?.block_on(async {
        match running().await? {
            Some(client) => {
                let status: Status = client.get("/v1/status").await?;
                let is_taken = status.attachments.iter().any(|attachment| attachment.name == name);
                // The same command twice is no mistake, as long as nobody asked for the name.
                let name = if is_taken && !name_is_given { format!("{name}-{}", std::process::id()) } else { name };
                let request = AttachRequest { name, ..request };
                with_daemon(&client, request, &arguments.command, &user, &cgroup).await
            }
            None => alone(arguments.files, request, &arguments.command, &user, &cgroup).await,
        }
    });
    if let Err(error) = cgroup::remove(&cgroup) {
        eprintln!("gateway: {} is left: {error}", cgroup.display());
    }
    result
}

async fn with_daemon(
    client: &Client,
    request: AttachRequest,
    command: &[String],
    user: &User,
    cgroup: &Path,
) -> anyhow::Result<ExitCode> {
    let name = request.name.clone();
    let attached: Attached = client.post("/v1/attach", &request).await?;
    let status = in_cgroup(command, user, (cgroup, None), &attached).await;
    let _: Detached = client.post("/v1/detach", &name).await?;
    status
}

async fn alone(
    files: Files,
    request: AttachRequest,
    command: &[String],
    user: &User,
    cgroup: &Path,
) -> anyhow::Result<ExitCode> {
    let name = request.name.clone();
    let config = files.config.clone();
    let serving = Serving::start(files, Some(request.clone())).await?;
    let status = match serving.warden.attach(request).await {
        Ok(attached) => in_cgroup(command, user, (cgroup, config.as_deref()), &attached).await,
        Err(error) => Err(error.into()),
    };
    let detached = serving.warden.detach(&name, "the command ended").await;
    if !serving.warden.status().attachments.is_empty() {
        eprintln!("gateway: {name} has ended; others here still use this gateway, which goes on until they end");
        // Their gates would close with us.
        while !serving.warden.status().attachments.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    serving.stop().await;
    let status = status?;
    detached?;
    Ok(status)
}

/// Runs the command to its end, and ends what it left behind: outside of the gateway nothing of it goes on. It trusts what
/// a gateway with this configuration shows.
async fn in_cgroup(
    command: &[String],
    user: &User,
    (cgroup, config): (&Path, Option<&Path>),
    attached: &Attached,
) -> anyhow::Result<ExitCode> {
    for gap in crate::capture::gaps::of_user(user.uid, &user.groups).iter().chain(&attached.gaps) {
        eprintln!("gateway: gap {}: {}", gap.name, gap.detail);
    }
    // Without its arguments, in which people put secrets.
    let program = command.first().map(String::as_str).unwrap_or_default();
    eprintln!("gateway: {program} runs as {} in {}", user.name, cgroup.display());
    // The terminal sends these to all of us; they are the command's.
    let (mut interrupt, mut quit) = (signal(SignalKind::interrupt())?, signal(SignalKind::quit())?);
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .arg("exec-child")
        .arg("--cgroup")
        .arg(cgroup)
        .args(["--user", &user.uid.to_string()])
        .args(process::descriptors_before().iter().flat_map(|count| ["--descriptors".to_owned(), count.to_string()]))
        .args(super::trust::bundle(config)?.iter().flat_map(|path| [Path::new("--ca-bundle"), path.as_path()]))
        .args(super::trust::known_hosts(config)?.iter().flat_map(|path| [Path::new("--known-hosts"), path.as_path()]))
        .arg("--")
        .args(command)
        .spawn()
        .context("cannot start our own program")?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    };
    cgroup::end_all(cgroup).await;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Moves into the cgroup, prepares trust, gives up root, becomes the command.
pub(super) fn child(arguments: ChildArguments) -> anyhow::Result<()> {
    let user = user::choose(Some(&arguments.user), arguments.user == "0")?;
    fs::write(arguments.cgroup.join("cgroup.procs"), std::process::id().to_string())
        .with_context(|| format!("cannot move to {}", arguments.cgroup.display()))?;
    show_trust(arguments.ca_bundle.as_deref(), arguments.known_hosts.as_deref())?;
    if let Some(count) = arguments.descriptors {
        process::limit_descriptors(count).context("cannot limit the number of descriptors")?;
    }
    give_up_root(&user)?;
    let mut words = arguments.command.iter();
    let program = words.next().context("no command")?;
    let mut command = Command::new(program);
    command.args(words);
    for name in leads_outside(std::env::vars_os()) {
        command.env_remove(name);
    }
    command.env("HOME", &user.home).env("USER", &user.name).env("LOGNAME", &user.name).env("SHELL", &user.shell);
    // Descriptors beyond the standard ones were somebody's outside: a socket among them would never meet a hook.
    sys::close_from(3)?;
    Err(command.exec()).with_context(|| format!("cannot run `{program}`"))
}

/// Puts our authority and our host key beside what the system knows, in a mount namespace of the command's own.
fn show_trust(bundle: Option<&Path>, known_hosts: Option<&Path>) -> anyhow::Result<()> {
    sys::unshare(Unshare::Mounts).context("cannot make a mount namespace")?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot make mounts private")?;
    if let Some(bundle) = bundle {
        for path in SYSTEM_AUTHORITIES.iter().filter(|path| Path::new(path).exists()) {
            show(bundle, path)?;
        }
    }
    match known_hosts {
        Some(folder) => show_known_hosts(folder),
        None => Ok(()),
    }
}

/// Shows a file in the place of another.
fn show(file: &Path, path: &str) -> anyhow::Result<()> {
    rustix::mount::mount_bind(file, path).with_context(|| format!("cannot mount over {path}"))?;
    let flags = MountFlags::BIND | PROTECTED;
    rustix::mount::mount_remount(path, flags, "").with_context(|| format!("cannot make {path} read-only"))
}

fn show_known_hosts(folder: &Path) -> anyhow::Result<()> {
    let path = format!("{SSH_CONFIG}/{KNOWN_HOSTS}");
    if Path::new(&path).exists() {
        return show(&folder.join(KNOWN_HOSTS), &path);
    }
    // There is no file to mount over: the folder is shown as it would be with one.
    let layers = CString::new(format!("lowerdir={}:{SSH_CONFIG}", folder.display()))?;
    if let Err(error) = rustix::mount::mount("overlay", SSH_CONFIG, "overlay", PROTECTED, Some(layers.as_c_str())) {
        eprintln!(
            "gateway: {path} is not there and cannot be shown ({error}), so that clients of SSH will not know the gateway: \
             once, as root: gateway trust --ssh >> {path}"
        );
    }
    Ok(())
}

fn give_up_root(user: &User) -> anyhow::Result<()> {
    if user.uid == 0 {
        return Ok(());
    }
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error).context("cannot empty the bounding set"),
        }
    }
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&groups).context("cannot change groups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).context("cannot change the group")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).context("cannot change the user")?;
    rustix::thread::set_no_new_privs(true).context("cannot give up new privileges")?;
    typing::forbid().context("cannot keep it from typing into the terminal")
}

/// Names of variables that lead a command to helpers outside, or tell who started it.
pub(super) fn leads_outside(variables: VarsOs) -> impl Iterator<Item = OsString> {
    let leads = |name: &str| REMOVED.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    variables.map(|(name, _)| name).filter(move |name| name.to_str().is_some_and(leads))
}

/// A command's name as the name of an attachment.
pub(super) fn plain(program: &str) -> String {
    let name: String = program.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(32).collect();
    if name.is_empty() { "exec".to_owned() } else { name }
}
