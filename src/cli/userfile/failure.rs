//! Errors of the userfile commands as they appear on standard error.

use crate::chunk;
use crate::cli::{Exit, output};
use crate::sql;
use crate::userfile::address::ArgError;
use crate::userfile::{Error, address};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// What is printed when a command fails:
///
/// ```text
/// ERROR: message
/// SQLSTATE: 42501
/// DETAIL: …
/// HINT: …
/// ```
#[derive(Clone, Debug)]
pub struct Failure {
    message: String,
    sqlstate: Option<String>,
    detail: Option<String>,
    hint: Option<String>,
    interrupted: bool,
}

impl Failure {
    /// A failure with a message of one line.
    pub(super) fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), sqlstate: None, detail: None, hint: None, interrupted: false }
    }

    /// Fewer arguments than the command needs, in the words of the original.
    pub(super) fn too_few(received: usize) -> Failure {
        Failure::new(format!("requires at least 1 arg(s), only received {received}"))
    }

    /// A word that is no command.
    pub(super) fn unknown(words: &[OsString]) -> Failure {
        let words: Vec<String> = words.iter().map(|w| address::lossy(w.as_bytes())).collect();
        Failure::new(format!("unknown sub-command: {:?}", words.join(" ")))
            .hint("the commands are upload, list, get and delete")
    }

    /// The same with a hint.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a detail, unless it has one.
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Failure {
        self.detail.get_or_insert_with(|| detail.into());
        self
    }

    /// From an error that stays where it is.
    pub(super) fn from_ref(e: &Error) -> Failure {
        let mut message = e.to_string();
        if let Some(code) = e.sqlstate() {
            // It has a line of its own.
            message = message.replace(&format!(" (SQLSTATE {code})"), "");
        }
        Failure {
            message,
            sqlstate: e.sqlstate().map(str::to_owned),
            detail: e.detail().map(str::to_owned),
            hint: e.hint(),
            interrupted: e.is_interrupt(),
        }
    }

    /// From an error of another part of the command line.
    pub(super) fn other(e: anyhow::Error) -> Failure {
        match e.downcast::<sql::Error>() {
            Ok(e) => e.into(),
            Err(e) => Failure {
                hint: output::hint(&e),
                interrupted: Exit::of_error(&e) == Exit::Interrupted,
                ..Failure::new(output::message(&e))
            },
        }
    }

    /// How the program ends.
    pub(super) fn exit(&self) -> Exit {
        if self.interrupted { Exit::Interrupted } else { Exit::Failure }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ERROR: {}", self.message)?;
        for (word, value) in [("SQLSTATE", &self.sqlstate), ("DETAIL", &self.detail), ("HINT", &self.hint)] {
            if let Some(value) = value {
                writeln!(f, "{word}: {value}")?;
            }
        }
        Ok(())
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure::from_ref(&e)
    }
}

impl From<ArgError> for Failure {
    fn from(e: ArgError) -> Failure {
        Error::from(e).into()
    }
}

impl From<chunk::Error> for Failure {
    fn from(e: chunk::Error) -> Failure {
        Error::from(e).into()
    }
}

impl From<sql::Error> for Failure {
    fn from(e: sql::Error) -> Failure {
        chunk::Error::from(e).into()
    }
}
