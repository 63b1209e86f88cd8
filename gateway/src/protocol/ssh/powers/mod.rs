//! What our login may do at a server, by one fixed command that only looks.
//!
//! In: a server that was verified, and our credential. Out: powers beyond a plain login's. The command is the same for every server; of
//! sudo it asks for the list alone, and it reads no file but the first lines of those that could be keys, there. What comes back is a
//! server's word: bounded, read strictly, and nothing of it is run or shown as it came.

mod said;

use super::Credential;
use super::visit::{Reached, VisitError};
use crate::upstream::power::Power;

/// What runs there. It holds no single quote, so that every shell hands it on whole.
const LOOK: &str = include_str!("look.sh");

/// What a login may do.
#[derive(Debug, Default)]
pub struct Held {
    /// All of it.
    pub powers: Vec<Power>,
    /// What was not looked at.
    pub notes: Vec<String>,
}

/// Logs in and looks around.
///
/// # Errors
/// Where the server does not let us in, or what it answers is not understood.
pub async fn powers(reached: Reached, credential: &Credential) -> Result<Held, VisitError> {
    let ran = reached.run(credential, &format!("exec /bin/sh -c '{LOOK}'")).await?;
    said::held(&credential.user, &ran.out).ok_or(VisitError::Another)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_stands_in_quotes_and_does_by_sudo_nothing_but_list() {
        assert!(!LOOK.contains('\''));
        assert_eq!(LOOK.matches("sudo -").count(), 1);
        assert!(LOOK.contains("sudo -n -l </dev/null"));
        let redirects: Vec<_> = LOOK.match_indices('>').map(|(at, _)| &LOOK[at..]).collect();
        assert!(redirects.iter().all(|to| to.starts_with(">/dev/null") || to.starts_with(">&1")), "it writes nothing");
    }
}
