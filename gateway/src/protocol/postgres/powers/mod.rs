//! What our login may do at a server, asked of the server itself.
//!
//! In: a way to the server and our credential for it. Out: powers, of the login and of all roles that it may become, in each
//! database that it may enter. It asks two questions of `pg_catalog` in read-only transactions, the same for everybody; nothing
//! of a client's goes that way, and no value of a relation is read.

mod own;
mod questions;
mod said;

use std::collections::BTreeMap;

use self::own::Own;
use self::questions::{COLUMNS, RELATIONS, ROLES};
use super::catalog::Rows;
use super::judge::Dial;
use super::upstream::UpstreamError;
use crate::upstream::credential::Credential;
use crate::upstream::power::Power;
use crate::upstream::tls::UpstreamTls;

/// Databases that are looked into.
const MAX_DATABASES: usize = 8;

/// A column, as labels know it: database, schema, relation, column.
pub type Named<'a> = [&'a str; 4];

/// Whom to ask, and as whom.
pub struct Asking<'a> {
    /// The way to the server.
    pub dialer: &'a dyn Dial,
    /// How it is verified.
    pub tls: &'a UpstreamTls,
    /// Our login.
    pub credential: &'a Credential,
    /// Whether a column carries a label.
    pub is_labelled: &'a (dyn Fn(Named<'_>) -> bool + Sync),
}

/// What a login may do.
#[derive(Debug, Default)]
pub struct Held {
    /// All of it.
    pub powers: Vec<Power>,
    /// What was not looked at.
    pub notes: Vec<String>,
}

/// Asks the server.
///
/// # Errors
/// Where it cannot be reached, was not verified, does not let us in, or gives no answer that is understood.
pub async fn powers(asking: &Asking<'_>) -> Result<Held, UpstreamError> {
    let login = &asking.credential.user;
    let (mut session, entered) = enter(asking).await?;
    let roles = session.rows(ROLES).await?;
    let mut held = Held { powers: said::of_roles(login, &roles), notes: Vec::new() };
    if held.powers.iter().any(|power| power.name == said::SUPERUSER) {
        held.notes.push("a superuser may do all else too: relations were not looked at".to_owned());
        return Ok(held);
    }
    let databases = said::names(&roles, "database");
    if databases.len() > MAX_DATABASES {
        held.notes.push(format!("of {} databases the first {MAX_DATABASES} were looked into", databases.len()));
    }
    for database in databases.iter().take(MAX_DATABASES) {
        if *database == entered {
            look_into(asking, &mut session, (database, &mut held)).await?;
            continue;
        }
        let looked = async {
            let mut session = Own::open(asking, database).await?;
            look_into(asking, &mut session, (database, &mut held)).await
        };
        if let Err(error) = looked.await {
            held.notes.push(format!("database `{database}` was not looked into: {error}"));
        }
    }
    Ok(held)
}

/// A session in the first database that lets us in, which every server has one of unless somebody dropped it.
async fn enter(asking: &Asking<'_>) -> Result<(Own, String), UpstreamError> {
    let mut refused = None;
    for database in ["postgres", asking.credential.user.as_str(), "template1"] {
        match Own::open(asking, database).await {
            Ok(session) => return Ok((session, database.to_owned())),
            // The reason that the first gave is the one to tell.
            Err(error @ UpstreamError::Refused { .. }) => _ = refused.get_or_insert(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or(UpstreamError::Protocol { what: "no database" }))
}

async fn look_into(
    asking: &Asking<'_>,
    session: &mut Own,
    (database, held): (&str, &mut Held),
) -> Result<(), UpstreamError> {
    let relations = session.rows(RELATIONS).await?;
    let owned = said::names(&relations, "owns");
    held.powers.extend(said::of_relations(&asking.credential.user, database, &relations));
    if owned.is_empty() {
        return Ok(());
    }
    let columns = session.rows(COLUMNS).await?;
    let labelled = labelled(asking, database, &columns);
    held.powers.extend(said::of_labelled(&asking.credential.user, database, &labelled));
    Ok(())
}

/// Owned relations with labels, by what `REVOKE` calls them.
fn labelled(asking: &Asking<'_>, database: &str, columns: &Rows) -> Vec<String> {
    let mut found = BTreeMap::new();
    for row in columns {
        if let [Some(schema), Some(relation), Some(column)] = row.as_slice()
            && (asking.is_labelled)([database, schema, relation, column])
        {
            found.insert(said::qualified(schema, relation), ());
        }
    }
    found.into_keys().collect()
}
