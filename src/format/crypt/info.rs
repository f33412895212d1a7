//! ENCRYPTION-INFO: how to get the key of a backup.
//!
//! ```text
//! 12 10 <16 bytes>                            passphrase: the salt
//! 1a len ( 0a 20 <SHA-256 of the KMS key id>  12 len <data key wrapped by that KMS> ) ...
//! ```
//! A protobuf message, neither compressed nor encrypted, in the folder of the full backup. The map key of
//! field 3 is declared a string but is not UTF-8.

use super::{Error, Key};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Bytes of a salt that is written.
pub const SALT_LEN: usize = 16;

/// Longest ENCRYPTION-INFO that is parsed, in bytes; nothing larger than the input is ever allocated.
pub const INFO_LEN_MAX: usize = 1 << 20;

/// A decoded ENCRYPTION-INFO: a salt, or wrapped data keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncryptionInfo {
    salt: Vec<u8>,
    wrapped: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl EncryptionInfo {
    /// For a passphrase; the salt must be random and new.
    pub fn with_salt(salt: [u8; SALT_LEN]) -> Self {
        EncryptionInfo { salt: salt.to_vec(), wrapped: BTreeMap::new() }
    }

    /// For KMS keys, of which at least one must be added.
    pub fn for_kms() -> Self {
        EncryptionInfo::default()
    }

    /// Adds the data key as wrapped by the KMS for one of its master keys.
    pub fn add_wrapped_key(&mut self, master_key_id: &str, wrapped: Vec<u8>) {
        self.wrapped.insert(Sha256::digest(master_key_id.as_bytes()).to_vec(), wrapped);
    }

    /// The key of a passphrase; an error if the backup uses KMS keys.
    pub fn passphrase_key(&self, passphrase: &[u8]) -> Result<Key, Error> {
        if self.salt.is_empty() {
            return Err(Error::NeedsKms);
        }
        Ok(Key::from_passphrase(passphrase, &self.salt))
    }

    /// The data key as wrapped for a master key: the KMS that holds it unwraps it, and
    /// [`Key::from_bytes`] makes a key of the result.
    pub fn wrapped_key(&self, master_key_id: &str) -> Result<&[u8], Error> {
        if self.wrapped.is_empty() {
            return Err(Error::NeedsPassphrase);
        }
        let hash = Sha256::digest(master_key_id.as_bytes());
        self.wrapped.get(hash.as_slice()).map(Vec::as_slice).ok_or(Error::NotWrappedFor)
    }

    /// Whether the key comes from a passphrase.
    pub fn uses_passphrase(&self) -> bool {
        !self.salt.is_empty()
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > INFO_LEN_MAX {
            let detail = format!("{} bytes are more than {INFO_LEN_MAX}", bytes.len()).into();
            return Err(Error::Info { offset: 0, field: "length", detail });
        }
        let mut info = EncryptionInfo::default();
        let mut fields = Fields { bytes, at: 0 };
        while let Some((start, number, value)) = fields.next()? {
            let corrupt =
                |field, detail: &'static str| Error::Info { offset: start, field, detail: detail.into() };
            match (number, value) {
                (1, Value::Number(0)) => {}
                (1, _) => return Err(corrupt("scheme", "not AES-256-GCM, the only one known")),
                (2, Value::Bytes(_, salt)) => info.salt = salt.to_vec(),
                (3, Value::Bytes(inner_at, entry)) => {
                    let (key, value) = map_entry(entry, inner_at)?;
                    info.wrapped.insert(key, value);
                }
                (2 | 3, Value::Number(_)) => return Err(corrupt("wire type", "a number instead of bytes")),
                _ => {}
            }
        }
        match (info.salt.is_empty(), info.wrapped.is_empty()) {
            (true, true) => {
                let detail = "neither a salt nor a wrapped key".into();
                Err(Error::Info { offset: bytes.len(), field: "content", detail })
            }
            _ => Ok(info),
        }
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.salt.is_empty() {
            put_field(&mut out, 2, &self.salt);
        }
        for (hash, wrapped) in &self.wrapped {
            let mut entry = Vec::new();
            put_field(&mut entry, 1, hash);
            put_field(&mut entry, 2, wrapped);
            put_field(&mut out, 3, &entry);
        }
        out
    }
}

