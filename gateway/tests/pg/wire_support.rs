//! The wire engine alone: a listener in front of a real server, and a judge that is easy to predict.
//!
//! In: a server and how to log in to it. Out: a port for clients, what the judge was asked, and how sessions ended.

use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use gateway::conn::BoxConn;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::cluster::{self, Cluster, Version};
use gateway::protocol::postgres::*;
use gateway::secret::Secret;
use gateway::upstream::credential::{Credential, UnverifiedServer};
use gateway::upstream::tls::{ClientCertificate, TlsMode, UpstreamTls};

/// How long `slow` is held.
pub(crate) const HOLD: Duration = Duration::from_millis(300);

/// Waits for a fact without holding up the engine.
pub(crate) async fn until(look: impl FnMut() -> bool + Send + 'static) {
    tokio::task::spawn_blocking(|| crate::wait::until("the fact", look)).await.unwrap();
}

impl Cluster {
    pub(crate) fn tls(&self, mode: TlsMode) -> UpstreamTls {
        UpstreamTls::new(mode, Some(cluster::NAME), Some(self.ca.as_bytes()), None).unwrap()
    }

    pub(crate) fn tls_with_certificate(&self) -> UpstreamTls {
        let key = Secret::new(self.client_key.clone().into_bytes());
        let client = ClientCertificate { chain: self.client_chain.as_bytes(), key: &key };
        UpstreamTls::new(TlsMode::VerifyFull, Some(cluster::NAME), Some(self.ca.as_bytes()), Some(&client)).unwrap()
    }
}

/// A leaf of the gateway's, and the authority that a client must trust for it.
pub(crate) fn leaf() -> (Arc<rustls::ServerConfig>, String) {
    static LEAF: OnceLock<(Arc<rustls::ServerConfig>, String)> = OnceLock::new();
    LEAF.get_or_init(|| {
        let (issuer, ca) = cluster::authority();
        let (chain, key) = cluster::issue(&["localhost"], "localhost", &issuer);
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                )
                .unwrap();
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        (Arc::new(config), ca)
    })
    .clone()
}

pub(crate) struct To(pub(crate) u16);

impl Dial for To {
    fn dial(&self) -> Pin<Box<dyn Future<Output = Result<BoxConn, std::io::Error>> + Send + '_>> {
        Box::pin(async {
            let stream = TcpStream::connect(("127.0.0.1", self.0)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxConn)
        })
    }
}

/// Denies `forbidden`, holds `slow` for 300 ms and `held` for ever, rewrites `masked`.
pub(crate) struct Toy {
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) ended: watch::Receiver<bool>,
    holds: Mutex<usize>,
}

impl Toy {
    /// How many statements it held for ever.
    pub(crate) fn holds(&self) -> usize {
        *self.holds.lock().unwrap()
    }

    async fn rule(&self, text: &str, say: &Say) -> Option<Box<Denial>> {
        if text.contains("slow") {
            say.notice(Denial::notice("held as request 7QK4"));
            // A judge that thinks for a while.
            let _ = tokio::time::timeout(HOLD, std::future::pending::<()>()).await;
        }
        if text.contains("held") {
            say.notice(Denial::notice("held as request 7QK5"));
            *self.holds.lock().unwrap() += 1;
            std::future::pending::<()>().await;
        }
        text.contains("forbidden").then(|| {
            self.log.lock().unwrap().push(format!("denied {text}"));
            Box::new(
                Denial::error(SqlState::DENIED, "denied by policy toy: forbidden")
                    .with_detail("session 1")
                    .with_hint("Do not."),
            )
        })
    }

    fn forward(text: &str) -> Forward<String> {
        let lower = text.to_lowercase();
        let mut forward = Forward::plain(text.to_owned());
        if lower.contains("from stdin") {
            forward.copy = CopyIn::Expected;
        }
        if lower.starts_with("deallocate all") {
            forward.forgets.push(Forgets::Statements);
        }
        if lower.starts_with("discard all") {
            forward.forgets.push(Forgets::Everything);
        }
        if let Some(name) = lower.strip_prefix("deallocate ").filter(|name| *name != "all") {
            forward.forgets.push(Forgets::Statement(name.to_owned()));
        }
        if lower.contains("masked") {
            forward.rewrite = Some(Box::new(Mask { described: false }));
        }
        forward
    }
}

struct Mask {
    described: bool,
}

impl Rewrite for Mask {
    fn rewrite(&mut self, kind: Backend, message: &[u8], out: &mut Vec<u8>) -> Result<Pass, RewriteError> {
        match kind {
            Backend::RowDescription => self.described = true,
            Backend::DataRow if !self.described => return Err(RewriteError { reason: "no description".into() }),
            _ => {}
        }
        let mut message = message.to_vec();
        while let Some(at) = message.windows(6).position(|w| w == b"secret") {
            message[at..at + 6].copy_from_slice(b"xxxxxx");
        }
        out.extend(message);
        Ok(Pass::Replaced)
    }
}

impl Judge for Toy {
    type Prepared = Arc<str>;
    type Bound = Arc<str>;
    type Permit = String;

