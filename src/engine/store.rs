//! Versions of keys in memory: what a small backup is made of.

use std::collections::BTreeMap;

use crate::format::kv::mvcc::Timestamp;
use crate::format::manifest::Span;

/// All versions of keys, oldest first; an empty value is a deletion.
#[derive(Clone, Debug, Default)]
pub struct Store {
    keys: BTreeMap<Vec<u8>, Vec<(Timestamp, Vec<u8>)>>,
}

/// A pair for a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'s> {
    /// Logical key.
    pub key: &'s [u8],
    /// When it was written.
    pub at: Timestamp,
    /// Value with envelope; empty for a deletion.
    pub value: &'s [u8],
}

/// Which versions a layer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Exclusive; zero for a full layer.
    pub start: Timestamp,
    /// Inclusive.
    pub end: Timestamp,
    /// All versions, not only the latest.
    pub history: bool,
}

impl Store {
    /// Writes a key at a time later than all its versions.
    pub fn put(&mut self, key: &[u8], at: Timestamp, value: Vec<u8>) {
        self.keys.entry(key.to_vec()).or_default().push((at, value));
    }

    /// Replaces the pairs of a row by others: what is equal stays, what is gone is deleted.
    pub fn replace(
        &mut self,
        old: &BTreeMap<Vec<u8>, Vec<u8>>,
        new: &BTreeMap<Vec<u8>, Vec<u8>>,
        at: Timestamp,
    ) {
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            self.put(key, at, Vec::new());
        }
        for (key, value) in new {
            if old.get(key) != Some(value) {
                self.put(key, at, value.clone());
            }
        }
    }

    /// The versions of a span that belong into a layer, in the order of a data file.
    pub fn versions<'s>(&'s self, span: &Span, window: Window) -> Vec<Version<'s>> {
        let mut found = Vec::new();
        for (key, versions) in self.keys.range(span.key.clone()..span.end_key.clone()) {
            let inside = versions.iter().rev().filter(|(at, _)| *at > window.start && *at <= window.end);
            let own = inside.map(|(at, value)| Version { key, at: *at, value });
            if window.history {
                found.extend(own);
            } else {
                // A full backup has no need to say that something is gone.
                let full = window.start == Timestamp::ZERO;
                found.extend(own.take(1).filter(|version| !(full && version.value.is_empty())));
            }
        }
        found
    }
}
