//! What programs are known to do.
//!
//! In: a command and the folders that its line changes to. Out: its kinds, the files that its arguments have it write, and
//! a doubt where it writes to a place that is not known. A table by nature, and never the reason to let something pass:
//! policies permit names, kinds forbid.

use std::collections::BTreeSet;

use super::facts::{Argument, Certainty, Command, Kind};
use super::paths::{self, Folders};
use super::reason::Reason;

const RELAYS: [&str; 60] = [
    "autossh",
    "bore",
    "chisel",
    "cloudflared",
    "connect-proxy",
    "corkscrew",
    "cryptcat",
    "dbclient",
    "dns2tcp",
    "dnscat",
    "frpc",
    "frps",
    "ftp",
    "gost",
    "gsocket",
    "gs-netcat",
    "hans",
    "inetd",
    "iodine",
    "lftp",
    "microsocks",
    "mosh",
    "mosh-client",
    "nc",
    "nc.openbsd",
    "nc.traditional",
    "ncat",
    "netcat",
    "ngrok",
    "openvpn",
    "plink",
    "pound",
    "proxytunnel",
    "ptunnel",
    "pwncat",
    "rathole",
    "rcp",
    "redir",
    "revsocks",
    "rinetd",
    "rlogin",
    "rsh",
    "sbd",
    "sftp",
    "slogin",
    "socat",
    "socat1",
    "ssh",
    "ssh-copy-id",
    "sshpass",
    "sshuttle",
    "stunnel",
    "stunnel4",
    "tailscale",
    "tcpserver",
    "telnet",
    "tftp",
    "websocat",
    "wg",
    "wg-quick",
];
const PRIVILEGE: [&str; 27] = [
    "sudo", "sudoedit", "su", "doas", "pkexec", "runuser", "setpriv", "setcap", "visudo", "passwd", "chpasswd",
    "usermod", "useradd", "adduser", "groupmod", "gpasswd", "vipw", "vigr", "newgrp", "sg", "chage", "chsh", "chfn",
    "setfacl", "chattr", "capsh", "dzdo",
];
const DESTRUCTIVE: [&str; 44] = [
    "mkfs",
    "mke2fs",
    "mkswap",
    "wipefs",
    "blkdiscard",
    "shred",
    "fdisk",
    "sfdisk",
    "gdisk",
    "sgdisk",
    "cfdisk",
    "parted",
    "badblocks",
    "hdparm",
    "nvme",
    "cryptsetup",
    "lvremove",
    "vgremove",
    "pvremove",
    "zpool",
    "zfs",
    "btrfs",
    "mdadm",
    "shutdown",
    "reboot",
    "halt",
    "poweroff",
    "init",
    "telinit",
    "kexec",
    "userdel",
    "deluser",
    "groupdel",
    "killall5",
    "iptables",
    "ip6tables",
    "nft",
    "ufw",
    "insmod",
    "rmmod",
    "modprobe",
    "sysctl",
    "swapoff",
    "umount",
];
const CLOUD: [&str; 27] = [
    "aws",
    "gcloud",
    "gsutil",
    "bq",
    "az",
    "kubectl",
    "oc",
    "helm",
    "doctl",
    "terraform",
    "tofu",
    "pulumi",
    "eksctl",
    "oci",
    "ibmcloud",
    "vault",
    "aliyun",
    "hcloud",
    "linode-cli",
    "flyctl",
    "heroku",
    "gh",
    "glab",
    "consul",
    "nomad",
    "rclone",
    "s3cmd",
];
/// Words of cloud command lines that name identities and rights.
const IAM: [&str; 36] = [
    "iam",
    "sts",
    "organizations",
    "sso-admin",
    "identitystore",
    "cognito-idp",
    "kms",
    "secretsmanager",
    "ad",
    "role",
    "role-assignment",
    "policy",
    "add-iam-policy-binding",
    "set-iam-policy",
    "remove-iam-policy-binding",
    "service-accounts",
    "serviceaccount",
    "serviceaccounts",
    "sa",
    "clusterrole",
    "clusterroles",
    "clusterrolebinding",
    "clusterrolebindings",
    "roles",
    "rolebinding",
    "rolebindings",
    "secret",
    "secrets",
    "create-token",
    "token",
    "auth",
    "keyvault",
    "certificate",
    "csr",
    "login",
    "credentials",
];
/// Programs that only look at what they are handed.
const READERS: [&str; 42] = [
    "cat",
    "head",
    "tail",
    "less",
    "more",
    "grep",
    "egrep",
    "fgrep",
    "rg",
    "ls",
    "stat",
    "file",
    "wc",
    "md5sum",
    "sha1sum",
    "sha256sum",
    "diff",
    "cmp",
    "test",
    "[",
    "du",
    "df",
    "find",
    "realpath",
    "readlink",
    "basename",
    "dirname",
    "sort",
    "uniq",
    "cut",
    "tr",
    "od",
    "xxd",
    "hexdump",
    "strings",
    "echo",
    "printf",
    "cd",
    "pushd",
    "awk",
    "which",
    "tac",
];
/// Programs whose last operand is where they write, and those that write all.
const COPIERS: [&str; 5] = ["cp", "mv", "install", "ln", "rsync"];
const WRITERS: [&str; 6] = ["tee", "touch", "truncate", "sponge", "mkfifo", "mknod"];

