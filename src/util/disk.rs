//! The disk that a server fills, where it is one of this machine.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

/// What is known of such a disk, and what can be done for room on it.
pub trait Disk: Debug + Send + Sync {
    /// Bytes that may still be stored when `pending` others, accepted before, are on their way.
    fn left(&self, pending: u64) -> u64;

    /// The same for somebody who only asks: where it is little, what others may have removed is looked for meanwhile.
    fn look(&self) -> u64;

    /// Whether the disk has less than the server's log may need for a while.
    fn is_low(&self) -> bool;

    /// Whether not even what was accepted should be stored now: the server is about to stop for want of room.
    fn is_exhausted(&self) -> bool;

    /// To be awaited before something that makes the server's log longer: where little is left for that, has the log made
    /// shorter first.
    fn pace(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// So many bytes were stored.
    fn stored(&self, bytes: u64);

    /// Something was removed, whose room is of use again after a while.
    fn freed(&self);

    /// Makes the room of what was removed usable, as far as that is possible; returns at once where nothing was.
    /// Dropping the future leaves it to a later call.
    fn reclaim(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
