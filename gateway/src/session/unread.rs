//! A stream that the operator lets go unread, inside a session.
//!
//! In: both ends. Out: its bytes, counted, until one end is gone or what it rests on ends. It looks at none of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Client, Facts, dial};
use crate::audit::SessionGuard;
use crate::audit::event::EndCause;
use crate::engine::Engine;
use crate::policy::ConnectPermit;

/// Bytes that are taken in one go.
const CHUNK: usize = 32 * 1024;
/// How long what a client sent last may take once it is gone.
const LAST: Duration = Duration::from_secs(2);

/// Relays to the end. The permit is the leave to dial.
pub(super) async fn serve(
    engine: &Arc<Engine>,
    facts: Arc<Facts>,
    guard: &Arc<SessionGuard>,
    client: Client,
    permit: ConnectPermit,
) -> EndCause {
    let mut ending = engine.ending(&facts);
    let ended = async { drop(ending.wait_for(Option::is_some).await) };
    let server = match dial::dial(engine, &facts).await {
        Ok(server) => server,
        Err(error) => {
            tracing::info!(session = %facts.id, error = %crate::chain::chain(&error), "a server was not reached");
            return EndCause::Server;
        }
    };
    let _permit = permit;
    let (mut from_client, mut to_client) = tokio::io::split(client.stream);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let counts = guard.counts();
    let up = copy(&mut from_client, &mut to_server, &counts.bytes_sent);
    let down = copy(&mut from_server, &mut to_client, &counts.bytes_received);
    let both = async { tokio::join!(up, down) };
    tokio::pin!(both);
    tokio::select! {
        _ = &mut both => EndCause::Client,
        () = client.gone => {
            let _ = tokio::time::timeout(LAST, both).await;
            EndCause::Client
        }
        () = ended => EndCause::Shutdown,
    }
}

/// One direction, to its end, which the other side is told.
async fn copy<R, W>(from: &mut R, to: &mut W, count: &AtomicU64) -> std::io::Result<()>
where
    R: AsyncReadExt + Unpin,
    W: AsyncWriteExt + Unpin,
{
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await?;
        let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else { return to.shutdown().await };
        to.write_all(bytes).await?;
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
}
