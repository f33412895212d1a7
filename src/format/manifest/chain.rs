//! Which layers make a state: discovery of incrementals by folder names, and resolution by time.
//!
//! A layer covers `(start, end]`. A chain is a full layer (start zero) and incrementals whose starts are
//! exactly the ends before them, to the logical tick. A gap or an overlap is refused.

use super::names::{self, go_time};
use super::{Manifest, Span, Timestamp};

/// Why layers do not make a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Both places hold layers.
    #[error(
        "Incremental layers found in both old and new default locations. Please choose a location manually \
         with the `incremental_location` parameter."
    )]
    BothPlaces,
    /// Nothing to resolve.
    #[error("there are no layers")]
    Empty,
    /// The first layer stands on another one.
    #[error("layer {layer} is incremental (from {start}) but there is no layer before it")]
    NoFull {
        /// Folder.
        layer: String,
        /// Its start.
        start: String,
    },
    /// A full backup after the first.
    #[error("layer {layer} is a full backup in the middle of a chain")]
    SecondFull {
        /// Folder.
        layer: String,
    },
    /// Windows do not join.
    #[error(
        "no backup covers time [{expected},{start}) (or backups listed out of order): layer {layer} begins at \
         {start}, the one before it ends at {expected}"
    )]
    Mismatch {
        /// Folder.
        layer: String,
        /// End of the layer before.
        expected: String,
        /// Start of this one.
        start: String,
    },
    /// A layer ends before it begins.
    #[error("layer {layer} ends before it begins")]
    Backwards {
        /// Folder.
        layer: String,
    },
    /// The time is inside a layer without history.
    #[error(
        "invalid RESTORE timestamp: restoring to arbitrary time requires that BACKUP for requested time be \
         created with 'revision_history' option. {nearest}"
    )]
    NoHistory {
        /// Names the times that are there.
        nearest: String,
    },
    /// The history of the layer begins later.
    #[error("invalid RESTORE timestamp: BACKUP for requested time only has revision history from {from}")]
    HistoryTooShort {
        /// Its beginning.
        from: String,
    },
    /// The time is after the last layer.
    #[error("invalid RESTORE timestamp: supplied backups do not cover requested time")]
    NotCovered,
    /// Keys that a layer should have and has not.
    #[error("no backup covers time [{from},{to}) for range [{key},{end_key}) (or backups out of order)")]
    SpanNotCovered {
        /// Start of the layer.
        from: String,
        /// End of the layer.
        to: String,
        /// Hex.
        key: String,
        /// Hex.
        end_key: String,
    },
}

/// How a time is shown in messages.
pub fn show_time(time: Timestamp) -> String {
    let logical = if time.logical == 0 { String::new() } else { format!(",{}", time.logical) };
    format!("{}{logical}", go_time(time.wall_time))
}

/// Folders (relative, in chain order) of the incremental layers of the full backup in folder `full`.
///
/// `names` are all files at or below the collection, relative to it; `full` is `""` for a single backup
/// without a collection.
pub fn incrementals(names: &[String], full: &str) -> Result<Vec<String>, Error> {
    let below = |folder: &str| -> Vec<String> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut found: Vec<String> = names
            .iter()
            .filter_map(|name| {
                let inner = name.strip_prefix(&prefix)?;
                let (layer, file) = inner.rsplit_once('/')?;
                (names::is_manifest(file) && names::is_incremental_folder(layer))
                    .then(|| format!("{prefix}{layer}"))
            })
            .collect();
        found.sort();
        found.dedup();
        found
    };
    let old = below(full);
    let new = if full.is_empty() { Vec::new() } else { below(&format!("{}/{full}", names::INCREMENTALS)) };
    match (old.is_empty(), new.is_empty()) {
        (false, false) => Err(Error::BothPlaces),
        (false, true) => Ok(old),
        _ => Ok(new),
    }
}

