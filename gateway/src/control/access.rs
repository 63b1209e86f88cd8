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
    /// The sessions that run.
    Sessions,
    /// The requests that wait for people.
    Approvals,
    /// A say on one.
    Decide,
    /// Policies anew.
    Reload,
    /// A subtree is to be intercepted.
    Attach,
    /// A subtree is to be left alone.
    Detach,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// By SO_PEERCRED: who connected, whoever holds the descriptor now.
    pub uid: u32,
    /// The configuration names them as an approver.
    pub approves: bool,
}

impl Command {
    /// By how it is written on the wire.
    #[must_use]
    pub fn of(method: &Method, path: &str) -> Option<Self> {
        let known = match path {
            "/v1/status" => (Method::GET, Self::Status),
            "/v1/sessions" => (Method::GET, Self::Sessions),
            "/v1/approvals" => (Method::GET, Self::Approvals),
            "/v1/decide" => (Method::POST, Self::Decide),
            "/v1/reload" => (Method::POST, Self::Reload),
            "/v1/attach" => (Method::POST, Self::Attach),
            "/v1/detach" => (Method::POST, Self::Detach),
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
            _ if asker.uid == 0 => Ok(()),
            Self::Approvals | Self::Decide if asker.approves => Ok(()),
            Self::Approvals | Self::Decide => Err(format!(
                "uid {} votes for no group: `[approval] host` in the configuration says who does",
                asker.uid
            )),
            Self::Status | Self::Sessions | Self::Reload | Self::Attach | Self::Detach => {
                Err("only root may ask for this: use sudo".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: [(Method, &str, Command); 7] = [
        (Method::GET, "/v1/status", Command::Status),
        (Method::GET, "/v1/sessions", Command::Sessions),
        (Method::GET, "/v1/approvals", Command::Approvals),
        (Method::POST, "/v1/decide", Command::Decide),
        (Method::POST, "/v1/reload", Command::Reload),
        (Method::POST, "/v1/attach", Command::Attach),
        (Method::POST, "/v1/detach", Command::Detach),
    ];

    #[test]
    fn root_may_all_an_approver_may_vote_and_nobody_else_may_anything() {
        for (method, path, command) in WIRE {
            assert_eq!(Command::of(&method, path), Some(command));
            let may = |uid, approves| command.permit(Asker { uid, approves }).is_ok();
            assert!(may(0, false) && may(0, true), "{path}");
            assert!(!may(1000, false), "{path}");
            assert_eq!(may(1000, true), matches!(path, "/v1/approvals" | "/v1/decide"), "{path}");
        }
    }

    #[test]
    fn a_refusal_says_what_would_help() {
        let asker = |approves| Asker { uid: 1000, approves };
        assert!(Command::Decide.permit(asker(false)).unwrap_err().contains("[approval] host"));
        assert!(Command::Detach.permit(asker(true)).unwrap_err().contains("use sudo"));
    }

    #[test]
    fn another_method_or_path_is_no_command() {
        assert_eq!(Command::of(&Method::GET, "/v1/decide"), None);
        assert_eq!(Command::of(&Method::POST, "/v1/decide/"), None);
    }
}
