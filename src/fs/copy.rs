//! copy_file_range(2): `cp` inside the mount copies on the server.

use std::sync::Arc;

use super::UserfileFs;
use super::error::{FsError, Result};
use super::node::Shape;
use crate::chunk;

/// Chunks copied by one call, at most; the caller calls again.
const CHUNKS_PER_CALL: u64 = 32;

impl UserfileFs {
    /// Copies whole chunks between files without moving their bytes through the client, and
    /// returns the bytes copied, possibly fewer than asked. What is not whole chunks at the same
    /// offsets is answered with "not supported": the kernel then copies by reading and writing.
    pub async fn copy_range(
        self: &Arc<Self>,
        from: u64,
        offset_from: u64,
        to: u64,
        offset_to: u64,
        len: u64,
    ) -> Result<u32> {
        let (from, to) = (self.handles.get(from)?, self.handles.get(to)?);
        let (source, target) = (from.file()?.clone(), to.file()?.clone());
        if !to.writes {
            return Err(FsError::BadHandle);
        }
        self.check_writable()?;
        if let Some(failed) = to.failed.lock().clone().or_else(|| target.st.lock().failed.clone()) {
            return Err(failed);
        }
        let chunk_len = self.table.chunk_len() as u64;
        if offset_from != offset_to || !offset_from.is_multiple_of(chunk_len) || source.ino == target.ino {
            return Err(FsError::NotSupported);
        }
        let base = {
            let st = source.st.lock();
            match st.base {
                Some(base)
                    if st.overlay.is_clean()
                        && st.size == base.size
                        && st.overlay.base_valid() == base.size =>
                {
                    base
                }
                _ => return Err(FsError::NotSupported),
            }
        };
        let chunks = (base.size.saturating_sub(offset_from).min(len) / chunk_len).min(CHUNKS_PER_CALL);
        if chunks == 0 {
            return Err(FsError::NotSupported);
        }
        self.learn_shape(&source, base).await?;
        if !matches!(source.st.lock().shape, Shape::Regular) {
            return Err(FsError::NotSupported);
        }
        let _io = target.io.lock().await;
        self.need_disk(chunks * chunk_len).await?;
        self.uploads_done(&target).await;
        let staging = self.staging(&target).await?;
        let first = offset_from / chunk_len;
        let offsets: Vec<u64> = (first..first + chunks).map(|i| i * chunk_len).collect();
        match staging.copy_from(base.id, &offsets).await {
            Ok(()) => {}
            Err(chunk::Error::Changed(_)) => return Err(FsError::NotSupported),
            Err(e) => return Err(e.into()),
        }
        let now = self.now();
        let freed = {
            let mut st = target.st.lock();
            let mut freed = 0;
            for index in first..first + chunks {
                freed += st.overlay.copied(index);
                st.staged_high = st.staged_high.max(Some(index));
            }
            st.size = st.size.max(offset_from + chunks * chunk_len);
            st.mtime = now;
            st.ctime = now;
            st.dirty = true;
            st.version += 1;
            freed
        };
        self.budget.release(freed);
        self.look_after(&target);
        Ok((chunks * chunk_len) as u32)
    }
}
