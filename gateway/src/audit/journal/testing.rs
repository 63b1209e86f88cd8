//! A state directory for the tests of journal, guard and verify.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Durability, Journal, Layout, Opening, Sealer};
use crate::audit::event::{Destination, Event, Gap, Mode, Role, SessionStart, Who};
use crate::id::{HostId, JournalId};

pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) layout: Layout,
    pub(crate) host: HostId,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        Self { folder, layout, host: HostId::generate() }
    }

    pub(crate) fn opening(&self, previous: Option<JournalId>) -> Opening {
        Opening {
            journal: JournalId::generate(),
            host: self.host,
            host_name: "db-7".into(),
            role: Role::Engine,
            product: "0.1.0".into(),
            previous,
        }
    }

    pub(crate) fn journal(&self, previous: Option<JournalId>, durability: Durability) -> Arc<Journal> {
        let opening = self.opening(previous);
        let file = self.layout.create_journal(opening.journal).unwrap();
        Arc::new(Journal::open(file, opening, durability).unwrap())
    }

    /// A journal of `lines` lines, with durability `process`.
    pub(crate) fn filled(&self, lines: u64) -> Arc<Journal> {
        let journal = self.journal(None, Durability::Process);
        fill(&journal, 2..=lines);
        journal
    }

    pub(crate) fn sealer(&self) -> Sealer {
        Sealer::open(self.layout.clone(), self.host).unwrap()
    }

    pub(crate) fn segment(&self, journal: &Journal) -> PathBuf {
        self.layout.segment(journal.id(), 1)
    }
}

pub(crate) fn fill(journal: &Journal, lines: std::ops::RangeInclusive<u64>) {
    for line in lines {
        assert_eq!(journal.append(None, &gap(&line.to_string())).unwrap().0, line);
    }
}

pub(crate) fn gap(name: &str) -> Event {
    Event::Gap(Gap { name: name.into(), detail: "x".repeat(50), attachment: None })
}

pub(crate) fn start() -> SessionStart {
    let destination = Destination {
        address: "10.0.0.5".parse().unwrap(),
        port: 5432,
        protocol: "postgres".into(),
        target: None,
        environment: None,
        name: None,
    };
    SessionStart { who: Who::default(), destination, parent: None, mode: Mode::Enforce }
}