fn put_field(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.push(number << 3 | 2);
    let mut len = value.len();
    while len >= 0x80 {
        out.push(len.to_le_bytes()[0] | 0x80);
        len >>= 7;
    }
    out.push(len.to_le_bytes()[0]);
    out.extend_from_slice(value);
}

fn map_entry(entry: &[u8], offset: usize) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let mut fields = Fields { bytes: entry, at: 0 };
    let outer = |e| match e {
        Error::Info { offset: inner, field, detail } => Error::Info { offset: offset + inner, field, detail },
        other => other,
    };
    while let Some((_, number, field)) = fields.next().map_err(outer)? {
        match (number, field) {
            (1, Value::Bytes(_, bytes)) => key = bytes.to_vec(),
            (2, Value::Bytes(_, bytes)) => value = bytes.to_vec(),
            _ => {}
        }
    }
    Ok((key, value))
}

/// A protobuf field's value, of the wire types that occur; bytes with their position.
enum Value<'a> {
    Number(u64),
    Bytes(usize, &'a [u8]),
}

struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Start, number and value of the next field.
    fn next(&mut self) -> Result<Option<(usize, u64, Value<'a>)>, Error> {
        let start = self.at;
        if start >= self.bytes.len() {
            return Ok(None);
        }
        let tag = self.number("field tag")?;
        let value = match tag & 7 {
            0 => Value::Number(self.number("number")?),
            1 => Value::Number(self.skip(8)?),
            5 => Value::Number(self.skip(4)?),
            2 => {
                let len = self.number("length")?;
                let at = self.at;
                let left = self.bytes.get(at..).unwrap_or(&[]);
                let value = usize::try_from(len).ok().and_then(|len| left.get(..len));
                let Some(value) = value else {
                    let detail = format!("{len} bytes, but {} are left", left.len()).into();
                    return Err(Error::Info { offset: at, field: "length", detail });
                };
                self.at += value.len();
                Value::Bytes(at, value)
            }
            other => {
                let detail = format!("{other} is not known").into();
                return Err(Error::Info { offset: start, field: "wire type", detail });
            }
        };
        Ok(Some((start, tag >> 3, value)))
    }

    fn number(&mut self, field: &'static str) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else { break };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::Info { offset: self.at, field, detail: "no end within the file or ten bytes".into() })
    }

    fn skip(&mut self, len: usize) -> Result<u64, Error> {
        if self.bytes.len() - self.at < len {
            let detail = "cut".into();
            return Err(Error::Info { offset: self.at, field: "fixed number", detail });
        }
        self.at += len;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passphrase_file_has_18_bytes() {
        let info = EncryptionInfo::with_salt([7; 16]);
        let bytes = info.encode();
        assert_eq!(bytes[..2], [0x12, 0x10]);
        assert_eq!((bytes.len(), &bytes[2..]), (18, &[7; 16][..]));
        assert_eq!(EncryptionInfo::decode(&bytes).unwrap(), info);
        assert_eq!(info.wrapped_key("x").unwrap_err(), Error::NeedsPassphrase);
        for cut in 0..bytes.len() {
            EncryptionInfo::decode(&bytes[..cut]).unwrap_err();
        }
    }

    #[test]
    fn kms_keys_by_hash_of_the_master_key() {
        let mut info = EncryptionInfo::for_kms();
        info.add_wrapped_key("arn:aws:kms:a", vec![1; 300]);
        info.add_wrapped_key("arn:aws:kms:b", vec![2; 5]);
        let again = EncryptionInfo::decode(&info.encode()).unwrap();
        assert_eq!(again, info);
        assert_eq!(again.wrapped_key("arn:aws:kms:b").unwrap(), [2; 5]);
        assert_eq!(again.wrapped_key("arn:aws:kms:c").unwrap_err(), Error::NotWrappedFor);
        assert_eq!(again.passphrase_key(b"x").unwrap_err(), Error::NeedsKms);
    }

    #[test]
    fn other_schemes_are_refused() {
        let mut bytes = vec![0x08, 0x01];
        bytes.extend(EncryptionInfo::with_salt([1; 16]).encode());
        EncryptionInfo::decode(&bytes).unwrap_err();
        bytes[1] = 0;
        EncryptionInfo::decode(&bytes).unwrap();
    }
}
