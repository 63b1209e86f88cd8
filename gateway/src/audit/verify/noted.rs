//! Are the seals here those that were noted elsewhere?
//!
//! In: the seals of this host, and a file that was kept elsewhere: the messages of a syslog server, a copy of `seals.jsonl`, or
//! what a webhook was told. Out: breaches, where a seal that was noted is another one here or is gone. So whoever takes the host
//! over later, with its keys, neither cuts its end nor makes all of it anew. Lines that hold no seal of this host say nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use serde::Deserialize;
use serde_json::Value;

use super::report::{Problem, Report};
use crate::audit::event::JournalSealed;
use crate::audit::hex;
use crate::audit::journal::{Found, Hash, Layout, LineReader, hash_of, named_seal, open_regular};
use crate::id::HostId;

const START: &[u8] = b"{\"v\":";

/// Holds the seals here against `noted`; `host` says whose seals count.
///
/// # Errors
/// Where `noted` cannot be read.
pub fn check_noted(layout: &Layout, noted: File, host: HostId, report: &mut Report) -> io::Result<()> {
    let mut wanted = read(noted, host)?;
    report.noted = Some(wanted.len() as u64);
    let path = layout.seals();
    let mut lines = match open_regular(&path).and_then(|file| LineReader::new(file, 0)) {
        Ok(lines) => Some(lines),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut count = 0;
    while let Some(Found::Line(_)) = lines.as_mut().map(LineReader::next).transpose()? {
        count += 1;
        let hash = hash_of(lines.as_ref().map_or(&[], LineReader::line));
        if wanted.remove(&count).is_some_and(|noted| noted.iter().any(|noted| *noted != hash)) {
            report.breach(&path, Some(count), Problem::NotedOtherwise { seal: count });
            return Ok(());
        }
    }
    if let Some(seal) = wanted.keys().next() {
        report.breach(&path, Some(count + 1), Problem::NotedAndGone { seal: *seal });
    }
    Ok(())
}

/// The hashes of the seals that a file holds, by number.
fn read(noted: File, host: HostId) -> io::Result<BTreeMap<u64, Vec<Hash>>> {
    let mut lines = LineReader::new(noted, 0)?;
    let mut wanted: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
    loop {
        match lines.next()? {
            Found::Line(_) => {}
            Found::End => return Ok(wanted),
            Found::Torn(_) => return Err(io::Error::other("its last line does not end")),
            Found::TooLong => return Err(io::Error::other("a line of it has no end")),
        }
        let line = lines.line();
        let start = line.windows(START.len()).position(|text| text == START);
        let end = line.iter().rposition(|byte| *byte == b'}');
        let seal = start.zip(end).and_then(|(start, end)| line.get(start..=end));
        let mut note = |number, hash| wanted.entry(number).or_default().push(hash);
        if let Some((seal, number)) = seal.and_then(|seal| Some((seal, named_seal(seal, host)?))) {
            note(number, hash_of(seal));
        } else if let Ok(value) = serde_json::from_slice(line) {
            find(&value, host, &mut note);
        }
    }
}

/// Finds `journal.sealed` events of this host, as webhooks have them, in whatever is around them. What other events hold is
/// their clients' words, and is not looked into. serde_json reads no value that is deeper than 128.
fn find(value: &Value, host: HostId, note: &mut impl FnMut(u64, Hash)) {
    let of_json = value.get("kind").zip(value.get("body"));
    if let Some((kind, body)) = of_json.or_else(|| value.pointer("/metadata/log_name").zip(value.get("unmapped"))) {
        let sealed = (kind == "journal.sealed").then(|| JournalSealed::deserialize(body).ok()).flatten();
        if let Some(sealed) = sealed.filter(|sealed| sealed.host == host)
            && let Some(hash) = hex::decode(sealed.hash.as_bytes())
        {
            note(sealed.seal, hash);
        }
        return;
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|value| find(value, host, note)),
        Value::Array(values) => values.iter().for_each(|value| find(value, host, note)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::super::verify;
    use super::*;
    use crate::audit::Seq;
    use crate::audit::journal::Sealed;
    use crate::audit::journal::testing::{Site, fill};
    use crate::id::JournalId;

    /// Three seals of a journal, and what a syslog server has of the last two.
    fn told() -> (Site, String) {
        let site = Site::new();
        let journal = site.filled(10);
        let mut sealer = site.sealer();
        let mut messages = "<13>1 - - - - - - {\"v\":1,\"n\":1}\nkernel: {\"v\": x\n".to_owned();
        for last in [20, 30, 40] {
            sealer.follow().unwrap();
            let seal = sealer.seal().unwrap().remove(0);
            assert_eq!(fs::read_to_string(site.layout.seals()).unwrap().lines().last(), Some(seal.line.as_str()));
            if seal.seal > 1 {
                messages += &format!("<110>1 2026-11-22T00:00:00.000000Z db-7 gateway 7 seal - {}\r\n", seal.line);
            }
            fill(&journal, last - 9..=last);
        }
        (site, messages)
    }

    fn check(site: &Site, messages: &str) -> Report {
        let mut report = verify(&site.layout, None).unwrap();
        let file = site.folder.path().join("messages");
        fs::write(&file, messages).unwrap();
        check_noted(&site.layout, File::open(file).unwrap(), site.host, &mut report).unwrap();
        report
    }

    #[test]
    fn seals_that_are_as_they_were_noted_are_sound() {
        let (site, messages) = told();
        let report = check(&site, &messages);
        assert!(report.is_sound() && report.noted == Some(2), "{report}");
        let again = messages.clone() + &messages;
        assert!(check(&site, &again).is_sound());
        let of_others = messages.replace(&site.host.to_string(), &HostId::generate().to_string());
        let report = check(&site, &of_others);
        assert!(report.is_sound() && report.noted == Some(0), "{report}");
    }

    #[test]
    fn seals_that_a_webhook_was_told_are_held_against_those_here() {
        let (site, messages) = told();
        let lines = fs::read_to_string(site.layout.seals()).unwrap();
        let [first, second] = [1_u64, 2].map(|seal| {
            let line = lines.lines().nth(usize::try_from(seal).unwrap() - 1).unwrap().to_owned();
            Sealed { host: site.host, seal, journal: JournalId::generate(), seq: Seq(9), line }.note()
        });
        let post = |notes: &[&JournalSealed]| {
            let events: Vec<_> = notes.iter().map(|note| json!({ "kind": "journal.sealed", "body": note })).collect();
            json!({ "path": "/siem", "body": { "version": 1, "events": events } }).to_string() + "\n"
        };
        let report = check(&site, &(post(&[&first, &second]) + &messages));
        assert!(report.is_sound() && report.noted == Some(3), "{report}");
        let in_ocsf = json!([{ "metadata": { "log_name": "journal.sealed" }, "unmapped": first }]).to_string() + "\n";
        assert_eq!(check(&site, &in_ocsf).noted, Some(1));
        let words = json!({ "kind": "kubernetes.request", "body": { "kind": "journal.sealed", "body": first } });
        assert_eq!(check(&site, &(words.to_string() + "\n")).noted, Some(0), "what a client sent");
        let of_others = JournalSealed { host: HostId::generate(), hash: "00".repeat(32), ..second.clone() };
        assert_eq!(check(&site, &post(&[&of_others, &first])).noted, Some(1));
        let other = JournalSealed { hash: "00".repeat(32), ..second.clone() };
        let report = check(&site, &post(&[&first, &other]));
        assert!(report.breaches.iter().any(|found| found.problem == Problem::NotedOtherwise { seal: 2 }), "{report}");
        let gone = JournalSealed { seal: 9, ..second };
        let report = check(&site, &post(&[&gone]));
        assert!(report.breaches.iter().any(|found| found.problem == Problem::NotedAndGone { seal: 9 }), "{report}");
    }

    /// With all files and keys of the host, so that nothing here tells.
    #[test]
    fn a_record_that_was_cut_or_made_anew_by_who_has_all_keys_is_told_by_what_was_noted() {
        let (site, messages) = told();
        for path in [site.layout.seals(), site.layout.key(), site.layout.first_key()] {
            fs::remove_file(path).unwrap();
        }
        let gone = |report: &Report, line, problem| {
            let found = report.breaches.iter().find(|finding| finding.problem == problem);
            assert_eq!(found.and_then(|finding| finding.line), line, "{report}");
        };
        let report = check(&site, &messages);
        gone(&report, Some(1), Problem::NotedAndGone { seal: 2 });
        let mut forger = site.sealer();
        forger.follow().unwrap();
        forger.seal().unwrap();
        assert!(verify(&site.layout, None).unwrap().is_sound());
        gone(&check(&site, &messages), Some(2), Problem::NotedAndGone { seal: 2 });
        let next = site.filled(3);
        for last in 4..6 {
            forger.follow().unwrap();
            forger.seal().unwrap();
            fill(&next, last..=last);
        }
        assert!(verify(&site.layout, None).unwrap().is_sound());
        gone(&check(&site, &messages), Some(2), Problem::NotedOtherwise { seal: 2 });
    }

    #[test]
    fn a_file_that_cannot_be_read_to_its_end_is_not_taken_for_good() {
        let (site, messages) = told();
        let file = site.folder.path().join("messages");
        for end in [messages.len() - 1, 20] {
            fs::write(&file, &messages[..end]).unwrap();
            let checked = check_noted(&site.layout, File::open(&file).unwrap(), site.host, &mut Report::default());
            assert!(checked.is_err());
        }
    }
}
