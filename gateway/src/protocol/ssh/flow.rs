//! How much of a leg waits to be passed on to the other.
//!
//! In: what arrived on one leg, data and requests, and what was passed on. Out: a wait for whoever may take more from the
//! network. The library gives back a channel's window when data arrives, not when it was passed on, and requests have no
//! window at all: so slow readers are bounded here. What waits of a channel never exceeds a mark by more than one
//! packet, nor what waits of all channels of a leg four times that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use parking_lot::Mutex;
use russh::ChannelMsg;
use tokio::sync::Notify;

/// What a message costs beside its bytes.
const MESSAGE: isize = 256;
/// Channels of a leg that may be at a mark at once.
const CHANNELS: isize = 4;

/// After so many bytes others have their turn on the thread. Looking at them takes a millisecond at most where they are
/// text, and the library's own limit on turns counts messages, of any size.
const TURN: usize = 128 * 1024;

/// What all channels of a leg share.
#[derive(Debug, Default)]
struct Leg {
    /// Whether requests are counted, each where it arrives and where it is taken.
    has_requests: bool,
    waiting: AtomicIsize,
    /// Less waits than before, or a channel was closed.
    moved: Notify,
}

/// What of one channel waits in one direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    state: Mutex<State>,
    closed: Notify,
    leg: Arc<Leg>,
}

/// For a moment less than nothing waits: whoever takes a message may be faster than who counts it.
#[derive(Debug, Default)]
struct State {
    waiting: isize,
    is_closed: bool,
}

impl Flow {
    /// So many bytes of data arrived together, or a request of so many.
    pub(super) fn arrived(&self, bytes: usize) {
        self.add(cost(bytes));
    }

    /// `bytes` that arrived together were passed on.
    pub(super) fn passed(&self, bytes: usize) {
        self.add(-cost(bytes));
        self.leg.moved.notify_waiters();
    }

    /// A message was taken; data among it waits until it was passed on.
    pub(super) fn took(&self, message: &ChannelMsg) {
        if let Some(bytes) = requested_by(message).filter(|_| self.leg.has_requests) {
            self.passed(bytes);
        }
    }

