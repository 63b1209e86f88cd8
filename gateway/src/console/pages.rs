//! Pages of the console: no script, nothing from elsewhere, readable on a telephone and by a screen reader.
//!
//! In: JSON of the engine and the journal, where runtimes chose names and texts. Out: HTML in which each of those is text and
//! nothing else, and looks like what it is: characters that turn or hide are spelled out.

use std::fmt::Write;

use serde_json::Value;

use super::visits::Visit;
use super::words::Search;
use crate::cli::terminal::plays;

/// The style sheet, and where it is.
pub(super) const STYLE: &str = include_str!("style.css");
/// The player of terminals, and the terminal that it plays on (xterm.js, MIT), which `build.rs` found.
pub(super) const PLAYER: &str = include_str!("player.js");
pub(super) const XTERM: &str = include_str!(env!("GATEWAY_XTERM_MJS"));
pub(super) const XTERM_STYLE: &str = include_str!(env!("GATEWAY_XTERM_CSS"));
/// A list is loaded anew after so many seconds.
const RELOAD: u32 = 5;

/// The text as HTML.
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            c if plays(c) => {
                let _ = write!(out, "<mark>{}</mark>", c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

/// A whole page.
pub(super) fn page(title: &str, visit: Option<&Visit>, reloads: bool, body: &str) -> String {
    let reload = if reloads { format!("<meta http-equiv=\"refresh\" content=\"{RELOAD}\">") } else { String::new() };
    let links = [
        ("/", "Approvals"),
        ("/windows", "Windows"),
        ("/sessions", "Sessions"),
        ("/policies", "Policies"),
        ("/health", "Health"),
    ];
    let head = visit.map_or_else(String::new, |visit| {
        let link = |(to, name): &(&str, &str)| {
            let here = if *name == title { " aria-current=\"page\"" } else { "" };
            format!("<a href=\"{to}\"{here}>{name}</a>")
        };
        let links: String = links.iter().map(link).collect();
        format!(
            "<nav aria-label=\"Pages\">{links}</nav><form method=\"post\" action=\"/logout\"><span>{}</span>{}<button>Log out</button></form>",
            text(&visit.login.name),
            hidden(visit)
        )
    });
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">{reload}\
         <title>{title} · gateway</title><link rel=\"stylesheet\" href=\"/style.css\"></head><body><a class=\"skip\" href=\"#main\">To the content</a>\
         <header><strong>gateway</strong>{head}</header><main id=\"main\"><h1>{title}</h1>{body}</main></body></html>",
        title = text(title)
    )
}

fn hidden(visit: &Visit) -> String {
    format!("<input type=\"hidden\" name=\"token\" value=\"{}\">", text(&visit.token))
}

/// The text at a path, as HTML.
fn at(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(found)) => text(found),
        Some(other) => text(&other.to_string()),
    }
}

/// A time to the second, in UTC.
fn time(value: &Value, path: &str) -> String {
    let whole = at(value, path);
    let seconds = whole.get(..19).unwrap_or(&whole).replace('T', " ");
    format!("<time datetime=\"{whole}\">{seconds}</time>")
}

fn all<'v>(value: &'v Value, path: &str) -> &'v [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn said(value: &Value) -> String {
    value.as_str().map_or_else(|| text(&value.to_string()), text)
}

/// What waits.
pub(super) fn approvals(list: &Value) -> String {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    if list.is_empty() {
        return "<p>Nothing waits for you.</p>".to_owned();
    }
    let card = |one: &Value| {
        format!(
            "<li><a href=\"/requests/{id}\"><span class=\"state {state}\">{state}</span> <b>{}</b> → <b>{}</b>\
             <pre>{}</pre><small>until {} UTC</small></a></li>",
            at(one, "/ticket/workload"),
            at(one, "/ticket/destination"),
            at(one, "/ticket/summary"),
            time(one, "/ticket/expires"),
            id = at(one, "/ticket/id"),
            state = at(one, "/state"),
        )
    };
    format!("<ul class=\"cards\">{}</ul>", list.iter().map(card).collect::<String>())
}

