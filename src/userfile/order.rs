//! Several pieces of work at once whose results appear in the order in which the work was given.

use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::future::Future;
use tokio::sync::mpsc;

/// What the caller is told; for each item in order, `Start` and then `Done`.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a, I, O> {
    /// Work on the item has begun and everything before it is done.
    Start(&'a I),
    /// The item is done.
    Done(&'a I, O),
}

/// What the caller wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Go on.
    Continue,
    /// Begin nothing new; what is under way is finished and reported.
    Stop,
}

/// Runs `work` on the items that arrive, at most `jobs` at a time, and reports to `sink` in order.
///
/// After `sink` (or `watch`, which sees every result at once, out of order) says [`Then::Stop`] no further
/// item is begun. Returns when everything that was begun is reported. Dropping the future drops the work
/// under way.
pub async fn in_order<I, O, Fut>(
    mut items: mpsc::Receiver<I>,
    jobs: usize,
    work: impl Fn(&I) -> Fut,
    watch: impl Fn(&O) -> Then,
    mut sink: impl FnMut(Step<'_, I, O>) -> Then,
) where
    Fut: Future<Output = O>,
{
    let mut under_way = FuturesUnordered::new();
    let mut waiting: BTreeMap<u64, (I, Option<O>)> = BTreeMap::new();
    let (mut next, mut head, mut head_started) = (0u64, 0u64, false);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            Some((index, out)) = under_way.next(), if !under_way.is_empty() => {
                if watch(&out) == Then::Stop {
                    open = false;
                }
                if let Some(entry) = waiting.get_mut(&index) {
                    entry.1 = Some(out);
                }
            }
            item = items.recv(), if open && under_way.len() < jobs.max(1) => match item {
                Some(item) => {
                    let (index, run) = (next, work(&item));
                    under_way.push(async move { (index, run.await) });
                    waiting.insert(index, (item, None));
                    next += 1;
                }
                None => open = false,
            },
            else => return,
        }
        while let Some((item, out)) = waiting.get_mut(&head) {
            if !head_started {
                head_started = true;
                if sink(Step::Start(item)) == Then::Stop {
                    open = false;
                }
            }
            let Some(out) = out.take() else { break };
            if sink(Step::Done(item, out)) == Then::Stop {
                open = false;
            }
            waiting.remove(&head);
            (head, head_started) = (head + 1, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn feed(n: u64) -> mpsc::Receiver<u64> {
        let (tx, rx) = mpsc::channel(4);
        tokio::spawn(async move {
            for i in 0..n {
                if tx.send(i).await.is_err() {
                    return;
                }
            }
        });
        rx
    }

    #[tokio::test]
    async fn results_are_in_order_and_work_is_not() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut seen = Vec::new();
        in_order(
            feed(20),
            4,
            |i| {
                let (i, now, most) = (*i, &now, &most);
                async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis((7 * (i + 1)) % 11)).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    i * 10
                }
            },
            |_| Then::Continue,
            |step| {
                seen.push(match step {
                    Step::Start(i) => (*i, None),
                    Step::Done(i, o) => (*i, Some(o)),
                });
                Then::Continue
            },
        )
        .await;
        let want: Vec<_> = (0..20).flat_map(|i| [(i, None), (i, Some(i * 10))]).collect();
        assert_eq!(seen, want);
        assert_eq!(most.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn stop_finishes_what_is_under_way() {
        let mut done = Vec::new();
        in_order(
            feed(100),
            3,
            |i| {
                let i = *i;
                async move {
                    tokio::time::sleep(Duration::from_millis(if i == 1 { 1 } else { 20 })).await;
                    i
                }
            },
            |o| if *o == 1 { Then::Stop } else { Then::Continue },
            |step| {
                if let Step::Done(i, _) = step {
                    done.push(*i);
                }
                Then::Continue
            },
        )
        .await;
        assert_eq!(done, [0, 1, 2]);
    }
}
