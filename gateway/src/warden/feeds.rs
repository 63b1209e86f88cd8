//! Those who are told of events as they happen: a shipper's process for each.
//!
//! In: `[[audit.webhook]]`. Out: one process each, its place in a checkpoint of its own, and how far it is. One that takes nothing
//! keeps nobody waiting: what it was not told stands in the journal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::backlog::Backlog;
use super::materials;
use super::shipper_process::ShipperProcess;
use crate::audit::Layout;
use crate::audit::event::Event;
use crate::audit::journal::is_of;
use crate::chain::chain;
use crate::config::{Config, Webhook};
use crate::control::service::Shipping;
use crate::id::HostId;
use crate::shipper::{FeedSettings, Task};

/// All of them, by name.
#[derive(Default)]
pub(super) struct Feeds(Mutex<BTreeMap<String, Arc<ShipperProcess>>>);

/// What each takes, by name.
pub(super) type Wanted = BTreeMap<String, (Task, Backlog)>;

impl Feeds {
    /// Takes other settings: who is new is started, who is gone ended.
    pub(super) fn set(&self, layout: &Layout, mut wanted: Wanted) {
        let mut all = self.0.lock();
        all.retain(|name, process| {
            let goes_on = wanted.contains_key(name);
            if !goes_on {
                process.end();
            }
            goes_on
        });
        while let Some((name, task)) = wanted.pop_first() {
            let is_new = !all.contains_key(&name);
            let process = all.entry(name).or_insert_with(|| Arc::new(ShipperProcess::new(layout.clone())));
            process.set(Some(task));
            if is_new {
                let process = Arc::clone(process);
                tokio::spawn(async move { process.supervise().await });
            }
        }
    }

    /// How far each of them is, by name.
    pub(super) fn by_name(&self) -> Vec<(String, Shipping)> {
        self.0.lock().iter().filter_map(|(name, process)| Some((name.clone(), shown(process.status()?)))).collect()
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
    let one = |webhook: &Webhook| {
        let of = |fault: String| format!("[[audit.webhook]] `{}`: {fault}", webhook.name);
        let is_known = |wanted: &&String| !Event::KINDS.iter().any(|kind| is_of(wanted, kind));
        if let Some(unknown) = webhook.kinds.iter().find(is_known) {
            return Err(of(format!("no event is called `{unknown}`: docs/journal.md lists them")));
        }
        let secret = |source: &Option<_>| source.as_ref().map(materials::secret).transpose().map_err(of);
        let console = config.console.as_ref().map(|console| format!("https://{}", console.public.authority()));
        let settings = FeedSettings {
            host,
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            url: webhook.url.clone(),
            format: webhook.format,
            kinds: webhook.kinds.clone(),
            verdicts: webhook.verdicts.clone(),
            secret: secret(&webhook.secret)?,
            authorization: secret(&webhook.authorization)?,
            ca: materials::authorities(webhook.ca.as_deref()).map_err(of)?,
            console,
        };
        let place = format!("{}: https://{}{}", webhook.name, settings.url.server(), settings.url.path);
        let backlog = Backlog::open_from_now(checkpoint(config, &webhook.name), place, layout);
        Ok((webhook.name.clone(), (Task::Feed(settings), backlog.map_err(|error| of(chain(&error)))?)))
    };
    config.webhooks.iter().map(one).collect()
}

fn checkpoint(config: &Config, name: &str) -> PathBuf {
    config.state_dir.join(format!("webhook-{name}.json"))
}
