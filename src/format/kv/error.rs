//! The one error type of keys and values.

/// Why bytes, a datum or a text was refused. Nothing here is worth a retry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside a value.
    #[error("{what} ends too early")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// The bytes do not follow the format.
    #[error("invalid {what}")]
    Invalid {
        /// What was being read.
        what: &'static str,
    },
    /// Bytes are left where a value should have ended.
    #[error("{count} unexpected bytes after {what}")]
    Trailing {
        /// What was being read.
        what: &'static str,
        /// Bytes left.
        count: usize,
    },
    /// A length, count or depth is beyond a fixed limit.
    #[error("{what} exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The stored type does not fit the column's type.
    #[error("stored type {found} does not fit a column of type {expected}")]
    Mismatch {
        /// The column's SQL type.
        expected: String,
        /// Number of the stored type.
        found: u64,
    },
    /// The checksum of a value is wrong.
    #[error("value checksum mismatch: stored {stored:08x}, computed {computed:08x}")]
    Checksum {
        /// As stored.
        stored: u32,
        /// As computed over key, tag and data.
        computed: u32,
    },
    /// A value cannot be encoded from what is known (collation sort keys, S2 cells).
    #[error("{what} cannot be derived from the value alone")]
    NotDerivable {
        /// What is missing.
        what: &'static str,
    },
    /// A datum does not fit the column's type or the table.
    #[error("cannot encode {found} as {expected}")]
    Datum {
        /// The column's SQL type.
        expected: String,
        /// The datum's kind.
        found: &'static str,
    },
    /// A text is no value of the type.
    #[error("{text:?} is no {expected}")]
    Text {
        /// The SQL type.
        expected: String,
        /// The beginning of the text.
        text: String,
    },
    /// The table's description contradicts itself.
    #[error("table layout: {what}")]
    Layout {
        /// What is wrong.
        what: String,
    },
    /// An error while handling one column.
    #[error("column {column:?}: {source}")]
    Column {
        /// The column's name.
        column: String,
        /// The error itself.
        source: Box<Error>,
    },
}

impl Error {
    pub(crate) fn text(expected: impl ToString, text: &str) -> Error {
        Error::Text { expected: expected.to_string(), text: text.chars().take(60).collect() }
    }

    pub(crate) fn in_column(self, name: &str) -> Error {
        match self {
            Error::Column { .. } => self,
            other => Error::Column { column: name.to_string(), source: Box::new(other) },
        }
    }
}

/// Result with this module's error.
pub type Result<T> = std::result::Result<T, Error>;
