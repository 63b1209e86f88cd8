//! A command that is started without a shell, such as that of exec in a container.
//!
//! In: its words. Out: the facts that a shell's line would have in which each word is quoted. A program that is called
//! like a builtin is read as that: it may be named as more than it is, never as less.

use super::facts::{Command, Facts, facts};
use super::reason::Reason;

/// The facts of a command by its words.
#[must_use]
pub fn facts_of_words<'w>(words: impl IntoIterator<Item = &'w str>) -> Facts {
    let quoted: Vec<_> = words.into_iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    if quoted.is_empty() {
        return Facts { commands: vec![Command::unread(Reason::StrangeName)] };
    }
    facts(quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::shell::Kind;

    fn read(words: &[&str]) -> Facts {
        facts_of_words(words.iter().copied())
    }

    #[test]
    fn words_are_no_shell_code_and_what_a_shell_is_handed_is() {
        let plain = read(&["echo", "$(rm -rf /)", "a; b", "it's", "~"]);
        assert_eq!(plain.commands.len(), 1, "{plain:?}");
        assert!(plain.opaque().is_empty(), "{plain:?}");
        let operands: Vec<_> = plain.commands[0].operands().collect();
        assert_eq!(operands, ["$(rm -rf /)", "a; b", "it's", "~"]);
        for words in [&["sh", "-c", "true; rm -rf /"][..], &["/bin/env", "A=b", "nice", "rm", "-rf", "/"]] {
            let found = read(words);
            let removes = found.commands.iter().any(|command| command.kinds.contains(&Kind::Destructive));
            assert!(removes, "{words:?}: {found:?}");
        }
    }

    #[test]
    fn what_nobody_can_read_is_opaque() {
        let long = "a".repeat(70_000);
        for words in
            [&["sh"][..], &["A=b", "rm"], &["sh", "-c", "$X"], &["a\0b"], &["python3", "-c", "1"], &[&long], &[]]
        {
            assert!(!read(words).opaque().is_empty(), "{words:?}");
        }
    }
}
