//! What went wrong with the server, for callers ([`ErrorClass`]) and for people (message and hint).

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What a caller would branch on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorClass {
    /// A conflict with another transaction, or a stale plan: the same again may succeed at once.
    Retry,
    /// The connection broke.
    Lost,
    /// No answer in time.
    Timeout,
    /// A table (or schema) does not exist.
    NotFound,
    /// A unique key, or an object to be created, is there already.
    Exists,
    /// A foreign key was violated.
    ForeignKey,
    /// The user lacks a privilege.
    Denied,
    /// The server, or the transaction, is read-only.
    ReadOnly,
    /// No room on the server (disk, memory).
    NoSpace,
    /// A statement, value or row is larger than the server takes.
    TooLarge,
    /// A string has bytes that the server cannot store.
    BadName,
    /// User, password or certificate was not accepted.
    Auth,
    /// Nobody answers at that address, or the server takes no connection now.
    Unreachable,
    /// The secure connection could not be made.
    Tls,
    /// The database does not exist.
    NoDatabase,
    /// The settings make no sense.
    Config,
    /// Anything else; not retried.
    Other,
}

/// An error of the server or of the way to it. Cheap to clone. Never contains a password.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    class: ErrorClass,
    message: String,
    hint: Option<String>,
    sqlstate: Option<String>,
    constraint: Option<String>,
    detail: Option<String>,
    ambiguous: bool,
    needs_password: bool,
}

impl Error {
    /// An error with a message of ours: lower case, one line, no full stop.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            class,
            message: one_line(&message.into()),
            hint: None,
            sqlstate: None,
            constraint: None,
            detail: None,
            ambiguous: false,
            needs_password: false,
        }))
    }

    /// The same with a hint, one sentence that names the remedy.
    pub fn with_hint(self, hint: impl Into<String>) -> Error {
        let hint = hint.into();
        self.change(|i| i.hint = Some(hint))
    }

    /// The same with `what` in front of the message: `what: message`.
    pub fn context(self, what: impl fmt::Display) -> Error {
        self.change(|i| i.message = format!("{what}: {}", i.message))
    }

    pub(super) fn with_class(self, class: ErrorClass) -> Error {
        self.change(|i| i.class = class)
    }

    pub(super) fn with_ambiguous(self, ambiguous: bool) -> Error {
        self.change(|i| i.ambiguous = ambiguous)
    }

    pub(super) fn needing_password(self) -> Error {
        self.change(|i| i.needs_password = true)
    }

    fn change(mut self, f: impl FnOnce(&mut Inner)) -> Error {
        f(Arc::make_mut(&mut self.0));
        self
    }

    /// What kind of error it is.
    pub fn class(&self) -> ErrorClass {
        self.0.class
    }

    /// The five characters of the server's code; None where the server did not say anything.
    pub fn sqlstate(&self) -> Option<&str> {
        self.0.sqlstate.as_deref()
    }

    /// The constraint that was violated, where the server names it.
    pub fn constraint(&self) -> Option<&str> {
        self.0.constraint.as_deref()
    }

    /// The server's DETAIL line.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// What the user can do about it: one sentence, no full stop.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// True if what was asked for may have been done all the same: look before doing it again.
    pub fn ambiguous(&self) -> bool {
        self.0.ambiguous
    }

    /// True if the server asks for a password and none was given.
    pub fn needs_password(&self) -> bool {
        self.0.needs_password
    }

    /// True if the same again may succeed, now or when the server is back.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.class(),
            ErrorClass::Retry | ErrorClass::Lost | ErrorClass::Timeout | ErrorClass::Unreachable
        )
    }

    /// From the client library, for a statement on an open connection.
    pub(super) fn from_pg(e: &tokio_postgres::Error) -> Error {
        if let Some(db) = e.as_db_error() {
            return Error::from_db(db);
        }
        let cause = e.source().map(ToString::to_string);
        let shown = match &cause {
            Some(c) => format!("{e}: {c}"),
            None => e.to_string(),
        };
        let lost = e.is_closed() || io_kind(e).is_some();
        if lost {
            let why = cause.map(|c| format!(": {c}")).unwrap_or_default();
            return Error::new(ErrorClass::Lost, format!("lost the connection to the server{why}"))
                .with_ambiguous(true);
        }
        Error::new(ErrorClass::Other, shown)
    }

    pub(super) fn from_db(db: &tokio_postgres::error::DbError) -> Error {
        let class = classify(db.code().code(), db.message());
        Error(Arc::new(Inner {
            class,
            message: one_line(db.message()),
            hint: hint_of(class, db).or_else(|| db.hint().map(one_line)),
            sqlstate: Some(db.code().code().to_owned()),
            constraint: db.constraint().map(str::to_owned),
            detail: db.detail().map(one_line),
            ambiguous: matches!(db.code().code(), "40003" | "57P01" | "57P02" | "08007"),
            needs_password: false,
        }))
    }
}

