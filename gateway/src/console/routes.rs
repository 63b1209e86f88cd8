//! What is asked of the console, and what is answered.
//!
//! In: requests of browsers and programs, any of which may be hostile. Out: pages and JSON for a person who is logged in,
//! about what their groups let them see; nothing is changed without the token that only our own pages have. Which group sees
//! what, the warden says.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::login::field;
use super::visits::{ATTEMPT, Attempt, Known, LOGIN, Visit, Way, same};
use super::words::{Search, Wanted};
use super::{Console, pages};
use crate::bridge::{Begun, LogIn, LoginFault};
use crate::id::TicketId;

/// Forms and decisions are short.
const MAX_BODY: usize = 16 * 1024;
/// What programs send the token in.
const TOKEN: &str = "x-gateway-token";
/// The document of the API.
const OPENAPI: &str = include_str!("openapi.json");

/// Each answer has these: nothing is kept, framed, guessed or loaded from elsewhere.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // With `no-referrer` a browser would call the origin of our own forms `null` (Fetch, 3.1).
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What a page may load and do: no script, nothing from elsewhere.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// The same for the page of a terminal: our player, what it asks of us, and the styles that xterm.js makes for its colours.
const PLAYER_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

pub(super) type Answer = Response<Full<Bytes>>;

/// How an answer is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Page,
    Json,
}

/// What stands in the way.
pub(super) enum Refusal {
    LogIn,
    Because(StatusCode, String),
}

