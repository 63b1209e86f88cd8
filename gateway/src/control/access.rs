//! Who may ask for what: the one place that says so.
//!
//! In: a request's name, and the uid that the kernel gave with the connection. Out: yes, or one sentence that names the
//! fix. Whether the peer is inside an attachment was asked before, by `socket`, for every request alike.

use hyper::Method;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// How everything stands.
    Status,
    /// The configuration that is in force.
    Configuration,
    /// The sessions that run.
    Sessions,
    /// The requests that wait for people.
    Approvals,
    /// One of them, with all that there is about it.
    Approval,
    /// A say on one.
    Decide,
    /// A window is asked for.
    Window,
    /// The windows that are open.
    Windows,
    /// A window is to end.
    Revoke,
    /// What credentials may do at their servers.
    CheckTargets,
    /// Whether an attachment is set up well, tried from inside.
    Test,
    /// Policies anew.
    Reload,
    /// A subtree is to be intercepted.
    Attach,
    /// A subtree is to be left alone.
    Detach,
    /// A cgroup for the one who asks, who then becomes a command.
    Exec,
}

/// What the configuration gives a user besides root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// Named under `[approval] host`: votes on held requests.
    pub approve: bool,
    /// Named in `[exec] users`: runs commands, intercepted.
    pub exec: bool,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// By SO_PEERCRED: who connected, whoever holds the descriptor now.
    pub uid: u32,
    /// What the configuration gives them.
    pub rights: Rights,
}

impl Command {
    /// By how it is written on the wire.
    #[must_use]
    pub fn of(method: &Method, path: &str) -> Option<Self> {
        let known = match path {
            "/v1/status" => (Method::GET, Self::Status),
            "/v1/config" => (Method::GET, Self::Configuration),
            "/v1/sessions" => (Method::GET, Self::Sessions),
            "/v1/approvals" => (Method::GET, Self::Approvals),
            "/v1/approval" => (Method::POST, Self::Approval),
            "/v1/decide" => (Method::POST, Self::Decide),
            "/v1/window" => (Method::POST, Self::Window),
            "/v1/windows" => (Method::GET, Self::Windows),
            "/v1/revoke" => (Method::POST, Self::Revoke),
            "/v1/targets/check" => (Method::POST, Self::CheckTargets),
            "/v1/test" => (Method::POST, Self::Test),
            "/v1/reload" => (Method::POST, Self::Reload),
            "/v1/attach" => (Method::POST, Self::Attach),
            "/v1/detach" => (Method::POST, Self::Detach),
            "/v1/exec" => (Method::POST, Self::Exec),
            _ => return None,
        };
        (known.0 == *method).then_some(known.1)
    }

    /// Whether this one may ask for it.
    ///
    /// # Errors
    /// Where not, with what to do about it.
    pub fn permit(self, asker: Asker) -> Result<(), String> {
        match self {
            // Root's commands give root up on another way.
            Self::Exec if asker.uid == 0 => Err("root's commands do not run in root's name: use --user".into()),
            _ if asker.uid == 0 => Ok(()),
            Self::Approvals | Self::Approval | Self::Decide if asker.rights.approve => Ok(()),
            Self::Window | Self::Windows | Self::Revoke if asker.rights.approve || asker.rights.exec => Ok(()),
            Self::Exec if asker.rights.exec => Ok(()),
            Self::Exec => Err(format!(
                "uid {} may run no commands here: name the user in `[exec] users` in the configuration, or use sudo",
                asker.uid
            )),
            Self::Window | Self::Windows | Self::Revoke => Err(format!(
                "uid {} may not ask for windows: name the user under `[approval] host` or in `[exec] users` in the configuration",
                asker.uid
            )),
            Self::Approvals | Self::Approval | Self::Decide => Err(format!(
                "uid {} votes for no group: `[approval] host` in the configuration says who does",
                asker.uid
            )),
            Self::Status
            | Self::Configuration
            | Self::Sessions
            | Self::CheckTargets
            | Self::Test
            | Self::Reload
            | Self::Attach
            | Self::Detach => Err("only root may ask for this: use sudo".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: [(Method, &str, Command); 15] = [
        (Method::GET, "/v1/status", Command::Status),
        (Method::GET, "/v1/config", Command::Configuration),
        (Method::GET, "/v1/sessions", Command::Sessions),
        (Method::GET, "/v1/approvals", Command::Approvals),
        (Method::POST, "/v1/approval", Command::Approval),
        (Method::POST, "/v1/decide", Command::Decide),
        (Method::POST, "/v1/window", Command::Window),
        (Method::GET, "/v1/windows", Command::Windows),
        (Method::POST, "/v1/revoke", Command::Revoke),
        (Method::POST, "/v1/targets/check", Command::CheckTargets),
        (Method::POST, "/v1/test", Command::Test),
        (Method::POST, "/v1/reload", Command::Reload),
        (Method::POST, "/v1/attach", Command::Attach),
        (Method::POST, "/v1/detach", Command::Detach),
        (Method::POST, "/v1/exec", Command::Exec),
    ];

    #[test]
    fn root_may_all_users_what_they_are_named_for_and_nobody_else_may_anything() {
        for (method, path, command) in WIRE {
            assert_eq!(Command::of(&method, path), Some(command));
            let may = |uid, approve, exec| command.permit(Asker { uid, rights: Rights { approve, exec } }).is_ok();
            assert_eq!(may(0, false, false), path != "/v1/exec", "{path}");
            assert!(!may(1000, false, false), "{path}");
            let of_windows = matches!(path, "/v1/window" | "/v1/windows" | "/v1/revoke");
            let of_requests = matches!(path, "/v1/approvals" | "/v1/approval" | "/v1/decide");
            assert_eq!(may(1000, true, false), of_requests || of_windows, "{path}");
            assert_eq!(may(1000, false, true), path == "/v1/exec" || of_windows, "{path}");
        }
    }

    #[test]
    fn a_refusal_says_what_would_help() {
        let asker = |rights| Asker { uid: 1000, rights };
        let refusal = |command: Command, rights| command.permit(asker(rights)).unwrap_err();
        assert!(refusal(Command::Decide, Rights::default()).contains("[approval] host"));
        assert!(refusal(Command::Exec, Rights::default()).contains("[exec] users"));
        assert!(refusal(Command::Detach, Rights { approve: true, exec: true }).contains("use sudo"));
    }

    #[test]
    fn another_method_or_path_is_no_command() {
        assert_eq!(Command::of(&Method::GET, "/v1/decide"), None);
        assert_eq!(Command::of(&Method::POST, "/v1/decide/"), None);
    }
}
