//! Clock, redaction of secrets, base64. Used by every layer, uses none.

pub mod base64;
pub mod clock;
pub mod redact;
