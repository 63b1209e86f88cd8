//! What our login may do at a server, by one fixed command that only looks.
//!
//! In: a way to the server and our credential. Out: powers beyond a plain login's. The command is the same for every server; of
//! sudo it asks for the list alone, and it reads no file but the first lines of those that could be keys, there. What comes back is a
//! server's word: bounded, read strictly, and nothing of it is run or shown as it came.

mod said;

use std::time::Duration;

use russh::ChannelMsg;

use super::Options;
use super::server::{self, Connected, Dial, ServerError};
use crate::upstream::power::Power;

/// What runs there. It holds no single quote, so that every shell hands it on whole.
const LOOK: &str = include_str!("look.sh");
/// How long it may take: a list of sudo's may ask a directory in the network.
const PATIENCE: Duration = Duration::from_secs(12);
/// Bytes of what it says.
const MOST: usize = 64 * 1024;

/// What a login may do.
#[derive(Debug, Default)]
pub struct Held {
    /// All of it.
    pub powers: Vec<Power>,
    /// What was not looked at.
    pub notes: Vec<String>,
}

/// Why a server told nothing.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// No login.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// No channel, or no command in it.
    #[error("the server runs no command for this login")]
    Refused,
    /// It did not come to its end.
    #[error("the look around did not end within {} seconds", PATIENCE.as_secs())]
    Slow,
    /// More than any answer takes.
    #[error("the server answers more than {MOST} bytes")]
    Long,
    /// Something else ran.
    #[error(
        "the server's answer is not that of the command that was sent: a forced command or another shell than POSIX's runs there, which is itself a narrowing"
    )]
    Another,
}

/// A server that proved who it is, and has not seen our login.
pub struct Reached(Connected);

/// Reaches the server, and finds out who it is.
///
/// # Errors
/// Where it is not reached, or not known.
pub async fn reach(dial: Dial, options: &Options) -> Result<Reached, ServerError> {
    server::connect(dial, std::sync::Arc::clone(&options.known), options.credential.unverified).await.map(Reached)
}

impl Reached {
    /// How the server is known.
    #[must_use]
    pub fn identity(&self) -> String {
        self.0.identity().to_string()
    }

    /// Logs in and looks around.
    ///
    /// # Errors
    /// Where it does not let us in, or what it answers is not understood.
    pub async fn powers(self, options: &Options) -> Result<Held, LookError> {
        let server = self.0.log_in(&options.credential).await?;
        let (mut channel, flow) = server.open().await.map_err(|_| LookError::Refused)?;
        let command = format!("exec /bin/sh -c '{LOOK}'");
        channel.exec(true, command).await.map_err(|_| LookError::Refused)?;
        let listen = async {
            let mut answer = Vec::new();
            while let Some(message) = channel.wait().await {
                match message {
                    ChannelMsg::Data { data } => {
                        flow.passed(data.len());
                        answer.extend_from_slice(&data);
                    }
                    ChannelMsg::ExtendedData { data, .. } => flow.passed(data.len()),
                    ChannelMsg::Failure => return Err(LookError::Refused),
                    ChannelMsg::Close => break,
                    _ => {}
                }
                if answer.len() > MOST {
                    return Err(LookError::Long);
                }
            }
            Ok(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, listen).await.map_err(|_| LookError::Slow)??;
        said::held(&options.credential.user, &answer).ok_or(LookError::Another)
    }
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
