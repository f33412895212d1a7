//! The private PostgreSQL that runs when no server is named.

use crate::sql::Settings;

/// Why the private server cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    hint: Option<String>,
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Starts the private server unless it runs, and says how to connect to it.
pub fn ensure_running() -> Result<Settings, Error> {
    Err(Error { message: "the private server is not there yet".to_owned(), hint: None })
}
