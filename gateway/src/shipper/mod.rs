//! The shipper: the process that copies the journal to ClickHouse, or tells some of it to a webhook.
//!
//! In: from the warden, a segment of a journal as a descriptor that can only be read, with the place to go on from. Out:
//! rows, and the place up to which the server has acknowledged them. It reads what a network peer sends, which the warden
//! must not, and the journal, which the engine must not; so it is a third process, and holds nothing but what one batch
//! takes: no file, no way to make a socket (the warden dials the one configured address and hands the connection over),
//! no place of its own to remember. Killed at any moment, it has lost nothing: the warden sends the same batch again.

mod connect;
mod feed;
mod words;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, bail};

pub use connect::{Direct, Sockets, login};
pub use words::{FeedSettings, Settings, StoreTls, Task, ToShipper, ToWarden};

use crate::audit::Seq;
use crate::audit::clickhouse::{Batch, Origin, Place, Store, StoreError};
use crate::audit::journal::{Found, LineReader, parse};
use crate::bridge::Bridge;
use crate::chain::chain;
use crate::id::JournalId;
use crate::sandbox::{self, Part};
use feed::Feed;

/// Bytes of lines in one batch: what is in memory at once is a few times this.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The largest file of settings.
const MAX_SETTINGS: u64 = 16 * 1024 * 1024;

/// Why a batch was not copied.
#[derive(Debug, thiserror::Error)]
enum ShipError {
    /// The journal cannot be read.
    #[error("cannot read a segment of the journal")]
    Read(#[from] std::io::Error),
    /// It is not kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not taken.
    #[error("the webhook took nothing: {0}")]
    Feed(String),
}

/// What was read of a segment.
struct Lines {
    count: usize,
    place: Place,
    /// Where the file ended, a torn line included, if it was read that far.
    end: Option<u64>,
    /// Why the lines behind can never be read.
    stuck: Option<String>,
}

/// Runs the shipper's process to its end.
///
/// # Errors
/// Where it was not started by a warden, or the sandbox cannot be closed.
pub fn run() -> anyhow::Result<()> {
    let socket =
        std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().context("no socket on standard input")?;
    sandbox::close(Part::Shipper).context("cannot close the sandbox")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(socket))
}

async fn serve(socket: OwnedFd) -> anyhow::Result<()> {
    let bridge = Arc::new(Bridge::new(socket)?);
    let Some((ToShipper::Start, descriptors)) = bridge.receive().await? else {
        bail!("the warden did not say start");
    };
    let (shipper, sockets) = match Shipper::open(descriptors, &bridge) {
        Ok(opened) => opened,
        Err(error) => {
            bridge.send(&ToWarden::CannotStart(format!("{error:#}")), &[]).await?;
            return Err(error);
        }
    };
    bridge.send(&ToWarden::Ready, &[]).await?;
    while let Some((message, descriptors)) = bridge.receive::<ToShipper>().await? {
        let mut descriptors = descriptors.into_iter();
        match message {
            ToShipper::Ship { journal, from } => {
                let file = descriptors.next().context("the warden sent no segment")?;
                let (shipper, bridge) = (Arc::clone(&shipper), Arc::clone(&bridge));
                tokio::spawn(async move {
                    let said = shipper.ship(journal, from, file.into()).await;
                    // A warden that is gone ends this process.
                    let _ = bridge.send(&said, &[]).await;
                });
            }
            ToShipper::Socket { request, error } => sockets.answer(request, descriptors.next(), error),
            ToShipper::Start => bail!("the warden said start twice"),
        }
    }
    Ok(())
}

/// Where lines go.
enum To {
    Store { store: Box<Store>, batch: usize },
    Feed(Box<Feed>),
}

struct Shipper {
    to: To,
    origin: Origin,
}

impl Shipper {
    fn open(descriptors: Vec<OwnedFd>, bridge: &Arc<Bridge>) -> anyhow::Result<(Arc<Self>, Sockets)> {
        let file = descriptors.into_iter().next().context("the warden sent no settings")?;
        let mut text = zeroize::Zeroizing::new(Vec::new());
        File::from(file).take(MAX_SETTINGS).read_to_end(&mut text)?;
        let task: Task = serde_json::from_slice(&text).context("the warden's settings were not understood")?;
        match task {
            Task::Copy(settings) => {
                let origin = Origin { host: settings.host, host_name: settings.host_name.clone() };
                let batch = settings.batch;
                let host = settings.address.ip().to_string();
                let sockets = Sockets::new(Arc::clone(bridge), settings.tls.as_ref(), &host)?;
                let store = Box::new(Store::new(login(settings), Arc::new(sockets.clone()))?);
                Ok((Arc::new(Self { to: To::Store { store, batch }, origin }), sockets))
            }
            Task::Feed(settings) => {
                let origin = Origin { host: settings.host, host_name: settings.host_name.clone() };
                let tls = StoreTls { ca: settings.ca.clone(), name: None };
                let sockets = Sockets::new(Arc::clone(bridge), Some(&tls), &settings.url.host)?;
                let feed = Feed::new(settings, sockets.clone());
                Ok((Arc::new(Self { to: To::Feed(Box::new(feed)), origin }), sockets))
            }
        }
    }

