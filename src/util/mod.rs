//! Clock, counters, plurals and redaction of secrets. Used by every layer, uses none.

pub mod clock;
pub mod counter;
pub mod plural;
pub mod redact;
