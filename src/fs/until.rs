//! Waiting for a condition that others bring about.

use tokio::sync::Notify;

/// Waits until `done` says so; it is asked now and after each notification.
pub async fn until(told: &Notify, mut done: impl FnMut() -> bool) {
    loop {
        let told = told.notified();
        tokio::pin!(told);
        // What happens between the question and the wait is not missed.
        told.as_mut().enable();
        if done() {
            return;
        }
        told.await;
    }
}
