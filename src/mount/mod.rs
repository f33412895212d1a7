//! The only place that knows FUSE and mount(2).
//!
//! | file | what it is for |
//! |---|---|
//! | `options`, `words`, `value` | the words of `-o` (pure) |
//! | `source` | the first word of a mount line (pure) |
//! | `config` | from options to what the layers below are told |
//! | `helper` | the arguments that mount(8) and umount(8) hand to their helpers (pure) |
//! | `table` | the kernel's table of mounts |
//! | `kernel` | mount(2), umount2(2), fusermount3 |
//! | `point` | the mount point before the mount: dead remains, doubled mounts |
//! | `daemon`, `argv`, `notify` | fork and readiness, the process list, systemd |
//! | `adapter` | requests to fs calls, replies back |
//! | `memory` | the allocator of a long-lived process |
//! | `session` | one mount's life, from the handshake to the last reply |
//! | `control` | how umount talks to the daemon |
//! | `unmount`, `holders` | storing, unmounting, waiting; who keeps a mount busy |

pub mod adapter;
pub mod argv;
pub mod config;
pub mod control;
pub mod daemon;
pub mod helper;
pub mod holders;
pub mod kernel;
pub mod memory;
mod notify;
pub mod options;
pub mod point;
pub mod session;
pub mod source;
pub mod table;
pub mod unmount;
pub mod value;
mod words;
