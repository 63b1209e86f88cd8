//! All keys of the configuration, with what each means and what holds without it: for `gateway config reference`, the
//! man page, and `gateway config show`.
//!
//! In: this table, and what the readers beside it ask for. Out: Markdown, roff, and a file's settings with the line that
//! each comes from. What a key takes is not written here: the code that reads it says so.

mod page;
mod shown;

pub use page::{manual, markdown};
pub use shown::{Setting, Table, settings};

/// A table of the file.
struct Section {
    /// As headers have it, without brackets.
    place: &'static str,
    /// There may be many of it.
    is_list: bool,
    words: &'static str,
    /// What holds where it is not there, unless that is the sum of its keys.
    without: Option<&'static str>,
    keys: &'static [Key],
}

/// A key.
struct Key {
    name: &'static str,
    unless: Unless,
    words: &'static str,
    /// The protocols of the targets that it is for; empty: all.
    protocols: &'static [&'static str],
    /// Its value is shown as far as the host.
    is_private: bool,
}

/// What holds without it.
enum Unless {
    /// It has to be there, as for example here.
    Must(&'static str),
    /// This, in TOML.
    Is(&'static str),
    /// What these words say.
    Else(&'static str),
}

const POSTGRES: &[&str] = &["postgres"];
const SSH: &[&str] = &["ssh"];
const KUBERNETES: &[&str] = &["kubernetes"];
const WITH_TLS: &[&str] = &["postgres", "kubernetes"];
const WITH_LOGIN: &[&str] = &["postgres", "ssh"];

impl Key {
    const fn new(name: &'static str, unless: Unless, words: &'static str) -> Self {
        Self { name, unless, words, protocols: &[], is_private: false }
    }

    const fn must(name: &'static str, example: &'static str, words: &'static str) -> Self {
        Self::new(name, Unless::Must(example), words)
    }

    const fn is(name: &'static str, default: &'static str, words: &'static str) -> Self {
        Self::new(name, Unless::Is(default), words)
    }

    const fn or(name: &'static str, otherwise: &'static str, words: &'static str) -> Self {
        Self::new(name, Unless::Else(otherwise), words)
    }

    const fn of(self, protocols: &'static [&'static str]) -> Self {
        Self { protocols, ..self }
    }

    const fn private(self) -> Self {
        Self { is_private: true, ..self }
    }
}

const SECTIONS: &[Section] = &[
    Section {
        place: "",
        is_list: false,
        words: "Before any table.",
        without: None,
        keys: &[
            Key::must("version", "1", "Which reading of the file is meant."),
            Key::is("state_dir", "\"/var/lib/gateway\"", "Journal, keys and the host's id. A change counts from the next start."),
            Key::is("accept_gaps", "[]", "Names of gaps that the operator lives with: `attach` refuses those that are not accepted."),
        ],
    },
    Section {
        place: "policy",
        is_list: false,
        words: "What decides.",
        without: None,
        keys: &[
            Key::or("dir", "the shipped policies `guard` and `open`", "A folder of `*.cedar` files, looked at each second."),
            Key::is("disable", "[]", "Ids of shipped forbids that are off."),
        ],
    },
    Section {
        place: "masking",
        is_list: false,
        words: "What runtimes do not see.",
        without: None,
        keys: &[Key::or("file", "the shipped detectors, and no labels", "The masking file, looked at each second.")],
    },
    Section {
        place: "audit.journal",
        is_list: false,
        words: "The record on this host.",
        without: None,
        keys: &[
            Key::is("durability", "\"process\"", "What a line is before its request goes on: written (`process`: survives the gateway's death), or on disk (`disk`: survives power loss). A change counts from the next start."),
            Key::is("segment_bytes", "67108864", "A segment that is longer is followed by another one; the whole one is compressed."),
            Key::is("low_bytes", "0", "With less than this left on the disk no session begins; 0: never."),
            Key::is("critical_bytes", "0", "With less than this those that run end; at most `low_bytes`."),
            Key::or("max_bytes", "never", "With more than this on the disk the oldest segments are removed."),
            Key::or("max_age_days", "never", "Segments that ended longer ago are removed."),
        ],
    },
    Section {
        place: "audit.syslog",
        is_list: false,
        words: "Where seals are told.",
        without: Some("nowhere: who removes the end of the journal and its seals is noticed by a copy alone"),
        keys: &[
            Key::must("address", "\"10.0.0.9:514\"", "The server; names are not resolved."),
            Key::is("transport", "\"udp\"", "Datagrams (RFC 5426), or counted octets over TCP (RFC 6587)."),
        ],
    },
    Section {
        place: "audit.clickhouse",
        is_list: false,
        words: "Where the journal is copied to.",
        without: Some("no copy: the record is on this host alone"),
        keys: &[
            Key::must("url", "\"https://10.0.0.9:8443\"", "Its HTTP interface; names are not resolved. `http://` on loopback alone."),
            Key::must("user", "\"gateway\"", "The login that adds rows."),
            Key::or("password", "none", "Its password."),
            Key::is("database", "\"gateway\"", "The database."),
            Key::is("batch", "10000", "Lines of the journal in one insert, at most."),
        ],
    },
    Section {
        place: "audit.clickhouse.tls",
        is_list: false,
        words: "How it proves to be itself: always by chain and name.",
        without: None,
        keys: &[
            Key::or("ca", "those of the system", "PEM file of the authorities."),
            Key::or("name", "the address", "The name in its certificate."),
        ],
    },
    Section {
        place: "audit.clickhouse.cluster",
        is_list: false,
        words: "Several servers that keep it together; `gateway audit migrate` makes replicated tables then, at each of them.",
        without: Some("one server keeps all of it"),
        keys: &[
            Key::must("name", "\"audit\"", "Its name in the servers' `remote_servers`."),
            Key::is(
                "keeper_path",
                "\"/clickhouse/tables/{shard}\"",
                "Where its tables are in ZooKeeper or ClickHouse Keeper; `{shard}` is the servers' macro.",
            ),
        ],
    },
    Section {
        place: "audit.webhook",
        is_list: true,
        words: "Who is told of events as they happen.",
        without: Some("nobody"),
        keys: &[
            Key::must("name", "\"siem\"", "For people, and for its checkpoint."),
            Key::must("url", "\"https://siem.example.com/gateway\"", "Where requests go.").private(),
            Key::is("format", "\"json\"", "The events as they are, as events of OCSF, as logs of OpenTelemetry (OTLP/HTTP, JSON), or as a chat's text."),
            Key::is("kinds", "[]", "Kinds of events; one that ends with `.` stands for all that begin so. Empty: all."),
            Key::is("verdicts", "[]", "Of events with a decision those alone: `allow`, `deny`, `hold`, `would_deny`, `would_hold`. Empty: all."),
            Key::or("secret", "not signed", "What requests are signed with (HMAC-SHA-256)."),
            Key::or("authorization", "none", "The value of their `Authorization`."),
            Key::or("ca", "those of the system", "PEM file of the authorities of its server."),
            Key::is("buttons", "false", "With `format = \"slack\"` and `[console.slack]`: what waits is decided in the chat."),
        ],
    },
    Section {
        place: "audit.feed",
        is_list: true,
        words: "A syslog server that is told of events as they happen.",
        without: Some("none"),
        keys: &[
            Key::must("name", "\"collector\"", "For people, and for its checkpoint; none of a webhook's."),
            Key::must("server", "\"siem.example.com\"", "Its name or address, and its port: by default 6514, or 514 without TLS."),
            Key::is("transport", "\"tls\"", "Syslog over TLS (RFC 5425), or over TCP with counted octets: that on loopback alone."),
            Key::is("format", "\"ocsf\"", "Events of OCSF, or the events as they are, in JSON."),
            Key::is("kinds", "[]", "Kinds of events; one that ends with `.` stands for all that begin so. Empty: all."),
            Key::is("verdicts", "[]", "Of events with a decision those alone: `allow`, `deny`, `hold`, `would_deny`, `would_hold`. Empty: all."),
            Key::is("max_bytes", "8192", "The longest message that it takes: of longer ones, texts and lists are cut."),
            Key::or("ca", "those of the system", "PEM file of the authorities of its server."),
        ],
    },
    Section {
        place: "approval",
        is_list: false,
        words: "How requests wait for people.",
        without: None,
        keys: &[
            Key::is("timeout", "\"15m\"", "After which a held request is denied."),
            Key::or("on_hold", "an interactive psql waits, everybody else is told to come back", "Whether a client waits, or is denied at once and may send the same request again, once it is approved."),
            Key::is("host", "{}", "OS users of this host, by name or number, and the groups that they vote for: `{ alice = [\"local:dba\"] }`. Root votes for all, unless it is listed."),
        ],
    },
    Section {
        place: "approval.tickets",
        is_list: true,
        words: "A system in which what waits for people is a ticket: docs/approvals.md.",
        without: Some("none"),
        keys: &[
            Key::must("name", "\"ops\"", "For people, and for its checkpoint; none of a webhook's or feed's."),
            Key::must("system", "\"jira\"", "Whose words it understands."),
            Key::must("url", "\"https://example.atlassian.net\"", "Where it is; a path is put before those of its API."),
            Key::must("authorization", "{ file = \"/etc/gateway/secrets/jira\" }", "The value of `Authorization`."),
            Key::or("project", "required by Jira", "The key of the project."),
            Key::or("issue_type", "`Task`", "Jira's: the name of the issue type."),
            Key::or("table", "`incident`", "ServiceNow's: the name of the table."),
            Key::or("template", "the gateway's own", "A file with the fields of a ticket, as JSON."),
            Key::or("ca", "those of the system", "PEM file of the authorities of its server."),
        ],
    },
    Section {
        place: "window",
        is_list: true,
        words: "What `gateway request` may open for a time: policies and credentials ask for it by name.",
        without: Some("none can be asked for"),
        keys: &[
            Key::must("name", "\"incident\"", "As policies and credentials name it."),
            Key::must("approval", "\"local:dba\"", "The group that has to approve it."),
            Key::is("approvers", "1", "How many of its members."),
            Key::is("targets", "[]", "The targets that it can be opened to; empty: all."),
            Key::is("within", "[]", "The attachments that it can be opened for; empty: all."),
            Key::is("longest", "\"1h\"", "The longest time that it can be open."),
            Key::is("break_glass", "[]", "Groups whose members may open it alone, at once, loudly."),
        ],
    },
    Section {
        place: "exec",
        is_list: false,
        words: "`gateway exec` without root.",
        without: None,
        keys: &[Key::is("users", "[]", "Who may run commands by it.")],
    },
    Section {
        place: "identity.oidc",
        is_list: false,
        words: "Who vouches for runtimes, and for people.",
        without: Some("nobody: who speaks is the cgroup alone"),
        keys: &[
            Key::must("issuer", "\"https://id.example.com\"", "Exactly as `iss` says it."),
            Key::must("audience", "\"gateway\"", "One of `aud` must be this."),
            Key::or("jwks_uri", "the issuer is asked", "Where its keys are."),
            Key::is("also", "[]", "Hosts, with or without a port, that it may name for its endpoints beside its own."),
            Key::or("prefix", "the issuer's host", "What stands before its groups in policies: `PREFIX:NAME`."),
            Key::is("groups_claim", "\"groups\"", "The claim that lists groups."),
            Key::is("claims", "[]", "Claims that policies see besides."),
            Key::is("require", "{}", "Claims that must have one of these values: `{ tid = [\"7b1e\"] }`."),
            Key::is("algorithms", "[\"RS256\", \"PS256\", \"ES256\", \"EdDSA\"]", "How tokens may be signed."),
            Key::or("max_age", "as long as it says", "A token counts for so long after it was verified at most."),
            Key::is("leeway", "\"30s\"", "How far clocks may differ; at most five minutes."),
            Key::or("ca", "those of the system", "PEM file of the authorities of its server."),
        ],
    },
    Section {
        place: "console",
        is_list: false,
        words: "The page and the API for people.",
        without: Some("there is none"),
        keys: &[
            Key::must("listen", "\"127.0.0.1:7443\"", "A loopback address: what stands before it brings people here."),
            Key::must("public_url", "\"https://gateway.example.com\"", "What browsers call it; it has no path of its own."),
            Key::must("client_id", "\"gateway-console\"", "As which client it is known to the issuer."),
            Key::must("client_secret", "{ file = \"/etc/gateway/secrets/console\" }", "The secret of that client."),
            Key::or("cli_client_id", "nobody logs in from a command line", "The client of `gateway login`: one without a secret."),
            Key::is("device_code", "false", "People may log in by a code that they type at the issuer, from another host."),
            Key::is("viewers", "[]", "Groups whose members see sessions, policies and health."),
            Key::is("admins", "[]", "Groups whose members see all that waits, too."),
        ],
    },
    Section {
        place: "console.slack",
        is_list: false,
        words: "An app of Slack whose buttons are taken for people's words: docs/approvals.md.",
        without: Some("nobody decides in a chat"),
        keys: &[
            Key::must("signing_secret", "{ file = \"/etc/gateway/secrets/slack\" }", "The app's signing secret."),
            Key::must("team", "\"T0123ABCD\"", "The id of the workspace: users of others are nobody."),
            Key::is("replies", "\"https://hooks.slack.com\"", "The server that takes what people read of their decisions."),
            Key::or("ca", "those of the system", "PEM file of the authorities of that server."),
        ],
    },
    Section {
        place: "console.slack.person",
        is_list: true,
        words: "Who a user of that workspace is.",
        without: Some("nobody"),
        keys: &[
            Key::must("user", "\"U0123ABCD\"", "The id of the user."),
            Key::must("subject", "\"alice\"", "Who that is at the issuer, so that one person has one vote."),
            Key::is("groups", "[]", "The groups that they vote for: `[\"idp:dba\"]`."),
        ],
    },
    Section {
        place: "metrics",
        is_list: false,
        words: "Numbers for Prometheus, health and readiness: docs/metrics.md.",
        without: Some("nowhere"),
        keys: &[Key::must(
            "listen",
            "\"127.0.0.1:9464\"",
            "The address of `/metrics`, `/healthz` and `/readyz`, in clear and for everybody who reaches it.",
        )],
    },
    Section {
        place: "egress",
        is_list: false,
        words: "What leaves besides protected connections.",
        without: None,
        keys: &[
            Key::is("default", "\"allow\"", "What becomes of destinations that nothing names."),
            Key::is("allow", "[]", "Networks and names that pass, with a port or `*`: `10.0.0.0/8:443`, `*.example.com:443`."),
            Key::is("passthrough", "[]", "Addresses and protected ports that are reached unread: a gap."),
            Key::is("unix", "[]", "Unix sockets of programs outside that may be connected to: a path, a folder that ends with `/`, or `@NAME`."),
        ],
    },
    Section {
        place: "undeclared.postgres",
        is_list: false,
        words: "Postgres servers that no target names.",
        without: None,
        keys: &[Key::is("login", "\"relay\"", "The client's own login goes through; or its password is asked for over the gateway's TLS and used once; or nobody gets there.")],
    },
    Section {
        place: "attach",
        is_list: true,
        words: "Who is intercepted from the start on.",
        without: Some("who is attached by `gateway attach` and `gateway exec`"),
        keys: &[
            Key::must("name", "\"agents\"", "In events, policies and commands."),
            Key::must("cgroup", "\"/agents.slice\"", "The subtree, below the cgroup2 mount or in full; it is made where it is not there."),
            Key::is("groups", "[]", "Groups of its workloads, `local:NAME`."),
            Key::is("observe", "false", "Decide and record, but block nothing."),
            Key::or("token_file", "the cgroup alone says it", "The file of the token that says who its workloads are."),
        ],
    },
    Section {
        place: "target",
        is_list: true,
        words: "A server that is declared.",
        without: Some("none: Postgres as [undeclared] says, all else is refused"),
        keys: &[
            Key::must("name", "\"shop\"", "In events, policies and messages."),
            Key::must("protocol", "\"postgres\"", "What is spoken there."),
            Key::must("addresses", "[\"10.0.0.5\"]", "Its addresses, networks and names."),
            Key::or("ports", "5432, of SSH 22, of Kubernetes 6443", "Its ports."),
            Key::or("environment", "none", "A parent in policies: production, staging, scratch."),
            Key::is("within", "[]", "The attachments that it is declared for; empty: all."),
            Key::is("masking", "\"rows\"", "Who masks its labelled columns: the gateway, in results, or the server, by rewritten queries.").of(POSTGRES),
        ],
    },
    Section {
        place: "target.tls",
        is_list: false,
        words: "How the server is verified. Of Postgres and Kubernetes.",
        without: None,
        keys: &[
            Key::is("mode", "\"verify-full\"", "libpq's sslmode, without the modes that fall back.").of(WITH_TLS),
            Key::or("ca", "those of the system", "PEM file of the authorities.").of(WITH_TLS),
            Key::or("name", "the address", "The name to verify.").of(WITH_TLS),
            Key::or("certificate", "none", "PEM file of the gateway's client certificate.").of(WITH_TLS),
            Key::or("key", "none", "PEM file of its key.").of(WITH_TLS),
        ],
    },
    Section {
        place: "target.ssh",
        is_list: false,
        words: "The same of an SSH server, and which shell its clients get.",
        without: None,
        keys: &[
            Key::is("host_keys", "[]", "Its public keys, `ssh-ed25519 AAAA…`.").of(SSH),
            Key::is("authorities", "[]", "Authorities that sign its host certificate, likewise.").of(SSH),
            Key::or("known_hosts", "none", "A file in the format of ssh_known_hosts, in which its names and addresses are looked for.").of(SSH),
            Key::is("shell", "\"server\"", "What clients get that ask for a shell: the server's, or the gateway's, which runs each line as a command that is judged.").of(SSH),
        ],
    },
    Section {
        place: "target.credential",
        is_list: false,
        words: "With which the gateway logs in.",
        without: Some("the client's own login or token"),
        keys: &[
            Key::or("user", "has to be there; of Kubernetes `gateway`", "The role or user that is logged in as."),
            Key::or("for_users", "`user` alone", "The names that clients may ask for.").of(WITH_LOGIN),
            Key::or("password", "another proof", "The password.").of(WITH_LOGIN),
            Key::or("key", "another proof", "A private key.").of(SSH),
            Key::is("certificate", "false", "Each login gets a certificate for minutes, signed by the authority of this host.").of(SSH),
            Key::or("token", "the client certificate of [target.tls]", "The bearer token; its file is read again when it changes.").of(KUBERNETES),
            Key::is("impersonate", "false", "The API is told the workload's own name and groups.").of(KUBERNETES),
            Key::is("allow_unverified", "false", "Send it to a server that is not verified: a gap.").of(WITH_LOGIN),
            Key::or("window", "always", "It is supplied only while this window is open for the workload."),
        ],
    },
];

/// A file with each table, and of its keys those alone that have to be there.
const SAMPLE: &str = r#"version = 1
[policy]
[masking]
[audit.journal]
[audit.syslog]
address = "10.0.0.9:514"
[audit.clickhouse]
url = "https://10.0.0.9:8443"
user = "gateway"
[audit.clickhouse.tls]
[audit.clickhouse.cluster]
name = "audit"
[[audit.webhook]]
name = "siem"
url = "https://siem.example.com/gateway"
[[audit.feed]]
name = "collector"
server = "siem.example.com"
[approval]
[[approval.tickets]]
name = "ops"
system = "jira"
url = "https://example.atlassian.net"
authorization = { file = "/etc/gateway/secrets/jira" }
project = "OPS"
[[window]]
name = "incident"
approval = "local:dba"
[exec]
[identity.oidc]
issuer = "https://id.example.com"
audience = "gateway"
[console]
listen = "127.0.0.1:7443"
public_url = "https://gateway.example.com"
client_id = "gateway-console"
client_secret = { file = "/etc/gateway/secrets/console" }
[console.slack]
signing_secret = { file = "/etc/gateway/secrets/slack" }
team = "T0123ABCD"
[[console.slack.person]]
user = "U0123ABCD"
subject = "alice"
[metrics]
listen = "127.0.0.1:9464"
[egress]
[undeclared.postgres]
[[attach]]
name = "agents"
cgroup = "/agents.slice"
[[target]]
name = "shop"
protocol = "postgres"
addresses = ["10.0.0.5"]
[target.tls]
[target.credential]
user = "agent"
password = { file = "/etc/gateway/secrets/agent" }
[[target]]
name = "bastion"
protocol = "ssh"
addresses = ["10.0.0.6"]
[target.ssh]
known_hosts = "/etc/gateway/known_hosts"
[target.credential]
user = "deploy"
key = { file = "/etc/gateway/secrets/deploy" }
[[target]]
name = "cluster"
protocol = "kubernetes"
addresses = ["10.0.0.7"]
[target.tls]
[target.credential]
token = { file = "/etc/gateway/secrets/token" }
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;

    #[test]
    fn has_every_key_that_is_read_and_no_other() {
        let written: BTreeSet<_> = SECTIONS
            .iter()
            .flat_map(|section| section.keys.iter().map(|key| (section.place.to_owned(), key.name)))
            .collect();
        let read: BTreeSet<_> = page::asked().into_keys().collect();
        assert_eq!(written, read);
    }

    #[test]
    fn what_holds_without_a_key_is_what_it_says() {
        let meant = Config::parse("sample", SAMPLE).unwrap();
        for section in SECTIONS {
            for key in section.keys {
                let Unless::Is(default) = key.unless else { continue };
                let line = format!("{} = {default}\n", key.name);
                let header = match (section.place, section.is_list) {
                    ("", _) => "version = 1\n".to_owned(),
                    (place, true) => format!("[[{place}]]\n"),
                    (place, false) => format!("[{place}]\n"),
                };
                // Where there are many, those of another protocol may not have it.
                let places = SAMPLE.match_indices(&header).map(|(at, _)| at + header.len());
                let with = places.map(|at| format!("{}{line}{}", &SAMPLE[..at], &SAMPLE[at..]));
                let right = with.filter_map(|text| Config::parse("sample", &text).ok()).collect::<Vec<_>>();
                assert!(!right.is_empty(), "{header}{line}");
                assert!(right.iter().all(|config| *config == meant), "{header}{line}");
            }
        }
    }
}
