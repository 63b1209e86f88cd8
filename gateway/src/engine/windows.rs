//! Windows as people ask for them, open and end them.
//!
//! In: what people ask, whom the warden has looked at, and the rules of the configuration. Out: requests on the desk, open
//! windows, and word of each in the journal before it counts.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Engine;
use super::approvals::plain;
use crate::approval::{About, Cast, Needed, Store, Ticket, Window, WindowAsked};
use crate::audit::Kept;
use crate::audit::event::{Event, WindowClosed, WindowOpened};
use crate::bridge::{Person, Revoke, WindowRequest};
use crate::config::WindowRule;
use crate::id::TicketId;
use crate::state::Change;

/// Windows that may be open at once.
const MAX_OPEN: usize = 1_000;

impl Engine {
    /// Puts a request for a window on the desk, or opens it at once in an emergency.
    pub(super) async fn ask_for_window(&self, request: WindowRequest) -> Value {
        match self.try_to_ask(request).await {
            Ok(answer) => answer,
            Err(error) => json!({ "error": error }),
        }
    }

    async fn try_to_ask(&self, request: WindowRequest) -> Result<Value, String> {
        let settings = self.settings();
        let config = settings.config();
        let rule = config.approval.windows.iter().find(|rule| rule.name == request.name);
        let rule = rule.ok_or_else(|| format!("no [[window]] is called `{}`", request.name))?;
        let attachment = request.workload.split('/').next().unwrap_or_default().to_owned();
        if settings.attachment(&attachment).is_none() {
            return Err(format!(
                "nothing is attached as `{attachment}`: a workload is `ATTACHMENT` or `ATTACHMENT/UNIT`"
            ));
        }
        if !config.targets.iter().any(|target| target.name == request.target) {
            return Err(format!("there is no target `{}`", request.target));
        }
        let WindowRequest { name, workload, target, time, reason, break_glass, person } = request;
        let reason = plain(&reason);
        permits(rule, (&attachment, &target), time, &reason)?;
        let asked = WindowAsked { name, workload, target, time, reason, person: person.name.clone(), uid: person.uid };
        if break_glass {
            if !rule.break_glass.iter().any(|group| person.groups.contains(group)) {
                let groups = rule.break_glass.join(", ");
                return Err(format!(
                    "{} may not open it alone: `break_glass` of [[window]] says who may ({groups})",
                    person.name
                ));
            }
            tracing::error!(
                window = asked.name,
                workload = asked.workload,
                target = asked.target,
                person = person.name,
                reason = asked.reason,
                "BREAK GLASS: a window is opened by one person alone"
            );
            return Ok(self.put_in_force(Window::open(TicketId::generate(), asked, Vec::new())).await);
        }
        let ticket = asked_of(asked, rule, config.approval.timeout);
        // No two are the same: nobody comes back for it.
        let binding = self.desk.bind([b"window".as_slice(), ticket.id.as_bytes()]);
        self.journal.append_unsynced(None, &ticket.requested(&binding)).map_err(|error| error.to_string())?;
        let id = ticket.id;
        self.desk.open(ticket, binding).await.map_err(|error| error.to_string())?;
        Ok(json!({ "state": "waiting", "window": id, "group": rule.group, "approvers": rule.approvers }))
    }

    /// Opens the window that enough people have approved.
    pub(super) async fn open_window(&self, ticket: Ticket, votes: Vec<Cast>) -> Value {
        let Some(asked) = ticket.window else { return json!({ "error": "it is for no window" }) };
        self.put_in_force(Window::open(ticket.id, asked, votes)).await
    }

    async fn put_in_force(&self, window: Window) -> Value {
        let opened = self.try_to_open(&window).await;
        match opened {
            Ok(()) => {
                let answer = json!({ "state": "open", "window": window.id, "until": window.ends });
                self.windows.insert(window);
                answer
            }
            Err(error) => json!({ "error": format!("it could not be opened: {error}") }),
        }
    }

