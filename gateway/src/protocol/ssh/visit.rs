//! A visit of our own to a server: one login, one command.
//!
//! In: a way to the server, the keys by which it is known, a login. Out: what the command said, bounded in size and time. No login is
//! tried before the server's key was found among those that are known; nothing of a client's goes this way.

use std::sync::Arc;
use std::time::Duration;

use russh::ChannelMsg;

use super::Credential;
use super::server::{self, Connected, Dial, ServerError};
use crate::trust::ssh::ServerKeys;

/// How long a command may take: a list of sudo's may ask a directory in the network.
const PATIENCE: Duration = Duration::from_secs(12);
/// Bytes of what it says.
const MOST: usize = 64 * 1024;

/// Why a command told nothing.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// No login.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// No channel, or no command in it.
    #[error("the server runs no command for this login")]
    Refused,
    /// It did not come to its end.
    #[error("the command did not end within {} seconds", PATIENCE.as_secs())]
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

/// What a command said.
#[derive(Debug, Default)]
pub struct Ran {
    /// On its standard output.
    pub out: Vec<u8>,
    /// On its standard error.
    pub err: Vec<u8>,
    /// Its exit status, where it had one.
    pub status: Option<u32>,
}

/// Reaches the server, and finds out who it is; one that is not known counts only where the login goes there all the same.
///
/// # Errors
/// Where it is not reached, or not known.
pub async fn reach(dial: Dial, known: Arc<ServerKeys>, credential: &Credential) -> Result<Reached, ServerError> {
    server::connect(dial, known, credential.unverified).await.map(Reached)
}

impl Reached {
    /// How the server is known.
    #[must_use]
    pub fn identity(&self) -> String {
        self.0.identity().to_string()
    }

    /// Logs in and runs one command.
    ///
    /// # Errors
    /// Where it does not let us in, runs nothing, or says too much for too long.
    pub async fn run(self, credential: &Credential, command: &str) -> Result<Ran, VisitError> {
        let server = self.0.log_in(credential).await?;
        let (mut channel, flow) = server.open().await.map_err(|_| VisitError::Refused)?;
        channel.exec(true, command).await.map_err(|_| VisitError::Refused)?;
        let listen = async {
            let mut ran = Ran::default();
            while let Some(message) = channel.wait().await {
                let (data, side) = match message {
                    ChannelMsg::Data { data } => (data, &mut ran.out),
                    ChannelMsg::ExtendedData { data, .. } => (data, &mut ran.err),
                    ChannelMsg::ExitStatus { exit_status } => {
                        ran.status = Some(exit_status);
                        continue;
                    }
                    ChannelMsg::Failure => return Err(VisitError::Refused),
                    ChannelMsg::Close => break,
                    _ => continue,
                };
                flow.passed(data.len());
                side.extend_from_slice(&data);
                if side.len() > MOST {
                    return Err(VisitError::Long);
                }
            }
            Ok(ran)
        };
        tokio::time::timeout(PATIENCE, listen).await.map_err(|_| VisitError::Slow)?
    }
}
