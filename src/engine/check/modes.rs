//! How the entries of an index are compared with the rows of its table, and the sums that do it.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::engine::eval::{self, Expr};
use crate::format::descriptor::TableDescriptor;
use crate::format::kv::datum::Datum;
use crate::format::kv::envelope;
use crate::format::kv::error::Error as KvError;
use crate::format::kv::layout::{IndexKind, IndexLayout, TableLayout};
use crate::format::kv::types::ColumnType;

/// How entries of an index are compared with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The row gives the entry's bytes.
    Bytes,
    /// Keys hold what the value alone does not give: the columns are compared.
    Columns,
    /// Spatial: the primary key and the bounding box are compared, once for each row.
    Boxes,
    /// Keys cannot be read: their number is compared.
    Count,
    /// The entries are decoded, no more.
    Decode,
    /// Of a kind that is not known: not even decoded.
    Carry,
}

/// An index as the check sees it.
pub(super) struct Comparison {
    /// How.
    pub mode: Mode,
    /// Rows that it holds, where that is not all.
    pub predicate: Option<Expr>,
}

impl Comparison {
    /// For an index at a position of a table's list.
    pub(super) fn of(
        descriptor: &TableDescriptor,
        layout: &TableLayout,
        at: usize,
        index: &IndexLayout,
    ) -> Self {
        let source = descriptor.indexes.get(at).map_or("", |index| index.predicate());
        let predicate = if index.partial { eval::predicate(source, layout) } else { None };
        let mode = match mode(layout, index) {
            Mode::Carry => Mode::Carry,
            // Which rows belong into it is not understood.
            mode if index.partial && predicate.is_none() && mode != Mode::Count => Mode::Decode,
            Mode::Count if index.partial => Mode::Carry,
            mode => mode,
        };
        Self { mode, predicate }
    }

    /// What is said of an index that is not compared.
    pub(super) fn notice(&self) -> Option<&'static str> {
        match self.mode {
            Mode::Decode => Some("its entries were decoded but not compared with the rows"),
            Mode::Carry => Some("its entries were neither decoded nor compared with the rows"),
            Mode::Count => Some("its entries were counted but not compared with the rows"),
            Mode::Bytes | Mode::Columns | Mode::Boxes => None,
        }
    }

    /// Whether a row belongs into the index.
    pub(super) fn holds(&self, row: &[Datum<'_>]) -> bool {
        self.predicate.as_ref().is_none_or(|expr| expr.value(row) == Some(Datum::Bool(true)))
    }
}

fn mode(layout: &TableLayout, index: &IndexLayout) -> Mode {
    let column = |id: u32| layout.columns.iter().find(|column| column.id == id);
    let key_ids = || index.key_ids();
    let virtual_column =
        key_ids().chain(index.stored_ids.iter().copied()).filter_map(column).any(|column| column.is_virtual);
    let any = |wanted: fn(&ColumnType) -> bool| key_ids().filter_map(column).any(|column| wanted(&column.ty));
    let spatial = |ty: &ColumnType| matches!(ty, ColumnType::Geometry(_) | ColumnType::Geography(_));
    let collated = any(|ty| match ty {
        ColumnType::Collated { .. } => true,
        ColumnType::Array(element) => matches!(**element, ColumnType::Collated { .. }),
        _ => false,
    });
    let unreadable = any(|ty| {
        matches!(
            ty,
            ColumnType::Tuple(_) | ColumnType::Unknown { .. } | ColumnType::TsVector | ColumnType::TsQuery
        )
    });
    let json = any(|ty| matches!(ty, ColumnType::Json));
    let inverted = index.columns.last().and_then(|key| column(key.id)).map(|column| &column.ty);
    // Words and trigrams of texts are indexed by later versions.
    let known = matches!(
        inverted,
        Some(ColumnType::Json | ColumnType::Array(_) | ColumnType::Geometry(_) | ColumnType::Geography(_))
    );
    match index.kind {
        IndexKind::Other => Mode::Carry,
        IndexKind::Inverted if unreadable || !known => Mode::Carry,
        IndexKind::Forward if unreadable || json => Mode::Count,
        _ if virtual_column => Mode::Decode,
        IndexKind::Inverted if key_ids().filter_map(column).any(|column| spatial(&column.ty)) => {
            // The columns before the spatial one would have to be read too.
            if index.columns.len() == 1 && !collated { Mode::Boxes } else { Mode::Decode }
        }
        IndexKind::Forward if any(|ty| matches!(ty, ColumnType::Geometry(_) | ColumnType::Geography(_))) => {
            Mode::Count
        }
        IndexKind::Inverted if collated => Mode::Decode,
        IndexKind::Forward if collated && !index.primary_encoding => Mode::Columns,
        IndexKind::Forward if collated => Mode::Decode,
        IndexKind::Forward | IndexKind::Inverted => Mode::Bytes,
    }
}

