//! Datums for PostgreSQL's COPY and as SQL literals.

use super::datum::Datum;
use super::decimal::Form;
use super::error::Result;
use super::text::Style;
use super::types::ColumnType;

impl Datum<'_> {
    /// Appends a field of COPY's text format: `\N` for NULL, backslash escapes.
    pub fn write_copy(&self, ty: &ColumnType, out: &mut Vec<u8>) -> Result<()> {
        let from = out.len();
        if !self.write_text(ty, Style::Postgres, out)? {
            out.extend_from_slice(b"\\N");
            return Ok(());
        }
        let escape = |b: u8| match b {
            8 => Some(b'b'),
            9 => Some(b't'),
            10 => Some(b'n'),
            11 => Some(b'v'),
            12 => Some(b'f'),
            13 => Some(b'r'),
            b'\\' => Some(b'\\'),
            _ => None,
        };
        let plain = out.get(from..).unwrap_or_default();
        if plain.iter().any(|b| escape(*b).is_some()) {
            let plain = plain.to_vec();
            out.truncate(from);
            for b in plain {
                match escape(b) {
                    Some(e) => out.extend_from_slice(&[b'\\', e]),
                    None => out.push(b),
                }
            }
        }
        Ok(())
    }

    /// Appends a literal for an INSERT into a column of this type: `NULL`, `true`, `-5`, `1.50`, `B'101'`,
    /// `'text'`. Backslashes are plain (standard_conforming_strings).
    pub fn write_sql(&self, ty: &ColumnType, out: &mut Vec<u8>) -> Result<()> {
        let bare = match self {
            Datum::Null => {
                out.extend_from_slice(b"NULL");
                return Ok(());
            }
            Datum::Bool(v) => {
                out.extend_from_slice(if *v { b"true" } else { b"false" });
                return Ok(());
            }
            Datum::Int(_) => *ty != ColumnType::PgLsn,
            Datum::Oid(_) => true,
            // A number -0 would lose its sign.
            Datum::Float(v) => v.is_finite() && !(*v == 0.0 && v.is_sign_negative()),
            Datum::Decimal(d) => d.form() == Form::Finite,
            _ => false,
        };
        if bare {
            self.write_text(ty, Style::Postgres, out)?;
            return Ok(());
        }
        if matches!(self, Datum::Bits(_)) {
            out.push(b'B');
        }
        let mut text = Vec::new();
        self.write_text(ty, Style::Postgres, &mut text)?;
        out.push(b'\'');
        for b in text {
            if b == b'\'' {
                out.push(b'\'');
            }
            out.push(b);
        }
        // No COLLATE: the locales of one server are not names of another's collations, and the column has one.
        out.push(b'\'');
        Ok(())
    }
}
