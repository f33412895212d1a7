//! SpatialObject messages: only what the text form needs.
//!
//! Fields: 1 type (1 geography, 2 geometry), 2 EWKB, 3 SRID, 4 shape, 5 bounding box.

use super::error::{Error, Result};
use super::varint::{Reader, put_leb};

const WHAT: &str = "spatial object";

/// The EWKB bytes of a SpatialObject.
pub fn ewkb(object: &[u8]) -> Result<&[u8]> {
    let mut found: &[u8] = &[];
    each_bytes(object, |field, bytes| {
        if field == 2 {
            found = bytes;
        }
        Ok(())
    })?;
    Ok(found)
}

/// Low x, high x, low y, high y of a SpatialObject; `None` where it has no extent.
pub fn bounding_box(object: &[u8]) -> Result<Option<[f64; 4]>> {
    let mut found = None;
    each_bytes(object, |field, bytes| {
        if field == 5 {
            found = Some(bounds(bytes)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `take` with the number and the bytes of each length-delimited field.
fn each_bytes<'a>(object: &'a [u8], mut take: impl FnMut(u64, &'a [u8]) -> Result<()>) -> Result<()> {
    let mut r = Reader::new(object);
    while !r.is_empty() {
        let tag = r.leb(WHAT)?;
        match tag & 7 {
            0 => {
                r.leb(WHAT)?;
            }
            1 => {
                r.take(8, WHAT)?;
            }
            2 => {
                let len = r.leb(WHAT)?;
                let bytes = r.take_u64(len, WHAT)?;
                take(tag >> 3, bytes)?;
            }
            5 => {
                r.take(4, WHAT)?;
            }
            _ => return Err(Error::Invalid { what: WHAT }),
        }
    }
    Ok(())
}

fn bounds(message: &[u8]) -> Result<[f64; 4]> {
    let mut r = Reader::new(message);
    // Zeros are left out.
    let mut bounds = [0.0; 4];
    while !r.is_empty() {
        let at = match r.u8(WHAT)? {
            0x09 => 0,
            0x11 => 1,
            0x19 => 2,
            0x21 => 3,
            _ => return Err(Error::Invalid { what: WHAT }),
        };
        let value = f64::from_le_bytes(r.array(WHAT)?);
        if let Some(bound) = bounds.get_mut(at) {
            *bound = value;
        }
    }
    Ok(bounds)
}

/// A SpatialObject for EWKB (little-endian, two dimensions). Points of both types, and lines and polygons of
/// geometries: the bounding box of other geographies takes spherical geometry.
pub fn from_ewkb(wkb: &[u8], geography: bool) -> Result<Vec<u8>> {
    let (srid, shape, bounds) = scan(wkb)?;
    if geography && shape != 1 {
        return Err(Error::NotDerivable { what: "the bounding box of this geography" });
    }
    let mut out = vec![0x08, if geography { 1 } else { 2 }, 0x12];
    put_leb(&mut out, wkb.len() as u64);
    out.extend_from_slice(wkb);
    if srid != 0 {
        out.push(0x18);
        put_leb(&mut out, u64::from(srid));
    }
    out.push(0x20);
    put_leb(&mut out, u64::from(shape));
    let [lo_x, hi_x, lo_y, hi_y] = bounds;
    let mut bounds = Vec::with_capacity(36);
    for (tag, v) in [(0x09, lo_x), (0x11, hi_x), (0x19, lo_y), (0x21, hi_y)] {
        // As protobuf does, zeros are left out.
        if v != 0.0 {
            bounds.push(tag);
            let v = if geography { v.to_radians() } else { v };
            bounds.extend_from_slice(&v.to_le_bytes());
        }
    }
    out.push(0x2a);
    put_leb(&mut out, bounds.len() as u64);
    out.extend_from_slice(&bounds);
    Ok(out)
}

/// SRID, shape and bounds (low x, high x, low y, high y) of a point, line or polygon.
fn scan(wkb: &[u8]) -> Result<(u32, u32, [f64; 4])> {
    const HAS_SRID: u32 = 0x2000_0000;
    let mut r = Reader::new(wkb);
    if r.u8(WHAT)? != 1 {
        return Err(Error::Invalid { what: "EWKB (not little-endian)" });
    }
    let kind = u32::from_le_bytes(r.array(WHAT)?);
    let srid = if kind & HAS_SRID != 0 { u32::from_le_bytes(r.array(WHAT)?) } else { 0 };
    let shape = kind & !HAS_SRID;
    let mut bounds = [f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY, f64::NEG_INFINITY];
    let rings = if shape == 3 { u32::from_le_bytes(r.array(WHAT)?) } else { 1 };
    for _ in 0..rings {
        let points = match shape {
            1 => 1,
            2 | 3 => u32::from_le_bytes(r.array(WHAT)?),
            _ => return Err(Error::NotDerivable { what: "the bounding box of this shape" }),
        };
        for _ in 0..points {
            let x = f64::from_le_bytes(r.array(WHAT)?);
            let y = f64::from_le_bytes(r.array(WHAT)?);
            let [lo_x, hi_x, lo_y, hi_y] = bounds;
            bounds = [lo_x.min(x), hi_x.max(x), lo_y.min(y), hi_y.max(y)];
        }
    }
    r.finish(WHAT)?;
    Ok((srid, shape, bounds))
}
