//! Errors for people: an error with all its causes, in one line.
//!
//! In: an error whose texts do not repeat their sources. Out: a sentence for the log or the terminal.

use std::error::Error;

/// `cannot attach connect4 to …: Operation not permitted`
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_cause_once() {
        let error = anyhow::anyhow!("no such file").context("cannot read a").context("cannot start");
        assert_eq!(chain(error.as_ref()), "cannot start: cannot read a: no such file");
    }
}
