//! A judge for tests: denies texts that hold `forbidden`, waits for ever on `held`, rewrites `masked`, and remembers
//! what became of the rest.

use parking_lot::Mutex;

use crate::protocol::postgres::{
    Backend, BindRequest, CopyIn, Denial, Forward, Judge, Outcome, OutcomeEnd, ParseRequest, Pass, Rewrite,
    RewriteError, Ruling, Say, SqlState, Startup,
};

#[derive(Default)]
pub(super) struct Fake {
    pub(super) outcomes: Mutex<Vec<String>>,
}

impl Fake {
    async fn rule<T>(&self, text: &str, forward: T) -> Ruling<T> {
        if text.contains("held") {
            std::future::pending::<()>().await;
        }
        if text.contains("forbidden") {
            return Ruling::Refuse(Box::new(Denial::error(SqlState::DENIED, "no")));
        }
        Ruling::Forward(forward)
    }
}

/// A permit for this text.
pub(super) fn permit(text: &str) -> Forward<String> {
    let mut forward = Forward::plain(text.to_owned());
    if text.contains("FROM STDIN") {
        forward.copy = CopyIn::Expected;
    }
    if text.contains("masked") {
        forward.rewrite = Some(Box::new(Stars));
    }
    forward
}

struct Stars;

impl Rewrite for Stars {
    fn rewrite(&mut self, kind: Backend, message: &[u8], out: &mut Vec<u8>) -> Result<Pass, RewriteError> {
        let stars = |byte: &u8| if kind == Backend::DataRow && *byte == b'7' { b'*' } else { *byte };
        out.extend(message.iter().map(stars));
        Ok(Pass::Replaced)
    }
}

impl Judge for Fake {
    type Prepared = String;
    type Bound = String;
    type Permit = String;

    async fn startup(&self, _: &Startup) -> Ruling<()> {
        Ruling::Forward(())
    }

    async fn query(&self, text: &str, _: &Say) -> Ruling<Forward<String>> {
        self.rule(text, permit(text)).await
    }

    async fn parse(&self, statement: ParseRequest<'_>, _: &Say) -> Ruling<String> {
        self.rule(statement.text, statement.text.to_owned()).await
    }

    async fn bind(&self, prepared: &String, _: BindRequest<'_>, _: &Say) -> Ruling<String> {
        Ruling::Forward(prepared.clone())
    }

    async fn execute(&self, bound: &String, _: u32, _: &Say) -> Ruling<Forward<String>> {
        Ruling::Forward(permit(bound))
    }

    async fn change(&self, text: &String, _: u64, _: &Say) -> Ruling<()> {
        self.rule(text, ()).await
    }

    fn outcome(&self, permit: String, outcome: &Outcome<'_>) {
        let end = match outcome.end {
            OutcomeEnd::Completed { tag, .. } => tag.to_owned(),
            OutcomeEnd::Failed(code) => code.as_str().to_owned(),
            other => format!("{other:?}"),
        };
        self.outcomes.lock().push(format!("{permit}: {end}"));
    }

    async fn ended(&self) -> Box<Denial> {
        std::future::pending().await
    }
}

/// A message with this tag and body.
pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    super::message::put_length(&mut out, body.len());
    out.extend_from_slice(body);
    out
}
