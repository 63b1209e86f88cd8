//! Cancelling one session: what it waits for here, and what it runs at the server.
//!
//! In: a CancelRequest with the session's key, or the session's own end. Out: a hold that ends, and a CancelRequest with
//! the server's key over a connection as well secured as the session's own. It waits until the server has taken it, as
//! clients expect, and no longer than a bound.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::protocol::postgres::cancel::Cancel;
use crate::protocol::postgres::judge::Dialer;
use crate::protocol::postgres::message::ours;
use crate::protocol::postgres::upstream::Upstream;
use crate::upstream::tls::UpstreamTls;

/// How long a server may take to accept a CancelRequest.
const PATIENCE: Duration = Duration::from_secs(5);

/// A session's way to be interrupted.
pub(super) struct Interrupt {
    dialer: Dialer,
    tls: UpstreamTls,
    process: u32,
    key: Vec<u8>,
    hold: Hold,
}

/// Whether the session waits for a ruling, and whether it shall not.
#[derive(Default)]
pub(super) struct Hold {
    waits: AtomicBool,
    canceled: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Interrupt {
    pub(super) fn new(dialer: Dialer, tls: UpstreamTls, process: u32, key: Vec<u8>) -> Self {
        Self { dialer, tls, process, key, hold: Hold::default() }
    }

    pub(super) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Asks the server to stop what the session runs.
    pub(super) async fn at_server(&self) {
        let told = async {
            let mut upstream = Upstream::open(&*self.dialer, &self.tls).await.ok()?;
            let request = ours::cancel_request(self.process, &self.key);
            upstream.conn.write_all(&request).await.ok()?;
            upstream.conn.flush().await.ok()?;
            // The server closes when it has sent the signal.
            upstream.conn.read(&mut [0; 1]).await.ok()
        };
        if !matches!(tokio::time::timeout(PATIENCE, told).await, Ok(Some(_))) {
            tracing::warn!("a cancel request did not reach the server");
        }
    }
}

impl Cancel for Interrupt {
    fn cancel(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let is_held = self.hold.waits.load(Ordering::Acquire);
            // The server first: a client that hears of its hold's end sends its next statement, which is not meant.
            self.at_server().await;
            if is_held {
                self.hold.cancel();
            }
        })
    }
}

impl Hold {
    /// The session starts to wait; what was cancelled before does not count.
    pub(super) fn begin(&self) {
        self.canceled.store(false, Ordering::Release);
        self.waits.store(true, Ordering::Release);
    }

    /// The session waits no longer.
    pub(super) fn end(&self) {
        self.waits.store(false, Ordering::Release);
        *self.waker.lock() = None;
    }

    /// Whether the wait was cancelled; wakes the task when it is.
    pub(super) fn poll_canceled(&self, waker: &Waker) -> bool {
        *self.waker.lock() = Some(waker.clone());
        self.canceled.load(Ordering::Acquire)
    }

    fn cancel(&self) {
        if self.waits.load(Ordering::Acquire) {
            self.canceled.store(true, Ordering::Release);
            if let Some(waker) = self.waker.lock().take() {
                waker.wake();
            }
        }
    }
}
