//! What a login may do at its server, whatever policies say.
//!
//! In: what a server told of our login there. Out: powers, each with what it would cost if a request got past policy, with
//! what takes it away, and with the actions of policies that would use it. It knows no protocol and asks nobody.

use serde::{Deserialize, Serialize};

use crate::policy::vocabulary::names::Action;

/// Names of things that stand in one power: of more there is the count.
const SHOWN: usize = 3;
/// The longest name that a server gave, in characters.
const MAX_NAME: usize = 128;

/// One thing that a login may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power {
    /// For programs: `superuser`.
    pub name: String,
    /// In words, with what it is a power over.
    pub what: String,
    /// What a hole in policy would cost.
    pub cost: String,
    /// What takes it away.
    pub narrow: String,
    /// What would use it, in the words of policies; empty: policies have no word for it.
    #[serde(skip)]
    pub uses: Vec<Action>,
}

/// A few of many names, as the server gave them: cut, and on one line.
#[must_use]
pub fn some(names: &[String]) -> String {
    let plain = |name: &String| name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect::<String>();
    let shown: Vec<_> = names.iter().take(SHOWN).map(plain).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_a_few_stand_for_all() {
        let names: Vec<String> = ["a", "b\u{1b}[2J", "c", "d", "e"].map(str::to_owned).into();
        assert_eq!(some(&names), "a, b[2J, c and 2 more");
        assert_eq!(some(&names[..1]), "a");
    }
}