    async fn ship(&self, journal: JournalId, from: Place, file: File) -> ToWarden {
        let done = match &self.to {
            To::Store { store, batch } => self.copy((store, *batch), journal, from, file).await,
            To::Feed(feed) => self.tell(feed, journal, from, file).await,
        };
        match done {
            Ok(Lines { place, end, stuck, .. }) => ToWarden::Shipped { place, end, stuck },
            Err(error) => ToWarden::Failed(chain(&error)),
        }
    }

    async fn copy(
        &self,
        (store, limit): (&Store, usize),
        journal: JournalId,
        from: Place,
        file: File,
    ) -> Result<Lines, ShipError> {
        let mut batch = Batch::default();
        let push = |seq, line: &[u8]| {
            batch.push(&self.origin, journal, seq, line);
            batch.bytes()
        };
        let lines = read(push, limit, journal, from, file)?;
        if lines.count > 0 {
            store.keep(batch).await?;
        }
        Ok(lines)
    }

    async fn tell(&self, feed: &Feed, journal: JournalId, from: Place, file: File) -> Result<Lines, ShipError> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        let take = |_, line: &[u8]| {
            if let Some(event) = feed.event(line) {
                bytes += line.len();
                events.push(event);
            }
            bytes
        };
        let lines = read(take, feed::MAX_LINES, journal, from, file)?;
        feed.send(&self.origin, &events).await.map_err(ShipError::Feed)?;
        Ok(lines)
    }
}

/// Reads lines from a place on, a batch at most. What takes them says how many bytes it has by then.
fn read(
    mut take: impl FnMut(Seq, &[u8]) -> usize,
    limit: usize,
    journal: JournalId,
    from: Place,
    file: File,
) -> std::io::Result<Lines> {
    let mut lines = LineReader::new(file, from.bytes)?;
    let mut read = Lines { count: 0, place: from, end: None, stuck: None };
    let mut bytes = 0;
    while read.count < limit && bytes < MAX_BYTES {
        match lines.next()? {
            Found::Line(start) => {
                let mut seq = read.place.seq.next();
                // A segment may be the oldest that is left.
                if start == 0 {
                    seq = parse(lines.line()).map_or(seq, |head| head.seq.max(seq));
                }
                bytes = take(seq, lines.line());
                read.count += 1;
                (read.place.bytes, read.place.seq) = (lines.offset(), seq);
            }
            Found::End => {
                read.end = Some(read.place.bytes);
                break;
            }
            // It is being written, or was never acknowledged.
            Found::Torn(bytes) => {
                read.end = Some(read.place.bytes + bytes as u64);
                break;
            }
            Found::TooLong => {
                let at = read.place.bytes;
                read.stuck =
                    Some(format!("journal {journal}, segment {}: no line ends behind byte {at}", from.segment));
                break;
            }
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::audit::Durability;
    use crate::audit::journal::open_regular;
    use crate::audit::journal::testing::{Site, fill};

    #[test]
    fn reads_a_batch_at_a_time_and_leaves_a_torn_line() {
        let site = Site::new();
        let journal = site.journal(None, Durability::Process);
        fill(&journal, 2..=5);
        let path = site.segment(&journal);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"v\":1,").unwrap();
        let read_on = |from| read(|_, _| 0, 3, journal.id(), from, open_regular(&path).unwrap()).unwrap();
        let first = read_on(Place { segment: 1, ..Place::default() });
        assert_eq!((first.count, first.place.seq, first.end), (3, Seq(3), None));
        let second = read_on(first.place);
        assert_eq!((second.count, second.place.seq, second.end), (2, Seq(5), Some(second.place.bytes + 7)));
        let third = read_on(second.place);
        assert_eq!((third.count, third.place, third.end), (0, second.place, second.end));
    }
}
