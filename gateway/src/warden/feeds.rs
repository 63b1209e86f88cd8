//! Those who are told of events as they happen: a shipper's process for each.
//!
//! In: `[[audit.webhook]]` and `[[audit.feed]]`. Out: one process each, its place in a checkpoint of its own, and how far it is. One that takes nothing
//! keeps nobody waiting: what it was not told stands in the journal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::backlog::Backlog;
use super::shipper_process::ShipperProcess;
use super::{Warden, materials};
use crate::audit::Layout;
use crate::audit::event::Event;
use crate::audit::journal::is_of;
use crate::bridge::{FiledAs, Question};
use crate::chain::chain;
use crate::config::{Config, FeedTransport};
use crate::control::service::Shipping;
use crate::id::HostId;
use crate::shipper::{FeedSettings, FeedTo, Task, TicketsTo};

/// All of them, by name.
pub(super) struct Feeds {
    all: Mutex<BTreeMap<String, Arc<ShipperProcess>>>,
    filing: Filing,
    filed: Mutex<Option<mpsc::Receiver<Filed>>>,
}

/// What is a ticket elsewhere, and where its answer goes.
pub(super) type Filed = (FiledAs, oneshot::Sender<Result<(), String>>);

/// Where processes bring what they made tickets of.
pub(super) type Filing = mpsc::Sender<Filed>;

impl Default for Feeds {
    fn default() -> Self {
        let (filing, filed) = mpsc::channel(1);
        Self { all: Mutex::default(), filing, filed: Mutex::new(Some(filed)) }
    }
}

impl Warden {
    /// Has the engine note what is a ticket elsewhere, for as long as the gateway runs.
    pub async fn note_filed(self: Arc<Self>) {
        let Some(mut filed) = self.feeds.filed.lock().take() else { return };
        while let Some((filed, noted)) = filed.recv().await {
            let _ = noted.send(self.asked(Question::Filed(filed)).await.map(drop));
        }
    }
}

/// What each takes, by name.
pub(super) type Wanted = BTreeMap<String, (Task, Backlog)>;

impl Feeds {
    /// Takes other settings: who is new is started, who is gone ended.
    pub(super) fn set(&self, layout: &Layout, mut wanted: Wanted) {
        let mut all = self.all.lock();
        all.retain(|name, process| {
            let goes_on = wanted.contains_key(name);
            if !goes_on {
                process.end();
            }
            goes_on
        });
        while let Some((name, task)) = wanted.pop_first() {
            let is_new = !all.contains_key(&name);
            let process = all
                .entry(name)
                .or_insert_with(|| Arc::new(ShipperProcess::new(layout.clone(), Some(self.filing.clone()))));
            process.set(Some(task));
            if is_new {
                let process = Arc::clone(process);
                tokio::spawn(async move { process.supervise().await });
            }
        }
    }

    /// How far each of them is, by name.
    pub(super) fn by_name(&self) -> Vec<(String, Shipping)> {
        self.all.lock().iter().filter_map(|(name, process)| Some((name.clone(), shown(process.status()?)))).collect()
    }

    /// How far each of them is.
    pub(super) fn status(&self) -> Vec<Shipping> {
        self.by_name().into_iter().map(|(_, shipping)| shipping).collect()
    }
}

/// As far as the host: the path of a chat's incoming webhook is all that one needs to write there.
fn shown(mut shipping: Shipping) -> Shipping {
    let path = shipping.store.find("://").and_then(|at| Some(at + 3 + shipping.store.get(at + 3..)?.find('/')?));
    if let Some(path) = path {
        shipping.store.replace_range(path.., "/…");
    }
    shipping
}

