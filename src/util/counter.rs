//! Counters that threads share.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Takes `by` away; the counter stops at zero.
pub fn lower(counter: &AtomicUsize, by: usize) {
    let mut now = counter.load(Relaxed);
    while let Err(changed) = counter.compare_exchange_weak(now, now.saturating_sub(by), Relaxed, Relaxed) {
        now = changed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_at_zero() {
        let counter = AtomicUsize::new(5);
        lower(&counter, 3);
        assert_eq!(counter.load(Relaxed), 2);
        lower(&counter, 3);
        assert_eq!(counter.load(Relaxed), 0);
    }
}