    async fn startup(&self, startup: &Startup) -> Ruling<()> {
        if startup.database == "refused" {
            return Ruling::Refuse(Box::new(Denial::fatal(SqlState::LOGIN, "denied by policy toy: this database")));
        }
        Ruling::Forward(())
    }
    async fn query(&self, text: &str, say: &Say) -> Ruling<Forward<String>> {
        match self.rule(text, say).await {
            Some(denial) => Ruling::Refuse(denial),
            None => Ruling::Forward(Self::forward(text)),
        }
    }
    async fn parse(&self, statement: ParseRequest<'_>, say: &Say) -> Ruling<Arc<str>> {
        let text = statement.text;
        if text.contains("slow") || text.contains("held") {
            return Ruling::Forward(text.into());
        }
        match self.rule(text, say).await {
            Some(denial) => Ruling::Refuse(denial),
            None => Ruling::Forward(text.into()),
        }
    }
    async fn bind(&self, prepared: &Arc<str>, _: BindRequest<'_>, say: &Say) -> Ruling<Arc<str>> {
        match self.rule(prepared, say).await {
            Some(denial) => Ruling::Refuse(denial),
            None => Ruling::Forward(Arc::clone(prepared)),
        }
    }
    async fn execute(&self, bound: &Arc<str>, _: u32, _: &Say) -> Ruling<Forward<String>> {
        Ruling::Forward(Self::forward(bound))
    }
    async fn change(&self, permit: &String, _: u64, say: &Say) -> Ruling<()> {
        match self.rule(permit, say).await {
            Some(denial) => Ruling::Refuse(denial),
            None => Ruling::Forward(()),
        }
    }
    fn outcome(&self, permit: String, outcome: &Outcome<'_>) {
        let end = match outcome.end {
            OutcomeEnd::Completed { tag, statements } => format!("{tag} ({statements})"),
            OutcomeEnd::Failed(code) => format!("failed {}", code.as_str()),
            other => format!("{other:?}"),
        };
        self.log.lock().unwrap().push(format!("{permit} -> {end}, {} rows", outcome.rows));
    }
    fn refused(&self, denial: &Denial) {
        self.log.lock().unwrap().push(format!("refused {}", denial.code.as_str()));
    }
    async fn ended(&self) -> Box<Denial> {
        let mut ended = self.ended.clone();
        if ended.wait_for(|ended| *ended).await.is_err() {
            std::future::pending::<()>().await;
        }
        Box::new(Denial::fatal(SqlState::ENDED, "the grant of this session has ended"))
    }
}

/// A gateway in front of a server.
pub(crate) struct Relay {
    pub(crate) port: u16,
    pub(crate) judge: Arc<Toy>,
    pub(crate) ends: tokio::sync::Mutex<mpsc::UnboundedReceiver<End>>,
    pub(crate) end_all: watch::Sender<bool>,
}

pub(crate) fn options(tls: UpstreamTls, login: LoginMode) -> Options {
    Options {
        tls,
        login,
        client_tls: Some(leaf().0),
        label: "target test, session 1".into(),
        limits: Limits::default(),
        cancel_keys: Arc::new(CancelKeys::default()),
    }
}

pub(crate) fn credential(user: &str, for_users: &[&str]) -> LoginMode {
    LoginMode::Credentials(Arc::new([Credential {
        user: user.into(),
        for_users: for_users.iter().map(|n| (*n).to_owned()).collect(),
        password: Some(Secret::new(cluster::PASSWORD.as_bytes().to_vec())),
        unverified: UnverifiedServer::Refuse,
    }]))
}

impl Relay {
    /// An ordinary one: the server is verified, and everybody is scram_user.
    pub(crate) async fn usual() -> Self {
        Self::usual_on(Version::V15).await
    }

    /// The same on another server.
    pub(crate) async fn usual_on(version: Version) -> Self {
        let cluster = version.encrypted();
        Self::start(
            cluster.port,
            options(cluster.tls(TlsMode::VerifyFull), credential("scram_user", &["al", "scram_user"])),
        )
        .await
    }

    pub(crate) async fn start(upstream: u16, options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (end_all, ended) = watch::channel(false);
        let judge = Arc::new(Toy { log: Mutex::default(), ended, holds: Mutex::default() });
        let (sender, ends) = mpsc::unbounded_channel();
        let (shared, options, dialer) = (Arc::clone(&judge), Arc::new(options), Arc::new(To(upstream)) as Dialer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (judge, options, dialer, sender) =
                    (Arc::clone(&shared), Arc::clone(&options), Arc::clone(&dialer), sender.clone());
                tokio::spawn(async move {
                    let end = serve(Box::new(stream), judge, dialer, options).await;
                    let _ = sender.send(end);
                });
            }
        });
        Self { port, judge, ends: tokio::sync::Mutex::new(ends), end_all }
    }

    pub(crate) async fn end(&self) -> End {
        tokio::time::timeout(Duration::from_secs(20), async { self.ends.lock().await.recv().await.unwrap() })
            .await
            .expect("an end")
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.judge.log.lock().unwrap().clone()
    }

    /// psql with this input on its standard input.
    pub(crate) fn psql(&self, user: &str, env: &[(&str, &str)]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("psql");
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("PGUSER", user)
            .env("PGDATABASE", "postgres")
            .env("HOME", "/nonexistent")
            .env("PGHOST", "localhost")
            .env("PGHOSTADDR", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGPASSWORD", cluster::PASSWORD)
            .envs(env.iter().copied())
            .args(["-XAtw"])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, user: &str, env: &[(&str, &str)], sql: &[&str]) -> Ran {
        let mut command = self.psql(user, env);
        for sql in sql {
            command.arg("-c").arg(sql);
        }
        let out = tokio::time::timeout(Duration::from_secs(60), command.output()).await.expect("psql ends").unwrap();
        Ran {
            ok: out.status.success(),
            out: String::from_utf8_lossy(&out.stdout).trim().to_owned(),
            err: String::from_utf8_lossy(&out.stderr).trim().to_owned(),
        }
    }

    /// tokio-postgres, without TLS.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(
            &format!("host=127.0.0.1 port={} user=al dbname=postgres password=x", self.port),
            tokio_postgres::NoTls,
        )
        .await
        .unwrap();
        tokio::spawn(connection);
        client
    }
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}
