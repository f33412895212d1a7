//! Clock and redaction of secrets. Used by every layer, uses none.

pub mod clock;
pub mod redact;
