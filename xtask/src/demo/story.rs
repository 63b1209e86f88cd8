//! What the demo shows, step by step. In: a world with its servers. Out: the screen, and an error at the first step that
//! does not show what it should. What it claims of the database is asked at the server, past the gateway.

use anyhow::{Context, Result, ensure};

use super::clickhouse;
use super::kube;
use super::psql::Psql;
use super::screen::{Screen, Voice};
use super::servers::{administrator, operator, operator_fails};
use super::ssh;
use super::world::{Side, World};
use crate::run::{quiet, until};

const READ: &str = "SELECT c.name, c.email, p.card, p.amount, p.note
FROM payments p JOIN orders o ON o.id = p.order_id JOIN customers c ON c.id = o.customer_id
ORDER BY p.id LIMIT 4;";
const DROP: &str = "DROP TABLE payments;";
const UPDATE: &str = "UPDATE payments SET amount = amount - 5 WHERE id = 7;";
const AMOUNT: &str = "SELECT amount FROM payments WHERE id = 7";

/// Who is there beside the administrator who asks; the gateway may keep a connection of its own.
const LOGINS: &str = "SELECT DISTINCT usename, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
WHERE datname = 'shop' AND usename <> 'postgres'";

/// The demo as it goes on.
pub(super) struct Story<'w> {
    world: &'w World,
    screen: &'w mut Screen,
    agent: Psql,
    /// The agent's session, as the denial names it.
    session: String,
}

impl<'w> Story<'w> {
    /// Connects the agent.
    pub(super) fn begin(world: &'w World, screen: &'w mut Screen) -> Result<Self> {
        Ok(Self { world, screen, agent: Psql::start(world)?, session: String::new() })
    }

    /// Shows all of it.
    pub(super) fn tell(mut self) -> Result<()> {
        self.read()?;
        self.drop_table()?;
        let ticket = self.update()?;
        self.once(&ticket)?;
        let Self { world, screen, agent, session } = self;
        agent.quit()?;
        replay(world, screen, &session, &ticket)?;
        record(world, screen, &session)?;
        ssh::commands(world, screen)?;
        ssh::held(world, screen)?;
        kube::secrets(world, screen)?;
        kube::held(world, screen)?;
        verify(world, screen)
    }

    fn shop(&self, sql: &str) -> Result<String> {
        administrator(self.world, "shop", sql)
    }

    fn read(&mut self) -> Result<()> {
        self.screen.step("A read is allowed; card numbers and mail addresses are masked on the way back");
        self.screen.typed(Voice::Agent, READ);
        let seen = self.agent.ask(READ)?;
        self.screen.shows(&seen);
        self.screen.check(seen.contains("(4 rows)"), "the agent has its rows", &seen)?;
        let login = self.shop(LOGINS)?;
        let claim = "it logged in as `agent`, with no password; the gateway did as `shop_app`, over verified TLS";
        self.screen.check(login == "shop_app|t", claim, &login)?;
        let values = values(self.world)?;
        let shown = values.lines().find(|value| seen.contains(value));
        let claim = "none of the shop's card numbers and mail addresses is in them, nor in the note";
        self.screen.check(shown.is_none(), claim, &seen)?;
        let recognisable = seen.contains("•••4444") && seen.contains("•••@example.com");
        self.screen.check(recognisable, "the masks leave the last four digits and the domain, no more", &seen)
    }

    fn drop_table(&mut self) -> Result<()> {
        self.screen.step("DROP TABLE is denied, with the policy and its reason; the session goes on");
        self.screen.typed(Voice::Agent, DROP);
        let seen = self.agent.ask(DROP)?;
        self.screen.shows(&seen);
        let policy = "denied by policy guard.postgres.destructive: DROP and TRUNCATE are not for this workload";
        self.screen.check(seen.contains(policy), "the error names the policy", &seen)?;
        let left = self.shop("SELECT count(*) FROM payments")?;
        self.screen.check(left == "40", "the table is there, with its 40 rows", &left)?;
        self.session = after(&seen, "Session ")?;
        Ok(())
    }

    fn update(&mut self) -> Result<String> {
        self.screen.step("An UPDATE of payments waits for a person");
        let before = self.shop(AMOUNT)?;
        self.screen.typed(Voice::Agent, UPDATE);
        self.agent.send(UPDATE)?;
        let told = self.agent.until("HINT:")?;
        self.screen.shows(&told);
        self.screen.check(told.contains("held by policy shop.payments"), "the agent is told at once", &told)?;
        self.screen.check(self.shop(AMOUNT)? == before, "nothing has reached the server", &before)?;
        self.typed_by_operator(&["approvals"])?;
        let ticket = after(&told, "it waits as request ")?;
        self.typed_by_operator(&["approve", &ticket, "--reason", "refund agreed with the customer"])?;
        let done = self.agent.rest()?;
        self.screen.typed(Voice::Agent, "(psql has waited, and goes on)");
        self.screen.shows(&done);
        self.screen.check(done.contains("UPDATE 1"), "the agent's statement has gone on", &done)?;
        Ok(ticket)
    }

    fn once(&mut self, first: &str) -> Result<()> {
        self.screen.step("An approval is good for one run: the same statement again waits again");
        let before = self.shop(AMOUNT)?;
        self.screen.typed(Voice::Agent, UPDATE);
        self.agent.send(UPDATE)?;
        let told = self.agent.until("HINT:")?;
        self.screen.shows(&told);
        let ticket = after(&told, "it waits as request ")?;
        self.screen.check(ticket != first, "it is another request", &told)?;
        self.typed_by_operator(&["deny", &ticket, "--reason", "once was agreed"])?;
        let said = self.agent.rest()?;
        self.screen.shows(&said);
        self.screen.check(said.contains("once was agreed"), "the agent reads who denied it, and why", &said)?;
        let amount = self.shop(AMOUNT)?;
        self.screen.check(amount == before, "at the server the amount was changed once", &amount)
    }

