//! The tree of commands. One line here per command family.

use super::Exit;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};

const ABOUT: &str = "CockroachDB userfile storage as a directory; reads the backups in it, too";
const HELP: &str = "\
Without a URL, connection flag or variable, a private PostgreSQL of this user is started and used.
'userfilefs COMMAND --help' explains each command with examples.

Examples:
  userfilefs mount ~/userfiles                            userfile storage as a directory
  cp -r cluster-backup ~/userfiles/                       stored when cp ends
  userfilefs list -l                                      the same, without a mount
  userfilefs get cluster-backup restored/
  userfilefs umount ~/userfiles
  userfilefs list --url 'postgresql://bob@db:26257/defaultdb?sslmode=verify-full'";

/// CockroachDB userfile storage as a directory.
#[derive(Parser, Debug)]
#[command(name = "userfilefs", version, about = ABOUT, propagate_version = true, max_term_width = 100)]
#[command(after_help = HELP)]
pub struct Cli {
    /// Say more on stderr; twice for debugging, three times for everything
    #[arg(short = 'v', long, global = true, action = ArgAction::Count, display_order = 900)]
    pub verbose: u8,

    /// Say nothing on stderr but warnings and errors
    #[arg(short = 'q', long, global = true, display_order = 901)]
    pub quiet: bool,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Makes the enum of commands and its dispatch: `/// help` and `Name => module,`.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident => $module:ident),* $(,)?) => {
        /// What to do.
        #[derive(Subcommand, Debug)]
        pub enum Command {
            $($(#[$attribute])* $name(super::$module::Args),)*
        }

        impl Command {
            /// Does it.
            pub fn run(self) -> anyhow::Result<Exit> {
                match self {
                    $(Command::$name(args) => super::$module::run(args),)*
                }
            }
        }
    };
}

commands! {
    /// Mount userfile storage as a directory
    Mount => mount,
    /// Store what is left, and unmount
    Umount => umount,
    #[allow(missing_docs)]
    Upload => upload,
    #[allow(missing_docs)]
    #[command(visible_alias = "ls")]
    List => list,
    #[allow(missing_docs)]
    Get => get,
    #[allow(missing_docs)]
    #[command(visible_alias = "rm")]
    Delete => delete,
    #[allow(missing_docs)]
    Userfile => userfile,
    #[allow(missing_docs)]
    Generate => generate,
    /// Show what a backup holds
    Show => show,
    /// Write the rows of a table of a backup
    Export => export,
    /// Read a whole backup and tell every damage
    Check => check,
    /// Look at, start or stop the private PostgreSQL of this user
    Server => server,
}

/// The definitions behind the parser, for man pages and completions.
pub fn tree() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn definitions_are_consistent() {
        super::tree().debug_assert();
    }
}
