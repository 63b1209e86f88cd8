//! The shipper: the process that copies the journal to ClickHouse, or tells some of it to a webhook or a syslog server.
//!
//! In: from the warden, a segment of a journal as a descriptor that can only be read, with the place to go on from. Out:
//! rows, and the place up to which the server has acknowledged them. It reads what a network peer sends, which the warden
//! must not, and the journal, which the engine must not; so it is a third process, and holds nothing but a few batches: no
//! file, no way to make a socket (the warden dials the one configured address and hands the connection over), no place of
//! its own to remember. While ClickHouse takes a batch in, the next one is read and sent; they are acknowledged in their
//! order. Killed at any moment, it has lost nothing: the warden sends again what was not acknowledged.

mod connect;
mod feed;
mod tickets;
mod words;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

pub use connect::{Direct, Sockets, login};
pub use words::{FeedSettings, FeedTo, Settings, StoreTls, Task, TicketsTo, ToShipper, ToWarden};

use crate::audit::Seq;
use crate::audit::clickhouse::{Batch, Origin, Place, Store, StoreError};
use crate::audit::journal::{Found, LineReader, parse};
use crate::bridge::Bridge;
use crate::chain::chain;
use crate::config::FeedTransport;
use crate::id::JournalId;
use crate::sandbox::{self, Part};
use feed::Feed;

/// Bytes of lines in one batch; three are in memory at once, as rows. Twice as much was slower: it is more than ClickHouse
/// keeps in one file, so that it begins with a file for each column.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Batches that the store may have and has not acknowledged.
const UNDER_WAY: usize = 2;
/// Batches of one segment until another journal has its turn.
const TURN: usize = 8;
/// Lines that are read before what is under way is looked after.
const PIECE: usize = 128;
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
    #[error("what happened is not told: {0}")]
    Feed(String),
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
                    let said = shipper.ship(journal, from, file.into(), &bridge).await;
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
                let (tls, place) = match &settings.to {
                    FeedTo::Syslog { server, transport: FeedTransport::Tcp, .. } => (None, server),
                    FeedTo::Syslog { server: place, .. }
                    | FeedTo::Webhook { url: place, .. }
                    | FeedTo::Tickets(TicketsTo { url: place, .. }) => (Some(&tls), place),
                };
                let sockets = Sockets::new(Arc::clone(bridge), tls, &place.host)?;
                let feed = Feed::new(settings, sockets.clone());
                Ok((Arc::new(Self { to: To::Feed(Box::new(feed)), origin }), sockets))
            }
        }
    }

    async fn ship(&self, journal: JournalId, from: Place, file: File, bridge: &Bridge) -> ToWarden {
        let done = match (&self.to, Lines::new(file, journal, from)) {
            (_, Err(error)) => Err(error.into()),
            (To::Store { store, batch }, Ok(lines)) => self.copy((store, *batch), lines, bridge).await,
            (To::Feed(feed), Ok(lines)) => self.tell(feed, lines, bridge).await,
        };
        match done {
            Ok(Lines { place, end, stuck, .. }) => ToWarden::Shipped { place, end, stuck },
            Err(error) => ToWarden::Failed(chain(&error)),
        }
    }

    async fn copy(
        &self,
        (store, limit): (&Store, usize),
        mut lines: Lines,
        bridge: &Bridge,
    ) -> Result<Lines, ShipError> {
        let mut under_way = FuturesOrdered::new();
        for _ in 0..TURN {
            let batch = self.read(limit, &mut lines, &mut under_way, bridge).await?;
            if batch.lines() == 0 {
                break;
            }
            while under_way.len() >= UNDER_WAY {
                acknowledge(under_way.next().await, bridge).await?;
            }
            let place = lines.place;
            under_way.push_back(async move { store.keep(batch).await.map(|()| place) });
        }
        while let Some(kept) = under_way.next().await {
            kept?;
        }
        Ok(lines)
    }

    /// The next batch, while those before it go on.
    async fn read(
        &self,
        limit: usize,
        lines: &mut Lines,
        under_way: &mut FuturesOrdered<impl Future<Output = Result<Place, StoreError>>>,
        bridge: &Bridge,
    ) -> Result<Batch, ShipError> {
        let mut batch = Batch::default();
        let journal = lines.journal;
        while batch.lines() < limit && batch.bytes() < MAX_BYTES {
            if !lines.next(|seq, line| batch.push(&self.origin, journal, seq, line))? {
                break;
            }
            if batch.lines().is_multiple_of(PIECE) {
                tokio::select! {
                    biased;
                    kept = under_way.next(), if !under_way.is_empty() => acknowledge(kept, bridge).await?,
                    () = tokio::task::yield_now() => {}
                }
            }
        }
        Ok(batch)
    }

    async fn tell(&self, feed: &Feed, mut lines: Lines, bridge: &Bridge) -> Result<Lines, ShipError> {
        let (mut events, mut bytes, mut count) = (Vec::new(), 0, 0);
        let mut take = |_, line: &[u8]| {
            if let Some(event) = feed.event(line) {
                bytes += line.len();
                events.push(event);
            }
            count += 1;
            count < feed::MAX_LINES && bytes < MAX_BYTES && !feed.is_full(&events)
        };
        let mut goes_on = true;
        while goes_on && lines.next(|seq, line| goes_on = take(seq, line))? {}
        if let Some(filed) = feed.send(&self.origin, &events).await.map_err(ShipError::Feed)? {
            bridge.send(&ToWarden::Filed(filed), &[]).await?;
        }
        Ok(lines)
    }
}

