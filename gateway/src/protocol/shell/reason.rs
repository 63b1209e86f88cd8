//! Why something cannot be read before it runs.
//!
//! In: nothing. Out: the reasons, with the names that policies and the journal use. There is none for "anything else":
//! who is in doubt names the doubt.
// TABLE:

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $item:ident = $text:literal,)+) => {
        /// A doubt about what a command line does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $item,)+ }

        impl Reason {
            /// Every reason, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$item,)+];

            /// The name that policies write.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$item => $text,)+ }
            }
        }
    };
}

reasons! {
    /// Longer than a command line may be.
    TooLong = "too_long",
    /// Nested deeper than is read, or with too many commands.
    TooDeep = "too_deep",
    /// Control characters, NUL among them: programs cut, hide or overwrite text there.
    Control = "control_character",
    /// Characters that shells in other locales split or swallow.
    Encoding = "encoding",
    /// No shell grammar that we know.
    Syntax = "syntax",
    /// Two readers of the grammar disagree.
    TwoReadings = "two_readings",
    /// A backslash before a newline inside a word or operator.
    Continuation = "continuation",
    /// A substitution whose end depends on what is in it.
    Substitution = "substitution",
    /// `$((…))` and kin: bash runs the subscripts of what the variables hold.
    Arithmetic = "arithmetic",
    /// A parameter expansion beyond the plain ones.
    Expansion = "expansion",
    /// Arrays, whose subscripts are code.
    Array = "array",
    /// Text that the locale's catalog replaces.
    Locale = "locale",
    /// An alias changes what later words mean.
    Alias = "alias",
    /// A variable that makes other programs run something.
    Environment = "environment",
    /// A builtin that changes how the shell reads or finds commands.
    ShellState = "shell_state",
    /// The command's name comes from a variable or a substitution.
    VariableCommand = "variable_command",
    /// The command's name is a pattern of file names.
    PatternCommand = "pattern_command",
    /// The command's name holds characters that names of programs do not have.
    StrangeName = "strange_name",
    /// A program whose file is not where a system keeps its programs.
    OwnProgram = "own_program",
    /// Code in the arguments of an interpreter.
    InlineCode = "inline_code",
    /// Code that comes through a pipe.
    PipedCode = "piped_code",
    /// Code that comes by standard input later.
    StdinCode = "stdin_code",
    /// Code in a file.
    Script = "script",
    /// Code that a shell with another grammar reads.
    ForeignShell = "foreign_shell",
    /// `eval` and kin, of a text that is not known.
    Eval = "eval",
    /// An interactive program, which takes commands.
    Interactive = "interactive",
    /// A program that runs another one, with options that hide which.
    Wrapper = "wrapper",
    /// A redirection to where is not known.
    Redirect = "redirect",
    /// A program that writes, to where is not known.
    Destination = "destination",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