/// The I/O error at the bottom of a client error, if that is what it is.
pub(super) fn io_kind(e: &tokio_postgres::Error) -> Option<std::io::ErrorKind> {
    let mut at: Option<&(dyn StdError + 'static)> = e.source();
    while let Some(cause) = at {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        at = cause.source();
    }
    None
}

/// Folds a message of several lines into one.
fn one_line(text: &str) -> String {
    text.split('\n').map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The class of a SQLSTATE. The message is consulted where the server gives no code of its own.
fn classify(code: &str, message: &str) -> ErrorClass {
    use ErrorClass as C;
    match code {
        "40001" | "40P01" | "40003" | "55P03" | "55006" | "26000" | "58C00" | "58C01" => C::Retry,
        "0A000" if message.contains("cached plan must not change") => C::Retry,
        "57014" => C::Timeout,
        "57P01" | "57P02" | "57P05" | "25P03" | "25P04" => C::Lost,
        "57P03" | "53300" => C::Unreachable,
        "57P04" | "3D000" => C::NoDatabase,
        "42P01" | "3F000" => C::NotFound,
        "23505" | "42P07" | "42710" | "42P06" | "42P04" => C::Exists,
        "23503" => C::ForeignKey,
        "42501" => C::Denied,
        "25006" => C::ReadOnly,
        "53000" | "53100" | "53200" | "53400" => C::NoSpace,
        // PostgreSQL, to whoever connects while its disk is full.
        "XX000" if message.contains("could not write init file") => C::NoSpace,
        "22021" | "22P05" => C::BadName,
        "28000" | "28P01" => C::Auth,
        _ if code.starts_with("08") && message.contains("bigger than maximum") => C::TooLarge,
        _ if code.starts_with("08") => C::Lost,
        _ if code.starts_with("54") => C::TooLarge,
        _ if message.contains("command is too large") || message.contains("exceeds maximum size") => {
            C::TooLarge
        }
        _ => C::Other,
    }
}

fn hint_of(class: ErrorClass, db: &tokio_postgres::error::DbError) -> Option<String> {
    let text = match class {
        ErrorClass::Denied => {
            "ask an administrator of the database for the privilege, or connect as its owner"
        }
        ErrorClass::ReadOnly => "connect to the primary server, or mount read-only",
        ErrorClass::NoSpace if db.code().code() == "53200" => "the server is out of memory",
        ErrorClass::NoSpace => "make room on the server's disk",
        ErrorClass::NotFound => "the tables are made by the first upload or writable mount",
        _ => return None,
    };
    Some(text.to_owned())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.sqlstate {
            Some(code) => write!(f, " (SQLSTATE {code})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.class())?;
        if let Some(detail) = self.detail() {
            write!(f, "; {detail}")?;
        }
        if self.ambiguous() {
            write!(f, " [ambiguous]")?;
        }
        Ok(())
    }
}

impl StdError for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (code, message, want) in [
            ("40001", "restart transaction", ErrorClass::Retry),
            ("0A000", "cached plan must not change result type", ErrorClass::Retry),
            ("0A000", "something else", ErrorClass::Other),
            (
                "08P01",
                "message size 17 MiB bigger than maximum allowed message size 16 MiB",
                ErrorClass::TooLarge,
            ),
            ("08006", "gone", ErrorClass::Lost),
            ("XXUUU", "command is too large: 70000000 bytes (max: 67108864)", ErrorClass::TooLarge),
            ("XX000", "could not write init file", ErrorClass::NoSpace),
            ("42P01", "relation does not exist", ErrorClass::NotFound),
            ("99999", "", ErrorClass::Other),
        ] {
            assert_eq!(classify(code, message), want, "{code}");
        }
    }

    #[test]
    fn shape() {
        let e = Error::new(ErrorClass::Other, "a\n b").context("doing").with_hint("do c");
        assert_eq!(e.to_string(), "doing: a b");
        assert_eq!(e.hint(), Some("do c"));
        assert!(!e.ambiguous() && !e.is_transient());
    }
}