    async fn try_to_open(&self, window: &Window) -> Result<(), String> {
        if self.windows.all().len() >= MAX_OPEN {
            return Err("too many are open".to_owned());
        }
        let event = Event::WindowOpened(Box::new(WindowOpened {
            window: window.id,
            name: window.asked.name.clone(),
            workload: window.asked.workload.clone(),
            target: window.asked.target.clone(),
            person: window.asked.person.clone(),
            approvers: window.votes.iter().map(|vote| vote.person.clone()).collect(),
            reason: Kept::after_redaction(window.asked.reason.clone()),
            until: window.ends,
            break_glass: window.break_glass,
        }));
        self.journal.append_unsynced(None, &event).map_err(|error| error.to_string())?;
        let text = serde_json::to_string(window).map_err(|error| error.to_string())?;
        let changes = vec![Change::Gone { ticket: window.id }, Change::Opened { window: window.id, text }];
        self.keeper.keep(changes).await
    }

    /// The windows that are open.
    pub(super) fn list_windows(&self) -> Value {
        self.windows.all().iter().map(|window| json!(window)).collect()
    }

    /// Ends a window, or takes back the request for one.
    pub(super) async fn revoke_window(&self, revoke: Revoke) -> Value {
        let Revoke { window: id, person, reason } = revoke;
        let reason = reason.as_deref().map(plain).unwrap_or_default();
        let open = self.windows.all().into_iter().find(|window| window.id == id);
        let Some(window) = open else {
            return json!({ "error": format!("no window is open under {id}: `gateway windows` lists them") });
        };
        if !self.may_end(&window, &person) {
            return json!({ "error": format!("{} did not ask for it, approve it, or vote for its group", person.name) });
        }
        let Some(window) = self.windows.remove(id) else { return json!({ "error": "it has just ended" }) };
        match self.end_window(&window, &reason, Some(&person)).await {
            Ok(()) => json!({ "state": "closed", "window": id }),
            Err(error) => {
                json!({ "error": format!("it is closed, and opens again where the gateway starts anew: {error}") })
            }
        }
    }

    /// Root, who asked for it, and who could have approved it.
    fn may_end(&self, window: &Window, person: &Person) -> bool {
        let settings = self.settings();
        let rule = settings.config().approval.windows.iter().find(|rule| rule.name == window.asked.name);
        let is_approver = rule.is_some_and(|rule| person.groups.contains(&rule.group));
        person.uid == Some(0) || person.name == window.asked.person || is_approver
    }

    /// Tells of the end of a window that is open no longer. It is closed whether or not that can be written.
    pub(super) fn end_window(
        &self,
        window: &Arc<Window>,
        reason: &str,
        person: Option<&Person>,
    ) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let event = Event::WindowClosed(WindowClosed {
            window: window.id,
            name: window.asked.name.clone(),
            workload: window.asked.workload.clone(),
            target: window.asked.target.clone(),
            person: person.map(|person| person.name.clone()),
            reason: Kept::after_redaction(reason.to_owned()),
        });
        if let Err(error) = self.journal.append_unsynced(None, &event) {
            tracing::error!(%error, "the end of a window could not be recorded");
        }
        self.keeper.keep(vec![Change::Closed { window: window.id }])
    }
}

fn permits(
    rule: &WindowRule,
    (attachment, target): (&str, &String),
    time: std::time::Duration,
    reason: &str,
) -> Result<(), String> {
    let name = &rule.name;
    if !rule.targets.is_empty() && !rule.targets.contains(target) {
        return Err(format!("the window `{name}` is not for the target `{target}`"));
    }
    if !rule.within.is_empty() && !rule.within.iter().any(|within| within == attachment) {
        return Err(format!("the window `{name}` is not for the attachment `{attachment}`"));
    }
    if time > rule.longest || time.is_zero() {
        return Err(format!("the window `{name}` is open for {} minutes at most", rule.longest.as_secs() / 60));
    }
    if reason.trim().is_empty() {
        return Err("a window needs a reason".to_owned());
    }
    Ok(())
}

fn asked_of(asked: WindowAsked, rule: &WindowRule, patience: std::time::Duration) -> Ticket {
    let minutes = asked.time.as_secs().div_ceil(60);
    let summary = format!("open the window {} for {minutes} minutes: {}", asked.name, asked.reason);
    let about = About {
        workload: asked.workload.clone(),
        destination: asked.target.clone(),
        summary: Kept::after_redaction(summary),
        ..About::default()
    };
    let needed = vec![Needed { group: rule.group.clone(), count: rule.approvers, terms: Default::default() }];
    Ticket::of_window(asked, about, needed, patience)
}
