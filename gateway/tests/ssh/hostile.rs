//! Clients that break the protocol, in each of its states: each is cut or held back, alone, and within bounded memory.

use crate::gateway::Gateway;
use crate::host::{Host, Ran, SERVER, ran};

const CLIENTS: &str = include_str!("hostile.py");
/// The most that the engine may grow by, in KiB: floods of data are 160 MiB and more.
const GROWTH: u64 = 100_000;

impl Host {
    fn hostile(&self, name: &str) -> Ran {
        let file = self.world.file("hostile.py", CLIENTS).display().to_string();
        ran(&mut self.command(&["timeout", "100", "/usr/bin/python3", &file, name, SERVER]))
    }

    fn is_served(&self, gateway: &Gateway<'_>, engine: u32) {
        assert_eq!(gateway.engine_pid(), engine, "the same engine serves");
        assert_eq!(self.ssh(&["echo here"]).out, "here\n");
    }

    fn all_are(&self, expected: &[(&str, &str)]) {
        let gateway = self.attach();
        let engine = gateway.engine_pid();
        // What a session takes at all is there.
        self.is_served(&gateway, engine);
        let before = most_resident(engine);
        let became: Vec<_> = expected.iter().map(|(name, _)| (*name, self.hostile(name))).collect();
        let became: Vec<_> = became.iter().map(|(name, ran)| (*name, ran.out.trim(), ran.err.as_str())).collect();
        let expected: Vec<_> = expected.iter().map(|(name, becomes)| (*name, *becomes, "")).collect();
        assert_eq!(became, expected);
        self.is_served(&gateway, engine);
        let grown = most_resident(engine) - before;
        assert!(grown < GROWTH, "{grown} KiB more than {before} KiB");
    }
}

/// The most memory that a process had so far, in KiB.
fn most_resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    most.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn before_there_are_keys() {
    Host::new().all_are(&[
        ("no-newline", "cut"),
        ("old-version", "cut"),
        ("noise", "cut"),
        ("length-huge", "cut"),
        // Until its time to log in is over.
        ("length-zero", "waits"),
        ("padding-longer-than-packet", "cut"),
        ("kexinit-cut", "cut"),
        ("newkeys-first", "cut"),
        ("login-in-clear", "cut"),
        ("channel-in-clear", "cut"),
        ("point-of-no-curve", "cut"),
    ]);
}

#[test]
fn a_message_too_many_before_the_keys_ends_a_strict_exchange() {
    Host::new().all_are(&[("prefix-strict", "cut"), ("prefix-of-old-clients", "goes on")]);
}

/// What asks for nothing that can be done is passed over: a client that hears of a channel that it has not goes itself.
#[test]
fn once_there_are_keys() {
    let host = Host::new();
    host.all_are(&[
        ("channel-before-login", "goes on"),
        ("login-cut-short", "cut"),
        ("data-for-no-channel", "goes on"),
        ("confirms-what-nobody-opened", "cut"),
        ("request-cut-short", "cut"),
        ("window-overflow", "goes on"),
        ("lists-of-keys-again-and-again", "cut"),
        ("unknown-messages", "goes on"),
        ("two-commands-on-a-channel", "refused"),
        ("keys-changed", "read 40000"),
    ]);
    assert_eq!(host.world.sh("ls /run/deploy"), "");
}

#[test]
fn floods_are_bounded() {
    let host = Host::with("Match all\nMaxSessions 400\n");
    host.all_are(&[("channels", "opened 256"), ("more-than-the-window", "taken"), ("reads-nothing", "held")]);
}

#[test]
fn what_waits_of_all_channels_and_of_requests_is_bounded_too() {
    let host = Host::with("Match all\nMaxSessions 400\n");
    host.all_are(&[("requests-that-wait", "held"), ("channels-that-wait", "taken")]);
}
