//! Certificates for logins, signed by the warden: the key that servers trust never comes here.
//!
//! In: a public key made for one login. Out: its certificate, for the user that the warden's own configuration names.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::bridge::ToWarden;
use crate::protocol::ssh::Certify;

/// How long the warden may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the warden.
#[derive(Debug)]
pub struct Certifier {
    outbox: mpsc::Sender<ToWarden>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<String, String>>>>,
    next: AtomicU64,
}

impl Certifier {
    pub(super) fn new(outbox: mpsc::Sender<ToWarden>) -> Self {
        Self { outbox, waiting: Mutex::default(), next: AtomicU64::new(1) }
    }

    pub(super) fn answer(&self, request: u64, result: Result<String, String>) {
        if let Some(waiting) = self.waiting.lock().remove(&request) {
            let _ = waiting.send(result);
        }
    }

    async fn certify(&self, target: String, key: String) -> Result<String, String> {
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        let (send, receive) = oneshot::channel();
        self.waiting.lock().insert(request, send);
        let asked = self.outbox.send(ToWarden::Certify { request, target, key }).await;
        let answer = tokio::time::timeout(TIMEOUT, receive).await;
        self.waiting.lock().remove(&request);
        match (asked, answer) {
            (Ok(()), Ok(Ok(result))) => result,
            _ => Err("the warden did not answer".to_owned()),
        }
    }
}

/// Asks for one target.
pub(super) struct OfTarget {
    pub(super) certifier: Arc<Certifier>,
    pub(super) target: String,
}

impl Certify for OfTarget {
    fn certify(&self, key: String) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>> {
        Box::pin(self.certifier.certify(self.target.clone(), key))
    }
}
