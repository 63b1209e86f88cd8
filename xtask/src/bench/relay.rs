//! A plain byte relay: what a proxy in user space costs that looks at nothing. In: a connection. Out: its bytes, on a
//! connection to the server, and back. It must never read what it passes on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result};

/// As large as what the gateway reads at once.
const BUFFER: usize = 64 * 1024;

/// Serves for ever. Blocking threads, two for a connection: no event loop has fewer system calls for each message.
pub(super) fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    loop {
        let (client, _) = listener.accept()?;
        if let Err(error) = relay(client, upstream) {
            eprintln!("relay: {error}");
        }
    }
}

fn relay(client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(upstream)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (from_client, from_server) = (client.try_clone()?, server.try_clone()?);
    thread::Builder::new().stack_size(2 * BUFFER).spawn(move || pump(from_client, server))?;
    thread::Builder::new().stack_size(2 * BUFFER).spawn(move || pump(from_server, client))?;
    Ok(())
}

/// One direction, until its end.
fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || buffer.get(..count).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
