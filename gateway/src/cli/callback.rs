//! Where a browser comes back to from the issuer, on the person's own host (RFC 8252, section 7.3).
//!
//! In: connections to a port of 127.0.0.1 that the kernel chose. Out: the code of the login that was begun here. It answers
//! once, at its one path, under its own name, to the state that the console made; what comes before that is turned away, and
//! a state that is another's ends it. It never says whether a code is good, and lets no page read what it answers.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::console::{CALLBACK, field};

/// How long a person may take at the issuer's pages, as the console has it.
const PATIENCE: Duration = Duration::from_secs(600);
/// What a browser asks is there at once.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Browsers open connections that they do not use.
const MAX_WAITING: usize = 8;
/// The longest head.
const MAX_HEAD: usize = 16 * 1024;

/// The port that waits.
pub(super) struct Callback {
    listener: TcpListener,
    port: u16,
}

/// What the issuer sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Brought {
    pub(super) code: String,
    /// Which issuer it was (RFC 9207).
    pub(super) issuer: Option<String>,
}

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing of ours; with what is answered.
    Else(&'static str),
    /// The way back.
    Back(Result<Brought, String>),
}

impl Callback {
    /// Begins to listen.
    pub(super) async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on 127.0.0.1")?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// Where.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for who comes back with this state, and listens no more.
    pub(super) async fn wait(self, state: &str) -> anyhow::Result<Brought> {
        match tokio::time::timeout(PATIENCE, self.serve(state)).await {
            Ok(brought) => brought,
            Err(_) => bail!("nobody came back from the issuer within {} minutes", PATIENCE.as_secs() / 60),
        }
    }

    async fn serve(self, state: &str) -> anyhow::Result<Brought> {
        let (send, mut heads) = mpsc::channel(1);
        let places = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_WAITING));
        loop {
            // Whoever is silent keeps nobody else waiting, and what was said is answered in turn: once.
            let (mut stream, head): (TcpStream, String) = tokio::select! {
                Some(said) = heads.recv() => said,
                accepted = self.listener.accept() => {
                    let (stream, place) = (accepted?.0, std::sync::Arc::clone(&places).try_acquire_owned());
                    let send = send.clone();
                    if let Ok(place) = place {
                        tokio::spawn(async move {
                            let _place = place;
                            if let Ok(Some(said)) = tokio::time::timeout(HEAD_WITHIN, head_of(stream)).await {
                                let _ = send.send(said).await;
                            }
                        });
                    }
                    continue;
                }
            };
            let asked = read(&head, self.port, state);
            let (status, words) = match &asked {
                Asked::Else(status) => (*status, "There is nothing here."),
                Asked::Back(Ok(_)) => ("200 OK", "Go back to your terminal: it says whether you are logged in."),
                Asked::Back(Err(_)) => ("400 Bad Request", "You are not logged in. Your terminal says why."),
            };
            let _ = tokio::time::timeout(HEAD_WITHIN, say(&mut stream, status, words)).await;
            if let Asked::Back(brought) = asked {
                return brought.map_err(|reason| anyhow::anyhow!("you are not logged in: {reason}"));
            }
        }
    }
}

/// The head of a request, where one comes.
async fn head_of(mut stream: TcpStream) -> Option<(TcpStream, String)> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read_buf(&mut head).await.ok()?;
        if read == 0 || head.len() > MAX_HEAD {
            return None;
        }
    }
    Some((stream, String::from_utf8(head).ok()?))
}