/// Folders of full backups in a collection that SHOW BACKUPS lists, sorted: three levels deep.
pub fn fulls(names: &[String]) -> Vec<String> {
    let mut found: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let (folder, file) = name.rsplit_once('/')?;
            let three = folder.split('/').count() == 3 && !folder.starts_with("incrementals/");
            (three && matches!(file, names::MANIFEST | names::METADATA)).then(|| folder.to_owned())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// All folders with a manifest, `""` for the root, sorted.
pub fn layers(names: &[String]) -> Vec<String> {
    let mut found: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
            names::is_manifest(file).then(|| folder.to_owned())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Checks that the layers (folder and manifest, oldest first) join into a chain.
pub fn verify(layers: &[(&str, &Manifest)]) -> Result<(), Error> {
    let Some(((first, full), rest)) = layers.split_first() else { return Err(Error::Empty) };
    if !full.is_full() {
        return Err(Error::NoFull { layer: (*first).to_owned(), start: show_time(full.start()) });
    }
    let mut end = full.end();
    for (folder, manifest) in rest {
        let layer = || (*folder).to_owned();
        if manifest.is_full() {
            return Err(Error::SecondFull { layer: layer() });
        }
        if manifest.start().order() != end.order() {
            return Err(Error::Mismatch {
                layer: layer(),
                expected: show_time(end),
                start: show_time(manifest.start()),
            });
        }
        if manifest.end().order() < manifest.start().order() {
            return Err(Error::Backwards { layer: layer() });
        }
        end = manifest.end();
    }
    Ok(())
}

/// How many layers of a verified chain are needed for the state at `at`, and that time.
///
/// Without a time it is the end of the last layer.
pub fn resolve(layers: &[&Manifest], at: Option<Timestamp>) -> Result<(usize, Timestamp), Error> {
    let last = layers.last().ok_or(Error::Empty)?;
    let Some(at) = at else { return Ok((layers.len(), last.end())) };
    let Some((index, layer)) = layers.iter().enumerate().find(|(_, layer)| at.order() <= layer.end().order())
    else {
        return Err(Error::NotCovered);
    };
    if at.order() == layer.end().order() {
        return Ok((index + 1, at));
    }
    if !layer.has_history() {
        let end = show_time(layer.end());
        let nearest = match index.checked_sub(1).and_then(|before| layers.get(before)) {
            Some(before) => format!("nearest BACKUP times are {} or {end}", show_time(before.end())),
            None => format!("nearest backup time is {end}"),
        };
        return Err(Error::NoHistory { nearest });
    }
    let from: Timestamp = layer.revision_start_time.unwrap_or_default().into();
    if at.order() <= from.order() {
        return Err(Error::HistoryTooShort { from: show_time(from) });
    }
    Ok((index + 1, at))
}

/// The parts of `span` that `covers` leaves out.
pub fn uncovered(span: &Span, covers: &[Span]) -> Vec<Span> {
    let mut left = vec![span.clone()];
    for cover in covers {
        let mut next = Vec::with_capacity(left.len() + 1);
        for piece in left {
            if !piece.overlaps(cover) {
                next.push(piece);
                continue;
            }
            if piece.key < cover.key {
                next.push(Span { key: piece.key.clone(), end_key: cover.key.clone() });
            }
            if cover.end_key < piece.end_key {
                next.push(Span { key: cover.end_key.clone(), end_key: piece.end_key });
            }
        }
        left = next;
    }
    left
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Checks that a chain covers a span: from the last layer back to the one that introduces it.
pub fn verify_span(layers: &[&Manifest], span: &Span) -> Result<(), Error> {
    let mut needed = vec![span.clone()];
    for layer in layers.iter().rev() {
        for piece in &needed {
            if let Some(gap) = uncovered(piece, &layer.spans).first() {
                return Err(Error::SpanNotCovered {
                    from: show_time(layer.start()),
                    to: show_time(layer.end()),
                    key: hex(&gap.key),
                    end_key: hex(&gap.end_key),
                });
            }
        }
        needed = needed.iter().flat_map(|piece| uncovered(piece, &layer.introduced_spans)).collect();
    }
    Ok(())
}

/// For each layer, the keys of it that do not count because a later layer introduces their span anew.
pub fn masked(layers: &[&Manifest]) -> Vec<Vec<Span>> {
    let mut masks: Vec<Vec<Span>> = Vec::with_capacity(layers.len());
    let mut later: Vec<Span> = Vec::new();
    for layer in layers.iter().rev() {
        masks.push(later.clone());
        later.extend(layer.introduced_spans.iter().cloned());
    }
    masks.reverse();
    masks
}

#[cfg(test)]
mod tests {
    use super::super::{FILTER_ALL, ManifestProto};
    use super::*;

    fn t(wall: i64) -> Timestamp {
        Timestamp::from_nanos(wall)
    }

    fn span(key: &[u8], end_key: &[u8]) -> Span {
        Span { key: key.to_vec(), end_key: end_key.to_vec() }
    }

    fn layer(start: i64, end: i64) -> Manifest {
        let proto = ManifestProto {
            start_time: Some(t(start).into()),
            end_time: Some(t(end).into()),
            spans: vec![span(b"a", b"m")],
            ..Default::default()
        };
        Manifest { proto, unknown: Vec::new() }
    }

    #[test]
    fn chains_join_exactly() {
        let (full, one, two) = (layer(0, 10), layer(10, 20), layer(20, 30));
        assert_eq!(verify(&[("f", &full), ("1", &one), ("2", &two)]), Ok(()));
        assert!(matches!(verify(&[("f", &full), ("2", &two)]), Err(Error::Mismatch { .. })));
        assert!(matches!(verify(&[("f", &full), ("x", &layer(9, 20))]), Err(Error::Mismatch { .. })));
        assert!(matches!(verify(&[("1", &one)]), Err(Error::NoFull { .. })));
        assert!(matches!(verify(&[("f", &full), ("g", &layer(0, 20))]), Err(Error::SecondFull { .. })));
        assert!(matches!(verify(&[("f", &full), ("b", &layer(10, 5))]), Err(Error::Backwards { .. })));
        let mut logical = layer(10, 20);
        logical.proto.start_time = Some(Timestamp { wall_time: 10, logical: 1, synthetic: false }.into());
        assert!(matches!(verify(&[("f", &full), ("l", &logical)]), Err(Error::Mismatch { .. })));
    }

    #[test]
    fn times_resolve_to_layers() {
        let mut two = layer(20, 30);
        two.proto.mvcc_filter = FILTER_ALL;
        two.proto.revision_start_time = Some(t(22).into());
        let (full, one) = (layer(0, 10), layer(10, 20));
        let layers = [&full, &one, &two];
        assert_eq!(resolve(&layers, None), Ok((3, t(30))));
        assert_eq!(resolve(&layers, Some(t(10))), Ok((1, t(10))));
        assert_eq!(resolve(&layers, Some(t(20))), Ok((2, t(20))));
        assert_eq!(resolve(&layers, Some(t(25))), Ok((3, t(25))));
        assert!(matches!(resolve(&layers, Some(t(22))), Err(Error::HistoryTooShort { .. })));
        assert_eq!(resolve(&layers, Some(t(31))), Err(Error::NotCovered));
        let error = resolve(&layers, Some(t(15))).unwrap_err().to_string();
        assert!(
            error.contains("nearest BACKUP times are 1970-01-01 00:00:00.00000001 +0000 UTC or"),
            "{error}"
        );
        assert!(resolve(&layers, Some(t(5))).unwrap_err().to_string().contains("nearest backup time is"));
    }

    #[test]
    fn spans_need_every_layer_since_their_introduction() {
        let (full, mut inc) = (layer(0, 10), layer(10, 20));
        assert_eq!(verify_span(&[&full, &inc], &span(b"b", b"c")), Ok(()));
        assert!(verify_span(&[&full, &inc], &span(b"l", b"n")).is_err());
        inc.proto.spans.push(span(b"p", b"q"));
        assert!(verify_span(&[&full, &inc], &span(b"p", b"q")).is_err());
        inc.proto.introduced_spans.push(span(b"p", b"q"));
        assert_eq!(verify_span(&[&full, &inc], &span(b"p", b"q")), Ok(()));
        assert_eq!(masked(&[&full, &inc]), [vec![span(b"p", b"q")], vec![]]);
    }

    #[test]
    fn subtracts_spans() {
        let left = uncovered(&span(b"a", b"z"), &[span(b"c", b"d"), span(b"b", b"e"), span(b"y", b"zz")]);
        assert_eq!(left, [span(b"a", b"b"), span(b"e", b"y")]);
    }

    #[test]
    fn finds_layers_in_both_places() {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let full = "2026/11/20-175046.60";
        let mut names = list(&[
            "LATEST",
            "2026/11/20-175046.60/BACKUP_MANIFEST",
            "2026/11/20-175046.60/1.sst",
            "2026/11/20-175046.60/20261120/190000.00/BACKUP_MANIFEST",
            "2026/11/20-175046.60/20261120/180000.00/BACKUP_MANIFEST",
            "2026/11/20-175046.60/20261120/200000.00/BACKUP-CHECKPOINT",
            "my/dir/BACKUP_MANIFEST",
        ]);
        assert_eq!(
            incrementals(&names, full).unwrap(),
            ["2026/11/20-175046.60/20261120/180000.00", "2026/11/20-175046.60/20261120/190000.00"]
        );
        assert_eq!(fulls(&names), [full]);
        assert_eq!(layers(&names).len(), 4);
        names.push("incrementals/2026/11/20-175046.60/20261121/000000.00/BACKUP_MANIFEST".into());
        assert_eq!(incrementals(&names, full), Err(Error::BothPlaces));
        let single = list(&["BACKUP_MANIFEST", "20261120/190000.00/BACKUP_MANIFEST"]);
        assert_eq!(incrementals(&single, "").unwrap(), ["20261120/190000.00"]);
    }
}
