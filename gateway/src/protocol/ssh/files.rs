//! Files over a channel: SFTP, and scp's old protocol.
//!
//! In: bytes of both sides of a channel on which one of them runs. Out: what may go on of them. Each operation is decided
//! and in the journal before the server hears of it; a denial is the protocol's own error, and the session goes on. Each
//! file that went over is in the journal with its length and SHA-256. Contents are never edited: a value found in a file
//! that leaves the server ends the session, unless policy lets its class go.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use russh::server::Msg;
use russh::{ChannelWriteHalf, client};
use tokio::sync::Mutex as Turn;

use super::ask;
use super::connection::Connection;
use super::judge::{Asked, Refused};
use super::output::{Holds, Output, Stream};
use super::relay::Stop;
use crate::audit::Seq;
use crate::audit::event::{Direction as Kept, Event, SshPhase, SshTransfer};
use crate::audit::hex;
use crate::policy::Question;
use crate::protocol::scp::{self, Peer, Scp};
use crate::protocol::sftp::{self, Direction, Sftp, Transfer};

/// The way to the server.
type Server = ChannelWriteHalf<client::Msg>;

/// What runs.
pub(super) enum Protocol {
    /// The subsystem.
    Sftp(Box<Mutex<Sftp<Seq>>>),
    /// `scp -t` or `scp -f`. What it passes on keeps its order.
    Scp(Box<Turn<Scp<Seq>>>),
}

/// The files of one channel.
pub(super) struct Files<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) channel: u32,
    pub(super) protocol: Protocol,
    /// Packets of two writers must not mix.
    pub(super) to_client: Turn<Arc<ChannelWriteHalf<Msg>>>,
    pub(super) output: Mutex<Output>,
}

impl Files<'_> {
    /// Takes what the client sent.
    pub(super) async fn take_client(&self, data: Bytes, to_server: &Server) -> Result<(), Stop> {
        match &self.protocol {
            Protocol::Sftp(sftp) => {
                sftp.lock().push_client(&data);
                self.requests(sftp, to_server).await
            }
            Protocol::Scp(scp) => {
                let mut scp = scp.lock().await;
                scp.push(Peer::Client, &data);
                self.records(&mut scp, to_server).await
            }
        }
    }

    /// Takes what the server sent.
    pub(super) async fn take_server(&self, data: Bytes, to_server: &Server) -> Result<(), Stop> {
        match &self.protocol {
            Protocol::Sftp(sftp) => {
                sftp.lock().push_server(&data);
                self.replies(sftp).await
            }
            Protocol::Scp(scp) => {
                let mut scp = scp.lock().await;
                scp.push(Peer::Server, &data);
                self.records(&mut scp, to_server).await
            }
        }
    }

    /// It is over: what was under way is in the journal too.
    pub(super) fn end(self) {
        let left = match self.protocol {
            Protocol::Sftp(sftp) => sftp.into_inner().end(),
            Protocol::Scp(scp) => scp.into_inner().end(),
        };
        record(self.connection, left);
    }

    async fn requests(&self, sftp: &Mutex<Sftp<Seq>>, to_server: &Server) -> Result<(), Stop> {
        loop {
            let step = sftp.lock().next_client().map_err(broken)?;
            let Some(step) = step else { return Ok(()) };
            match step {
                sftp::Step::Forward(passed) => to_server.data_bytes(passed.bytes).await?,
                sftp::Step::Refuse { reply, reason } => {
                    self.connection.judge.note_refusal(Some(self.channel), &reason, &reason);
                    self.tell(reply).await?;
                }
                sftp::Step::Ask(operation) => {
                    let account = self.account()?;
                    let (text, questions) = ask::sftp(&account, &operation);
                    match self.decide(text, questions).await {
                        Ok(request) => {
                            let passed = sftp.lock().allow(request);
                            if let Some(passed) = passed {
                                to_server.data_bytes(passed.bytes).await?;
                            }
                        }
                        Err(Refused(why)) => {
                            let reply = sftp.lock().deny(&why);
                            if let Some(reply) = reply {
                                self.tell(reply).await?;
                            }
                        }
                    }
                }
            }
        }
    }

    async fn replies(&self, sftp: &Mutex<Sftp<Seq>>) -> Result<(), Stop> {
        loop {
            let (passed, transfers) = {
                let mut sftp = sftp.lock();
                (sftp.next_server().map_err(broken)?, sftp.transfers())
            };
            record(self.connection, transfers);
            let Some(passed) = passed else { return Ok(()) };
            if let Some(content) = passed.content {
                self.look(passed.bytes.slice(content.at))?;
            }
            self.tell(passed.bytes).await?;
        }
    }

    async fn records(&self, scp: &mut Scp<Seq>, to_server: &Server) -> Result<(), Stop> {
        loop {
            let step = scp.step().map_err(broken)?;
            record(self.connection, scp.transfers());
            match step {
                None => return Ok(()),
                Some(step) => self.record_step(scp, step, to_server).await?,
            }
        }
    }

    async fn record_step(&self, scp: &mut Scp<Seq>, step: scp::Step, to_server: &Server) -> Result<(), Stop> {
        match step {
            scp::Step::Pass { to: Peer::Server, bytes, .. } => Ok(to_server.data_bytes(bytes).await?),
            scp::Step::Pass { to: Peer::Client, bytes, content } => {
                if content.is_some() {
                    self.look(bytes.clone())?;
                }
                self.tell(bytes).await
            }
            scp::Step::Ask(operation) => {
                let account = self.account()?;
                let (text, questions) = ask::scp(&account, &operation);
                match self.decide(text, questions).await {
                    Ok(request) => match scp.allow(request).map_err(broken)? {
                        // What goes on of a record holds nothing to ask about.
                        Some(step) => Box::pin(self.record_step(scp, step, to_server)).await,
                        None => Ok(()),
                    },
                    Err(Refused(why)) => {
                        scp.deny(&why);
                        Ok(())
                    }
                }
            }
        }
    }

    /// Decides one operation.
    async fn decide(&self, text: String, questions: Vec<Arc<Question>>) -> Result<Seq, Refused> {
        let asked = Asked { phase: SshPhase::File, channel: Some(self.channel), text, pty: false, questions };
        self.connection.judge.decide(&asked, None).await.map(|granted| granted.request)
    }

    fn account(&self) -> Result<Arc<crate::policy::request::Entity>, Stop> {
        self.connection.judge.account().ok_or(Stop::Gone)
    }

    async fn tell(&self, bytes: Bytes) -> Result<(), Stop> {
        Ok(self.to_client.lock().await.data_bytes(bytes).await?)
    }

    /// Looks at a part of a file that leaves the server.
    fn look(&self, part: Bytes) -> Result<(), Stop> {
        match self.output.lock().push(Stream::Out, part) {
            Ok(_) => Ok(()),
            Err(Holds(class)) => Err(Stop::Because(format!("a file holds a value of the class {class}"))),
        }
    }
}

fn record(connection: &Connection, transfers: Vec<Transfer<Seq>>) {
    for transfer in transfers {
        connection.judge.note(&Event::SshTransfer(Box::new(SshTransfer {
            request: transfer.request,
            direction: match transfer.direction {
                Direction::Read => Kept::Read,
                Direction::Write => Kept::Write,
            },
            path: connection.judge.kept(&transfer.path),
            bytes: transfer.bytes,
            sha256: transfer.sha256.map(|hash| hex::encode(&hash)),
            complete: transfer.is_complete,
        })));
    }
}

fn broken(fault: impl std::fmt::Display) -> Stop {
    Stop::Because(fault.to_string())
}