/// Tells the warden of a batch behind which there is more.
async fn acknowledge(kept: Option<Result<Place, StoreError>>, bridge: &Bridge) -> Result<(), ShipError> {
    if let Some(place) = kept.transpose()? {
        bridge.send(&ToWarden::Kept { place }, &[]).await?;
    }
    Ok(())
}

/// The lines of a segment from a place on.
struct Lines {
    reader: LineReader,
    journal: JournalId,
    /// Behind the last line that was read.
    place: Place,
    /// Where the file ended, a torn line included, if it was read that far.
    end: Option<u64>,
    /// Why the lines behind can never be read.
    stuck: Option<String>,
}

impl Lines {
    fn new(file: File, journal: JournalId, from: Place) -> std::io::Result<Self> {
        Ok(Self { reader: LineReader::new(file, from.bytes)?, journal, place: from, end: None, stuck: None })
    }

    /// Reads a line; false where there is none.
    fn next(&mut self, take: impl FnOnce(Seq, &[u8])) -> std::io::Result<bool> {
        match self.reader.next()? {
            Found::Line(start) => {
                let mut seq = self.place.seq.next();
                // A segment may be the oldest that is left.
                if start == 0 {
                    seq = parse(self.reader.line()).map_or(seq, |head| head.seq.max(seq));
                }
                take(seq, self.reader.line());
                (self.place.bytes, self.place.seq) = (self.reader.offset(), seq);
                return Ok(true);
            }
            Found::End => self.end = Some(self.place.bytes),
            // It is being written, or was never acknowledged.
            Found::Torn(bytes) => self.end = Some(self.place.bytes + bytes as u64),
            Found::TooLong => {
                let (journal, segment, at) = (self.journal, self.place.segment, self.place.bytes);
                self.stuck = Some(format!("journal {journal}, segment {segment}: no line ends behind byte {at}"));
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::audit::Durability;
    use crate::audit::journal::open_regular;
    use crate::audit::journal::testing::{Site, fill};

    #[test]
    fn reads_on_where_it_stopped_and_leaves_a_torn_line() {
        let site = Site::new();
        let journal = site.journal(None, Durability::Process);
        fill(&journal, 2..=5);
        let path = site.segment(&journal);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"v\":1,").unwrap();
        let read_on = |from| {
            let mut lines = Lines::new(open_regular(&path).unwrap(), journal.id(), from).unwrap();
            let count = (0..3).take_while(|_| lines.next(|_, _| ()).unwrap()).count();
            (count, lines)
        };
        let (count, first) = read_on(Place { segment: 1, ..Place::default() });
        assert_eq!((count, first.place.seq, first.end), (3, Seq(3), None));
        let (count, second) = read_on(first.place);
        assert_eq!((count, second.place.seq, second.end), (2, Seq(5), Some(second.place.bytes + 7)));
        let (count, third) = read_on(second.place);
        assert_eq!((count, third.place, third.end), (0, second.place, second.end));
    }
}
