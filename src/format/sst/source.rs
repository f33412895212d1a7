//! Where a reader gets its bytes: the caller does the I/O.

use std::convert::Infallible;
use std::sync::Arc;

/// Random access to a file's bytes.
///
/// The reader asks for one block at a time and never beyond the length given to `Reader::open`.
pub trait ReadAt {
    /// Failure of the source itself.
    type Error;

    /// The `len` bytes at `offset`: either borrowed from the source, or read into `scratch` (whose content
    /// and length may be changed, and whose capacity is reused).
    ///
    /// Fewer bytes than asked for mean that the file ends early; the reader reports that as damage.
    fn read_at<'a>(
        &'a self,
        offset: u64,
        len: usize,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], Self::Error>;
}

impl ReadAt for [u8] {
    type Error = Infallible;

    fn read_at<'a>(&'a self, offset: u64, len: usize, _: &'a mut Vec<u8>) -> Result<&'a [u8], Infallible> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or(&[]);
        Ok(rest.get(..len).unwrap_or(rest))
    }
}

impl ReadAt for Vec<u8> {
    type Error = Infallible;

    fn read_at<'a>(&'a self, offset: u64, len: usize, s: &'a mut Vec<u8>) -> Result<&'a [u8], Infallible> {
        self.as_slice().read_at(offset, len, s)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    type Error = T::Error;

    fn read_at<'a>(&'a self, offset: u64, len: usize, s: &'a mut Vec<u8>) -> Result<&'a [u8], T::Error> {
        (**self).read_at(offset, len, s)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    type Error = T::Error;

    fn read_at<'a>(&'a self, offset: u64, len: usize, s: &'a mut Vec<u8>) -> Result<&'a [u8], T::Error> {
        (**self).read_at(offset, len, s)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    type Error = T::Error;

    fn read_at<'a>(&'a self, offset: u64, len: usize, s: &'a mut Vec<u8>) -> Result<&'a [u8], T::Error> {
        (**self).read_at(offset, len, s)
    }
}
