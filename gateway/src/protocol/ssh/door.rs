//! The leg to the client: who comes in, and which channels it opens.
//!
//! In: what the library hears from the client, one message at a time. Out: a task for each channel, and an answer to each
//! request, given at once: the library forgets which of two requests an answer is for. A client is let in by what the
//! kernel knows of it; its keys and passwords are neither checked nor kept. Whatever no channel has a use for is
//! refused, and in the journal.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, Sig};

use super::algorithms::WINDOW;
use super::channel;
use super::connection::Connection;
use super::flow::size_of_pty;
use super::request;
use crate::protocol::forward::Onward;

/// Channels of one connection at once.
const MAX_OPEN: usize = 256;
/// And in all of its life: the library keeps some memory of each.
const MAX_EVER: usize = 4_096;
/// The longest name of a user or host.
const LONGEST_NAME: usize = 256;
/// Bytes of one channel that wait for the server, from which its window is not given back any more, and where it is
/// again.
const HIGH: usize = 4 << 20;
const LOW: usize = 1 << 20;
/// Beyond it the client is not read at all.
const MARK: usize = 16 << 20;
/// A window of this size is asked for anew with each byte or two.
const SLIT: u32 = 2;
/// How long such a byte waits, that the wait costs nothing.
const TRICKLE: Duration = Duration::from_millis(20);

/// What was started on a channel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Started,
}

/// Hears one client.
pub(super) struct Door {
    connection: Arc<Connection>,
    channels: HashMap<ChannelId, Stage>,
    ever: usize,
    user: Option<String>,
}

impl Door {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, channels: HashMap::new(), ever: 0, user: None }
    }

    fn enter(&mut self, user: &str) -> Auth {
        if user.is_empty() || user.len() > LONGEST_NAME || user.chars().any(char::is_control) {
            return Auth::reject();
        }
        self.user = Some(user.to_owned());
        Auth::Accept
    }

    /// The first thing to be run on a channel.
    fn start(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        match self.channels.get_mut(&channel) {
            Some(stage) if *stage == Stage::Open => {
                *stage = Stage::Started;
                session.channel_success(channel)
            }
            _ => session.channel_failure(channel),
        }
    }

    fn refuse(&self, channel: Option<ChannelId>, what: &str) {
        let message = format!("{what} is not passed on");
        self.connection.judge.note_refusal(channel.map(|channel| channel.number()), what, &message);
    }

    /// Whether one more channel may be.
    fn has_room(&mut self) -> bool {
        self.channels.retain(|id, _| self.connection.flows.of(id.number()).is_some());
        self.ever += 1;
        let has_room = self.channels.len() < MAX_OPEN && self.ever <= MAX_EVER;
        if !has_room {
            self.refuse(None, "one more channel on this connection");
        }
        has_room
    }

    async fn arrived(&mut self, channel: ChannelId, bytes: usize) {
        let Some(flow) = self.connection.flows.of(channel.number()) else { return };
        flow.arrived(bytes);
        if flow.is_over(MARK) {
            flow.below(HIGH).await;
        } else if bytes <= SLIT as usize && flow.is_over(LOW) {
            let _ = tokio::time::timeout(TRICKLE, flow.below(LOW)).await;
        }
    }

    /// Requests have no window: whoever sends more of them than are taken is not read.
    async fn requested(&mut self, channel: ChannelId, bytes: usize) {
        let Some(flow) = self.connection.flows.of(channel.number()) else { return };
        flow.arrived(bytes);
        if flow.is_over(MARK) {
            flow.below(HIGH).await;
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.connection.flows.close_all();
    }
}

impl Handler for Door {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        Ok(self.enter(user))
    }

    async fn auth_publickey_offered(&mut self, _: &str, _: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn auth_publickey(&mut self, user: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(self.enter(user))
    }

    async fn auth_openssh_certificate(&mut self, user: &str, _: &Certificate) -> Result<Auth, Self::Error> {
        Ok(self.enter(user))
    }

    async fn auth_password(&mut self, user: &str, _: &str) -> Result<Auth, Self::Error> {
        Ok(self.enter(user))
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        if let Some(user) = self.user.take() {
            self.connection.log_in(user);
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.has_room() {
            self.channels.insert(channel.id(), Stage::Open);
            channel::spawn(Arc::clone(&self.connection), channel, reply, session.handle());
        } else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if host.len() > LONGEST_NAME {
            // Dropping the handle says "administratively prohibited".
            self.refuse(None, "a connection to a host with an endless name");
        } else if self.has_room() {
            // Nothing can be started on it.
            self.channels.insert(channel.id(), Stage::Started);
            let wanted = Onward { host: host.to_owned(), port };
            channel::spawn_forward(Arc::clone(&self.connection), channel, reply, session.handle(), wanted);
        } else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        path: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse(None, &format!("a connection to the unix socket {path}"));
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        self.connection.flows.close(channel.number());
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        self.arrived(channel, data.len()).await;
        Ok(())
    }

    async fn extended_data(
        &mut self,
        channel: ChannelId,
        _: u32,
        data: &[u8],
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.arrived(channel, data.len()).await;
        Ok(())
    }

    fn adjust_window(&mut self, channel: ChannelId, _: u32) -> u32 {
        let is_over = self.connection.flows.of(channel.number()).is_some_and(|flow| flow.is_over(HIGH));
        if is_over { SLIT } else { WINDOW }
    }

    async fn channel_eof(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.requested(channel, 0).await;
        Ok(())
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(channel, 0).await;
        Ok(())
    }

    async fn signal(&mut self, channel: ChannelId, _: Sig, _: &mut Session) -> Result<(), Self::Error> {
        self.requested(channel, 0).await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(channel, size_of_pty(name, modes.len())).await;
        match self.channels.get(&channel) {
            Some(Stage::Open) => session.channel_success(channel),
            _ => session.channel_failure(channel),
        }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(channel, name.len() + value.len()).await;
        if request::is_passed_on(name) { session.channel_success(channel) } else { session.channel_failure(channel) }
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(channel, command.len()).await;
        self.start(channel, session)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.requested(channel, 0).await;
        self.start(channel, session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(channel, name.len()).await;
        if name == request::SFTP {
            return self.start(channel, session);
        }
        self.refuse(Some(channel), &format!("the subsystem {name}"));
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        protocol: &str,
        cookie: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(channel, protocol.len() + cookie.len()).await;
        self.refuse(Some(channel), "an X11 display");
        session.channel_failure(channel)
    }

    async fn agent_request(&mut self, channel: ChannelId, _: &mut Session) -> Result<bool, Self::Error> {
        self.requested(channel, 0).await;
        self.refuse(Some(channel), "the client's agent");
        Ok(false)
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, _: &mut Session) -> Result<bool, Self::Error> {
        self.refuse(None, &format!("listening on {address}:{port} at the server"));
        Ok(false)
    }

    async fn streamlocal_forward(&mut self, path: &str, _: &mut Session) -> Result<bool, Self::Error> {
        self.refuse(None, &format!("listening on the unix socket {path} at the server"));
        Ok(false)
    }
}
