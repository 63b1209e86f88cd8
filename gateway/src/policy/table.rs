//! Tables of tests, `*.tests.toml`: requests and what should become of them.
//!
//! In: a set of policies, the text of a table, and a [`ReadRequest`] that turns raw requests into questions. Out: a
//! [`Report`] with a line for each case. It must never count a case that it could not read as passed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use toml::{Table, Value as Toml};

use crate::id::SessionId;

use super::ask::{self, Surroundings};
use super::decision::{self, Answer};
use super::evaluate::PolicySnapshot;
use super::fault::{Fault, Place, Reason};
use super::principal::{Claim, Principal, Token, WorkloadFacts};
use super::request::{Entity, Moment, Question, Request, Session};
use super::vocabulary::names::Weekday;

/// Turns a raw request (SQL, a command line, a request line) into the questions that its engine asks.
pub trait ReadRequest {
    /// The questions of `request`, sent to `scene`.
    ///
    /// # Errors
    /// Why it cannot be read, for the report.
    fn read(&self, request: &str, scene: &Scene<'_>) -> Result<Vec<Arc<Question>>, String>;
}

/// Where a raw request goes to.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The target.
    pub target: &'a Arc<Entity>,
    /// The facts of the case's first `ask` and of the defaults, such as `database`.
    pub facts: &'a Table,
}

/// For callers without a protocol: every case has to write its questions out.
#[derive(Clone, Copy, Debug)]
pub struct NoRawRequests;

impl ReadRequest for NoRawRequests {
    fn read(&self, _: &str, _: &Scene<'_>) -> Result<Vec<Arc<Question>>, String> {
        Err("nothing here reads raw requests: write its questions out under `ask`".to_owned())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    #[serde(default)]
    defaults: Defaults,
    test: Vec<Case>,
}

/// What all cases of a file share; a case's own facts win, one by one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    #[serde(default)]
    workload: Table,
    #[serde(default)]
    session: Table,
    #[serde(default)]
    ask: Table,
    #[serde(default)]
    environments: BTreeMap<String, String>,
    #[serde(default)]
    classes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    workload: Table,
    #[serde(default)]
    session: Table,
    request: String,
    #[serde(default)]
    ask: Vec<Table>,
    expect: String,
    #[serde(default)]
    by: Vec<String>,
    #[serde(default)]
    approvers: Option<Vec<String>>,
}

/// What became of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Each case, in the order of the files.
    pub cases: Vec<CaseReport>,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// The file.
    pub file: String,
    /// The case's name.
    pub name: String,
    /// What is wrong; nothing if it passed.
    pub failure: Option<String>,
}

impl Report {
    /// How many cases failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| case.failure.is_some()).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            match &case.failure {
                None => writeln!(f, "pass  {}: {}", case.file, case.name)?,
                Some(failure) => writeln!(f, "FAIL  {}: {}: {failure}", case.file, case.name)?,
            }
        }
        write!(f, "{} passed, {} failed", self.cases.len() - self.failed(), self.failed())
    }
}

/// Runs the cases of tables, given as (file name, text), against `set`.
///
/// # Errors
/// Each table that cannot be read as one, with its place.
pub fn run_tables(
    set: &PolicySnapshot,
    tables: &[(String, String)],
    reader: &dyn ReadRequest,
) -> Result<Report, Vec<Fault>> {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for (name, text) in tables {
        match toml::from_str::<TestFile>(text) {
            Ok(file) => files.push((name, file)),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                faults.push(Fault::new(Place::at(name, text, offset), Reason::Table(error.message().to_owned())));
            }
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut report = Report::default();
    for (name, file) in &files {
        for case in &file.test {
            let failure = run(set, &file.defaults, case, reader).err();
            report.cases.push(CaseReport { file: (*name).clone(), name: case.name.clone(), failure });
        }
    }
    Ok(report)
}

fn run(set: &PolicySnapshot, defaults: &Defaults, case: &Case, reader: &dyn ReadRequest) -> Result<(), String> {
    let asked = Asked::of(defaults, case, reader)?;
    let request = asked.request();
    let answers: Vec<_> = asked.questions.iter().map(|question| set.answer_as_asked(&request, question)).collect();
    compare(case, &answers)
}

/// What a case asks.
struct Asked {
    principal: Principal,
    session: Session,
    at: Moment,
    questions: Vec<Arc<Question>>,
}

impl Asked {
    fn of(defaults: &Defaults, case: &Case, reader: &dyn ReadRequest) -> Result<Self, String> {
        let principal = workload(&merged(&defaults.workload, &case.workload))?;
        let (session, at) = session(&merged(&defaults.session, &case.session))?;
        Ok(Self { principal, session, at, questions: questions(defaults, case, reader)? })
    }

    fn request(&self) -> Request<'_> {
        Request { principal: &self.principal, session: &self.session, at: self.at, questions: &self.questions }
    }
}

