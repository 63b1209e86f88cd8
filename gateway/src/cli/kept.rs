//! Logins at consoles, kept between commands: a file for each console, for its owner's eyes alone.
//!
//! In: what a console said at a login. Out: the same for the next command. A link, a file of somebody else, or one that others
//! may read is refused: what is in it speaks for a person. Nothing of it is printed or logged.

use std::fs::{self, DirBuilder, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat};
use serde::{Deserialize, Serialize};

/// The largest file: authorities are most of it.
const MAX_FILE: u64 = 4 * 1024 * 1024;
const VERSION: u32 = 1;

/// A login at one console.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    version: u32,
    /// Where.
    pub(super) console: String,
    /// Who vouches for the console's certificate, in PEM; none: the authorities of the system.
    pub(super) ca: Option<String>,
    /// What says that it is us.
    pub(super) session: String,
    /// What changes need besides.
    pub(super) token: String,
    /// Who.
    pub(super) name: String,
    /// The groups that they are in.
    pub(super) groups: Vec<String>,
    /// When it ends, in seconds from 1970.
    pub(super) ends: u64,
}

/// What a console answers who logs in.
#[derive(Deserialize)]
pub(super) struct Entered {
    session: String,
    token: String,
    name: String,
    groups: Vec<String>,
    ends_in: u64,
    /// Decisions count for so many seconds.
    pub(super) fresh_for: u64,
}

impl Login {
    /// A new one, begun now.
    pub(super) fn new(console: &str, ca: Option<String>, entered: Entered, now: u64) -> Self {
        let Entered { session, token, name, groups, ends_in, .. } = entered;
        let ends = now.saturating_add(ends_in);
        Self { version: VERSION, console: console.to_owned(), ca, session, token, name, groups, ends }
    }
}

/// The folder of them.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// That of this user (XDG Base Directory Specification: `$XDG_STATE_HOME`, where it is absolute, else `~/.local/state`).
    pub(super) fn own() -> anyhow::Result<Self> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        let state = state.context("there is no place to keep a login: set `HOME` or `XDG_STATE_HOME`")?;
        Ok(Self(state.join("gateway")))
    }

    /// The login at a console, if there is one.
    pub(super) fn read(&self, console: &str) -> anyhow::Result<Option<Login>> {
        let Some(folder) = self.open()? else { return Ok(None) };
        let name = file_name(console);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(&folder, &*name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read `{}`", self.0.join(&*name).display()));
            }
        };
        let path = self.0.join(&*name);
        let about = file.metadata()?;
        let is_own = about.is_file() && about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o077 == 0;
        ensure!(
            is_own,
            "`{}` is not a file of yours alone, and was not read: remove it, and log in again",
            path.display()
        );
        let mut text = zeroize::Zeroizing::new(Vec::new());
        file.take(MAX_FILE).read_to_end(&mut text)?;
        let login: Login = match serde_json::from_slice(&text) {
            Ok(login) => login,
            // Its error could quote what it read.
            Err(_) => bail!("`{}` was not understood: remove it, and log in again", path.display()),
        };
        ensure!(
            login.version == VERSION && login.console == console,
            "`{}` is of another console or version: remove it, and log in again",
            path.display()
        );
        Ok(Some(login))
    }

    /// The consoles that there are logins at.
    pub(super) fn consoles(&self) -> anyhow::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", self.0.display())),
        };
        let mut all: Vec<String> = entries.filter_map(|entry| console_of(entry.ok()?.file_name().to_str()?)).collect();
        all.sort();
        Ok(all)
    }

    /// Keeps one.
    pub(super) fn write(&self, login: &Login) -> anyhow::Result<()> {
        let cannot = || format!("cannot keep the login in `{}`", self.0.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).with_context(cannot)?;
        let folder = self.open()?.with_context(cannot)?;
        let (name, new) = (file_name(&login.console), format!(".new-{}", std::process::id()));
        let text = zeroize::Zeroizing::new(serde_json::to_vec(login)?);
        // What one with this number left that was killed.
        let _ = unlinkat(&folder, &*new, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&folder, &*new, flags, Mode::RUSR | Mode::WUSR).with_context(cannot)?);
        file.write_all(&text).and_then(|()| file.sync_all()).with_context(cannot)?;
        // In the place of whatever is there, a link too, and never through it.
        renameat(&folder, &*new, &folder, &*name).with_context(cannot)
    }

    /// Forgets one.
    pub(super) fn remove(&self, console: &str) -> anyhow::Result<()> {
        let Some(folder) = self.open()? else { return Ok(()) };
        match unlinkat(&folder, &*file_name(console), AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot remove the login from `{}`", self.0.display())),
        }
    }

    /// The folder, where there is one and nobody else may put something in it.
    fn open(&self) -> anyhow::Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match openat(CWD, &self.0, flags, Mode::empty()) {
            Ok(folder) => File::from(folder),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("`{}` cannot be opened as a folder", self.0.display()));
            }
        };
        let about = folder.metadata()?;
        ensure!(
            about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o022 == 0,
            "`{}` is not yours alone to write: logins are not kept there",
            self.0.display()
        );
        Ok(Some(folder.into()))
    }
}

