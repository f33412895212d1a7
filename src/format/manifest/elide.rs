//! Keys that are stored shortened (`elided_prefix`, 24.x): those of a data file lack what the key of the
//! file's span begins with.
//!
//! | value | missing | span `fe8d bd89…` | span `bd89…` |
//! |---|---|---|---|
//! | 0 | nothing | | |
//! | 1 | the tenant's prefix | `fe8d` | |
//! | 2 | the tenant's and the table's | `fe8dbd` | `bd` |
//!
//! Checksums of values cover whole keys.

use super::{Error, Span};
use crate::format::kv::key::{TENANT as TENANT_MARKER, split_tenant};
use crate::format::kv::ordered::{get_ku, put_ku};
use crate::format::kv::varint::Reader;

/// `elided_prefix`: whole keys.
pub const NONE: i32 = 0;
/// `elided_prefix`: without the tenant's prefix.
pub const TENANT: i32 = 1;
/// `elided_prefix`: without the prefixes of tenant and table.
pub const TENANT_AND_TABLE: i32 = 2;

fn error(what: String) -> Error {
    Error::Unsupported { field: "elided_prefix", what }
}

/// What the keys of a file with this span lack.
pub fn prefix(elided: i32, span: &Span) -> Result<&[u8], Error> {
    let key = span.key.as_slice();
    let broken = || error(format!("{elided}, and a span begins with neither tenant nor table"));
    let (tenant, rest) = split_tenant(key).map_err(|_| broken())?;
    let own = |rest: &[u8]| key.get(..key.len() - rest.len()).unwrap_or_default();
    let (prefix, next) = match (elided, tenant) {
        (NONE, _) | (TENANT, None) => return Ok(&[]),
        (TENANT, Some(tenant)) => (own(rest), next_key(&[TENANT_MARKER], tenant)),
        (TENANT_AND_TABLE, _) => {
            let mut reader = Reader::new(rest);
            let table = get_ku(&mut reader, "table id").map_err(|_| broken())?;
            (own(reader.rest()), next_key(own(rest), table))
        }
        (other, _) => return Err(error(format!("{other} is not known"))),
    };
    if !span.end_key.starts_with(prefix) && span.end_key != next {
        return Err(error(format!("{elided}, and a file's span reaches beyond one tenant or table")));
    }
    Ok(prefix)
}

/// The first key of the tenant or table behind the one with this id.
fn next_key(before: &[u8], id: u64) -> Vec<u8> {
    let mut next = before.to_vec();
    put_ku(&mut next, id.saturating_add(1));
    next
}

/// The bounds of `span` among keys without `prefix`; no end where it goes to the last of them.
pub fn shorten<'s>(prefix: &[u8], span: &'s Span) -> (&'s [u8], Option<&'s [u8]>) {
    let start = span.key.strip_prefix(prefix).unwrap_or_default();
    let end =
        if prefix.is_empty() { Some(span.end_key.as_slice()) } else { span.end_key.strip_prefix(prefix) };
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(key: &[u8], end_key: &[u8]) -> Span {
        Span { key: key.to_vec(), end_key: end_key.to_vec() }
    }

    #[test]
    fn prefixes() {
        let own = span(&[0xbd, 0x89, 0x8a], &[0xbd, 0x8a]);
        let tenants = span(&[0xfe, 0x8d, 0xbd, 0x89], &[0xfe, 0x8d, 0xbe]);
        for (elided, span, want) in [
            (NONE, &own, &[][..]),
            (TENANT, &own, &[]),
            (TENANT_AND_TABLE, &own, &[0xbd]),
            (TENANT, &tenants, &[0xfe, 0x8d]),
            (TENANT_AND_TABLE, &tenants, &[0xfe, 0x8d, 0xbd]),
        ] {
            assert_eq!(prefix(elided, span).unwrap(), want);
        }
        let last_of_one_byte = span(&[0xf5], &[0xf6, 0x6e]);
        assert_eq!(prefix(TENANT_AND_TABLE, &last_of_one_byte).unwrap(), [0xf5]);
        assert!(prefix(3, &own).is_err());
        assert!(prefix(TENANT_AND_TABLE, &span(&[0xbd, 0x89], &[0xbf])).is_err());
        assert!(prefix(TENANT, &span(&[0xfe], &[0xff])).is_err());
        assert!(prefix(TENANT_AND_TABLE, &span(&[], &[0xff])).is_err());
    }

    #[test]
    fn bounds() {
        let whole = span(&[0xbd], &[0xbe]);
        assert_eq!(shorten(&[0xbd], &whole), (&[][..], None));
        assert_eq!(shorten(&[], &whole), (&[0xbd][..], Some(&[0xbe][..])));
        let piece = span(&[0xbd, 0x89], &[0xbd, 0x8a]);
        assert_eq!(shorten(&[0xbd], &piece), (&[0x89][..], Some(&[0x8a][..])));
    }
}