/// Hands each case of a table, by name, to `look`.
#[cfg(test)]
pub(crate) fn each_case(table: &str, mut look: impl FnMut(&str, &Request<'_>)) {
    let file: TestFile = toml::from_str(table).unwrap();
    for case in &file.test {
        look(&case.name, &Asked::of(&file.defaults, case, &NoRawRequests).unwrap().request());
    }
}

fn questions(defaults: &Defaults, case: &Case, reader: &dyn ReadRequest) -> Result<Vec<Arc<Question>>, String> {
    let around = Surroundings { environments: defaults.environments.clone(), classes: defaults.classes.clone() };
    if case.ask.iter().any(|own| own.contains_key("action")) {
        let question = |own| ask::question(own, &defaults.ask, &around, &case.request);
        return case.ask.iter().map(question).collect();
    }
    let facts = case.ask.first().map_or_else(|| defaults.ask.clone(), |own| merged(&defaults.ask, own));
    reader.read(&case.request, &Scene { target: &ask::target(&facts, &around)?, facts: &facts })
}

fn compare(case: &Case, answers: &[Arc<Answer>]) -> Result<(), String> {
    let strictest = answers.iter().map(|answer| answer.verdict).max().ok_or("it asks nothing")?;
    let deciding = || answers.iter().filter(|answer| answer.verdict == strictest);
    let policies = decision::distinct_ids(deciding().flat_map(|answer| answer.policies.iter())).join(", ");
    let errors: Vec<&str> = deciding().flat_map(|answer| answer.errors.iter()).map(String::as_str).collect();
    if strictest.name() != case.expect || !errors.is_empty() {
        let errors = errors.iter().map(|error| format!("; {error}")).collect::<String>();
        return Err(format!("expected {}, got {strictest} by [{policies}]{errors}", case.expect));
    }
    let decided = |id: &String| deciding().any(|answer| answer.policies.iter().any(|policy| **policy == **id));
    if let Some(missing) = case.by.iter().find(|id| !decided(id)) {
        return Err(format!("expected {} by {missing}, got it by [{policies}]", case.expect));
    }
    let votes = decision::most(deciding().flat_map(|answer| answer.votes.iter()));
    let votes: Vec<String> = votes.iter().map(ToString::to_string).collect();
    match &case.approvers {
        Some(expected) if *expected != votes => Err(format!("expected approval by {expected:?}, got {votes:?}")),
        _ => Ok(()),
    }
}

fn merged(defaults: &Table, own: &Table) -> Table {
    let mut all = defaults.clone();
    all.extend(own.clone());
    all
}

fn workload(facts: &Table) -> Result<Principal, String> {
    let mut built = WorkloadFacts { name: "tested".into(), attachment: "none".into(), ..WorkloadFacts::default() };
    for (key, value) in facts {
        match (key.as_str(), value) {
            ("name", Toml::String(text)) => built.name = text.as_str().into(),
            ("attachment", Toml::String(text)) => built.attachment = text.as_str().into(),
            ("unit", Toml::String(text)) => built.unit = Some(text.as_str().into()),
            ("groups", value) => built.groups = ask::strings(value).ok_or("`groups` is no list of strings")?,
            ("claims", Toml::Table(claims)) => built.token = Some(token(claims)?),
            _ => return Err(format!("a workload has no `{key}` of that kind")),
        }
    }
    Ok(Principal::new(built))
}

fn token(claims: &Table) -> Result<Token, String> {
    let values = |(name, value): (&String, &Toml)| {
        let values = ask::strings(value).ok_or_else(|| format!("claim `{name}` is no list of strings"))?;
        Ok(Claim { name: name.as_str().into(), values: values.into() })
    };
    let claims = claims.iter().map(values).collect::<Result<_, String>>()?;
    Ok(Token { issuer: "https://issuer.example".into(), subject: "tested".into(), audience: Box::default(), claims })
}

/// Monday at ten unless the case says otherwise.
fn session(facts: &Table) -> Result<(Session, Moment), String> {
    let mut grants = BTreeSet::new();
    let mut session =
        Session { id: SessionId::generate(), login: "app".into(), application: None, grants: Arc::default() };
    let mut at = Moment { seconds: 1_795_428_000, weekday: Weekday::Mon, hour: 10 };
    for (key, value) in facts {
        match (key.as_str(), value) {
            ("login", Toml::String(text)) => session.login = text.as_str().into(),
            ("application", Toml::String(text)) => session.application = Some(text.as_str().into()),
            ("grants", value) => grants.extend(ask::strings(value).ok_or("`grants` is no list of strings")?),
            ("weekday", Toml::String(text)) => {
                at.weekday = Weekday::from_name(text).ok_or_else(|| format!("`{text}` is no weekday: mon to sun"))?;
            }
            ("hour", Toml::Integer(hour @ 0..=23)) => at.hour = u8::try_from(*hour).unwrap_or_default(),
            _ => return Err(format!("a session has no `{key}` of that kind")),
        }
    }
    session.grants = Arc::new(grants);
    Ok((session, at))
}

#[cfg(test)]
mod tests;