impl Console {
    /// Answers one request.
    pub(super) async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let form = if head.uri.path().starts_with("/api/") { Form::Json } else { Form::Page };
        let answered = match self.admits(&head) {
            Ok(()) => self.route(&head, body).await,
            Err(refusal) => Err(refusal),
        };
        let mut answer = answered.unwrap_or_else(|refusal| self.refused(&head, form, refusal));
        let is_player = answer.status() == StatusCode::OK && head.uri.path().ends_with("/terminal");
        let policy = if is_player { PLAYER_POLICY } else { POLICY };
        for (name, value) in HEADERS.into_iter().chain([(header::CONTENT_SECURITY_POLICY, policy)]) {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    /// Whether it was meant for us, and comes from a page of ours where it would change something.
    fn admits(&self, head: &Parts) -> Result<(), Refusal> {
        let of = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        // A name of somebody else that leads here is no name of ours (DNS rebinding).
        if of(header::HOST) != Some(&*self.authority) {
            return Err(Refusal::Because(StatusCode::MISDIRECTED_REQUEST, "this is not that host".to_owned()));
        }
        if head.method == Method::GET {
            return Ok(());
        }
        let origin = of(header::ORIGIN).is_none_or(|origin| origin == format!("https://{}", self.authority));
        let site = of(HeaderName::from_static("sec-fetch-site")).is_none_or(|site| site == "same-origin");
        if head.method == Method::POST && origin && site {
            return Ok(());
        }
        Err(Refusal::Because(StatusCode::FORBIDDEN, "it does not come from a page of this console".to_owned()))
    }

    async fn route(self: &Arc<Self>, head: &Parts, body: Incoming) -> Result<Answer, Refusal> {
        let query = head.uri.query().unwrap_or_default();
        let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        match (head.method.clone(), path.as_slice()) {
            (Method::GET, ["style.css"]) => return Ok(plain("text/css; charset=utf-8", pages::STYLE)),
            (Method::GET, ["xterm.css"]) => return Ok(plain("text/css; charset=utf-8", pages::XTERM_STYLE)),
            (Method::GET, ["xterm.mjs"]) => return Ok(plain("text/javascript; charset=utf-8", pages::XTERM)),
            (Method::GET, ["player.js"]) => return Ok(plain("text/javascript; charset=utf-8", pages::PLAYER)),
            (Method::GET, ["api", "v1", "openapi.json"]) => return Ok(plain("application/json", OPENAPI)),
            (Method::GET, ["login"]) => return self.log_in(query).await,
            (Method::GET, ["callback"]) => return self.come_back(head, query).await,
            (Method::POST, ["slack", "actions"]) => return self.said_in_slack(head, body).await,
            (Method::POST, ["api", "v1", "login"]) => return self.begin_elsewhere(&text_of(body).await?).await,
            (Method::POST, ["api", "v1", "login", "code"]) => {
                return self.come_back_elsewhere(&text_of(body).await?).await;
            }
            (Method::POST, ["api", "v1", "login", "device"]) => return self.begin_device(&text_of(body).await?).await,
            (Method::POST, ["api", "v1", "login", "device", "poll"]) => {
                return self.poll_device(&text_of(body).await?).await;
            }
            _ => {}
        }
        let visit = match self.visits.find(cookie(head, LOGIN)) {
            Known::Person(visit) => visit,
            Known::Nobody => return Err(Refusal::LogIn),
            Known::Hasty => {
                let words = "you ask faster than anybody reads: wait a minute".to_owned();
                return Err(Refusal::Because(StatusCode::TOO_MANY_REQUESTS, words));
            }
        };
        if head.method == Method::GET {
            self.show(&path, query, &visit).await
        } else {
            self.change(&path, head, body, &visit).await
        }
    }

    async fn show(&self, path: &[&str], query: &str, visit: &Visit) -> Result<Answer, Refusal> {
        let ask = async |wanted| self.ask(visit, wanted).await;
        let page = |title: &str, reloads, body: String| Ok(html(&pages::page(title, Some(visit), reloads, &body)));
        match *path {
            [""] => page("Approvals", true, pages::approvals(&ask(Wanted::Approvals).await?)),
            ["requests", id] => {
                page("Request", false, pages::request(&ask(Wanted::Approval(ticket(id)?)).await?, visit))
            }
            ["windows"] => page("Windows", false, pages::windows(&ask(Wanted::Windows).await?, visit)),
            ["sessions"] => {
                let search = search(query);
                page("Sessions", false, pages::sessions(&ask(Wanted::Sessions(search.clone())).await?, &search))
            }
            ["sessions", id] => page("Session", false, pages::session(&ask(Wanted::Session(id.to_owned())).await?)),
            ["sessions", id, "terminal"] => page("Terminal", false, pages::terminal(id, request(query))),
            ["policies"] => page("Policies", false, pages::policies(&ask(Wanted::Policies).await?)),
            ["health"] => page("Health", true, pages::health(&ask(Wanted::Health).await?)),
            ["api", "v1", "me"] => Ok(json_of(&json!({
                "name": visit.login.name, "groups": visit.login.groups, "token": visit.token, "fresh": visit.is_fresh(),
                "fresh_for": visit.fresh_for().as_secs(), "ends_in": visit.ends_in().as_secs(),
            }))),
            ["api", "v1", "approvals"] => Ok(json_of(&ask(Wanted::Approvals).await?)),
            ["api", "v1", "approvals", id] => Ok(json_of(&ask(Wanted::Approval(ticket(id)?)).await?)),
            ["api", "v1", "windows"] => Ok(json_of(&ask(Wanted::Windows).await?)),
            ["api", "v1", "sessions"] => Ok(json_of(&ask(Wanted::Sessions(search(query))).await?)),
            ["api", "v1", "sessions", id] => Ok(json_of(&ask(Wanted::Session(id.to_owned())).await?)),
            ["api", "v1", "sessions", id, "recording"] => {
                let wanted = Wanted::Recording { session: id.to_owned(), request: request(query) };
                let cast = ask(wanted).await?;
                Ok(plain("application/x-asciicast", cast.as_str().unwrap_or_default()))
            }
            ["api", "v1", "policies"] => Ok(json_of(&ask(Wanted::Policies).await?)),
            ["api", "v1", "health"] => Ok(json_of(&ask(Wanted::Health).await?)),
            _ => Err(Refusal::Because(StatusCode::NOT_FOUND, "there is no such page".to_owned())),
        }
    }

    async fn change(&self, path: &[&str], head: &Parts, body: Incoming, visit: &Visit) -> Result<Answer, Refusal> {
        let sent = &*text_of(body).await?;
        let is_api = path.first() == Some(&"api");
        let token = if is_api {
            head.headers.get(TOKEN).and_then(|value| value.to_str().ok()).map(str::to_owned)
        } else {
            field(sent, "token")
        };
        if !token.is_some_and(|token| same(&token, &visit.token)) {
            let words = "the form is of another login: load the page again".to_owned();
            return Err(Refusal::Because(StatusCode::FORBIDDEN, words));
        }
        match *path {
            ["api", "v1", "logout"] => {
                self.log_out(head, visit).await;
                Ok(json_of(&json!({ "state": "logged out" })))
            }
            ["logout"] => {
                self.log_out(head, visit).await;
                let body = "<p>You are logged out.</p><p><a href=\"/login\">Log in</a></p>";
                Ok(with_cookie(html(&pages::page("Logged out", None, false, body)), LOGIN, "", 0, "Strict"))
            }
            ["requests", id] => {
                let say =
                    Say { approve: field(sent, "say").as_deref() == Some("approve"), reason: field(sent, "reason") };
                let known = matches!(field(sent, "say").as_deref(), Some("approve" | "deny"));
                if !known {
                    return Err(bad("neither approve nor deny"));
                }
                let answer = self.decide(visit, id, say, Some(head.uri.path())).await?;
                let state = answer.get("state").and_then(Value::as_str).unwrap_or("decided");
                let body = format!(
                    "<p role=\"status\">It is {}.</p><p><a href=\"/\">What else waits</a></p>",
                    pages::text(state)
                );
                Ok(html(&pages::page("Request", Some(visit), false, &body)))
            }
            ["api", "v1", "approvals", id, "decision"] => {
                let say: Say = serde_json::from_str(sent).map_err(|error| bad(&error.to_string()))?;
                Ok(json_of(&self.decide(visit, id, say, None).await?))
            }
            ["windows", id] => {
                self.ask(visit, Wanted::Revoke(ticket(id)?)).await?;
                Ok(redirect("/windows"))
            }
            _ => Err(Refusal::Because(StatusCode::NOT_FOUND, "there is no such page".to_owned())),
        }
    }

    async fn log_out(&self, head: &Parts, visit: &Visit) {
        self.visits.leave(cookie(head, LOGIN));
        self.link.log_out(visit.login.login).await;
    }

    /// A person's say, whose login has to be fresh.
    async fn decide(&self, visit: &Visit, id: &str, say: Say, page: Option<&str>) -> Result<Value, Refusal> {
        if !visit.is_fresh() {
            let words = match page {
                Some(page) => format!("your login is too old for a decision: log in again at /login?to={page}"),
                None => "your login is too old for a decision: log in again".to_owned(),
            };
            return Err(Refusal::Because(StatusCode::UNAUTHORIZED, words));
        }
        let reason = say.reason.filter(|reason| !reason.trim().is_empty());
        self.ask(visit, Wanted::Decide { ticket: ticket(id)?, approve: say.approve, reason }).await
    }

    async fn ask(&self, visit: &Visit, wanted: Wanted) -> Result<Value, Refusal> {
        let answer = self.link.ask(visit.login.login, wanted).await;
        let answer = answer.map_err(|reason| Refusal::Because(StatusCode::CONFLICT, reason))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(reason) => Err(Refusal::Because(StatusCode::CONFLICT, reason.to_owned())),
            None => Ok(answer),
        }
    }