/// Groups of hashes.
pub(super) const BUCKETS: usize = 256;

/// Sums of hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums(pub [u64; BUCKETS]);

impl Default for Sums {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

/// The group of a hash.
pub(super) fn bucket(hash: u64) -> usize {
    usize::try_from(hash % BUCKETS as u64).unwrap_or(0)
}

impl Sums {
    pub(super) fn add(&mut self, hash: u64) {
        if let Some(sum) = self.0.get_mut(bucket(hash)) {
            *sum = sum.wrapping_add(hash | 1);
        }
    }

    pub(super) fn absorb(&mut self, other: &Sums) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.wrapping_add(more);
        }
    }
}

/// Hash of an entry as a whole, without its checksum, which old backfills left out.
pub(super) fn hash_entry(key: &[u8], value: &[u8]) -> u64 {
    let value = envelope::strip_header(value).unwrap_or(value);
    mix(mix(0, key), value.get(4..).unwrap_or_default())
}

/// Continues a hash over bytes and their number. Quick: it runs over every entry twice.
fn mix(seed: u64, bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: u64| {
        let wide = u128::from(hash ^ word).wrapping_mul(u128::from(ODD));
        let [low, high] = [wide as u64, (wide >> 64) as u64];
        (low ^ high).wrapping_add(ODD)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(seed ^ ODD, |hash, word| step(hash, u64::from_le_bytes(*word)));
    let last = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    step(step(hash, last), bytes.len() as u64)
}

/// Hash of an index's key columns, as text.
pub(super) fn hash_columns(
    layout: &TableLayout,
    ids: impl Iterator<Item = u32>,
    row: &[Datum<'_>],
) -> Result<u64, KvError> {
    let mut hasher = DefaultHasher::new();
    for id in ids {
        let Some(position) = layout.column_position(id) else { continue };
        let (Some(column), Some(datum)) = (layout.columns.get(position), row.get(position)) else { continue };
        datum.to_string_cast(&column.ty)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// The same with a bounding box.
pub(super) fn hash_box(columns: u64, bounds: [f64; 4]) -> u64 {
    let mut hasher = DefaultHasher::new();
    columns.hash(&mut hasher);
    // Zeros of both signs are one number.
    bounds.map(|bound| (bound + 0.0).to_bits()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::mix;
    use std::collections::BTreeSet;

    #[test]
    fn hashes_differ() {
        let mut seen = BTreeSet::new();
        for len in 0..40 {
            for byte in 0..=255u8 {
                for at in 0..len {
                    let mut bytes = vec![0; len];
                    bytes[at] = byte;
                    if byte > 0 || at == 0 {
                        assert!(seen.insert(mix(0, &bytes)), "{bytes:?}");
                    }
                }
            }
        }
        // What moves from one part to the other counts.
        assert_ne!(mix(mix(0, b"ab"), b"c"), mix(mix(0, b"a"), b"bc"));
    }
}
