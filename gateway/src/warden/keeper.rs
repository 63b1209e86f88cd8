//! The state file, written by one task.
//!
//! In: changes of an engine, and who wants to know what is kept. Out: each change on disk before the engine hears that it
//! is, in the order in which they came; what is read has all of them. The texts are the engine's, and are not looked at.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::bridge::{Bridge, ToEngine};
use crate::chain::chain;
use crate::state::sqlite::{Sqlite, StateError};
use crate::state::{Change, Kept};

/// What waits; an engine that says more waits itself.
const WAITING: usize = 256;

enum Wanted {
    Keep(Changes),
    Read(oneshot::Sender<Result<Kept, StateError>>),
}

struct Changes {
    bridge: Arc<Bridge>,
    request: u64,
    changes: Vec<Change>,
}

/// The way to the task.
#[derive(Debug)]
pub(super) struct Keeper(mpsc::Sender<Wanted>);

impl Keeper {
    /// Opens the file of a state directory.
    ///
    /// # Errors
    /// Where it cannot be used.
    pub(super) async fn start(state_dir: &Path) -> Result<Self, StateError> {
        let state = Sqlite::open(state_dir).await?;
        let (send, receive) = mpsc::channel(WAITING);
        tokio::spawn(serve(state, receive));
        Ok(Self(send))
    }

    /// Keeps changes, and tells the engine.
    pub(super) async fn keep(&self, bridge: &Arc<Bridge>, request: u64, changes: Vec<Change>) {
        let changes = Changes { bridge: Arc::clone(bridge), request, changes };
        if self.0.send(Wanted::Keep(changes)).await.is_err() {
            tracing::error!("nobody keeps what happens any more");
        }
    }

    /// All that is kept now.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(super) async fn kept(&self) -> Result<Kept, String> {
        let (send, receive) = oneshot::channel();
        let gone = || "nobody keeps what happens any more".to_owned();
        self.0.send(Wanted::Read(send)).await.map_err(|_| gone())?;
        receive.await.map_err(|_| gone())?.map_err(|error| chain(&error))
    }
}

async fn serve(mut state: Sqlite, mut wanted: mpsc::Receiver<Wanted>) {
    let mut waiting = Vec::new();
    while wanted.recv_many(&mut waiting, WAITING).await > 0 {
        let mut together = Vec::new();
        for one in waiting.drain(..) {
            match one {
                Wanted::Keep(changes) => together.push(changes),
                Wanted::Read(asker) => {
                    keep_all(&mut state, std::mem::take(&mut together)).await;
                    let _ = asker.send(state.kept().await);
                }
            }
        }
        keep_all(&mut state, together).await;
    }
}

/// In one transaction, since each costs a wait for the disk; where that fails each by itself, since one of them may be at
/// fault.
async fn keep_all(state: &mut Sqlite, together: Vec<Changes>) {
    let all: Vec<_> = together.iter().flat_map(|one| one.changes.iter().cloned()).collect();
    let is_kept = all.is_empty() || state.keep(&all).await.is_ok();
    for Changes { bridge, request, changes } in together {
        let result = if is_kept { Ok(()) } else { state.keep(&changes).await.map_err(|error| chain(&error)) };
        if let Err(error) = &result {
            tracing::error!(error, "what became of a request could not be kept");
        }
        // A bridge that takes nothing is about to be noticed by who listens to it.
        let _ = bridge.send(&ToEngine::Kept { request, result }, &[]).await;
    }
}