/// Programs that write files whose names are not in their arguments, into the folder that they are in.
const UNPACKERS: [&str; 20] = [
    "7z", "7za", "ar", "bsdtar", "bunzip2", "cpio", "csplit", "curl", "git", "gunzip", "patch", "pax", "split", "tar",
    "unar", "unrar", "unxz", "unzip", "wget", "unzstd",
];

/// Fills in what is known.
pub(super) fn note(command: &mut Command, folders: &Folders) {
    let Some(name) = command.name.clone() else { return };
    kinds(command, &name);
    removes(command, &name, folders);
    let (written, is_unknown) = written(command, &name);
    if is_unknown {
        command.opaque.insert(Reason::Destination);
    }
    command.writes.extend(written);
    let is_relative = |path: &String| !path.starts_with(['/', '~', '$', '"']);
    if folders.is_unknown && command.writes.iter().any(is_relative) {
        command.opaque.insert(Reason::Destination);
    }
    let touches = !READERS.contains(&name.as_str())
        && command
            .operands()
            .any(|operand| folders.is_startup(operand) || operand.split('=').any(|part| folders.is_startup(part)))
        && !is_wrapper(&name);
    let unpacks = UNPACKERS.contains(&name.as_str()) && folders.is_startup("unpacked");
    if touches || unpacks || command.writes.iter().any(|path| folders.is_startup(path)) {
        command.kinds.insert(Kind::Startup);
    }
    if command.writes.iter().any(|path| paths::is_device(path)) {
        command.kinds.insert(if command.writes.iter().any(|path| paths::is_connection(path)) {
            Kind::Relay
        } else {
            Kind::Destructive
        });
    }
}

/// What it wraps is a command of its own.
fn is_wrapper(name: &str) -> bool {
    matches!(
        name,
        "sudo"
            | "env"
            | "nohup"
            | "time"
            | "timeout"
            | "nice"
            | "exec"
            | "command"
            | "xargs"
            | "bash"
            | "sh"
            | "su"
            | "doas"
            | "source"
            | "."
    )
}

fn kinds(command: &mut Command, name: &str) {
    let words: BTreeSet<&str> = command.arguments.iter().map(|argument| argument.text.as_str()).collect();
    let verb = command.operands().next().unwrap_or_default();
    let has = |options: &[&str]| options.iter().any(|option| words.contains(option));
    let mut kinds = Vec::new();
    if RELAYS.contains(&name) || (name == "openssl" && matches!(verb, "s_client" | "s_server")) {
        kinds.push(Kind::Relay);
    }
    if PRIVILEGE.contains(&name)
        || (name == "chmod" && command.arguments.iter().any(|argument| sets_id(&argument.text)))
    {
        kinds.push(Kind::Privilege);
    }
    if DESTRUCTIVE.contains(&name) || name.starts_with("mkfs.") {
        kinds.push(Kind::Destructive);
    }
    if CLOUD.contains(&name) {
        kinds.push(Kind::Cloud);
        if IAM.iter().any(|word| words.iter().any(|given| given == word || given.starts_with(&format!("{word}/")))) {
            kinds.push(Kind::Iam);
        }
        if matches!(verb, "delete" | "destroy" | "drain" | "uninstall" | "rb")
            || words.iter().any(|word| word.starts_with("delete-") || word.starts_with("terminate-"))
        {
            kinds.push(Kind::Destructive);
        }
    }
    match name {
        "systemctl" | "service"
            if has(&["stop", "disable", "mask", "poweroff", "reboot", "halt", "kexec", "isolate", "kill"]) =>
        {
            kinds.push(Kind::Destructive);
        }
        "systemctl" if has(&["enable", "link", "edit", "set-environment", "import-environment", "daemon-reload"]) => {
            kinds.push(Kind::Startup)
        }
        "update-rc.d" | "chkconfig" | "rc-update" | "loginctl" | "at" | "batch" => kinds.push(Kind::Startup),
        "crontab" if !has(&["-l"]) => kinds.push(Kind::Startup),
        "kill" | "pkill" | "killall" if has(&["-1", "1"]) => kinds.push(Kind::Destructive),
        "scp" if has(&["-t", "-f"]) => kinds.push(Kind::Transfer),
        "rsync" if has(&["--server"]) => kinds.push(Kind::Transfer),
        "scp" | "rsync" if command.operands().any(is_remote) => kinds.push(Kind::Relay),
        "rsync" if has(&["--daemon"]) => kinds.push(Kind::Relay),
        "git-upload-pack" | "git-receive-pack" | "git-upload-archive" | "sftp-server" => kinds.push(Kind::Transfer),
        "git" if matches!(verb, "upload-pack" | "receive-pack" | "upload-archive") => kinds.push(Kind::Transfer),
        "docker" | "podman" | "nerdctl" if has(&["prune", "--privileged", "rm", "rmi", "kill"]) => {
            kinds.push(Kind::Destructive)
        }
        "dropdb" | "dropuser" => kinds.push(Kind::Destructive),
        _ => {}
    }
    command.kinds.extend(kinds);
}

