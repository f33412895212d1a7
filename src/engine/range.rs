//! MVCC range tombstones (22.2 and later): every key of a span is deleted at a time.

use std::cmp::Ordering;

use crate::format::kv::mvcc;
use crate::format::manifest::{Span, Timestamp};
use crate::format::sst::{Error, ErrorKind, Kind, RangeKey, key::compare_versions};

/// One deletion of a span, as a file of a layer has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeTombstone {
    /// The layer, oldest 0.
    pub layer: usize,
    /// Whole keys.
    pub span: Span,
    /// As in a user key, without the length byte.
    pub version: Vec<u8>,
}

impl RangeTombstone {
    /// Those of a file. `prefix` is what its keys lack; keys outside `own` do not count.
    ///
    /// # Errors
    /// Range keys that mean anything else.
    pub fn of_file(
        layer: usize,
        keys: Vec<RangeKey>,
        prefix: &[u8],
        own: &Span,
    ) -> Result<Vec<RangeTombstone>, Error> {
        let unknown = |what: &str| {
            let detail = format!("{what}: only range tombstones are understood");
            Error::new(ErrorKind::Unsupported, 0, "range key", detail)
        };
        let whole = |key: &[u8]| [prefix, key].concat();
        let mut found = Vec::new();
        for key in keys {
            if key.kind != Kind::RangeKeySet {
                return Err(unknown("its kind is not SET"));
            }
            let span = Span { key: whole(&key.start), end_key: whole(&key.end) }.intersection(own);
            for version in key.versions {
                if !version.value.is_empty() {
                    return Err(unknown("it has a value"));
                }
                if let Some(span) = span.clone() {
                    found.push(RangeTombstone { layer, span, version: version.version });
                }
            }
        }
        Ok(found)
    }

    /// When.
    pub fn time(&self) -> Option<Timestamp> {
        let at = mvcc::decode_version(&self.version).ok()?;
        Some(Timestamp {
            wall_time: i64::try_from(at.wall).ok()?,
            logical: i32::try_from(at.logical).ok()?,
            synthetic: at.synthetic,
        })
    }

    /// Whether it deletes a version of a key.
    pub fn hides(&self, key: &[u8], version: &[u8]) -> bool {
        self.span.contains(key) && compare_versions(&self.version, version) == Ordering::Less
    }
}
