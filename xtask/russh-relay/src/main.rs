//! A bare relay between two SSH legs of the library that the gateway uses: what anything costs that speaks SSH on both.
//!
//! In: an address to listen on, that of a server, a user there and the file of its key. Out: each channel's requests and
//! bytes, on a channel of its own to the server. It judges, masks and keeps nothing and takes any server for the right
//! one: it must never be more than what `cargo xtask bench ssh` compares with.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::server::{Auth, ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, Preferred, Pty, cipher, client, compression, server};
use tokio::net::{TcpListener, TcpStream};

/// As large as the gateway's, whose transfers are compared.
const WINDOW: u32 = 4 << 20;
const PACKET: u32 = 65_535;

/// How it logs in.
struct Login {
    server: SocketAddr,
    user: String,
    key: Arc<PrivateKey>,
}

/// One client.
struct Door {
    login: Arc<Login>,
    server: Option<client::Handle<Taker>>,
}

/// Takes any server.
struct Taker;

impl client::Handler for Taker {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [listen, server, user, key] = words.as_slice() else { bail!("usage: russh-relay LISTEN SERVER USER KEY") };
    let key = Arc::new(russh::keys::load_secret_key(key, None).context("cannot read the key")?);
    let login = Arc::new(Login { server: server.parse()?, user: user.clone(), key });
    let config = Arc::new(server::Config {
        keys: vec![PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)?],
        auth_rejection_time_initial: Some(Duration::ZERO),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        preferred: preferred(),
        inactivity_timeout: None,
        nodelay: true,
        ..server::Config::default()
    });
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (config, door) = (Arc::clone(&config), Door { login: Arc::clone(&login), server: None });
        tokio::spawn(async move {
            if let Ok(session) = server::run_stream(config, stream, door).await {
                // A client that goes is no matter here.
                let _ = session.await;
            }
        });
    }
}

fn preferred() -> Preferred {
    Preferred {
        cipher: Cow::Borrowed(&[cipher::AES_128_GCM]),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}

impl Login {
    async fn log_in(&self) -> Result<client::Handle<Taker>> {
        let config = Arc::new(client::Config {
            window_size: WINDOW,
            maximum_packet_size: PACKET,
            preferred: preferred(),
            inactivity_timeout: None,
            ..client::Config::default()
        });
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let mut handle = client::connect_stream(config, stream, Taker).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&self.key), None);
        match handle.authenticate_publickey(self.user.clone(), key).await?.success() {
            true => Ok(handle),
            false => bail!("the server does not take the key"),
        }
    }
}

impl server::Handler for Door {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Self::Error> {
        self.server = self.login.log_in().await.ok();
        Ok(if self.server.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(server) = &self.server else { return Ok(()) };
        match server.channel_open_session().await {
            Ok(outer) => {
                reply.accept().await;
                tokio::spawn(relay(channel, outer));
            }
            Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }
}

/// Both directions of one channel, until a side closes it.
async fn relay(inner: Channel<Msg>, outer: Channel<client::Msg>) {
    let (mut from_client, to_client) = inner.split();
    let (mut from_server, to_server) = outer.split();
    let up = async {
        while let Some(message) = from_client.wait().await {
            match message {
                ChannelMsg::RequestPty {
                    term, col_width, row_height, pix_width, pix_height, terminal_modes, ..
                } => {
                    let modes = &terminal_modes;
                    to_server.request_pty(false, &term, col_width, row_height, pix_width, pix_height, modes).await?;
                }
                ChannelMsg::Exec { command, .. } => to_server.exec(true, command).await?,
                ChannelMsg::RequestSubsystem { name, .. } => to_server.request_subsystem(true, name).await?,
                ChannelMsg::Data { data } => to_server.data_bytes(data).await?,
                ChannelMsg::Eof => to_server.eof().await?,
                ChannelMsg::Close => break,
                _ => {}
            }
        }
        Ok::<(), russh::Error>(())
    };
    let down = async {
        while let Some(message) = from_server.wait().await {
            match message {
                ChannelMsg::Data { data } => to_client.data_bytes(data).await?,
                ChannelMsg::ExtendedData { data, ext } => to_client.extended_data_bytes(ext, data).await?,
                ChannelMsg::ExitStatus { exit_status } => to_client.exit_status(exit_status).await?,
                ChannelMsg::Eof => to_client.eof().await?,
                ChannelMsg::Close => break,
                _ => {}
            }
        }
        Ok::<(), russh::Error>(())
    };
    // Whichever side goes first, the other hears of it.
    let _ = tokio::select! { ended = up => ended, ended = down => ended };
    let _ = tokio::join!(to_client.close(), to_server.close());
}