async fn say(stream: &mut TcpStream, status: &str, words: &str) -> std::io::Result<()> {
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>gateway</title></head><body><p>{words}</p></body></html>"
    );
    // The address of this page has the code in it: nobody else learns it from us.
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n\r\n",
        page.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(page.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads a head: who comes back from the issuer, and what else.
fn read(head: &str, port: u16, state: &str) -> Asked {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some("GET"), Some(target), Some("HTTP/1.1"), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Asked::Else("400 Bad Request");
    };
    let mut hosts = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    // A name that leads here is no name of ours (DNS rebinding).
    if (hosts.next(), hosts.next()) != (Some(&*format!("127.0.0.1:{port}")), None) {
        return Asked::Else("421 Misdirected Request");
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path != CALLBACK {
        return Asked::Else("404 Not Found");
    }
    if !field(query, "state").is_some_and(|found| crate::console::same(&found, state)) {
        return Asked::Back(Err("what came back was not of this login (`state`): begin again".to_owned()));
    }
    if let Some(error) = field(query, "error") {
        let error: String = error.chars().filter(|c| c.is_ascii_graphic()).take(80).collect();
        return Asked::Back(Err(format!("the issuer did not let you in: {error}")));
    }
    let code = field(query, "code").filter(|code| !code.is_empty());
    let brought = code.map(|code| Brought { code, issuer: field(query, "iss") });
    Asked::Back(brought.ok_or_else(|| "the issuer sent no code".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str) -> Asked {
        read(&format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:4711\r\n\r\n"), 4711, "right")
    }

    #[test]
    fn a_code_is_taken_with_the_state_of_this_login_alone() {
        let brought = |issuer: Option<&str>| {
            Asked::Back(Ok(Brought { code: "c d".to_owned(), issuer: issuer.map(str::to_owned) }))
        };
        assert_eq!(asked("/callback?code=c%20d&state=right"), brought(None));
        assert_eq!(asked("/callback?state=right&code=c+d&iss=https%3A%2F%2Fid"), brought(Some("https://id")));
        for refused in [
            "/callback",
            "/callback?code=c",
            "/callback?code=c&state=",
            "/callback?code=c&state=wrong",
            "/callback?code=c&state=right&state=wrong",
            "/callback?code=c&state=right&state=right",
            "/callback?state=right",
            "/callback?state=right&code=",
            "/callback?state=right&error=access_denied&code=c",
        ] {
            assert!(matches!(asked(refused), Asked::Back(Err(_))), "{refused}");
        }
    }

    #[test]
    fn what_is_no_way_back_is_turned_away_and_ends_nothing() {
        for target in ["/", "/favicon.ico", "/callback/?code=c&state=right", "/x/callback?code=c&state=right", "*"] {
            assert!(matches!(asked(target), Asked::Else(_)), "{target}");
        }
        let at = |head: &str| read(head, 4711, "right");
        for head in [
            "POST /callback?code=c&state=right HTTP/1.1\r\nHost: 127.0.0.1:4711\r\n\r\n",
            "GET /callback?code=c&state=right HTTP/1.1\r\n\r\n",
            "GET /callback?code=c&state=right HTTP/1.1\r\nHost: evil\r\n\r\n",
            "GET /callback?code=c&state=right HTTP/1.1\r\nHost: evil\r\nHost: 127.0.0.1:4711\r\n\r\n",
            "GET /callback?code=c&state=right HTTP/1.1\r\nHost: 127.0.0.1:4712\r\n\r\n",
            "GET  /callback?code=c&state=right HTTP/1.1\r\nHost: 127.0.0.1:4711\r\n\r\n",
            "",
        ] {
            assert!(matches!(at(head), Asked::Else(_)), "{head}");
        }
    }

    async fn says(port: u16, target: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return "refused".to_owned() };
        let head = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_answers_once_and_those_who_are_silent_keep_nobody_waiting() {
        let callback = Callback::open().await.unwrap();
        let port = callback.port();
        let waits = tokio::spawn(async move { callback.wait("right").await });
        let silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert!(says(port, "/favicon.ico").await.starts_with("HTTP/1.1 404"));
        let answer = says(port, "/callback?code=c&state=right").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Referrer-Policy: no-referrer"), "{answer}");
        assert_eq!(waits.await.unwrap().unwrap().code, "c");
        assert_eq!(says(port, "/callback?code=c&state=right").await, "refused", "a second time");
        drop(silent);
        let callback = Callback::open().await.unwrap();
        let port = callback.port();
        let waits = tokio::spawn(async move { callback.wait("right").await });
        assert!(says(port, "/callback?code=c&state=wrong").await.starts_with("HTTP/1.1 400"));
        assert!(waits.await.unwrap().unwrap_err().to_string().contains("`state`"));
        assert_eq!(says(port, "/callback?code=c&state=right").await, "refused", "what was another's ends it");
    }
}