    async fn log_in(&self, query: &str) -> Result<Answer, Refusal> {
        let failed = |reason: String| Refusal::Because(StatusCode::BAD_GATEWAY, reason);
        let to = field(query, "to").filter(|to| is_own(to)).unwrap_or_else(|| "/".to_owned());
        let nonce = self.link.begin(Begun::Browser).await.map_err(failed)?;
        let attempt =
            Attempt::new(nonce, Way::Browser(to)).ok_or_else(|| failed("the system has no randomness".to_owned()))?;
        let address = self.issuer.address(&self.link, &attempt).await.map_err(failed)?;
        let cookie = self.visits.attempt(attempt).ok_or_else(|| failed("the system has no randomness".to_owned()))?;
        // On the way back from the issuer a browser sends no cookie that is `Strict`.
        Ok(with_cookie(redirect(&address), ATTEMPT, &cookie, 600, "Lax"))
    }

    async fn come_back(&self, head: &Parts, query: &str) -> Result<Answer, Refusal> {
        let failed = |reason: &str| Refusal::Because(StatusCode::FORBIDDEN, format!("you are not logged in: {reason}"));
        let brought = Brought {
            state: field(query, "state").unwrap_or_default(),
            code: field(query, "code"),
            issuer: field(query, "iss"),
        };
        let entered = self.enter(cookie(head, ATTEMPT), brought, Begun::Browser).await;
        let (cookie, way) = entered.map_err(|reason| failed(&reason))?;
        let to = match &way {
            Way::Browser(to) => to.as_str(),
            Way::CommandLine(_) => "/",
        };
        // Not a redirect: in a chain that began at the issuer the browser would not send the cookie.
        let page = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0;url={to}\">\
             <title>gateway</title></head><body><a href=\"{to}\">Go on</a></body></html>",
            to = pages::text(to)
        );
        let answer = with_cookie(html(&page), LOGIN, &cookie, 8 * 3_600, "Strict");
        Ok(with_cookie(answer, ATTEMPT, "", 0, "Lax"))
    }

    /// The cookie of somebody who came back from the issuer, and how they came; where not, why.
    pub(super) async fn enter(
        &self,
        attempt: Option<&str>,
        brought: Brought,
        begun: Begun,
    ) -> Result<(String, Way), String> {
        let (attempt, token) = match self.brought(attempt, brought, begun).await {
            Ok(brought) => brought,
            Err((fault, reason)) => {
                self.link.login_failed(fault).await;
                return Err(reason);
            }
        };
        let login = self.link.log_in(LogIn { token, nonce: attempt.nonce }).await?;
        let cookie = self.visits.enter(login).ok_or("you are logged in too often")?;
        Ok((cookie, attempt.way))
    }

    /// The login that somebody comes back to, and the issuer's token for it.
    async fn brought(
        &self,
        attempt: Option<&str>,
        brought: Brought,
        begun: Begun,
    ) -> Result<(Attempt, String), (LoginFault, String)> {
        let failed = |fault, reason: &str| (fault, reason.to_owned());
        let attempt = self.visits.resume(attempt, &brought.state, begun);
        let attempt =
            attempt.ok_or_else(|| failed(LoginFault::NotBegunHere, "this login was not begun here, or long ago"))?;
        // RFC 9207: an answer of another issuer is not for us.
        if brought.issuer.is_some_and(|issuer| issuer != self.issuer.oidc.issuer) {
            return Err(failed(LoginFault::OtherIssuer, "another issuer answered"));
        }
        let code = brought.code.ok_or_else(|| failed(LoginFault::NoToken, "the issuer did not let you in"))?;
        let token = self.issuer.token(&self.link, &attempt, &code).await;
        let token = token.map_err(|reason| (LoginFault::NoToken, reason))?;
        Ok((attempt, token))
    }

    fn refused(&self, head: &Parts, form: Form, refusal: Refusal) -> Answer {
        let (status, words) = match refusal {
            Refusal::LogIn if form == Form::Page && head.method == Method::GET => {
                let to = head.uri.path();
                return redirect(&format!("/login?to={}", if is_own(to) { to } else { "/" }));
            }
            Refusal::LogIn => (StatusCode::UNAUTHORIZED, "log in first".to_owned()),
            Refusal::Because(status, words) => (status, words),
        };
        let mut answer = match form {
            Form::Json => json_of(&json!({ "error": words })),
            Form::Page => {
                let body = format!(
                    "<p role=\"alert\" class=\"warn\">{}</p><p><a href=\"/\">Back</a></p>",
                    pages::text(&words)
                );
                html(&pages::page("Not done", None, false, &body))
            }
        };
        *answer.status_mut() = status;
        answer
    }
}

