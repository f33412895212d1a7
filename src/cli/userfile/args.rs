//! Arguments of the userfile commands.

use crate::cli::connect::ConnectionArgs;
use clap::{Args, Subcommand};
use std::ffi::OsString;

/// The userfile commands.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the help text of each is that of its arguments")]
pub enum UserfileCommand {
    Upload(UploadArgs),
    #[command(visible_alias = "ls")]
    List(ListArgs),
    Get(GetArgs),
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
}

/// What may follow the word `userfile`.
#[derive(Debug, Subcommand)]
pub enum UserfileWord {
    /// One of the commands
    #[command(flatten)]
    Known(UserfileCommand),
    /// Any other word
    #[command(external_subcommand)]
    Unknown(Vec<OsString>),
}

const USERFILE_EXAMPLES: &str = "\
Examples:
  userfilefs userfile upload test.csv /test/file1.csv --certs-dir=certs
  userfilefs userfile list '*.csv' --url 'postgresql://root@localhost:26257?sslmode=disable'
  userfilefs userfile get 'userfile://defaultdb.public.userfiles_$user/cluster-backup'
  userfilefs userfile delete bank-backup --insecure";

/// The same commands behind the word `userfile`, as the cockroach program has them
///
/// `userfilefs userfile upload` is `userfilefs upload`, and so on: lines from CockroachDB's documentation work
/// when the word cockroach is replaced.
#[derive(Args, Debug)]
#[command(after_help = USERFILE_EXAMPLES)]
pub struct UserfileArgs {
    /// Which command
    #[command(subcommand)]
    pub word: Option<UserfileWord>,
}

const UPLOAD_HELP: &str = "\
Stores a local file, or with -r a directory, in userfile storage. A file appears under its name only when it \
is stored whole; an existing one is left alone unless --overwrite is given.

DESTINATION is a path, taken literally, or a userfile:// URI, in which percent escapes are decoded and $user \
stands for the connected user. Without it the file keeps its own name. A name may not contain empty, . or .. \
parts, nor end in a slash.

With -r, 'upload -r dir to' stores /to/dir/... and 'upload -r dir/ to' (with the slash) stores /to/...; without \
DESTINATION both store /dir/... . Empty directories are not stored; links are followed to files, a link to a \
directory is an error. The first error stops the command; what was stored before it stays, and the same command \
with --skip-existing carries on from there.";

const UPLOAD_EXAMPLES: &str = "\
Examples:
  userfilefs upload report.csv                            as /report.csv
  userfilefs upload report.csv 2024/report.csv            under another name
  userfilefs upload backup 'userfile://defaultdb.public.userfiles_$user/backup'
  userfilefs upload -r cluster-backup                     a whole directory, as /cluster-backup/...
  userfilefs upload -r --skip-existing cluster-backup     the same again, after it was interrupted
  pg_dump shop | userfilefs upload - dumps/shop.sql       from a pipe";

