//! From the server's rows to powers.
//!
//! In: rows of the questions. Out: powers in words, each with the statement that takes it away. Names are the server's, quoted
//! as SQL takes them. It asks nobody.

use super::super::catalog::Rows;
use crate::policy::vocabulary::names::Action::{self, *};
use crate::upstream::power::{Power, some};

/// The name of a power that has all others in it.
pub(super) const SUPERUSER: &str = "superuser";

/// What an attribute of a role is: its name, how SQL takes it away, what it lets one do, what that would cost, what uses it.
type Attribute = (&'static str, &'static str, &'static str, &'static str, &'static [Action]);

const ATTRIBUTES: [Attribute; 5] = [
    (
        SUPERUSER,
        "NOSUPERUSER",
        "is a superuser of the server",
        "the server checks nothing behind policy: one statement that is read wrongly reaches every database, and files and programs of the server's host",
        &[PostgresAlterSystem, PostgresCopyProgram, PostgresServerFile, PostgresLoadLibrary],
    ),
    (
        "createrole",
        "NOCREATEROLE",
        "may make, change and drop other roles",
        "it gives itself, or a login that nobody watches, what others hold; before PostgreSQL 16 all that is not a superuser's",
        &[PostgresManageRole],
    ),
    (
        "createdb",
        "NOCREATEDB",
        "may make databases",
        "copies of what it may read stand where no label is, and fill the server's disk",
        &[PostgresCreate],
    ),
    (
        "replication",
        "NOREPLICATION",
        "may replicate",
        "a copy of the whole server's data and its changes, past every privilege and mask",
        &[PostgresReplicate],
    ),
    (
        "bypassrls",
        "NOBYPASSRLS",
        "is not held by row-level security",
        "rows of all tenants and owners, where row policies are what separates them",
        &[],
    ),
];

/// Roles that every server has: what a member may do, what that would cost, what uses it.
const PREDEFINED: [(&str, &str, &str, &[Action]); 11] = [
    (
        "pg_execute_server_program",
        "may run programs on the server's host",
        "a shell there, as the server's user, by one COPY",
        &[PostgresCopyProgram],
    ),
    (
        "pg_read_server_files",
        "may read files of the server's host",
        "the server's keys and data files, past every privilege",
        &[PostgresServerFile],
    ),
    (
        "pg_write_server_files",
        "may write files on the server's host",
        "its configuration and programs: it becomes the server's user",
        &[PostgresServerFile],
    ),
    ("pg_read_all_data", "may read all relations", "every row of every database that it may enter", &[PostgresSelect]),
    (
        "pg_write_all_data",
        "may change all relations",
        "every row of every database that it may enter",
        &[PostgresInsert, PostgresUpdate, PostgresDelete],
    ),
    ("pg_signal_backend", "may end other sessions", "an outage of others, by one SELECT", &[]),
    (
        "pg_monitor",
        "may read statements and settings of everybody",
        "constants in the statements of other users, values of labelled columns among them",
        &[],
    ),
    (
        "pg_read_all_stats",
        "may read the statements of everybody",
        "constants in the statements of other users, values of labelled columns among them",
        &[],
    ),
    (
        "pg_read_all_settings",
        "may read all settings",
        "paths and connection strings of the server's configuration",
        &[],
    ),
    ("pg_maintain", "may lock and rewrite all relations", "an outage by one VACUUM FULL or LOCK", &[PostgresMaintain]),
    (
        "pg_create_subscription",
        "may make subscriptions",
        "the server connects to a host of its choice, and takes rows from there",
        &[PostgresReplicate],
    ),
];

/// How a change is written, what it would cost, what uses it.
const CHANGES: [(&str, &str, &str, Action); 4] = [
    ("insert", "INSERT", "rows that were never true", PostgresInsert),
    ("update", "UPDATE", "rows that are changed unseen by policy", PostgresUpdate),
    ("delete", "DELETE", "rows that are gone", PostgresDelete),
    ("truncate", "TRUNCATE", "all rows of a relation, at once and past row triggers", PostgresTruncate),
];

/// Second cells of the rows of a kind.
pub(super) fn names(rows: &Rows, kind: &str) -> Vec<String> {
    of_kind(rows, kind).map(|[name, ..]| name.to_owned()).collect()
}

/// The rows of a kind: the three cells behind it.
fn of_kind<'r>(rows: &'r Rows, kind: &str) -> impl Iterator<Item = [&'r str; 3]> {
    let cell = |row: &'r [Option<Box<str>>], at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    let wanted = move |row: &&'r Vec<Option<Box<str>>>| cell(row, 0) == kind;
    let wanted: Vec<_> = rows.iter().filter(wanted).collect();
    wanted.into_iter().map(move |row| [cell(row, 1), cell(row, 2), cell(row, 3)])
}

