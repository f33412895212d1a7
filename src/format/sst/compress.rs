//! What the type byte of a block means.

use super::error::{Error, ErrorKind};
use super::limits::{BLOCK_LEN_MAX, SNAPPY_RATIO_MAX};
use super::varint;

/// Block type byte: stored as it is.
pub(super) const TYPE_RAW: u8 = 0;
/// Block type byte: Snappy, raw format.
pub(super) const TYPE_SNAPPY: u8 = 1;
/// Block type byte: LEB(uncompressed length), then a Zstandard frame.
pub(super) const TYPE_ZSTD: u8 = 7;

/// Decompresses `stored` into `out`, which keeps its capacity; returns the payload's length.
///
/// Allocates at most `limit` bytes, and for Snappy at most [`SNAPPY_RATIO_MAX`] times the stored length.
pub(super) fn decompress(
    block_type: u8,
    stored: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
    offset: u64,
) -> Result<usize, Error> {
    match block_type {
        TYPE_RAW => {
            grow(out, stored.len());
            if let Some(to) = out.get_mut(..stored.len()) {
                to.copy_from_slice(stored);
            }
            Ok(stored.len())
        }
        TYPE_SNAPPY => snappy(stored, out, limit, offset),
        TYPE_ZSTD => zstd(stored, out, limit, offset),
        other => Err(Error::new(
            ErrorKind::Unsupported,
            offset,
            "block type",
            format!("{other} is not known; 0 (raw), 1 (snappy) and 7 (zstd) are"),
        )),
    }
}

fn grow(out: &mut Vec<u8>, len: usize) {
    if out.len() < len {
        out.resize(len, 0);
    }
}

fn snappy(stored: &[u8], out: &mut Vec<u8>, limit: usize, offset: u64) -> Result<usize, Error> {
    let corrupt = |e: snap::Error| Error::new(ErrorKind::Corrupt, offset, "snappy block", e.to_string());
    let len = snap::raw::decompress_len(stored).map_err(corrupt)?;
    check_len(len, limit.min(stored.len().saturating_mul(SNAPPY_RATIO_MAX)), offset)?;
    grow(out, len);
    let to = out.get_mut(..len).unwrap_or(&mut []);
    let written = snap::raw::Decoder::new().decompress(stored, to).map_err(corrupt)?;
    same_len(written, len, "snappy block", offset)
}

fn zstd(stored: &[u8], out: &mut Vec<u8>, limit: usize, offset: u64) -> Result<usize, Error> {
    let field = "zstd block";
    let Some((len, at)) = varint::get_len(stored, 0) else {
        return Err(Error::new(ErrorKind::Truncated, offset, field, "its length is not a number"));
    };
    check_len(len, limit.min(BLOCK_LEN_MAX), offset)?;
    grow(out, len);
    let to = out.get_mut(..len).unwrap_or(&mut []);
    let written = ruzstd::decoding::FrameDecoder::new()
        .decode_all(stored.get(at..).unwrap_or(&[]), to)
        .map_err(|e| Error::new(ErrorKind::Corrupt, offset, field, e.to_string()))?;
    same_len(written, len, field, offset)
}

fn check_len(len: usize, limit: usize, offset: u64) -> Result<(), Error> {
    if len <= limit {
        return Ok(());
    }
    let detail = format!("{len} bytes are more than the {limit} that are possible here");
    Err(Error::new(ErrorKind::TooLarge, offset, "uncompressed block length", detail))
}

fn same_len(written: usize, len: usize, field: &'static str, offset: u64) -> Result<usize, Error> {
    if written == len {
        return Ok(len);
    }
    let detail = format!("yields {written} bytes instead of {len}");
    Err(Error::new(ErrorKind::Corrupt, offset, field, detail))
}

/// Compresses `payload` with Snappy into `out` if that saves at least an eighth; otherwise returns false.
pub(super) fn compress_snappy(encoder: &mut snap::raw::Encoder, payload: &[u8], out: &mut Vec<u8>) -> bool {
    let room = snap::raw::max_compress_len(payload.len());
    grow(out, room);
    match encoder.compress(payload, out) {
        Ok(len) if len < payload.len() - payload.len() / 8 => {
            out.truncate(len);
            true
        }
        _ => false,
    }
}