/// Store local files
#[derive(Args, Debug)]
#[command(long_about = UPLOAD_HELP, after_help = UPLOAD_EXAMPLES)]
#[command(override_usage = "userfilefs upload [OPTIONS] SOURCE [DESTINATION]")]
pub struct UploadArgs {
    /// Local file or directory ('-': standard input), and where to store it
    #[arg(value_names = ["SOURCE", "DESTINATION"], num_args = 0..)]
    pub paths: Vec<OsString>,
    /// Store a directory with everything below it
    #[arg(short, long)]
    pub recursive: bool,
    /// Replace stored files of the same name
    #[arg(long)]
    pub overwrite: bool,
    /// Pass over files that are stored already with the same size
    #[arg(long)]
    pub skip_existing: bool,
    /// Leave out symbolic links (with -r)
    #[arg(long)]
    pub skip_links: bool,
    /// How to work
    #[command(flatten)]
    pub work: WorkArgs,
    /// Which server
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Options that upload, get and delete have in common.
#[derive(Args, Debug)]
pub struct WorkArgs {
    /// Files to work on at the same time
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

const LIST_HELP: &str = "\
Lists stored files, one a line, without their leading slash and in byte order.

Without PATTERN, or with '', / or '*', all files. A word without pattern characters lists every name that \
begins with it; a trailing slash lists what is below that directory. In a pattern, * and ? stand for \
characters of one path part, [a-z] and [^a-z] for one of a set, and a backslash takes the next character \
literally. Patterns must match the whole name. Quote them, or the shell will expand them.

Nothing found is no error: the list is empty, and a line on standard error says so.";

const LIST_EXAMPLES: &str = "\
Examples:
  userfilefs list                                         everything
  userfilefs list cluster-backup/                         below one directory
  userfilefs list '*.csv'                                 at the top level
  userfilefs list 'userfile:///2024/*/*.csv'
  userfilefs list -l                                      with size, time and owner
  userfilefs list --json | jq -r '.[].name'";

/// List stored files
#[derive(Args, Debug)]
#[command(long_about = LIST_HELP, after_help = LIST_EXAMPLES)]
#[command(override_usage = "userfilefs list [OPTIONS] [PATTERN]...")]
pub struct ListArgs {
    /// Names or patterns
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<OsString>,
    /// Size in bytes, time (UTC) and owner in front of each name
    #[arg(short, long, conflicts_with = "json")]
    pub long: bool,
    /// With -l, sizes in KiB, MiB, ...
    #[arg(long, requires = "long")]
    pub human: bool,
    /// A JSON array with one object a line
    #[arg(long)]
    pub json: bool,
    /// A NUL instead of a newline behind each name
    #[arg(short = '0', long, conflicts_with_all = ["json", "long"])]
    pub null: bool,
    /// What the arguments mean
    #[command(flatten)]
    pub select: SelectArgs,
    /// Which server
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Options on what a pattern means.
#[derive(Args, Debug)]
pub struct SelectArgs {
    /// Take the arguments as names: no pattern characters
    #[arg(long)]
    pub literal: bool,
    /// Accepted, and not needed: directories are always taken whole
    #[arg(short, long, hide = true)]
    pub recursive: bool,
}

const GET_HELP: &str = "\
Fetches stored files. PATTERN is a name, which takes the file and everything below it if it is a directory, or \
a pattern as for 'userfilefs list' (see there); '/' is everything.

One file goes to DESTINATION, or into it if it is a directory, or to its own name in the current directory. \
Several files keep their whole stored path below DESTINATION or the current directory; directories are made as \
needed. Of several PATTERNs each must find something; what the others find is fetched all the same. '-' is standard output.

A local file appears under its name only when it is complete, with mode 0600. Existing files are left alone \
unless --overwrite is given, and stop the command unless --skip-existing is.";

const GET_EXAMPLES: &str = "\
Examples:
  userfilefs get report.csv                               to ./report.csv
  userfilefs get report.csv /tmp                          to /tmp/report.csv
  userfilefs get cluster-backup                           to ./cluster-backup/...
  userfilefs get 'userfile://defaultdb.public.userfiles_$user/cluster-backup' restored/
  userfilefs get '2024/*.csv' --skip-existing             only what is not here yet
  userfilefs get dumps/shop.sql - | psql shop             to a pipe";

/// Fetch stored files
#[derive(Args, Debug)]
#[command(long_about = GET_HELP, after_help = GET_EXAMPLES)]
#[command(override_usage = "userfilefs get [OPTIONS] PATTERN... [DESTINATION]")]
pub struct GetArgs {
    /// What to fetch, and where to
    #[arg(value_names = ["PATTERN", "DESTINATION"], num_args = 0..)]
    pub paths: Vec<OsString>,
    /// Replace local files
    #[arg(long)]
    pub overwrite: bool,
    /// Pass over files that are here already with the same size
    #[arg(long)]
    pub skip_existing: bool,
    /// Fetch damaged files too: the chunks that are there, one behind the other
    #[arg(long)]
    pub recover: bool,
    /// What the arguments mean
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to work
    #[command(flatten)]
    pub work: WorkArgs,
    /// Which server
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

const DELETE_HELP: &str = "\
Deletes stored files. PATTERN is a name, which takes the file and everything below it if it is a directory \
('word' never takes 'word2'), or a pattern as for 'userfilefs list' (see there). '/', '*' and '' take \
everything; at a terminal that asks first.

Each file is gone at once and for good, in one transaction. CockroachDB frees the space when the table's \
gc.ttlseconds have passed, PostgreSQL when it vacuums.";

const DELETE_EXAMPLES: &str = "\
Examples:
  userfilefs delete bank-backup                           a file, or a directory with all in it
  userfilefs delete --dry-run '2023/*'                    see what that would delete
  userfilefs delete 'star\\*.txt'                          the file named star*.txt
  userfilefs delete --literal 'star*.txt'                 the same
  userfilefs delete userfile:///caf%E9                    a name that is not UTF-8, by its bytes
  userfilefs delete / --yes                               everything, without asking";

/// Delete stored files
#[derive(Args, Debug)]
#[command(long_about = DELETE_HELP, after_help = DELETE_EXAMPLES)]
#[command(override_usage = "userfilefs delete [OPTIONS] PATTERN...")]
pub struct DeleteArgs {
    /// Names or patterns
    #[arg(value_name = "PATTERN", num_args = 0..)]
    pub patterns: Vec<OsString>,
    /// No error if nothing matches
    #[arg(short, long)]
    pub force: bool,
    /// Do not ask before everything is deleted
    #[arg(short, long)]
    pub yes: bool,
    /// What the arguments mean
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to work
    #[command(flatten)]
    pub work: WorkArgs,
    /// Which server
    #[command(flatten)]
    pub connection: ConnectionArgs,
}
