//! Work shared by threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Report;

/// Does every task on one of `threads` threads. Each task has a report of its own; they are put together in
/// the order of the tasks.
pub(super) fn share<T: Sync>(
    tasks: &[T],
    threads: usize,
    report: &mut Report,
    run: &(dyn Fn(&T, &mut Report) + Sync),
) {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Report)>> = Mutex::new(Vec::new());
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(at) else { return };
            let mut own = Report::default();
            run(task, &mut own);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, own));
        }
    };
    std::thread::scope(|scope| {
        let count = threads.clamp(1, tasks.len().max(1));
        for _ in 1..count {
            scope.spawn(worker);
        }
        worker();
    });
    let mut reports = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    reports.sort_by_key(|(at, _)| *at);
    for (_, own) in reports {
        report.absorb(own);
    }
}