    fn add(&self, bytes: isize) {
        let mut state = self.state.lock();
        // Of a closed channel nobody passes anything on.
        if !state.is_closed {
            state.waiting += bytes;
            self.leg.waiting.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    /// Whether more waits than the mark, or than four times that on the whole leg.
    pub(super) fn is_over(&self, mark: usize) -> bool {
        let mark = isize::try_from(mark).unwrap_or(isize::MAX / CHANNELS);
        let state = self.state.lock();
        let leg = self.leg.waiting.load(Ordering::Acquire);
        !state.is_closed && (state.waiting > mark || leg > CHANNELS * mark)
    }

    /// Nobody passes anything on any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        self.leg.waiting.fetch_sub(std::mem::take(&mut state.waiting), Ordering::AcqRel);
        drop(state);
        self.closed.notify_waiters();
        self.leg.moved.notify_waiters();
    }

    fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Waits until nobody passes anything on any more.
    pub(super) async fn closed(&self) {
        loop {
            let notified = self.closed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.is_closed() {
                return;
            }
            notified.await;
        }
    }

    /// Waits until no more waits than the mark, or nobody passes it on any more.
    pub(super) async fn below(&self, mark: usize) {
        loop {
            let notified = self.leg.moved.notified();
            tokio::pin!(notified);
            // Before the look: what is passed on in between wakes it.
            notified.as_mut().enable();
            if !self.is_over(mark) {
                return;
            }
            notified.await;
        }
    }
}

/// Leaves the thread to others from time to time.
#[derive(Debug, Default)]
pub(super) struct Turns(usize);

impl Turns {
    /// So many bytes were looked at.
    pub(super) async fn after(&mut self, bytes: usize) {
        self.0 += bytes;
        if self.0 >= TURN {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

fn cost(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX / 2) + MESSAGE
}

/// The bytes of a request of a client; `None` for what is none, and for what the library itself bounds.
fn requested_by(message: &ChannelMsg) -> Option<usize> {
    Some(match message {
        ChannelMsg::RequestPty { term, terminal_modes, .. } => size_of_pty(term, terminal_modes.len()),
        ChannelMsg::RequestX11 { x11_authentication_protocol, x11_authentication_cookie, .. } => {
            x11_authentication_protocol.len() + x11_authentication_cookie.len()
        }
        ChannelMsg::SetEnv { variable_name, variable_value, .. } => variable_name.len() + variable_value.len(),
        ChannelMsg::Exec { command, .. } => command.len(),
        ChannelMsg::RequestSubsystem { name, .. } => name.len(),
        ChannelMsg::RequestShell { .. }
        | ChannelMsg::AgentForward { .. }
        | ChannelMsg::WindowChange { .. }
        | ChannelMsg::Signal { .. }
        | ChannelMsg::Eof => 0,
        _ => return None,
    })
}

/// The bytes of a request for a terminal.
pub(super) fn size_of_pty(name: &str, modes: usize) -> usize {
    // A number and its value.
    name.len() + 8 * modes
}

/// The flows of one leg, by the number of the channel.
#[derive(Debug, Default)]
pub(super) struct Flows {
    open: Mutex<HashMap<u32, Arc<Flow>>>,
    leg: Arc<Leg>,
}

impl Flows {
    /// Those of a leg whose other side sends requests.
    pub(super) fn of_client() -> Self {
        Self { leg: Arc::new(Leg { has_requests: true, ..Leg::default() }), ..Self::default() }
    }

    /// The flow of a channel that was opened; the same for each who asks until it is closed.
    pub(super) fn open(&self, channel: u32) -> Arc<Flow> {
        let mut open = self.open.lock();
        open.retain(|_, flow| !flow.is_closed());
        let fresh = || Arc::new(Flow { leg: Arc::clone(&self.leg), ..Flow::default() });
        Arc::clone(open.entry(channel).or_insert_with(fresh))
    }

    /// That of a channel.
    pub(super) fn of(&self, channel: u32) -> Option<Arc<Flow>> {
        self.open.lock().get(&channel).cloned()
    }

    /// The channel is closed.
    pub(super) fn close(&self, channel: u32) {
        if let Some(flow) = self.open.lock().remove(&channel) {
            flow.close();
        }
    }

    /// The leg is gone.
    pub(super) fn close_all(&self) {
        for (_, flow) in self.open.lock().drain() {
            flow.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: usize = MESSAGE.unsigned_abs();

    #[tokio::test]
    async fn whoever_waits_goes_on_when_enough_was_passed_on() {
        let flow = Flows::default().open(1);
        flow.arrived(1_000);
        assert!(flow.is_over(999 + EACH) && !flow.is_over(1_000 + EACH));
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
        let flow = flows.open(3);
        flow.arrived(1 << 30);
        flows.close(3);
        flow.below(0).await;
        flow.closed().await;
        assert!(flows.of(3).is_none());
        // Nor do its bytes count for others.
        flow.arrived(1 << 30);
        flow.passed(1 << 20);
        assert!(!flows.open(4).is_over(0));
    }

    #[tokio::test]
    async fn many_channels_together_are_bounded() {
        let flows = Flows::default();
        let all: Vec<_> = (0..8).map(|channel| flows.open(channel)).collect();
        all.iter().for_each(|flow| flow.arrived(900));
        assert!(all.iter().all(|flow| flow.is_over(1_200) && !flow.is_over(4_000)));
        let waiting = tokio::spawn({
            let flow = Arc::clone(&all[7]);
            async move { flow.below(1_200).await }
        });
        all[..3].iter().for_each(|flow| flow.passed(900));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        all[3].passed(900);
        all[4].close();
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn who_looks_at_much_leaves_the_thread_to_others() {
        let seen = Arc::new(AtomicIsize::default());
        let other = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move { seen.load(Ordering::Acquire) }
        });
        let mut turns = Turns::default();
        for _ in 0..64 {
            seen.fetch_add(1, Ordering::AcqRel);
            turns.after(64 * 1024).await;
        }
        assert_eq!(other.await.unwrap(), 2);
    }

    #[test]
    fn requests_wait_until_they_are_taken_in_whatever_order_that_is_noticed() {
        let flow = Flows::of_client().open(0);
        let set = ChannelMsg::SetEnv { want_reply: false, variable_name: "A".into(), variable_value: "b".repeat(99) };
        flow.took(&ChannelMsg::Eof);
        flow.arrived(100);
        flow.arrived(0);
        assert!(flow.is_over(99 + EACH) && !flow.is_over(100 + EACH));
        flow.took(&set);
        assert!(!flow.is_over(0));
        // A server's are not counted.
        let flow = Flows::default().open(0);
        flow.arrived(0);
        flow.took(&ChannelMsg::Eof);
        assert!(flow.is_over(0));
    }
}
