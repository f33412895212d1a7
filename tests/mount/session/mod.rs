//! The life of a mount: mount(8) and its helper, fstab, the daemon, signals, every way to unmount.
//!
//! Most tests are shell scripts, because what they test is what a shell does. Each runs in a mount namespace
//! of its own, in which the helpers are "installed" by an overlay over /usr/sbin: the machine stays as it is.

mod daemon;
mod helper;
mod private;
mod readme;
mod scripts;
mod systemd;
mod unmount;
mod unprivileged;

/// A rig for scripts; leaves the test (after a loud skip) where the machine cannot mount.
macro_rules! rig {
    () => {{
        let Some(rig) = crate::session::scripts::Rig::new() else { return };
        rig
    }};
}
pub(crate) use rig;
