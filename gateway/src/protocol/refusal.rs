//! Refusals in protocols that have no engine here, in the words of each.
//!
//! In: a fresh connection and a sentence. Out: what the protocol's clients show to people, then the end. It never
//! keeps more than the little that the client has to say first.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::conn::Conn;

/// How long the whole refusal may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest identification string (RFC 4253, section 4.2).
const IDENTIFICATION: usize = 255;
/// `SSH_DISCONNECT_HOST_NOT_ALLOWED_TO_CONNECT` (RFC 4253, section 11.1).
const HOST_NOT_ALLOWED: u32 = 1;
const SSH_MSG_DISCONNECT: u8 = 1;
/// A fatal alert `access_denied` (RFC 8446, section 6) in a TLS 1.2 record.
const ACCESS_DENIED: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x31];

/// Refuses an SSH connection: our identification, then a disconnect with the reason, which stands before any key
/// exchange and is shown by clients.
pub async fn ssh(mut socket: impl Conn, reason: &str) {
    let refuse = async {
        socket.write_all(b"SSH-2.0-gateway\r\n").await?;
        let mut first = [0; IDENTIFICATION];
        let _ = socket.read(&mut first).await?;
        say(&mut socket, &disconnect(reason)).await
    };
    // A client that does not wait for its refusal needs none.
    let _ = tokio::time::timeout(TIMEOUT, refuse).await;
}

/// Refuses a TLS connection, of which we have no certificate to show: the client reads "access denied".
pub async fn tls(mut socket: impl Conn) {
    let refuse = async {
        let mut first = [0; 1024];
        let _ = socket.read(&mut first).await?;
        say(&mut socket, &ACCESS_DENIED).await
    };
    let _ = tokio::time::timeout(TIMEOUT, refuse).await;
}

/// Says the last there is to say and waits until the client has gone: one that still sends, as SSH clients do with their
/// key exchange, would find the way closed and tell people of that instead.
async fn say(socket: &mut impl Conn, last: &[u8]) -> std::io::Result<()> {
    socket.write_all(last).await?;
    socket.shutdown().await?;
    let mut unread = [0; 1024];
    while socket.read(&mut unread).await? > 0 {}
    Ok(())
}

/// The packet of RFC 4253, section 6, before keys: length, padding length, payload, padding to a multiple of eight.
pub(super) fn disconnect(reason: &str) -> Vec<u8> {
    let mut payload = vec![SSH_MSG_DISCONNECT];
    payload.extend_from_slice(&HOST_NOT_ALLOWED.to_be_bytes());
    for text in [reason, ""] {
        payload.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
        payload.extend_from_slice(text.as_bytes());
    }
    // At least four bytes of padding.
    let padding = 8 - (5 + payload.len()) % 8;
    let padding = if padding < 4 { padding + 8 } else { padding };
    let length = 1 + payload.len() + padding;
    let mut packet = u32::try_from(length).unwrap_or(0).to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap_or(4));
    packet.extend_from_slice(&payload);
    packet.resize(4 + length, 0);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that has yet to send its key exchange when the refusal comes.
    #[tokio::test]
    async fn a_client_that_still_sends_reads_why() {
        let (mut client, ours) = tokio::io::duplex(4096);
        let refusal = tokio::spawn(async move { ssh(ours, "because").await });
        client.write_all(b"SSH-2.0-client\r\n").await.unwrap();
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert!(read.ends_with(&disconnect("because")));
        client.write_all(&[20; 1500]).await.unwrap();
        drop(client);
        refusal.await.unwrap();
    }

    #[test]
    fn packets_are_whole_blocks_with_padding() {
        for length in 0..40 {
            let packet = disconnect(&"x".repeat(length));
            assert_eq!(packet.len() % 8, 0);
            assert!((4..=11).contains(&packet[4]));
            assert_eq!(u32::from_be_bytes(packet[..4].try_into().unwrap()) as usize, packet.len() - 4);
        }
    }
}
