//! `userfilefs umount`, and the same as umount(8)'s helper.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cli::mount::told;
use crate::cli::{Exit, output};
use crate::mount::helper;
use crate::mount::kernel;
use crate::mount::unmount::{self, TIMEOUT_DEFAULT, Unmount, Unmounted};

/// A drain that takes longer than this is worth a line.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// fusermount3 looks there.
const MTAB_HINT: &str = "as root, run: ln -s ../proc/self/mounts /etc/mtab";
/// Lines about a drain come no faster than this.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Store what is left, and unmount.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  userfilefs umount /mnt/userfile\n  userfilefs umount --timeout 20 /mnt/userfile"
)]
pub struct Args {
    /// The directories
    #[arg(value_name = "DIR", required = true)]
    dirs: Vec<PathBuf>,

    /// Take it out of the tree at once, even while it is in use; the daemon stores the rest when the last file is closed
    #[arg(short = 'l', long)]
    lazy: bool,

    /// If not everything can be stored, give the rest up
    #[arg(short = 'f', long)]
    force: bool,

    /// How long to wait for stores, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT_DEFAULT.as_secs())]
    timeout: u64,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let mut exit = Exit::Success;
    for dir in args.dirs {
        let timeout = Duration::from_secs(args.timeout);
        if let Err(e) = one(Unmount { dir, lazy: args.lazy, force: args.force, timeout }) {
            output::error(&e);
            exit = Exit::MountFailure;
        }
    }
    Ok(exit)
}

/// Runs as umount(8)'s helper, with the whole argument vector.
pub fn run_helper(argv: &[OsString]) -> Exit {
    let args = match helper::umount_args(argv.get(1..).unwrap_or_default()) {
        Ok(args) => args,
        Err(e) => {
            output::error(&e.into());
            return Exit::Failure;
        }
    };
    output::set_quiet(!args.verbose);
    let plan = Unmount { dir: args.dir.into(), lazy: args.lazy, force: args.force, timeout: TIMEOUT_DEFAULT };
    match one(plan) {
        Ok(()) => Exit::Success,
        Err(e) => {
            output::error(&e);
            Exit::MountFailure
        }
    }
}

fn one(mut plan: Unmount) -> anyhow::Result<()> {
    plan.dir = kernel::resolve_mount_point(&plan.dir)
        .map_err(|e| anyhow::anyhow!("cannot unmount {}: {e}", plan.dir.display()))?;
    let started = Instant::now();
    let mut last: Option<Instant> = None;
    let shown = plan.dir.display().to_string();
    let mut progress = |status: &str| {
        if started.elapsed() >= SILENCE_MAX && last.is_none_or(|last| last.elapsed() >= PROGRESS_EVERY) {
            last = Some(Instant::now());
            output::note(format!("waiting for {shown}: {status}"));
        }
    };
    match unmount::unmount(&plan, &mut progress) {
        Ok(Unmounted::Clean) => {}
        Ok(Unmounted::WasDead) => {
            output::note(format!("the daemon of {shown} had died; its remains are taken away"))
        }
        Ok(Unmounted::Unattended) => {
            output::warn(format!(
                "{shown} is unmounted, but its daemon did not say whether everything is stored"
            ));
        }
        Ok(Unmounted::Elsewhere(holder)) => {
            output::note(format!(
                "{shown} is unmounted here, and everything is stored; still used by {holder}"
            ));
        }
        Ok(Unmounted::Lingering) => {
            output::note(format!(
                "{shown} is out of the tree; its daemon ends when nothing uses it any more"
            ));
        }
        Err(e) => {
            let mtab = || e.to_string().contains("/etc/mtab").then_some(MTAB_HINT);
            let hint = e.hint().or_else(mtab);
            return Err(told(e, hint));
        }
    }
    Ok(())
}
