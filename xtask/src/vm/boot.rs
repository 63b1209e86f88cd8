//! One boot of a machine. In: a kernel, commands, a time. Out: what the tests on its console summed up to, and what the
//! kernel lacks. It must never take a machine that hung, panicked or said nothing for one that succeeded.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::archive::Archive;
use super::kernels::Kernel;
use crate::ci::Totals;
use crate::ebpf;
use crate::mutate;
use crate::run::{checkout, line};

const BUSYBOX: &str = "/bin/busybox";
/// What `guest.sh` prints before the first command and after the last one.
const BEGINS: &str = "vm: begins on ";
const STATUS: &str = "vm: status ";
const SAYS: &str = "vm: says ";
/// How `gateway doctor` begins a line about what a host lacks.
const WITHOUT: &str = "without  ";

/// A command for the guest, word by word.
pub(crate) type Words = Vec<String>;

/// A machine to boot.
pub(crate) struct Machine<'a> {
    pub(crate) kernel: Kernel,
    pub(crate) modules: Modules,
    /// What its lines begin with here.
    pub(crate) label: String,
    /// What it does.
    pub(crate) start: Start,
    /// Folders that the commands need, beside the root file system.
    pub(crate) folders: &'a [PathBuf],
    /// A port of 10.0.2.100 that is one of this machine's loopback, and all that it reaches; `None`: no network.
    pub(crate) forward: Option<(u16, u16)>,
    /// The image of a disk that it has as /dev/vda: what it wrote there outlives it, and what it only had in memory does not.
    pub(crate) disk: Option<&'a Path>,
    /// When it is ended, done or not.
    pub(crate) time: Duration,
}

/// What runs when the kernel is up.
pub(crate) enum Start {
    /// Commands over the files of this machine, one after the other, as root.
    Commands(Vec<Words>),
    /// Another system, below a folder of the cache; its `story.service` tells a story.
    System {
        /// Its root.
        root: PathBuf,
        /// What is `/vm/story.sh` there.
        story: String,
    },
}

/// The kernel's security modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modules {
    /// Those that the kernel was made with.
    Own,
    /// Without `bpf`: LSM programs load there, and nobody calls them.
    WithoutBpf,
}

impl Modules {
    fn argument(self) -> &'static str {
        match self {
            Self::Own => "",
            Self::WithoutBpf => "lsm=lockdown,capability,yama",
        }
    }
}

impl Machine<'_> {
    /// Whether LSM programs run there: tests fail then where they do not.
    fn runs_lsm(&self) -> bool {
        self.kernel.runs_lsm && self.modules == Modules::Own
    }

    /// Boots it, passes its console on, and returns what it came to, also where that is not well.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let cache = ebpf::cache_dir()?;
        let folder = cache.join("vm").join(format!("{}-{}", std::process::id(), self.label));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(folder.join("initramfs"), self.initramfs(&cache)?).context("cannot write the initramfs")?;
        let outcome = self.boot(&cache, &folder);
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        outcome.with_context(|| format!("machine {}", self.label))
    }

    fn modules_for_devices(&self) -> Vec<&'static str> {
        let network = self.forward.is_some().then_some("virtio_net");
        let disk: &[_] = if self.disk.is_some() { &["virtio_blk", "ext4"] } else { &[] };
        network.into_iter().chain(disk.iter().copied()).collect()
    }

    fn initramfs(&self, cache: &Path) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for directory in ["bin", "dev", "proc", "sys", "lower", "upper", "root", "modules"] {
            archive.directory(directory);
        }
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        archive.program("bin/busybox", &read(Path::new(BUSYBOX))?);
        archive.program("init", include_bytes!("init.sh"));
        let system = |files: &[(&str, &[u8])], root: &Path, first: &str, archive: &mut Archive| {
            archive.directory("vm");
            files.iter().for_each(|(name, contents)| archive.program(&format!("vm/{name}"), contents));
            archive.program("where", root.display().to_string().as_bytes());
            archive.program("first", first.as_bytes());
        };
        match &self.start {
            Start::Commands(commands) => {
                let job = self.job(cache, commands);
                let files: [(&str, &[u8]); 2] = [("guest.sh", include_bytes!("guest.sh")), ("job", job.as_bytes())];
                system(&files, Path::new("/"), "/bin/sh /vm/guest.sh", &mut archive);
            }
            Start::System { root, story } => {
                system(&[("story.sh", story.as_bytes())], root, "/sbin/init", &mut archive);
            }
        }
        for (number, module) in self.kernel.first_modules(cache, &self.modules_for_devices())?.iter().enumerate() {
            archive.program(&format!("modules/{number:02}"), &read(module)?);
        }
        Ok(archive.finish())
    }

    /// A word on each line, and an empty line after each command.
    fn job(&self, cache: &Path, commands: &[Words]) -> String {
        let modules = self.kernel.folder(cache).join("lib/modules").display().to_string();
        let before = [
            words(["mkdir", "-p", "/lib/modules"]),
            words(["mount", "--bind", &modules, "/lib/modules"]),
            words(["begin"]),
            words(["export", &format!("GATEWAY_CACHE={}", cache.display())]),
        ];
        let lsm = self.runs_lsm().then(|| words(["export", "GATEWAY_IT_LSM=1"]));
        before.iter().chain(&lsm).chain(commands).map(|command| command.join("\n") + "\n\n").collect()
    }

    fn boot(&self, cache: &Path, folder: &Path) -> Result<Outcome> {
        let mut command = as_root("unshare");
        command.args(["--mount", "--propagation", "private", "sh"]);
        command.arg(checkout()?.join("xtask/src/vm/boot.sh")).arg(folder);
        command.arg(self.kernel.folder(cache).join("vmlinuz")).arg(self.time.as_secs().to_string());
        command.arg(self.modules.argument()).arg(self.kernel.processor);
        command.arg(self.disk.unwrap_or(Path::new("")));
        command.arg(self.forward.map(|(there, here)| format!("{there} {here}")).unwrap_or_default());
        command.arg(cache).args(self.folders).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(&command)))?;
        let output = child.stdout.take().context("the console has no output")?;
        let mut console = Console::default();
        for bytes in BufReader::new(output).split(b'\n') {
            let bytes = bytes.context("cannot read the console")?;
            if let Some(text) = console.add(&String::from_utf8_lossy(&bytes)) {
                println!("[{}] {text}", self.label);
            }
        }
        let status = child.wait().context("the machine cannot be waited for")?;
        let fault = match status.code() {
            Some(0) => console.fault(),
            Some(124) => Some(format!("it hung, or was too slow: ended after {} s", self.time.as_secs())),
            _ => Some(format!("`{}` failed ({status})\n{}", line(&command), console.before.join("\n"))),
        };
        Ok(Outcome { fault, ..console.outcome })
    }
}

