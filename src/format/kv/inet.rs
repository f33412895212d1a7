//! The stored form of INET: family, prefix length, address.

use super::datum::Inet;
use super::error::{Error, Result};
use super::varint::Reader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const WHAT: &str = "INET";

/// Appends `00 ‖ prefix ‖ 4 bytes` or `01 ‖ prefix ‖ 16 bytes`.
pub fn put(out: &mut Vec<u8>, inet: &Inet) {
    match inet.addr {
        IpAddr::V4(a) => {
            out.extend_from_slice(&[0, inet.prefix]);
            out.extend_from_slice(&a.octets());
        }
        IpAddr::V6(a) => {
            out.extend_from_slice(&[1, inet.prefix]);
            out.extend_from_slice(&a.octets());
        }
    }
}

/// Reads what [`put`] writes.
pub fn get(r: &mut Reader<'_>) -> Result<Inet> {
    let family = r.u8(WHAT)?;
    let prefix = r.u8(WHAT)?;
    let addr = match family {
        0 => IpAddr::V4(Ipv4Addr::from(r.array::<4>(WHAT)?)),
        1 => IpAddr::V6(Ipv6Addr::from(r.array::<16>(WHAT)?)),
        _ => return Err(Error::Invalid { what: WHAT }),
    };
    let inet = Inet { addr, prefix };
    if prefix > inet.full() {
        return Err(Error::Invalid { what: WHAT });
    }
    Ok(inet)
}

impl Inet {
    /// Bits of the address: 32 or 128.
    pub fn full(&self) -> u8 {
        if self.addr.is_ipv4() { 32 } else { 128 }
    }

    /// Appends the text; the prefix length is left out when it is full.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.addr.to_string().as_bytes());
        if self.prefix != self.full() {
            out.extend_from_slice(format!("/{}", self.prefix).as_bytes());
        }
    }

    /// Parses an address with or without a prefix length.
    pub fn from_text(text: &str) -> Result<Inet> {
        let bad = || Error::text("INET", text);
        let (addr, prefix) = match text.split_once('/') {
            Some((a, p)) => (a, Some(p)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| bad())?;
        let mut inet = Inet { addr, prefix: 0 };
        inet.prefix = match prefix {
            None => inet.full(),
            Some(p) => p.parse().map_err(|_| bad())?,
        };
        if inet.prefix > inet.full() { Err(bad()) } else { Ok(inet) }
    }
}