/// What the issuer has somebody bring back.
pub(super) struct Brought {
    pub(super) state: String,
    pub(super) code: Option<String>,
    pub(super) issuer: Option<String>,
}

/// A say, as programs send it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Say {
    approve: bool,
    #[serde(default)]
    reason: Option<String>,
}

fn request(query: &str) -> Option<u64> {
    field(query, "request")?.parse().ok()
}

fn search(query: &str) -> Search {
    let of = |name| field(query, name).unwrap_or_default();
    Search {
        workload: of("workload"),
        target: of("target"),
        protocol: of("protocol"),
        decision: of("decision"),
        since: of("since"),
        text: of("text"),
    }
}

/// What was sent, which is short.
async fn text_of(body: Incoming) -> Result<String, Refusal> {
    text_within(body, MAX_BODY).await
}

/// The same up to a length.
pub(super) async fn text_within(body: Incoming, most: usize) -> Result<String, Refusal> {
    let body = Limited::new(body, most).collect().await.map_err(|_| bad("the request is too large"))?;
    String::from_utf8(body.to_bytes().into()).map_err(|_| bad("the request is no text"))
}

pub(super) fn bad(words: &str) -> Refusal {
    Refusal::Because(StatusCode::BAD_REQUEST, words.to_owned())
}

fn ticket(id: &str) -> Result<TicketId, Refusal> {
    id.parse().map_err(|error| Refusal::Because(StatusCode::NOT_FOUND, format!("{error}")))
}