/// One request, and the say on it.
pub(super) fn request(one: &Value, visit: &Visit) -> String {
    let id = at(one, "/ticket/id");
    let mut out = format!(
        "<p><span class=\"state {state}\">{state}</span> <b>{}</b> wants at <b>{}</b>:</p><pre class=\"what\">{}</pre>",
        at(one, "/ticket/workload"),
        at(one, "/ticket/destination"),
        at(one, "/ticket/summary"),
        state = at(one, "/state"),
    );
    for reason in all(one, "/ticket/opaque") {
        let _ = write!(out, "<p class=\"warn\">Not all of it can be read: {}</p>", said(reason));
    }
    if let Some(rows) = one.pointer("/ticket/changed").and_then(Value::as_u64) {
        let _ = write!(out, "<p class=\"warn\">It has changed {rows} rows, not committed yet.</p>");
    }
    if at(one, "/state") == "waiting" && !visit.is_fresh() {
        let _ =
            write!(out, "<p><a class=\"yes button\" href=\"/login?to=/requests/{id}\">Log in again to decide</a></p>");
    } else if at(one, "/state") == "waiting" {
        // The first button is what Enter presses (HTML, implicit submission): nobody approves by it.
        let _ = write!(
            out,
            "<form class=\"say\" method=\"post\" action=\"/requests/{id}\">{}<button disabled hidden></button><label>Reason <input name=\"reason\" maxlength=\"500\" autocomplete=\"off\"></label>\
             <button name=\"say\" value=\"approve\" class=\"yes\">Approve</button><button name=\"say\" value=\"deny\" class=\"no\">Deny</button></form>",
            hidden(visit)
        );
    }
    out += "<dl>";
    for (name, path) in [("Why", "/ticket/messages"), ("Policy", "/ticket/policies")] {
        for why in all(one, path) {
            let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", said(why));
        }
    }
    for needed in all(one, "/ticket/needed") {
        let reason = if needed.get("reason") == Some(&Value::Bool(true)) { ", with a reason" } else { "" };
        let hours: Vec<_> = all(needed, "/hours").iter().map(said).collect();
        let hours = if hours.is_empty() { String::new() } else { format!(", within {} UTC", hours.join(" and ")) };
        let _ =
            write!(out, "<dt>Needs</dt><dd>{} of {}{reason}{hours}</dd>", at(needed, "/count"), at(needed, "/group"));
    }
    for vote in all(one, "/votes") {
        let _ =
            write!(out, "<dt>Said</dt><dd>{} {} {}</dd>", at(vote, "/person"), at(vote, "/vote"), at(vote, "/reason"));
    }
    for (name, path) in [
        ("Executable", "/ticket/who/executable"),
        ("Process", "/ticket/who/pid"),
        ("User", "/ticket/who/uid"),
        ("Container", "/ticket/who/container/id"),
        ("Token of", "/ticket/who/token/subject"),
        ("Cgroup", "/ticket/who/cgroup"),
        ("Asked by", "/ticket/window/person"),
    ] {
        let found = at(one, path);
        if !found.is_empty() {
            let _ = write!(out, "<dt>{name}</dt><dd>{found}</dd>");
        }
    }
    for filed in all(one, "/ticket/filed") {
        let _ = write!(
            out,
            "<dt>Ticket</dt><dd><a rel=\"noreferrer\" href=\"{}\">{}</a></dd>",
            at(filed, "/url"),
            at(filed, "/key")
        );
    }
    for (name, path) in [("Asked", "/ticket/asked"), ("Until", "/ticket/expires")] {
        let _ = write!(out, "<dt>{name}</dt><dd>{} UTC</dd>", time(one, path));
    }
    for (name, path) in [("Would", "/ticket/asks"), ("Change", "/ticket/changes")] {
        for line in all(one, path) {
            let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", said(line));
        }
    }
    out += "</dl>";
    let so_far = all(one, "/so_far");
    if !so_far.is_empty() {
        let _ = write!(out, "<h2>The session so far</h2>{}", events(so_far));
    }
    out
}