    fn typed_by_operator(&self, arguments: &[&str]) -> Result<String> {
        by_operator(self.world, self.screen, arguments)
    }
}

/// Shows what the operator types, and what comes of it.
pub(super) fn by_operator(world: &World, screen: &Screen, arguments: &[&str]) -> Result<String> {
    let words = arguments.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() });
    screen.typed(Voice::Operator, &format!("gateway {}", words.collect::<Vec<_>>().join(" ")));
    let seen = operator(world, arguments)?;
    screen.shows(&seen);
    Ok(seen)
}

fn replay(world: &World, screen: &mut Screen, session: &str, ticket: &str) -> Result<()> {
    screen.step("The whole session, from the gateway's own journal");
    // psql is gone a moment before the gateway has written that it is.
    until("the session's end", || Ok(operator(world, &["replay", session])?.contains("end    the client closed")))?;
    let seen = by_operator(world, screen, &["replay", session])?;
    let tells = ["DENY   DROP TABLE payments", "HOLD   UPDATE payments", ticket, "1 row changed", "2 held"];
    let missing = tells.iter().find(|text| !seen.contains(*text));
    screen.check(missing.is_none(), "it tells every statement, decision and approval", &seen)?;
    let values = values(world)?;
    let kept = values.lines().find(|value| seen.contains(value));
    screen.check(kept.is_none(), "it holds no card number and no mail address", &seen)
}

fn record(world: &World, screen: &mut Screen, session: &str) -> Result<()> {
    screen.step("The same in ClickHouse, for those who ask with SQL");
    let sql = |columns: &str, order: &str| {
        format!("SELECT {columns}\nFROM statement WHERE session_id = '{session}' AND phase = 'query'{order}")
    };
    screen.progress("the journal is copied", || {
        let arrived =
            format!("SELECT count() FROM session WHERE session_id = '{session}' AND ended IS NOT NULL FORMAT TSV");
        until("the session in ClickHouse", || Ok(clickhouse::ask(world, &arrived)?.trim() == "1"))
    })?;
    let columns = "formatDateTime(time, '%T') AS at, decision, arrayStringConcat(policies, ', ') AS policy,\n       \
                   status, rows_returned + rows_affected AS rows, substring(db_query_text, 1, 32) AS statement";
    let question = sql(columns, "\nORDER BY seq");
    screen.typed(Voice::Auditor, &question);
    let rows = clickhouse::ask(world, &question)?;
    screen.shows(&rows);
    let decisions = clickhouse::ask(world, &sql("arraySort(groupArray(decision))", " FORMAT TSV"))?;
    let expected = "['allow','deny','hold','hold']";
    screen.check(decisions.trim() == expected, "the read, the denial and both holds are there", &decisions)?;
    let values: Vec<_> = values(world)?.lines().map(|value| format!("'{value}'")).collect();
    let kept = format!("SELECT count() FROM events WHERE multiSearchAny(line, [{}]) FORMAT TSV", values.join(", "));
    let kept = clickhouse::ask(world, &kept)?;
    screen.check(kept.trim() == "0", "no line of it holds a card number or a mail address of the shop", &kept)
}

/// What nobody but the shop should have: 5 card numbers and 24 mail addresses.
fn values(world: &World) -> Result<String> {
    let values = administrator(world, "shop", "SELECT card FROM payments UNION SELECT email FROM customers")?;
    ensure!(values.lines().count() == 29, "the shop has not what it was filled with: {values}");
    Ok(values)
}

fn verify(world: &World, screen: &mut Screen) -> Result<()> {
    screen.step("A record that nobody changes unseen");
    let sound = by_operator(world, screen, &["audit", "verify"])?;
    screen.check(sound.starts_with("sound"), "every line, chain and seal is as it was written", &sound)?;
    let forged = world.directory().join("forged");
    let state = "/var/lib/gateway/.";
    screen.say(&format!(
        "  In a copy of it, {}, the denial of DROP TABLE now says that it was allowed:",
        forged.display()
    ));
    quiet(world.command(Side::Operator, "cp").args(["--recursive", state]).arg(&forged))?;
    let forge = r#"sed -i '/DROP TABLE/s/"verdict":"deny"/"verdict":"allow"/' "$0"/journal/*/*.jsonl"#;
    quiet(world.command(Side::Operator, "sh").args(["-ec", forge]).arg(&forged))?;
    let place = forged.display().to_string();
    let output = operator_fails(world, &["audit", "verify", "--state-dir", &place])?;
    screen.typed(Voice::Operator, &format!("gateway audit verify --state-dir {place}"));
    let found: Vec<_> =
        output.lines().filter(|line| !line.starts_with("note") && !line.starts_with("first key")).collect();
    screen.shows(&found.join("\n"));
    screen.check(output.contains("keep it as evidence"), "the forged record is found out", &output)
}

/// The word behind a text, without what ends a sentence.
pub(super) fn after(text: &str, before: &str) -> Result<String> {
    let rest = text.split_once(before).map(|(_, rest)| rest);
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    word.map(|word| word.trim_end_matches([',', '.']).to_owned())
        .with_context(|| format!("no `{before}…` in: {}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_id_behind_a_text_and_says_where_there_is_none() {
        let said = "nothing was sent. Session 01a2-b3, event 9.\nHINT:  ask";
        assert_eq!(after(said, "Session ").unwrap(), "01a2-b3");
        assert_eq!(after(said, "event ").unwrap(), "9");
        assert!(after(said, "request ").unwrap_err().to_string().contains("no `request …` in: nothing was sent"));
    }
}
