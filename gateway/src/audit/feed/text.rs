//! Events as a line of a chat.

use super::Event;
use crate::audit::clickhouse::Origin;

/// The longest text of a runtime that stands in it, in characters.
const LONGEST: usize = 300;

/// One line. What a runtime wrote cannot mention anybody or link anywhere there (Slack, "Formatting text for app surfaces": `&`,
/// `<` and `>` are the control characters).
pub(super) fn line(origin: &Origin, event: &Event, console: Option<&str>) -> String {
    let text = |path| event.text(path).map(plain).unwrap_or_default();
    let what = ["/summary", "/text", "/command", "/reason", "/detail", "/name"];
    let what = what.into_iter().map(text).find(|text| !text.is_empty()).unwrap_or_default();
    let who = ["/workload", "/who/workload", "/attachment", "/person"];
    let who = who.into_iter().map(text).find(|text| !text.is_empty()).unwrap_or_default();
    let ticket = event.text("/ticket").filter(|_| event.kind == "approval.requested");
    let link = match (ticket, console) {
        (Some(ticket), Some(console)) => format!(" <{console}/requests/{}|decide>", plain(ticket)),
        (Some(ticket), None) => format!(" (gateway approvals show {})", plain(ticket)),
        (None, _) => String::new(),
    };
    let verdict = event.verdict().map(|verdict| format!(" {}", plain(verdict))).unwrap_or_default();
    format!("*{}*{verdict} {who} on {}: {what}{link}", plain(&event.kind), plain(&origin.host_name))
}

fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(LONGEST) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