/// `u+s`, `4755` and kin.
fn sets_id(mode: &str) -> bool {
    let is_octal = mode.len() >= 4 && mode.bytes().all(|byte| byte.is_ascii_digit());
    let letters = mode.contains(['+', '=']) && mode.split(['+', '=']).skip(1).any(|rights| rights.contains('s'));
    (is_octal && mode.trim_start_matches('0').len() == 4) || letters
}

/// `host:path`
fn is_remote(operand: &str) -> bool {
    operand.split_once(':').is_some_and(|(host, _)| !host.is_empty() && !host.contains('/'))
        || operand.starts_with("rsync://")
}

fn removes(command: &mut Command, name: &str, folders: &Folders) {
    let long = |word: &str| command.arguments.iter().any(|argument| argument.text == word);
    let has_letter = |letters: &[char]| {
        command.arguments.iter().any(|argument| {
            argument.text.starts_with('-') && !argument.text.starts_with("--") && argument.text.contains(letters)
        })
    };
    let removes = match name {
        "rm" | "rmdir" | "unlink" | "shred" => true,
        "find" => long("-delete"),
        "git" => command.operands().next() == Some("clean"),
        "rsync" => command
            .arguments
            .iter()
            .any(|argument| argument.text.starts_with("--del") || argument.text == "--remove-source-files"),
        _ => false,
    };
    let spreads = match name {
        "rm" => has_letter(&['r', 'R']) || long("--recursive"),
        "chmod" | "chown" | "chgrp" => has_letter(&['R']) || long("--recursive"),
        "find" => removes,
        "mv" => true,
        _ => false,
    };
    let is_anywhere = |argument: &&Argument| argument.certainty == Certainty::Unknown;
    let wide = spreads
        && (command.operands().any(|path| folders.is_wide(path))
            || (name == "rm" && command.arguments.iter().any(|argument| is_anywhere(&argument))));
    if removes {
        command.kinds.insert(Kind::Removes);
    }
    if wide || long("--no-preserve-root") {
        command.kinds.insert(Kind::Destructive);
    }
}

/// The paths that arguments have a program write, and whether there are some that nobody knows.
fn written(command: &Command, name: &str) -> (Vec<String>, bool) {
    let is_operand = |argument: &&Argument| !(argument.text.len() > 1 && argument.text.starts_with('-'));
    let operands: Vec<&Argument> = command.arguments.iter().filter(is_operand).collect();
    let value = |options: &[&str]| {
        let at = command.arguments.iter().position(|argument| options.contains(&argument.text.as_str()));
        at.and_then(|at| command.arguments.get(at + 1))
    };
    let mut targets: Vec<&Argument> = Vec::new();
    match name {
        _ if COPIERS.contains(&name) => {
            targets.extend(value(&["-t", "--target-directory"]));
            targets.extend(operands.last());
        }
        _ if WRITERS.contains(&name) => targets.extend(operands),
        "sed" | "perl"
            if command
                .arguments
                .iter()
                .any(|argument| argument.text.starts_with("-i") || argument.text.starts_with("--in-place")) =>
        {
            targets.extend(operands);
        }
        "curl" => {
            targets.extend(value(&["-o", "--output", "--output-dir", "-D", "--dump-header", "-c", "--cookie-jar"]))
        }
        "wget" => targets.extend(value(&["-O", "-o", "-P", "--output-document", "--directory-prefix"])),
        "tar" | "bsdtar" => targets.extend(value(&["-C", "--directory"])),
        "unzip" => targets.extend(value(&["-d"])),
        "sort" | "gcc" | "cc" => targets.extend(value(&["-o", "--output"])),
        "find" => targets.extend(value(&["-fprint", "-fprint0", "-fprintf", "-fls"])),
        _ => {}
    }
    let mut paths: Vec<String> = targets.iter().map(|target| target.text.clone()).collect();
    if name == "dd" {
        let outputs = command.arguments.iter().filter_map(|argument| argument.text.strip_prefix("of="));
        paths.extend(outputs.map(str::to_owned));
    }
    // Into a home directory, a file may be any of its profiles.
    if COPIERS.contains(&name) && paths.iter().any(|path| paths::is_home(path)) {
        let sources = command.operands().map(|operand| operand.rsplit('/').next().unwrap_or_default().to_owned());
        let landed: Vec<String> = sources.map(|source| format!("~/{source}")).collect();
        paths.extend(landed);
    }
    let is_unknown = |target: &&Argument| match target.certainty {
        Certainty::Known => false,
        Certainty::Pattern => target.text.contains(['*', '?', '[', '{']),
        Certainty::Unknown => !paths::is_home(&target.text),
    };
    (paths, targets.iter().any(is_unknown))
}