fn events(list: &[Value]) -> String {
    let row = |event: &Value| {
        let what = ["/body/text", "/body/command", "/body/summary", "/body/reason", "/body/status", "/body/cause"];
        let what = what.iter().map(|path| at(event, path)).find(|text| !text.is_empty()).unwrap_or_default();
        let verdict = at(event, "/body/decision/verdict");
        format!(
            "<tr><td>{}</td><td>{}</td><td><span class=\"state {verdict}\">{verdict}</span></td><td><pre>{what}</pre></td></tr>",
            time(event, "/time"),
            at(event, "/kind"),
        )
    };
    table(&["Time", "Kind", "Decision", "What"], list.iter().map(row).collect())
}

fn table(heads: &[&str], rows: String) -> String {
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    format!(
        "<div class=\"wide\" tabindex=\"0\"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

/// The windows that are open.
pub(super) fn windows(list: &Value, visit: &Visit) -> String {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    if list.is_empty() {
        return "<p>No window is open.</p>".to_owned();
    }
    let row = |window: &Value| {
        let votes: Vec<_> = all(window, "/votes").iter().map(|vote| at(vote, "/person")).collect();
        let by = if votes.is_empty() { "<b class=\"warn\">BREAK GLASS</b>".to_owned() } else { votes.join(", ") };
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{by}</td>\
             <td><form method=\"post\" action=\"/windows/{}\">{}<button class=\"no\">End it</button></form></td></tr>",
            at(window, "/name"),
            at(window, "/workload"),
            at(window, "/target"),
            at(window, "/ends"),
            at(window, "/person"),
            at(window, "/reason"),
            at(window, "/id"),
            hidden(visit)
        )
    };
    table(
        &["Window", "Workload", "Target", "Until", "Asked by", "Reason", "Approved by", ""],
        list.iter().map(row).collect(),
    )
}

/// Sessions, and the form to look for some.
pub(super) fn sessions(found: &Value, search: &Search) -> String {
    let row = |session: &Value| {
        let id = at(session, "/session");
        let state = [at(session, "/end/cause"), at(session, "/state")].into_iter().find(|text| !text.is_empty());
        let to = [at(session, "/start/destination/target"), at(session, "/start/destination/address")];
        format!(
            "<tr><td><a href=\"/sessions/{id}\">{}</a></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            time(session, "/started"),
            at(session, "/start/who/workload"),
            at(session, "/start/destination/protocol"),
            to.into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
            state.unwrap_or_default(),
        )
    };
    let rows: String = all(found, "/sessions").iter().map(row).collect();
    let none = if rows.is_empty() { "<p>No session is like that.</p>" } else { "" };
    let cut = if found.get("complete") == Some(&Value::Bool(false)) {
        "<p class=\"warn\">There are more: look for fewer, or ask `gateway audit query`.</p>"
    } else {
        ""
    };
    let heads = ["Started", "Workload", "Protocol", "Target", "State"];
    format!("{}{cut}{none}{}", search_form(search), table(&heads, rows))
}

fn search_form(search: &Search) -> String {
    let input = |name: &str, label: &str, value: &str, more: &str| {
        format!("<label>{label} <input name=\"{name}\" value=\"{}\"{more}></label>", text(value))
    };
    let select = |name: &str, label: &str, value: &str, all: &[&str]| {
        let option = |one: &&str| {
            let chosen = if *one == value { " selected" } else { "" };
            let shown = if one.is_empty() { "any" } else { one };
            format!("<option value=\"{one}\"{chosen}>{shown}</option>")
        };
        format!(
            "<label>{label} <select name=\"{name}\">{}</select></label>",
            all.iter().map(option).collect::<String>()
        )
    };
    format!(
        "<form method=\"get\" action=\"/sessions\" role=\"search\">{}{}{}{}{}{}<button>Search</button></form>",
        input("workload", "Workload", &search.workload, ""),
        input("target", "Target", &search.target, ""),
        select("protocol", "Protocol", &search.protocol, &["", "postgres", "ssh", "kubernetes"]),
        select("decision", "Decision", &search.decision, &["", "allow", "deny", "hold", "would_deny", "would_hold"]),
        input("since", "Since", &search.since, " type=\"date\""),
        input("text", "Text", &search.text, ""),
    )
}

/// One session as a timeline.
pub(super) fn session(one: &Value) -> String {
    let head = format!(
        "<p><b>{}</b> ({}, process {}) → <b>{}</b> {}:{}</p>",
        at(one, "/start/who/workload"),
        at(one, "/start/who/executable"),
        at(one, "/start/who/pid"),
        at(one, "/start/destination/target"),
        at(one, "/start/destination/address"),
        at(one, "/start/destination/port"),
    );
    let row = |step: &Value| {
        let what = ["/body/text", "/body/command", "/body/reason", "/body/cause", "/body/path"];
        let what = what.iter().map(|path| at(step, path)).find(|text| !text.is_empty()).unwrap_or_default();
        let verdict = at(step, "/body/decision/verdict");
        let policies: Vec<_> = all(step, "/body/decision/policies").iter().map(said).collect();
        let votes = all(step, "/approval").iter().filter(|record| record["kind"] == "approval.decided");
        let vote = |vote: &Value| {
            let said = if vote.pointer("/body/verdict") == Some(&Value::from("allow")) { "approved" } else { "denied" };
            format!("<br><small>{said} by {}: {}</small>", at(vote, "/body/person"), at(vote, "/body/reason"))
        };
        let votes: String = votes.map(vote).collect();
        let rows = [at(step, "/outcome/body/rows_returned"), at(step, "/outcome/body/rows_affected")].join(" / ");
        format!(
            "<tr><td>{}</td><td>{}</td><td><span class=\"state {verdict}\">{verdict}</span> <small>{}</small>{votes}</td>\
             <td><pre>{what}</pre>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            time(step, "/time"),
            at(step, "/kind"),
            policies.join(", "),
            results(step),
            at(step, "/outcome/body/status"),
            if rows == " / " { String::new() } else { rows },
            at(step, "/outcome/body/duration_us"),
        )
    };
    let rows = all(one, "/steps").iter().map(row).collect();
    head + &recordings(one)
        + &table(&["Time", "Kind", "Decision", "What", "Outcome", "Rows shown / changed", "µs"], rows)
}

/// The rows of a step that were kept.
fn results(step: &Value) -> String {
    let cells = |row: &Value, tag: &str| -> String {
        let cell = |value: &Value| match value {
            Value::Null => format!("<{tag}><i>NULL</i></{tag}>"),
            value => format!("<{tag}>{}</{tag}>", said(value)),
        };
        row.as_array().into_iter().flatten().map(cell).collect()
    };
    let result = |result: &Value| {
        let rows: String = all(result, "/rows").iter().map(|row| format!("<tr>{}</tr>", cells(row, "td"))).collect();
        let head = result.get("columns").map(|columns| cells(columns, "th")).unwrap_or_default();
        let more = result.get("more").and_then(Value::as_u64).filter(|more| *more > 0);
        let more = more.map(|more| format!("<small>… and {more} more</small>")).unwrap_or_default();
        format!("<details><summary>Rows</summary><table><tr>{head}</tr>{rows}</table>{more}</details>")
    };
    let body = |(name, path): (&str, &str)| {
        let body = at(step, path);
        if body.is_empty() { body } else { format!("<details><summary>{name}</summary><pre>{body}</pre></details>") }
    };
    let left_out = |path: &str| {
        let why = at(step, path);
        if why.is_empty() { why } else { format!("<small>{why}</small>") }
    };
    let bodies = [("Sent", "/outcome/body/request_body"), ("Got", "/outcome/body/answer_body")].map(body).concat();
    let left_out = ["/outcome/body/results_left_out", "/outcome/body/bodies_left_out"].map(left_out).concat();
    all(step, "/outcome/body/results").iter().map(result).collect::<String>() + &bodies + &left_out
}

/// Links to what terminals of the session showed.
fn recordings(one: &Value) -> String {
    let is_frames = |step: &&Value| matches!(step["kind"].as_str(), Some("ssh.frames" | "kubernetes.frames"));
    let mut requests: Vec<u64> = all(one, "/steps")
        .iter()
        .filter(is_frames)
        .filter_map(|step| step.pointer("/body/request")?.as_u64())
        .collect();
    requests.dedup();
    let id = at(one, "/session");
    let link = |request: &u64| {
        format!(
            "<a class=\"button\" href=\"/sessions/{id}/terminal?request={request}\">Play the terminal of request {request}</a> "
        )
    };
    let links: String = requests.iter().map(link).collect();
    if links.is_empty() { links } else { format!("<p>{links}</p>") }
}

/// A terminal that is played.
pub(super) fn terminal(session: &str, request: Option<u64>) -> String {
    let request = request.map_or_else(String::new, |request| format!("?request={request}"));
    let id = text(session);
    format!(
        "<p><a href=\"/sessions/{id}\">The whole session</a></p>\
         <div class=\"wide\" tabindex=\"0\"><div id=\"terminal\" data-recording=\"/api/v1/sessions/{id}/recording{request}\"></div></div>\
         <div class=\"player\"><button id=\"play\">Play</button>\
         <input id=\"at\" type=\"range\" min=\"0\" max=\"1\" step=\"any\" value=\"0\" aria-label=\"Position in seconds\"><output id=\"clock\"></output>\
         <label>Speed <select id=\"speed\"><option>0.5</option><option selected>1</option><option>2</option><option>4</option><option>8</option><option>16</option></select></label>\
         <label class=\"check\"><input id=\"skip\" type=\"checkbox\" checked> Skip pauses</label></div>\
         <form id=\"find\" class=\"player\" role=\"search\"><label>Find <input name=\"text\" autocomplete=\"off\"></label><button>Next</button></form>\
         <p id=\"said\" role=\"status\"></p><p><small>Keys: space plays, arrows go five seconds, + and - change the speed, / finds.</small></p>\
         <noscript><p class=\"warn\">Playing needs JavaScript: `gateway replay {id} --play` does without.</p></noscript>\
         <link rel=\"stylesheet\" href=\"/xterm.css\"><script type=\"module\" src=\"/player.js\"></script>"
    )
}

/// The policies in force.
pub(super) fn policies(all_files: &Value) -> String {
    let file = |file: &Value| format!("<h2>{}</h2><pre>{}</pre>", at(file, "/name"), at(file, "/text"));
    let files: String = all(all_files, "/files").iter().map(file).collect();
    let disabled: Vec<_> = all(all_files, "/disabled").iter().map(said).collect();
    let disabled = if disabled.is_empty() {
        String::new()
    } else {
        format!("<p class=\"warn\">Shipped policies that are off: {}</p>", disabled.join(", "))
    };
    disabled + &files
}

/// How everything stands.
pub(super) fn health(status: &Value) -> String {
    let mut out = String::new();
    if status.get("engine_runs") != Some(&Value::Bool(true)) {
        out += "<p class=\"warn\">No engine runs: protected connections are refused.</p>";
    }
    let row = |attachment: &Value| {
        let mode = if attachment.get("observe") == Some(&Value::Bool(true)) { "observe" } else { "enforce" };
        let gaps: Vec<_> = all(attachment, "/gaps")
            .iter()
            .map(|gap| format!("{}: {}", at(gap, "/name"), at(gap, "/detail")))
            .collect();
        format!(
            "<tr><td>{}</td><td>{mode}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            at(attachment, "/name"),
            at(attachment, "/cgroup"),
            at(attachment, "/processes"),
            gaps.join("<br>"),
            at(attachment, "/degraded"),
        )
    };
    let rows = all(status, "/attachments").iter().map(row).collect();
    out += &table(&["Attachment", "Mode", "Cgroup", "Processes", "Gaps", "Wrong"], rows);
    for gap in all(status, "/gaps") {
        let _ = write!(out, "<p class=\"warn\">{}: {}</p>", at(gap, "/name"), at(gap, "/detail"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "<script>alert(1)</script>\" onload='x'&\u{202e}\u{1b}[2J";

    #[test]
    fn what_a_runtime_wrote_is_text_on_every_page() {
        let one = serde_json::json!({
            "state": "waiting", "session": HOSTILE, "name": HOSTILE, "reason": HOSTILE, "started": HOSTILE, "cgroup": HOSTILE,
            "ticket": {
                "id": HOSTILE, "workload": HOSTILE, "destination": HOSTILE, "summary": HOSTILE, "opaque": [HOSTILE],
                "messages": [HOSTILE], "policies": [HOSTILE], "asks": [HOSTILE], "changes": [HOSTILE], "expires": HOSTILE,
                "needed": [{ "group": HOSTILE, "count": 1, "hours": [HOSTILE] }], "who": { "executable": HOSTILE },
                "filed": [{ "system": HOSTILE, "key": HOSTILE, "url": HOSTILE }],
            },
            "votes": [{ "person": HOSTILE, "vote": "approved", "reason": HOSTILE }],
            "so_far": [{ "time": HOSTILE, "kind": HOSTILE, "body": { "text": HOSTILE } }],
            "start": { "who": { "workload": HOSTILE, "executable": HOSTILE }, "destination": { "target": HOSTILE } },
            "steps": [{ "time": HOSTILE, "kind": HOSTILE, "body": { "command": HOSTILE, "decision": { "policies": [HOSTILE] } }, "approval": [{ "kind": "approval.decided", "body": { "person": HOSTILE, "reason": HOSTILE } }], "outcome": { "body": { "status": HOSTILE, "results": [{ "columns": [HOSTILE], "rows": [[HOSTILE, null]], "more": 1 }], "results_left_out": HOSTILE, "request_body": HOSTILE, "answer_body": HOSTILE, "bodies_left_out": HOSTILE } } }],
            "files": [{ "name": HOSTILE, "text": HOSTILE }], "disabled": [HOSTILE],
            "attachments": [{ "name": HOSTILE, "cgroup": HOSTILE, "gaps": [{ "name": HOSTILE, "detail": HOSTILE }] }],
            "gaps": [{ "name": HOSTILE, "detail": HOSTILE }],
        });
        let visits = super::super::visits::Visits::new().unwrap();
        let login = super::super::words::Login {
            login: 1,
            name: HOSTILE.into(),
            groups: Vec::new(),
            fresh_for: std::time::Duration::from_secs(600),
        };
        let cookie = visits.enter(login).unwrap();
        let super::super::visits::Known::Person(visit) = visits.find(Some(&cookie)) else { panic!("not known") };
        let list = serde_json::json!([one]);
        let pages = [
            approvals(&list),
            request(&one, &visit),
            windows(&list, &visit),
            sessions(
                &serde_json::json!({ "sessions": list }),
                &Search { workload: HOSTILE.into(), ..Search::default() },
            ),
            session(&one),
            terminal(HOSTILE, Some(1)),
            policies(&one),
            health(&one),
        ];
        for body in pages {
            let whole = page(HOSTILE, Some(&visit), true, &body);
            assert!(whole.contains("&lt;script&gt;"), "it is shown: {whole}");
            for bad in ["<script>", "\" onload", "\u{202e}", "\u{1b}", "onload='"] {
                assert!(!whole.contains(bad), "{bad:?} in {whole}");
            }
        }
    }
}
