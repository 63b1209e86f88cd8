//! Events as a line of a chat.

use serde_json::{Value, json};

use super::Event;
use crate::audit::clickhouse::Origin;

/// The longest text of a runtime that stands in it, in characters.
const LONGEST: usize = 300;
/// The button that says yes.
pub const APPROVE: &str = "gateway_approve";
/// The button that says no.
pub const DENY: &str = "gateway_deny";
/// The field beside them, and its block.
pub const REASON: &str = "gateway_reason";

/// One line. What a runtime wrote cannot mention anybody or link anywhere there (Slack, "Formatting text for app surfaces": `&`,
/// `<` and `>` are the control characters).
pub(super) fn line(origin: &Origin, event: &Event, console: Option<&str>) -> String {
    let text = |path| event.text(path).map(plain).unwrap_or_default();
    let what = ["/summary", "/text", "/command", "/reason", "/detail", "/name"];
    let what = what.into_iter().map(text).find(|text| !text.is_empty()).unwrap_or_default();
    let who = ["/workload", "/who/workload", "/attachment", "/person"];
    let who = who.into_iter().map(text).find(|text| !text.is_empty()).unwrap_or_default();
    let ticket = event.text("/ticket").filter(|_| event.asks());
    let link = match (ticket, console) {
        (Some(ticket), Some(console)) => format!(" <{console}/requests/{}|decide>", plain(ticket)),
        (Some(ticket), None) => format!(" (gateway approvals show {})", plain(ticket)),
        (None, _) => String::new(),
    };
    let verdict = event.verdict().map(|verdict| format!(" {}", plain(verdict))).unwrap_or_default();
    format!("*{}*{verdict} {who} on {}: {what}{link}", plain(&event.kind), plain(&origin.host_name))
}

/// A message that ends with a request that waits: with a place for a reason, and a button for each way to decide it (Slack,
/// "Block Kit": section, input and actions blocks). The request is what the button says; who pressed it, Slack says.
pub(super) fn blocks(lines: &[String], last: &Event) -> Option<Value> {
    let ticket = last.text("/ticket").filter(|_| last.asks())?;
    let button = |action: &str, text: &str, style: &str| {
        json!({
            "type": "button", "action_id": action, "value": ticket, "style": style,
            "text": { "type": "plain_text", "text": text },
        })
    };
    let sections = lines.iter().map(|line| json!({ "type": "section", "text": { "type": "mrkdwn", "text": line } }));
    let rest = [
        json!({
            "type": "input", "block_id": REASON, "optional": true, "label": { "type": "plain_text", "text": "Reason" },
            "element": { "type": "plain_text_input", "action_id": REASON, "max_length": 500 },
        }),
        json!({
            "type": "actions",
            "elements": [button(APPROVE, "Approve", "primary"), button(DENY, "Deny", "danger")],
        }),
    ];
    Some(sections.chain(rest).collect())
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
