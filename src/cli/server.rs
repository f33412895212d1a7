//! `userfilefs server …`: the private PostgreSQL.

use super::{Exit, output};
use crate::embedded;

/// Flags of `userfilefs server`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Print the connection URL; start the server if needed
    Url,
}

/// Runs it.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.what {
        What::Url => {
            let settings = embedded::ensure_running()?;
            output::line(settings.describe());
            Ok(Exit::Success)
        }
    }
}
