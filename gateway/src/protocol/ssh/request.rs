//! What a client says on a channel before anything runs there.
//!
//! In: the requests of a channel, in order. Out: what is to be run, with its terminal and variables. Variables that no
//! policy sees could change what a command does: a short list alone is passed on.

use russh::{ChannelMsg, Pty};

/// The subsystem that is read here.
pub(super) const SFTP: &str = "sftp";
/// Variables of one channel.
const MAX_VARIABLES: usize = 32;
/// Bytes of one of them.
const MAX_VALUE: usize = 1_024;
/// The largest terminal, in characters.
const MAX_SIDE: u32 = 4_096;
/// The longest name of a terminal.
const MAX_TERM: usize = 64;

/// Whether a variable reaches the server: the language of messages, and colours. Nothing that loads code.
pub(super) fn is_passed_on(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    is_plain && (["LANG", "TERM", "COLORTERM"].contains(&name) || name.starts_with("LC_"))
}

/// Whether a value is a plain word, as those of languages and terminals are: no path (a locale is loaded from one), and
/// nothing that bash would evaluate where a script compares the variable as a number.
fn is_plain(value: &str) -> bool {
    value.len() <= MAX_VALUE && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-@:+=,".contains(&byte))
}

/// A terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terminal {
    pub(super) name: String,
    pub(super) size: Size,
    pub(super) modes: Vec<(Pty, u32)>,
}

/// Its size, in characters and pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    /// Bounded, since servers trust it.
    pub(super) fn new(columns: u32, rows: u32, width: u32, height: u32) -> Self {
        let side = |side: u32| side.min(MAX_SIDE);
        Self { columns: side(columns), rows: side(rows), width: width.min(65_535), height: height.min(65_535) }
    }
}

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A command line.
    Exec(Vec<u8>),
    /// The user's shell.
    Shell,
    /// The server's SFTP.
    Sftp,
}

/// What was said on a channel so far.
#[derive(Debug, Default)]
pub(super) struct Preparation {
    pub(super) terminal: Option<Terminal>,
    pub(super) variables: Vec<(String, String)>,
}

impl Preparation {
    /// Takes a message; once something is to be run, says what.
    pub(super) fn take(&mut self, message: ChannelMsg) -> Option<Wanted> {
        match message {
            ChannelMsg::RequestPty { term, col_width, row_height, pix_width, pix_height, terminal_modes, .. } => {
                let name: String = term.chars().filter(char::is_ascii_graphic).take(MAX_TERM).collect();
                let size = Size::new(col_width, row_height, pix_width, pix_height);
                self.terminal = Some(Terminal { name, size, modes: terminal_modes });
            }
            ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height } => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.size = Size::new(col_width, row_height, pix_width, pix_height);
                }
            }
            ChannelMsg::SetEnv { variable_name, variable_value, .. } => {
                let fits = self.variables.len() < MAX_VARIABLES && is_plain(&variable_value);
                if fits && is_passed_on(&variable_name) {
                    self.variables.push((variable_name, variable_value));
                }
            }
            ChannelMsg::Exec { command, .. } => return Some(Wanted::Exec(command)),
            ChannelMsg::RequestShell { .. } => return Some(Wanted::Shell),
            ChannelMsg::RequestSubsystem { name, .. } if name == SFTP => return Some(Wanted::Sftp),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_could_change_a_command_stay_here() {
        for name in ["LANG", "LC_ALL", "LC_CTYPE", "TERM"] {
            assert!(is_passed_on(name), "{name}");
        }
        for name in ["LD_PRELOAD", "BASH_ENV", "PATH", "GIT_SSH_COMMAND", "LC_x", "lang", "LC_A=B", "", "LANG\0"] {
            assert!(!is_passed_on(name), "{name}");
        }
    }

    #[test]
    fn a_channel_is_prepared_and_then_something_is_wanted() {
        let mut preparation = Preparation::default();
        let set = |name: &str, value: &str| ChannelMsg::SetEnv {
            want_reply: false,
            variable_name: name.into(),
            variable_value: value.into(),
        };
        assert_eq!(preparation.take(set("LANG", "C")), None);
        assert_eq!(preparation.take(set("LD_PRELOAD", "/x")), None);
        assert_eq!(preparation.take(set("LC_ALL", &"x".repeat(2_000))), None);
        assert_eq!(preparation.take(set("LC_TIME", "a[$(id)]")), None);
        assert_eq!(preparation.take(set("LC_MESSAGES", "../../tmp/locale")), None);
        assert_eq!(preparation.variables, [("LANG".to_owned(), "C".to_owned())]);
        let pty = ChannelMsg::RequestPty {
            want_reply: true,
            term: "xterm\u{1b}[2J".into(),
            col_width: u32::MAX,
            row_height: 24,
            pix_width: 0,
            pix_height: 0,
            terminal_modes: Vec::new(),
        };
        assert_eq!(preparation.take(pty), None);
        let terminal = preparation.terminal.as_ref().unwrap();
        assert_eq!((terminal.name.as_str(), terminal.size.columns), ("xterm[2J", MAX_SIDE));
        let other = ChannelMsg::RequestSubsystem { want_reply: true, name: "netconf".into() };
        assert_eq!(preparation.take(other), None);
        let exec = ChannelMsg::Exec { want_reply: true, command: b"uptime".to_vec() };
        assert_eq!(preparation.take(exec), Some(Wanted::Exec(b"uptime".to_vec())));
    }
}
