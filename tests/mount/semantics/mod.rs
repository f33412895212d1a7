//! What a mount does, one sentence a test.

mod attributes;
mod handles;
mod names;
mod races;
mod rename;
mod sharing;
mod space;
