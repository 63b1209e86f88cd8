//! What is to outlive the engine, kept by the warden: the file is its own.
//!
//! In: changes in the order in which they happened. Out: the warden's word that they are kept, for who waits for it. One
//! that nobody waits for is not lost before those that came after it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::approval::Store;
use crate::bridge::ToWarden;
use crate::state::Change;

/// How long the warden may take: a disk that is slower than that is not a place to keep things.
const TIMEOUT: Duration = Duration::from_secs(10);

type Answers = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<(), String>>>>>;

/// Asks the warden.
#[derive(Debug)]
pub struct Keeper {
    /// Not bounded by itself: each request on the desk says so much and no more.
    changes: mpsc::UnboundedSender<(u64, Vec<Change>)>,
    answers: Answers,
    next: Mutex<u64>,
}

impl Keeper {
    pub(super) fn new(outbox: mpsc::Sender<ToWarden>) -> Self {
        let (changes, mut waiting) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some((request, changes)) = waiting.recv().await {
                if outbox.send(ToWarden::Keep { request, changes }).await.is_err() {
                    return;
                }
            }
        });
        Self { changes, answers: Arc::default(), next: Mutex::new(1) }
    }

    pub(super) fn answer(&self, request: u64, result: Result<(), String>) {
        match (self.answers.lock().remove(&request), result) {
            (Some(waiting), result) => drop(waiting.send(result)),
            (None, Err(reason)) => tracing::error!(reason, "what became of requests could not be kept"),
            (None, Ok(())) => {}
        }
    }

    /// Says it, in order; the sender is told.
    fn say(&self, changes: Vec<Change>, waiting: Option<oneshot::Sender<Result<(), String>>>) -> u64 {
        let mut next = self.next.lock();
        let request = *next;
        *next += 1;
        if let Some(waiting) = waiting {
            self.answers.lock().insert(request, waiting);
        }
        let _ = self.changes.send((request, changes));
        request
    }
}

impl Store for Keeper {
    fn keep(&self, changes: Vec<Change>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let (send, receive) = oneshot::channel();
        let request = self.say(changes, Some(send));
        let answers = Arc::clone(&self.answers);
        Box::pin(async move {
            let answer = tokio::time::timeout(TIMEOUT, receive).await;
            answers.lock().remove(&request);
            match answer {
                Ok(Ok(result)) => result,
                _ => Err("the warden did not answer".to_owned()),
            }
        })
    }

    fn note(&self, change: Change) {
        self.say(vec![change], None);
    }
}