/// What the login is, and what it may become.
pub(super) fn of_roles(login: &str, rows: &Rows) -> Vec<Power> {
    let mut powers = Vec::new();
    let has_all = of_kind(rows, SUPERUSER).next().is_some();
    for (name, without, does, cost, uses) in ATTRIBUTES {
        for [role, via, _] in of_kind(rows, name) {
            powers.push(Power {
                name: name.to_owned(),
                what: match via {
                    "" => format!("`{login}` {does}"),
                    _ => format!("`{login}` may become `{role}`, which {does}"),
                },
                cost: cost.to_owned(),
                narrow: match via {
                    "" => format!("ALTER ROLE {} {without};", quoted(login)),
                    via => format!("REVOKE {} FROM {};", quoted(via), quoted(login)),
                },
                uses: uses.to_vec(),
            });
        }
    }
    if !has_all {
        powers.extend(of_kind(rows, "member").filter_map(|[role, via, _]| member(login, role, via)));
    }
    let databases = names(rows, "owns_database");
    if !databases.is_empty() {
        powers.push(Power {
            name: "owns_database".to_owned(),
            what: format!("`{login}` owns the database {}", some(&databases)),
            cost: "it drops them, and gives rights in them to others".to_owned(),
            narrow: each(&databases, |name| format!("ALTER DATABASE {} OWNER TO postgres;", quoted(name))),
            uses: vec![PostgresDrop, PostgresGrant],
        });
    }
    powers
}

fn member(login: &str, role: &str, via: &str) -> Option<Power> {
    let narrow = format!("REVOKE {} FROM {};", quoted(via), quoted(login));
    if let Some((name, does, cost, uses)) = PREDEFINED.iter().find(|(name, ..)| *name == role) {
        return Some(Power {
            name: (*name).to_owned(),
            what: format!("`{login}` {does} (`{name}`)"),
            cost: (*cost).to_owned(),
            narrow,
            uses: uses.to_vec(),
        });
    }
    // Of what pg_monitor is made is told with it.
    let is_part = matches!(role, "pg_stat_scan_tables") && via == "pg_monitor";
    (!is_part).then(|| Power {
        name: "member".to_owned(),
        what: format!("`{login}` may become `{role}`, by SET ROLE or by what it inherits"),
        cost: "what that role may do, wherever it is given more".to_owned(),
        narrow,
        uses: vec![PostgresSetRole],
    })
}

/// What the login may change in a database.
pub(super) fn of_relations(login: &str, database: &str, rows: &Rows) -> Vec<Power> {
    let mut powers = Vec::new();
    for (kind, word, cost, uses) in CHANGES {
        let found: Vec<_> = of_kind(rows, kind).collect();
        let relations: Vec<_> = found.iter().map(|[schema, relation, _]| qualified(schema, relation)).collect();
        if relations.is_empty() {
            continue;
        }
        powers.push(Power {
            name: kind.to_owned(),
            what: format!("`{login}` may {word} in {} of `{database}`: {}", count(&relations), some(&relations)),
            cost: cost.to_owned(),
            narrow: each(&relations, |relation| format!("REVOKE {word} ON {relation} FROM {};", from(login, &found))),
            uses: vec![uses],
        });
    }
    let owned: Vec<_> = of_kind(rows, "owns").map(|[schema, relation, _]| qualified(schema, relation)).collect();
    if !owned.is_empty() {
        powers.push(Power {
            name: "owns".to_owned(),
            what: format!("`{login}` owns {} of `{database}`: {}", count(&owned), some(&owned)),
            cost: "it drops and alters them, gives rights on them to others, and its row policies do not hold it"
                .to_owned(),
            narrow: each(&owned, |relation| format!("ALTER TABLE {relation} OWNER TO postgres;")),
            uses: vec![PostgresAlter, PostgresDrop, PostgresGrant],
        });
    }
    let made: Vec<_> = of_kind(rows, "creates").collect();
    let schemas: Vec<_> = made.iter().map(|[schema, ..]| quoted(schema)).collect();
    if !schemas.is_empty() {
        powers.push(Power {
            name: "creates".to_owned(),
            what: format!("`{login}` may create in schemas of `{database}`: {}", some(&schemas)),
            cost: "copies of labelled columns under names without a label, and functions that others call".to_owned(),
            narrow: each(&schemas, |schema| format!("REVOKE CREATE ON SCHEMA {schema} FROM {};", from(login, &made))),
            uses: vec![PostgresCreate],
        });
    }
    powers
}

