//! The metrics, and how they are written.
//!
//! In: numbers with labels. Out: the text format of Prometheus (exposition formats, version 0.0.4), families in the order of
//! their table. Labels are bounded: names of the configuration and of what runs, kinds and words of ours; never what a
//! runtime chose.

use std::fmt::Write;

/// A family of metrics.
#[derive(Debug)]
pub struct Family {
    /// By the conventions of Prometheus: base units, `_total` for what only grows.
    pub name: &'static str,
    /// `gauge` or `counter`.
    pub kind: &'static str,
    /// What it is.
    pub help: &'static str,
    /// In this order.
    pub labels: &'static [&'static str],
}

macro_rules! families {
    ($($constant:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Family =
                Family { name: $name, kind: stringify!($kind), help: $help, labels: &[$($label),*] };
        )*
        /// All of them.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD = "gateway_build_info" gauge ["version"] "Always 1; which version runs.";
    ENGINE_UP = "gateway_engine_up" gauge [] "1 where an engine runs; without one protected connections are refused.";
    ATTACHMENT_UP = "gateway_attachment_up" gauge ["attachment"] "1 where its hooks were in force at the last look, 0 where something was wrong with them.";
    ATTACHMENT_CHECKED = "gateway_attachment_checked_seconds" gauge ["attachment"] "Seconds since its hooks were looked at.";
    ATTACHMENT_PROCESSES = "gateway_attachment_processes" gauge ["attachment"] "Processes in it.";
    ATTACHMENT_OBSERVES = "gateway_attachment_observes" gauge ["attachment"] "1 where it decides and records, and blocks nothing.";
    ATTACHMENT_KERNEL = "gateway_attachment_kernel_total" counter ["attachment", "reason"] "What its hooks did, by reason.";
    GAPS = "gateway_gaps" gauge ["attachment"] "Ways around that are accepted or were found; those of the host have no attachment.";
    SESSIONS = "gateway_sessions" gauge ["attachment", "protocol"] "Sessions that run.";
    DECISIONS = "gateway_decisions_total" counter ["kind", "verdict"] "Decisions, by what was decided: allow, deny, hold, would_deny, would_hold. Since the engine started.";
    EVENTS = "gateway_events_total" counter ["process", "kind"] "Lines of the journal, since the process that writes them started.";
    APPROVALS = "gateway_approvals_waiting" gauge [] "Requests that wait for a person.";
    WINDOWS = "gateway_windows_open" gauge [] "Windows that are open.";
    JOURNAL_FREE = "gateway_journal_free_bytes" gauge [] "What the disk of the journal has left.";
    COPY_LAG = "gateway_copy_lag_events" gauge ["to"] "Lines of the journal that are not copied or told yet: to `clickhouse`, or to a webhook or feed by its name.";
    COPY_LAG_SECONDS = "gateway_copy_lag_seconds" gauge ["to"] "Seconds since the oldest of them was written.";
    CONFIG_IN_FORCE = "gateway_config_in_force_timestamp_seconds" gauge [] "When the configuration was put in force.";
    CONFIG_REFUSED = "gateway_config_refused" gauge [] "1 where a later one was refused, and changed nothing.";
    PROCESS_RESIDENT = "gateway_process_resident_bytes" gauge ["process"] "Memory of the gateway's processes.";
    PROCESS_CPU = "gateway_process_cpu_seconds_total" counter ["process"] "Processor time of the gateway's processes.";
    PROCESS_FDS = "gateway_process_open_fds" gauge ["process"] "Descriptors of the gateway's processes.";
}

/// Numbers of one moment.
#[derive(Debug, Default)]
pub struct Samples(Vec<(&'static str, String)>);

impl Samples {
    /// Adds one; `labels` are the values of the family's, in its order.
    pub fn add(&mut self, family: &Family, labels: &[&str], value: f64) {
        debug_assert_eq!(family.labels.len(), labels.len(), "{}", family.name);
        let pairs: Vec<_> =
            family.labels.iter().zip(labels).map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        self.0.push((family.name, format!("{}{labels} {value}", family.name)));
    }

    /// All of them, as they are served.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        for family in ALL {
            let mut lines = self.0.iter().filter(|(name, _)| *name == family.name).peekable();
            if lines.peek().is_none() {
                continue;
            }
            // Writing to a string does not fail.
            let _ = writeln!(page, "# HELP {} {}\n# TYPE {} {}", family.name, family.help, family.name, family.kind);
            for (_, line) in lines {
                let _ = writeln!(page, "{line}");
            }
        }
        page
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_by_the_conventions() {
        let mut names: Vec<_> = ALL.iter().map(|family| family.name).collect();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for family in ALL {
            let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(family.name.starts_with("gateway_") && family.name.chars().all(is_word), "{}", family.name);
            assert_eq!(family.kind == "counter", family.name.ends_with("_total"), "{}", family.name);
            assert!(!family.help.contains('\n'));
        }
    }

    #[test]
    fn each_family_is_told_once_with_all_of_its_samples() {
        let mut samples = Samples::default();
        samples.add(&GAPS, &[""], 1.0);
        samples.add(&ENGINE_UP, &[], 1.0);
        samples.add(&GAPS, &["a\"\\\nb"], 2.5);
        let gaps = "# TYPE gateway_gaps gauge\ngateway_gaps{attachment=\"\"} 1\ngateway_gaps{attachment=\"a\\\"\\\\\\nb\"} 2.5\n";
        let page = samples.page();
        assert!(page.starts_with("# HELP gateway_engine_up ") && page.ends_with(gaps), "{page}");
        assert_eq!(page.matches("# HELP gateway_gaps").count(), 1);
    }

    #[test]
    fn the_documentation_and_the_dashboard_know_these_families_and_no_others() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = std::fs::read_to_string(folder.join("docs/metrics.md")).unwrap();
        for family in ALL {
            let row =
                format!("| `{}` | {} | {} | {} |", family.name, family.kind, family.labels.join(", "), family.help);
            assert!(page.contains(&row), "docs/metrics.md lacks\n{row}");
        }
        let dashboard = std::fs::read_to_string(folder.join("packaging/dashboard.json")).unwrap();
        let _: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
        let words = |text: &str| -> Vec<String> {
            let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            words.filter(|word| word.starts_with("gateway_")).map(str::to_owned).collect()
        };
        let used: Vec<_> = words(&dashboard).into_iter().chain(words(&page)).collect();
        for name in &used {
            assert!(ALL.iter().any(|family| family.name == name), "there is no `{name}`");
        }
        assert!(words(&dashboard).len() > 10);
    }
}
