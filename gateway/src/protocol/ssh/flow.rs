//! How many bytes of one channel wait between the two legs.
//!
//! In: what arrived on one leg, and what was passed on to the other. Out: a wait for whoever may take more from the
//! network. The library gives back a channel's window when data arrives, not when it was passed on, so that a slow
//! reader is bounded here: what waits never exceeds a mark by more than one packet.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a message costs beside its bytes.
const MESSAGE: usize = 256;

/// The bytes of one channel in one direction that wait.
#[derive(Debug, Default)]
pub(super) struct Flow {
    waiting: AtomicUsize,
    is_closed: AtomicBool,
    passed: Notify,
}

impl Flow {
    /// `bytes` arrived. Returns how many wait now.
    pub(super) fn arrived(&self, bytes: usize) -> usize {
        self.waiting.fetch_add(bytes + MESSAGE, Ordering::AcqRel) + bytes + MESSAGE
    }

    /// `bytes` that arrived together were passed on.
    pub(super) fn passed(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes + MESSAGE, Ordering::AcqRel);
        self.passed.notify_waiters();
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Nobody passes anything on any more.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.passed.notify_waiters();
    }

    /// Waits until nobody passes anything on any more.
    pub(super) async fn closed(&self) {
        loop {
            let notified = self.passed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.is_closed.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }

    /// Waits until at most `mark` bytes wait, or nobody passes them on any more.
    pub(super) async fn below(&self, mark: usize) {
        loop {
            let notified = self.passed.notified();
            tokio::pin!(notified);
            // Before the look: what is passed on in between wakes it.
            notified.as_mut().enable();
            if self.waiting() <= mark || self.is_closed.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}

/// The flows of one leg, by the number of the channel.
#[derive(Debug, Default)]
pub(super) struct Flows(Mutex<HashMap<u32, Arc<Flow>>>);

impl Flows {
    /// The flow of a channel that was opened; the same for each who asks until it is closed.
    pub(super) fn open(&self, channel: u32) -> Arc<Flow> {
        Arc::clone(self.0.lock().entry(channel).or_default())
    }

    /// That of a channel.
    pub(super) fn of(&self, channel: u32) -> Option<Arc<Flow>> {
        self.0.lock().get(&channel).cloned()
    }

    /// The channel is closed.
    pub(super) fn close(&self, channel: u32) {
        if let Some(flow) = self.0.lock().remove(&channel) {
            flow.close();
        }
    }

    /// The leg is gone.
    pub(super) fn close_all(&self) {
        for (_, flow) in self.0.lock().drain() {
            flow.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_goes_on_when_enough_was_passed_on() {
        let flow = Arc::<Flow>::default();
        assert_eq!(flow.arrived(1_000), 1_000 + MESSAGE);
        flow.arrived(1_000);
        let waiting = tokio::spawn({
            let flow = Arc::clone(&flow);
            async move { flow.below(1_500).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        flow.passed(1_000);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_waits_for_a_channel_that_is_closed() {
        let flows = Flows::default();
        let (channel, other) = (3, Flow::default());
        let flow = flows.open(channel);
        flow.arrived(1 << 30);
        flows.close(channel);
        flow.below(0).await;
        assert!(flows.of(channel).is_none());
        other.below(0).await;
    }
}
