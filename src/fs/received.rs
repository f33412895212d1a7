//! Reads see every write that was received before them.
//!
//! A write may have to wait: for a store that is under way, for memory, for what lies below it. The kernel has its bytes
//! in the page cache by then and lets go of the pages before the write is answered. When another open drops those pages,
//! the next read fetches them from here; answered without the write, it would bring the old bytes back into the page
//! cache, to stay and to be written again with whatever is changed beside them.

use std::sync::Arc;

use super::UserfileFs;
use super::node::FileNode;
use super::until::until;

/// Writes that were received and are not in memory yet.
#[derive(Default)]
pub struct Waiting {
    last: u64,
    /// Number, first byte, end.
    writes: Vec<(u64, u64, u64)>,
}

impl Waiting {
    fn add(&mut self, start: u64, end: u64) -> u64 {
        self.last += 1;
        self.writes.push((self.last, start, end));
        self.last
    }

    fn done(&mut self, number: u64) {
        self.writes.retain(|(n, ..)| *n != number);
    }

    /// Whether one up to this number touches these bytes.
    fn touches(&self, up_to: u64, start: u64, end: u64) -> bool {
        self.writes.iter().any(|(n, s, e)| *n <= up_to && *s < end && start < *e)
    }
}

/// A write that was received; dropped when memory holds it, or when it failed.
pub struct Received {
    file: Arc<FileNode>,
    number: u64,
}

impl Drop for Received {
    fn drop(&mut self) {
        self.file.st.lock().waiting.done(self.number);
        self.file.written.notify_waiters();
    }
}

/// What a read has to wait for.
pub struct Before {
    file: Arc<FileNode>,
    number: u64,
    start: u64,
    end: u64,
}

impl Before {
    /// Waits until memory holds the writes that were received before the read.
    pub async fn wait(self) {
        let touched = || self.file.st.lock().waiting.touches(self.number, self.start, self.end);
        until(&self.file.written, || !touched()).await;
    }
}

impl UserfileFs {
    /// Says that a write has been received that cannot be done at once. To be called in the order of the requests.
    pub fn write_received(&self, handle: u64, offset: u64, len: usize) -> Option<Received> {
        let handle = self.handles.get(handle).ok()?;
        let file = handle.file().ok()?.clone();
        let number = file.st.lock().waiting.add(offset, offset.saturating_add(len as u64));
        Some(Received { file, number })
    }

    /// The writes that a read has to wait for; None: none. To be called in the order of the requests.
    pub fn writes_before(&self, handle: u64, offset: u64, len: usize) -> Option<Before> {
        let handle = self.handles.get(handle).ok()?;
        let file = handle.file().ok()?;
        let end = offset.saturating_add(len as u64);
        let number = {
            let waiting = &file.st.lock().waiting;
            waiting.touches(waiting.last, offset, end).then_some(waiting.last)?
        };
        Some(Before { file: file.clone(), number, start: offset, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_waits_for_what_came_before_and_touches_it() {
        let mut w = Waiting::default();
        let (a, b) = (w.add(0, 10), w.add(20, 30));
        assert!(w.touches(b, 5, 6) && w.touches(b, 9, 21) && w.touches(b, 29, 99));
        assert!(!w.touches(b, 10, 20) && !w.touches(b, 30, 40));
        assert!(!w.touches(a, 20, 30), "received later");
        w.done(a);
        assert!(!w.touches(b, 0, 20) && w.touches(b, 0, 21));
    }
}