/// Whether it is a page of ours: a path, and nothing that a browser takes for another host.
pub(super) fn is_own(to: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    to.starts_with('/') && !to.contains("//") && to.chars().all(is_plain)
}

/// The cookie of a name; two of one name are none.
fn cookie<'h>(head: &'h Parts, wanted: &str) -> Option<&'h str> {
    let lines = head.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted).then_some(value)
    });
    let (first, second) = (found.next(), found.next());
    if second.is_some() { None } else { first }
}

fn with_cookie(mut answer: Answer, name: &str, value: &str, seconds: u64, site: &str) -> Answer {
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite={site}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
    answer
}

fn redirect(to: &str) -> Answer {
    let mut answer = plain("text/plain; charset=utf-8", "");
    *answer.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(value) = HeaderValue::from_str(to) {
        answer.headers_mut().insert(header::LOCATION, value);
    }
    answer
}

fn html(page: &str) -> Answer {
    plain("text/html; charset=utf-8", page)
}

pub(super) fn json_of(value: &Value) -> Answer {
    plain("application/json", &value.to_string())
}

pub(super) fn plain(kind: &'static str, text: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_host() {
        for own in ["/", "/requests/01a2", "/api/v1/me"] {
            assert!(is_own(own), "{own}");
        }
        for other in
            ["", "//evil", "/\\evil", "https://evil", "/a?b", "/a\r\nx", "/%2f", "requests", "javascript:alert(1)"]
        {
            assert!(!is_own(other), "{other}");
        }
    }

    #[test]
    fn the_document_names_what_there_is() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        let mut sorted = paths.clone();
        sorted.sort();
        assert_eq!(paths, sorted);
        for path in paths {
            assert!(path.starts_with("/api/v1/"), "{path}");
        }
    }
}
