//! Clock, counters, the disk under a server, plurals and redaction of secrets. Used by every layer, uses none.

pub mod clock;
pub mod counter;
pub mod disk;
pub mod plural;
pub mod redact;