/// Words of a command.
pub(super) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Words {
    words.into_iter().map(str::to_owned).collect()
}

/// A program, with sudo unless we are root.
pub(crate) fn as_root(program: &str) -> Command {
    if ebpf::is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// What a machine came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Why it did not end well, where it did not.
    pub(crate) fault: Option<String>,
    pub(super) totals: Totals,
    /// Tests that ran to their end, and whether they passed.
    pub(super) tests: BTreeMap<String, bool>,
    /// As `uname -r` says it there.
    pub(super) release: String,
    /// What `gateway doctor` found missing, if it was asked: feature and cost.
    pub(super) without: Vec<String>,
    /// Words that it wanted to be heard.
    pub(crate) said: Vec<String>,
}

/// What the console said so far.
#[derive(Default)]
struct Console {
    /// Lines from before the commands, for the case that there never are any.
    before: Vec<String>,
    begun: bool,
    status: Option<String>,
    outcome: Outcome,
}

impl Console {
    /// Adds a line; returns it where people want to see it.
    fn add<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let text = text.trim_end_matches('\r');
        if let Some(release) = text.strip_prefix(BEGINS) {
            self.begun = true;
            self.outcome.release = release.trim().to_owned();
        }
        if !self.begun {
            self.before.push(text.to_owned());
            return None;
        }
        if let Some(status) = text.strip_prefix(STATUS) {
            self.status = Some(status.to_owned());
        }
        if let Some(lack) = text.strip_prefix(WITHOUT) {
            self.outcome.without.push(lack.to_owned());
        }
        self.outcome.said.extend(text.strip_prefix(SAYS).map(str::to_owned));
        self.outcome.totals.add(text);
        if let Some((test, passed)) = mutate::outcome(text) {
            self.outcome.tests.insert(test.to_owned(), passed);
        }
        Some(text)
    }

    fn fault(&self) -> Option<String> {
        let totals = &self.outcome.totals;
        match self.status.as_deref() {
            Some("0") => None,
            Some(status) => Some(format!("a command ended with status {status}: {totals}")),
            None if self.begun => Some(format!("the kernel went down with {totals}: its last lines are above")),
            None => Some(format!("it never came up:\n{}", self.before.join("\n"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> Outcome {
        let mut console = Console::default();
        for line in lines {
            console.add(line);
        }
        Outcome { fault: console.fault(), ..console.outcome }
    }

    const PASSED: &str = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s\r";

    #[test]
    fn succeeds_only_where_the_guest_says_so_itself() {
        let lack = "without  LSM hooks          before Linux 6.0\r";
        let outcome = after(&["vm: begins on 6.1\r", lack, PASSED, "vm: status 0\r"]);
        assert_eq!((outcome.fault, outcome.totals.passed, outcome.release.as_str()), (None, 3, "6.1"));
        assert_eq!(outcome.without, ["LSM hooks          before Linux 6.0"]);
        let fault = |lines: &[&str]| after(lines).fault.unwrap();
        let failed = fault(&["vm: begins on 6.1", PASSED, "vm: status 101"]);
        assert!(failed.contains("status 101"), "{failed}");
        let panicked = fault(&["vm: begins on 6.1", PASSED, "Kernel panic - not syncing"]);
        assert!(panicked.contains("went down"), "{panicked}");
        let dead = fault(&["Linux version 6.1", "cannot load /modules/01"]);
        assert!(dead.contains("never came up") && dead.contains("cannot load"), "{dead}");
    }

    #[test]
    fn tells_of_each_test_also_where_the_machine_went_down() {
        let outcome = after(&["vm: begins on 6.1", "test a::b ... ok\r", "test a::c ... FAILED", "test a::d has been"]);
        assert!(outcome.fault.is_some());
        assert_eq!(outcome.tests, [("a::b".to_owned(), true), ("a::c".to_owned(), false)].into());
    }

    #[test]
    fn a_job_keeps_words_apart_whatever_is_in_them() {
        let commands = vec![words(["/a b/it", "--exact", "x y"])];
        let (label, time) = ("x".to_owned(), Duration::ZERO);
        let (kernel, modules) = (super::super::kernels::USUAL, Modules::Own);
        let start = Start::Commands(Vec::new());
        let machine = Machine { kernel, modules, label, start, folders: &[], forward: None, disk: None, time };
        let job = machine.job(Path::new("/cache"), &commands);
        assert!(job.ends_with("\n\n/a b/it\n--exact\nx y\n\n"), "{job}");
    }
}