/// What a configuration wants.
///
/// # Errors
/// Where a secret cannot be read, or what is wanted is not known.
pub(super) fn wanted(config: &Config, host: HostId, layout: &Layout) -> Result<Wanted, String> {
    let console = config.console.as_ref().map(|console| format!("https://{}", console.public.authority()));
    let webhooks = config.webhooks.iter().map(|webhook| {
        let of = |fault: String| format!("[[audit.webhook]] `{}`: {fault}", webhook.name);
        let secret = |source: &Option<_>| source.as_ref().map(materials::secret).transpose().map_err(of);
        let to = FeedTo::Webhook {
            url: webhook.url.clone(),
            format: webhook.format,
            secret: secret(&webhook.secret)?,
            authorization: secret(&webhook.authorization)?,
            console: console.clone(),
            buttons: webhook.buttons,
        };
        let place = format!("https://{}{}", webhook.url.server(), webhook.url.path);
        let told = Told { name: &webhook.name, kinds: &webhook.kinds, verdicts: &webhook.verdicts, ca: &webhook.ca };
        told.task((to, format!("webhook-{}", webhook.name)), &place, (config, host, layout)).map_err(of)
    });
    let feeds = config.feeds.iter().map(|feed| {
        let to = FeedTo::Syslog {
            server: feed.server.clone(),
            transport: feed.transport,
            format: feed.format,
            max_bytes: feed.max_bytes,
        };
        let scheme = if feed.transport == FeedTransport::Tls { "syslog+tls" } else { "syslog" };
        let told = Told { name: &feed.name, kinds: &feed.kinds, verdicts: &feed.verdicts, ca: &feed.ca };
        let place = format!("{scheme}://{}", feed.server.server());
        let task = told.task((to, format!("feed-{}", feed.name)), &place, (config, host, layout));
        task.map_err(|fault| format!("[[audit.feed]] `{}`: {fault}", feed.name))
    });
    let tickets = config.tickets.iter().map(|tickets| {
        let of = |fault: String| format!("[[approval.tickets]] `{}`: {fault}", tickets.name);
        let to = TicketsTo {
            name: tickets.name.clone(),
            url: tickets.url.clone(),
            system: tickets.system.clone(),
            authorization: materials::secret(&tickets.authorization).map_err(of)?,
            template: tickets.template.as_deref().map(template).transpose().map_err(of)?,
            console: console.clone(),
        };
        let kinds = ["approval.".to_owned()];
        let told = Told { name: &tickets.name, kinds: &kinds, verdicts: &[], ca: &tickets.ca };
        let place = format!("{}: https://{}", tickets.system.word(), tickets.url.server());
        let checkpoint = format!("tickets-{}", tickets.name);
        told.task((FeedTo::Tickets(to), checkpoint), &place, (config, host, layout)).map_err(of)
    });
    webhooks.chain(feeds).chain(tickets).collect()
}

/// The fields of tickets, as somebody wrote them.
fn template(file: &Path) -> Result<String, String> {
    let text = String::from_utf8(materials::read_file(file)?);
    let text = text.map_err(|_| format!("{} is no text", file.display()))?;
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{} is no object of JSON: {error}", file.display())),
    }
}

/// What webhooks and feeds have both.
struct Told<'a> {
    name: &'a str,
    kinds: &'a [String],
    verdicts: &'a [String],
    ca: &'a Option<PathBuf>,
}

impl Told<'_> {
    fn task(
        &self,
        (to, checkpoint): (FeedTo, String),
        place: &str,
        (config, host, layout): (&Config, HostId, &Layout),
    ) -> Result<(String, (Task, Backlog)), String> {
        let is_unknown = |wanted: &&String| !Event::KINDS.iter().any(|kind| is_of(wanted, kind));
        if let Some(unknown) = self.kinds.iter().find(is_unknown) {
            return Err(format!("no event is called `{unknown}`: docs/events.md lists them"));
        }
        let settings = FeedSettings {
            host,
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            to,
            kinds: self.kinds.to_vec(),
            verdicts: self.verdicts.to_vec(),
            ca: materials::authorities(self.ca.as_deref())?,
        };
        let checkpoint = config.state_dir.join(format!("{checkpoint}.json"));
        let backlog = Backlog::open_from_now(checkpoint, format!("{}: {place}", self.name), layout);
        Ok((self.name.to_owned(), (Task::Feed(settings), backlog.map_err(|error| chain(&error))?)))
    }
}