/// One name for each console; `https://` goes without saying, and a name cannot have a slash.
fn file_name(console: &str) -> String {
    format!("{}.login", console.trim_start_matches("https://"))
}

fn console_of(name: &str) -> Option<String> {
    name.strip_suffix(".login").map(|console| format!("https://{console}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    const AT: &str = "https://gateway.example.com:7443";

    fn login(session: &str) -> Login {
        let entered = Entered {
            session: session.to_owned(),
            token: "t".to_owned(),
            name: "idp:alice".to_owned(),
            groups: vec!["idp:dba".to_owned()],
            ends_in: 60,
            fresh_for: 60,
        };
        Login::new(AT, None, entered, 1_000)
    }

    #[test]
    fn a_login_is_kept_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("state/gateway");
        let folder = Folder(at.clone());
        assert!(folder.read(AT).unwrap().is_none() && folder.consoles().unwrap().is_empty());
        folder.write(&login("one")).unwrap();
        folder.write(&login("two")).unwrap();
        let file = at.join("gateway.example.com:7443.login");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&file), mode(&at)), (0o600, 0o700));
        assert_eq!(fs::read_dir(&at).unwrap().count(), 1, "nothing else is left");
        let read = folder.read(AT).unwrap().unwrap();
        assert_eq!((read.session.as_str(), read.ends), ("two", 1_060));
        assert_eq!(folder.consoles().unwrap(), [AT]);
        folder.remove(AT).unwrap();
        folder.remove(AT).unwrap();
        assert!(folder.read(AT).unwrap().is_none());
    }

    #[test]
    fn what_others_may_have_put_there_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("gateway");
        let folder = Folder(at.clone());
        folder.write(&login("one")).unwrap();
        let file = at.join("gateway.example.com:7443.login");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(folder.read(AT).is_err(), "others read it");
        let elsewhere = directory.path().join("elsewhere");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        assert!(folder.read(AT).is_err(), "a link");
        folder.write(&login("two")).unwrap();
        assert!(fs::read_to_string(&elsewhere).unwrap().contains("one"), "written through a link");
        assert_eq!(folder.read(AT).unwrap().unwrap().session, "two");
        fs::copy(&file, at.join("other.example.com.login")).unwrap();
        assert!(folder.read("https://other.example.com").is_err(), "of another console");
        fs::write(&file, "{\"session\":\"secret\"").unwrap();
        let refused = format!("{:#}", folder.read(AT).err().unwrap());
        assert!(!refused.contains("secret"), "{refused}");
        fs::set_permissions(&at, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(folder.read(AT).is_err() && folder.write(&login("three")).is_err(), "anybody writes there");
        let moved = directory.path().join("moved");
        fs::set_permissions(&at, fs::Permissions::from_mode(0o700)).unwrap();
        fs::rename(&at, &moved).unwrap();
        symlink(&moved, &at).unwrap();
        assert!(folder.read(AT).is_err() && folder.write(&login("three")).is_err(), "the folder is a link");
    }
}
