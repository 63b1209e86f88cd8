//! Journals of a known size. In: a state directory, and how much. Out: segments with their indexes, sealed, and the id of
//! what was written. A line is written as the engine writes it; only who asks for it is not there.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gateway::audit::event::{
    Counters, Destination, EndCause, Event, FramedStatement, Mode, PostgresOutcome, PostgresStatement, Role,
    SessionEnd, SessionStart, StatementFrame, Status, Who,
};
use gateway::audit::{Durability, Journal, Kept, Layout, Opening, Sealer, Seq};
use gateway::id::{HostId, JournalId, SessionId};

/// A statement as the engine recorded one: 1.4 kB of line with one relation, one question.
const STATEMENT: &str = include_str!("statement.json");
/// What a segment holds before another one follows it, as by default.
const SEGMENT: u64 = 64 << 20;
/// Events between two looks at the segment's size.
const LOOK: u64 = 1_000;

/// A journal that is being written, and its segments.
pub(crate) struct Load {
    layout: Layout,
    host: HostId,
    pub(crate) journal: Arc<Journal>,
    segment: u32,
}

impl Load {
    pub(crate) fn new(folder: &Path, durability: Durability) -> Result<Self> {
        let (layout, host) = (Layout::new(folder), HostId::generate());
        let opening = Opening {
            journal: JournalId::generate(),
            host,
            host_name: "bench".to_owned(),
            role: Role::Engine,
            product: "bench".to_owned(),
            previous: None,
        };
        let file = layout.create_journal(opening.journal)?;
        let journal = Arc::new(Journal::open(file, opening, durability)?);
        Ok(Self { layout, host, journal, segment: 1 })
    }

    /// Goes on in another segment where this one is full.
    pub(crate) fn turn_over(&mut self) -> Result<()> {
        let path = self.layout.segment(self.journal.id(), self.segment);
        let size = path.metadata().with_context(|| format!("no segment `{}`", path.display()))?.len();
        if size >= SEGMENT {
            self.segment += 1;
            let file: File = self.layout.create_segment(self.journal.id(), self.segment)?;
            self.journal.go_on_in(file)?;
        }
        Ok(())
    }

    /// Seals and indexes all of it, as the warden does.
    fn seal(self) -> Result<()> {
        // What waits for the write of another line is written now.
        drop(self.journal);
        let mut sealer = Sealer::open(self.layout, self.host)?;
        sealer.follow()?;
        sealer.seal()?;
        Ok(())
    }

    /// A session's start.
    fn start(&self, session: SessionId) -> Result<()> {
        let who = Who { attachment: "bench".to_owned(), workload: "bench".to_owned(), ..Who::default() };
        let destination = Destination::of("10.0.0.9:5432".parse()?, "postgres");
        let start = SessionStart { who, destination, parent: None, mode: Mode::Enforce };
        self.journal.append(Some(session), &Event::SessionStart(Box::new(start)))?;
        Ok(())
    }

    fn end(&self, session: SessionId) -> Result<()> {
        let end = SessionEnd { cause: EndCause::Client, duration_us: 1_000_000, counters: Counters::default() };
        self.journal.append(Some(session), &Event::SessionEnd(end))?;
        Ok(())
    }

    /// A statement with its outcome; neither is waited for.
    fn pair(&self, session: SessionId, shape: &Shape) -> Result<()> {
        let seq = self.journal.append_soon(Some(session), &shape.statement())?;
        self.journal.append_soon(Some(session), &outcome(seq))?;
        Ok(())
    }
}

/// A statement, ready to be written as often as wanted.
pub(crate) struct Shape {
    frame: StatementFrame,
    text: Kept,
}

impl Shape {
    /// One that reads this table.
    pub(crate) fn of(table: &str) -> Result<Self> {
        let statement: PostgresStatement = serde_json::from_str(&STATEMENT.replace("orders", table))?;
        Ok(Self { frame: StatementFrame::of(&statement)?, text: statement.text })
    }

    pub(crate) fn statement(&self) -> FramedStatement<'_> {
        self.frame.with(&self.text, &[])
    }
}

/// What came of a statement.
pub(crate) fn outcome(request: Seq) -> Event {
    Event::PostgresOutcome(PostgresOutcome {
        request,
        status: Status::Ok,
        sqlstate: None,
        rows_returned: 1,
        rows_affected: 0,
        duration_us: 321,
        held_us: 0,
        masked: std::collections::BTreeMap::new(),
        shown: std::collections::BTreeMap::new(),
        results: Vec::new(),
        results_left_out: None,
    })
}

/// One session of so many events, and a short one before and behind it. Says its id.
pub(crate) fn session(folder: &Path, events: u64) -> Result<String> {
    let mut load = Load::new(folder, Durability::Process)?;
    let shape = Shape::of("orders")?;
    let mut wanted = String::new();
    for events in [4, events, 4] {
        let session = SessionId::generate();
        if events > 4 {
            wanted = session.to_string();
        }
        load.start(session)?;
        for pair in 1..events / 2 {
            load.pair(session, &shape)?;
            if pair % LOOK == 0 {
                load.turn_over()?;
            }
        }
        load.end(session)?;
    }
    load.seal()?;
    Ok(wanted)
}

/// So many requests of 1,000 sessions, in which so many differ in what policies read. Says the journal's id.
pub(crate) fn requests(folder: &Path, count: u64, distinct: u64) -> Result<String> {
    let mut load = Load::new(folder, Durability::Process)?;
    let sessions: Vec<SessionId> = (0..1_000).map(|_| SessionId::generate()).collect();
    // A shape that comes once is built when it comes.
    let kept = distinct.min(10_000);
    let shapes = (0..kept).map(|at| Shape::of(&format!("table_{at}"))).collect::<Result<Vec<_>>>()?;
    for at in 0..count {
        let session =
            *usize::try_from(at).ok().and_then(|at| sessions.get(at % sessions.len())).context("no session")?;
        let shape = at % distinct;
        match usize::try_from(shape).ok().and_then(|shape| shapes.get(shape)) {
            Some(shape) => load.pair(session, shape)?,
            None => load.pair(session, &Shape::of(&format!("table_{shape}"))?)?,
        }
        if at % LOOK == 0 {
            load.turn_over()?;
        }
    }
    let id = load.journal.id().to_string();
    load.seal()?;
    Ok(id)
}

/// So many events a second, for a while, in steps of ten milliseconds; says the journal's id and how many lines it has.
/// With a rate of none: as fast as it goes, as many as there would be at 50,000 a second.
pub(crate) fn pace(folder: &Path, rate: u64, seconds: u64) -> Result<String> {
    let mut load = Load::new(folder, Durability::Process)?;
    let (session, shape) = (SessionId::generate(), Shape::of("orders")?);
    let steps = seconds * 100;
    let each = if rate == 0 { 50_000 } else { rate } / 200;
    let start = Instant::now();
    for step in 0..steps {
        for _ in 0..each {
            load.pair(session, &shape)?;
        }
        load.turn_over()?;
        let due = Duration::from_millis(step * 10);
        if rate > 0
            && let Some(early) = due.checked_sub(start.elapsed())
        {
            sleep(early);
        }
    }
    let (took, id) = (start.elapsed().as_secs_f64(), load.journal.id());
    drop(load);
    Ok(format!("{id} {} {took}", 2 * each * steps + 1))
}
