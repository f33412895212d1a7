//! Values of our own that travel as parameters and columns.

use crate::util::clock::Micros;
use bytes::{BufMut, BytesMut};
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// 2000-01-01, the servers' epoch, in microseconds since 1970.
const SERVER_EPOCH: i64 = 946_684_800_000_000;

/// As TIMESTAMP (a time in UTC without zone) or TIMESTAMPTZ.
impl ToSql for Micros {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // The two extreme values mean -infinity and infinity on the wire.
        out.put_i64(self.0.saturating_sub(SERVER_EPOCH).clamp(i64::MIN + 1, i64::MAX - 1));
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMP || *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl FromSql<'_> for Micros {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Micros, Box<dyn Error + Sync + Send>> {
        let v = i64::from_be_bytes(raw.try_into().map_err(|_| "a timestamp has 8 bytes")?);
        Ok(Micros(v.saturating_add(SERVER_EPOCH)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMP || *ty == Type::TIMESTAMPTZ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for m in [0, -1, 1_700_000_000_123_456, SERVER_EPOCH, i64::MAX] {
            let mut b = BytesMut::new();
            Micros(m).to_sql(&Type::TIMESTAMP, &mut b).unwrap();
            assert_eq!(Micros::from_sql(&Type::TIMESTAMP, &b).unwrap(), Micros(m));
        }
    }
}