/// The labelled relations among those that it owns: policies mask their columns, and an owner may undo that.
pub(super) fn of_labelled(login: &str, database: &str, relations: &[String]) -> Option<Power> {
    (!relations.is_empty()).then(|| Power {
        name: "owns_labelled".to_owned(),
        what: format!("`{login}` owns labelled relations of `{database}`: {}", some(relations)),
        cost:
            "it renames labelled columns, copies them by triggers and rules, and gives them to logins that nobody masks"
                .to_owned(),
        narrow: each(relations, |relation| format!("ALTER TABLE {relation} OWNER TO postgres;")),
        uses: vec![PostgresAlter, PostgresGrant],
    })
}

/// A statement for the first, with word of the others.
fn each(names: &[String], statement: impl Fn(&str) -> String) -> String {
    let first = names.first().map(|name| statement(name)).unwrap_or_default();
    if names.len() > 1 { format!("{first} and so on, for all {}", names.len()) } else { first }
}

fn count(relations: &[String]) -> String {
    if relations.len() == 1 { "one relation".to_owned() } else { format!("{} relations", relations.len()) }
}

/// From whom a right is taken: where everybody has it, taking it from one changes nothing.
fn from(login: &str, rows: &[[&str; 3]]) -> String {
    let of_everybody = rows.first().is_some_and(|[_, _, public]| *public == "true" || *public == "t");
    if of_everybody { "PUBLIC".to_owned() } else { quoted(login) }
}

/// A relation as SQL takes it.
pub(super) fn qualified(schema: &str, relation: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(relation))
}

/// An identifier as SQL takes it.
fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[[&str; 4]]) -> Rows {
        rows.iter().map(|row| row.iter().map(|cell| Some((*cell).into())).collect()).collect()
    }

    fn told(powers: &[Power]) -> Vec<(&str, &str)> {
        powers.iter().map(|power| (power.name.as_str(), power.narrow.as_str())).collect()
    }

    #[test]
    fn each_attribute_and_membership_has_the_statement_that_takes_it_away() {
        let answer = rows(&[
            ["createrole", "App", "", ""],
            ["bypassrls", "boss", "team", ""],
            ["member", "boss", "team", ""],
            ["member", "pg_monitor", "pg_monitor", ""],
            ["member", "pg_stat_scan_tables", "pg_monitor", ""],
            ["owns_database", "shop", "", ""],
        ]);
        let powers = of_roles("App", &answer);
        let wanted = [
            ("createrole", "ALTER ROLE \"App\" NOCREATEROLE;"),
            ("bypassrls", "REVOKE team FROM \"App\";"),
            ("member", "REVOKE team FROM \"App\";"),
            ("pg_monitor", "REVOKE pg_monitor FROM \"App\";"),
            ("owns_database", "ALTER DATABASE shop OWNER TO postgres;"),
        ];
        assert_eq!(told(&powers), wanted);
        assert!(powers[1].what.contains("may become `boss`"));
    }

    #[test]
    fn a_superusers_memberships_are_not_told_apart() {
        let answer = rows(&[["superuser", "boss", "boss", ""], ["member", "x", "boss", ""]]);
        assert_eq!(told(&of_roles("app", &answer)), [("superuser", "REVOKE boss FROM app;")]);
    }

    #[test]
    fn what_everybody_may_is_taken_from_everybody() {
        let answer = rows(&[
            ["delete", "public", "orders", "true"],
            ["delete", "public", "Items", "true"],
            ["update", "public", "orders", "false"],
            ["creates", "public", "", "false"],
        ]);
        let wanted = [
            ("update", "REVOKE UPDATE ON public.orders FROM app;"),
            ("delete", "REVOKE DELETE ON public.orders FROM PUBLIC; and so on, for all 2"),
            ("creates", "REVOKE CREATE ON SCHEMA public FROM app;"),
        ];
        assert_eq!(told(&of_relations("app", "shop", &answer)), wanted);
    }
}
