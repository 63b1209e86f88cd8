//! The shipper: the process that copies the journal to ClickHouse.
//!
//! In: from the warden, a segment of a journal as a descriptor that can only be read, with the place to go on from. Out:
//! rows, and the place up to which the server has acknowledged them. It reads what a network peer sends, which the warden
//! must not, and the journal, which the engine must not; so it is a third process, and holds nothing but what one batch
//! takes: no file, no way to make a socket (the warden dials the one configured address and hands the connection over),
//! no place of its own to remember. Killed at any moment, it has lost nothing: the warden sends the same batch again.

mod connect;
mod words;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, bail};

pub use connect::{Direct, Sockets, login};
pub use words::{Settings, StoreTls, ToShipper, ToWarden};

use crate::audit::clickhouse::{Batch, Origin, Place, Store, StoreError};
use crate::audit::journal::{Found, LineReader, parse};
use crate::bridge::Bridge;
use crate::chain::chain;
use crate::id::JournalId;
use crate::sandbox::{self, Part};

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
}

/// What was read of a segment.
struct Lines {
    batch: Batch,
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

struct Shipper {
    store: Store,
    origin: Origin,
    batch: usize,
}

impl Shipper {
    fn open(descriptors: Vec<OwnedFd>, bridge: &Arc<Bridge>) -> anyhow::Result<(Arc<Self>, Sockets)> {
        let file = descriptors.into_iter().next().context("the warden sent no settings")?;
        let mut text = zeroize::Zeroizing::new(Vec::new());
        File::from(file).take(MAX_SETTINGS).read_to_end(&mut text)?;
        let settings: Settings = serde_json::from_slice(&text).context("the warden's settings were not understood")?;
        let origin = Origin { host: settings.host, host_name: settings.host_name.clone() };
        let batch = settings.batch;
        let sockets = Sockets::new(Arc::clone(bridge), settings.tls.as_ref(), settings.address)?;
        let store = Store::new(login(settings), Arc::new(sockets.clone()))?;
        Ok((Arc::new(Self { store, origin, batch }), sockets))
    }

    async fn ship(&self, journal: JournalId, from: Place, file: File) -> ToWarden {
        match self.copy(journal, from, file).await {
            Ok(said) => said,
            Err(error) => ToWarden::Failed(chain(&error)),
        }
    }

    async fn copy(&self, journal: JournalId, from: Place, file: File) -> Result<ToWarden, ShipError> {
        let Lines { batch, place, end, stuck } = read(&self.origin, self.batch, journal, from, file)?;
        if batch.lines() > 0 {
            self.store.keep(batch).await?;
        }
        Ok(ToWarden::Shipped { place, end, stuck })
    }
}

/// Reads lines from a place on, a batch at most.
fn read(origin: &Origin, limit: usize, journal: JournalId, from: Place, file: File) -> std::io::Result<Lines> {
    let mut lines = LineReader::new(file, from.bytes)?;
    let mut read = Lines { batch: Batch::default(), place: from, end: None, stuck: None };
    while read.batch.lines() < limit && read.batch.bytes() < MAX_BYTES {
        match lines.next()? {
            Found::Line(start) => {
                let mut seq = read.place.seq.next();
                // A segment may be the oldest that is left.
                if start == 0 {
                    seq = parse(lines.line()).map_or(seq, |head| head.seq.max(seq));
                }
                read.batch.push(origin, journal, seq, lines.line());
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
    use crate::audit::journal::open_regular;
    use crate::audit::journal::testing::{Site, fill};
    use crate::audit::{Durability, Seq};

    #[test]
    fn reads_a_batch_at_a_time_and_leaves_a_torn_line() {
        let site = Site::new();
        let journal = site.journal(None, Durability::Process);
        fill(&journal, 2..=5);
        let path = site.segment(&journal);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"v\":1,").unwrap();
        let origin = Origin { host: site.host, host_name: "h".into() };
        let read_on = |from| read(&origin, 3, journal.id(), from, open_regular(&path).unwrap()).unwrap();
        let first = read_on(Place { segment: 1, ..Place::default() });
        assert_eq!((first.batch.lines(), first.place.seq, first.end), (3, Seq(3), None));
        let second = read_on(first.place);
        assert_eq!((second.batch.lines(), second.place.seq, second.end), (2, Seq(5), Some(second.place.bytes + 7)));
        let third = read_on(second.place);
        assert_eq!((third.batch.lines(), third.place, third.end), (0, second.place, second.end));
    }
}
