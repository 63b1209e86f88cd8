//! Connections through the server: a channel of the client that is a session of its own.
//!
//! In: where a client wants to go. Out: its channel as a stream for whoever serves that session, and channels at the
//! server as streams for the way on. It knows neither what is spoken there nor whether it may be: that is asked first.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;

use super::connection::Connection;
use super::flow::Flow;
use super::server::Server;
use crate::conn::BoxConn;
use crate::protocol::forward::{Channels, Onward, Pending, pipe};

/// Bytes of one message: what every SSH program takes (RFC 4253, section 6.1).
const PIECE: usize = 32 * 1024;

/// Serves one forward to its end.
pub(super) async fn serve(
    connection: Arc<Connection>,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    flow: Arc<Flow>,
    wanted: Onward,
) {
    let Some(server) = connection.server().await else {
        // The whole connection ends, with the reason.
        return flow.closed().await;
    };
    let place = format!("a connection to {}:{}", wanted.host, wanted.port);
    let entering = connection.forwards.enter(wanted, Arc::new(At(server)));
    let entered = tokio::select! {
        entered = entering => entered,
        () = flow.closed() => return,
    };
    let inside = match entered {
        Ok(inside) => inside,
        Err(reason) => {
            connection.judge.note_refusal(Some(channel.id().number()), &place, &reason);
            return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        }
    };
    reply.accept().await;
    let (stream, dropped, far) = pipe();
    let (read, write) = channel.split();
    let gone: Pending<()> = Box::pin({
        let flow = Arc::clone(&flow);
        async move { flow.closed().await }
    });
    let carried = async {
        carry((read, &write), &flow, far, dropped).await;
        let _ = write.close().await;
    };
    tokio::join!(inside(stream, gone), carried);
}

/// The server of a session, as a way on.
struct At(Arc<Server>);

impl Channels for At {
    fn open(&self, host: &str, port: u16) -> Pending<io::Result<BoxConn>> {
        let (server, host) = (Arc::clone(&self.0), host.to_owned());
        Box::pin(async move {
            let (channel, flow) = server.open_to(&host, port).await.map_err(|reason| match reason {
                ChannelOpenFailure::AdministrativelyProhibited => {
                    io::Error::other("the ssh server lets nobody connect through it (AllowTcpForwarding)")
                }
                _ => io::Error::other("the ssh server cannot connect to it"),
            })?;
            let (stream, dropped, far) = pipe();
            tokio::spawn(async move {
                let (read, write) = channel.split();
                carry((read, &write), &flow, far, dropped).await;
                let _ = write.close().await;
                flow.close();
                // Until here the connection to it stays.
                drop(server);
            });
            Ok(stream)
        })
    }
}

/// Passes bytes on between a channel and a stream, until the channel is closed or the stream was dropped.
async fn carry<S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static>(
    (mut read, write): (ChannelReadHalf, &ChannelWriteHalf<S>),
    flow: &Flow,
    far: DuplexStream,
    dropped: oneshot::Receiver<()>,
) {
    let (mut from, mut to) = tokio::io::split(far);
    let in_ = async {
        loop {
            let message = read.wait().await;
            if let Some(message) = &message {
                flow.took(message);
            }
            match message {
                None | Some(ChannelMsg::Close) => return,
                Some(ChannelMsg::Data { data }) => {
                    // Whoever hears no more may still have something to say.
                    let _ = to.write_all(&data).await;
                    flow.passed(data.len());
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => flow.passed(data.len()),
                Some(ChannelMsg::Eof) => drop(to.shutdown().await),
                Some(_) => {}
            }
        }
    };
    let out = async {
        let mut piece = BytesMut::new();
        loop {
            piece.reserve(PIECE);
            match from.read_buf(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(_) if write.data_bytes(piece.split().freeze()).await.is_err() => break,
                Ok(_) => {}
            }
        }
        let _ = write.eof().await;
    };
    tokio::pin!(in_, out);
    tokio::select! {
        () = &mut in_ => return,
        () = &mut out => {}
    }
    // One side has no more to say; the other goes on.
    tokio::select! {
        () = in_ => {}
        _ = dropped => {}
    }
}
