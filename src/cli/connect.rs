//! The connection flags of every command, and the way from them to a server.

use super::exit::{Exit, WithExit};
use super::output;
use super::surroundings::{Choice, Flags, Surroundings};
use crate::embedded;
use crate::sql::{Error, Host, Pool, PoolOptions, Settings};
use crate::util::disk::Disk;
use anyhow::Context;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the userfile tables are. Without any of these and without variables, a private server is used.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ConnectionArgs {
    /// Server: postgresql://user@host:port/database?sslmode=... [env: COCKROACH_URL]
    #[arg(help_heading = "Connection", long, value_name = "URL")]
    pub url: Option<String>,

    /// Database user [env: COCKROACH_USER, PGUSER] [default: root]
    #[arg(help_heading = "Connection", short = 'u', long, value_name = "NAME")]
    pub user: Option<String>,

    /// Server address, HOST or HOST:PORT [env: COCKROACH_HOST, PGHOST] [default: localhost:26257]
    #[arg(help_heading = "Connection", long, value_name = "HOST")]
    pub host: Option<String>,

    /// Server port [env: COCKROACH_PORT, PGPORT]
    #[arg(help_heading = "Connection", long, value_name = "PORT", hide = true)]
    pub port: Option<u16>,

    /// Directory with ca.crt, client.USER.crt and client.USER.key [env: COCKROACH_CERTS_DIR]
    #[arg(help_heading = "Connection", long, value_name = "DIR")]
    pub certs_dir: Option<PathBuf>,

    /// Connect without TLS [env: COCKROACH_INSECURE]
    #[arg(help_heading = "Connection", long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub insecure: Option<bool>,

    /// Accepted for the sake of documented command lines; `-vv` says more
    #[arg(help_heading = "Connection", long, hide = true)]
    pub echo_sql: bool,

    /// Accepted likewise: a certificate is chosen by the user's name
    #[arg(help_heading = "Connection", long, hide = true, value_name = "MAP")]
    pub cert_principal_map: Option<String>,

    /// Accepted likewise: `-v` and USERFILEFS_LOG say what is logged
    #[arg(help_heading = "Connection", long, hide = true, value_name = "CONFIG")]
    pub log: Option<String>,

    /// Accepted likewise
    #[arg(help_heading = "Connection", long, hide = true, num_args = 0..=1, default_missing_value = "INFO", require_equals = true, value_name = "LEVEL")]
    pub logtostderr: Option<String>,

    /// Ask for the password first (it is asked for anyway where the server wants one)
    #[arg(help_heading = "Connection", long)]
    pub password: bool,
}

impl ConnectionArgs {
    /// The same, for a URL that came as an argument of its own (`mount URL DIR`).
    pub fn with_url(mut self, url: Option<String>) -> ConnectionArgs {
        self.url = url.or(self.url);
        self
    }
}

/// Settings from flags, URL, variables and files; starts the private server if nothing names another one.
/// Says on stderr which server it is. Makes no connection to a named server.
pub fn settings(args: &ConnectionArgs) -> anyhow::Result<Settings> {
    let flags = Flags {
        url: args.url.clone(),
        host: args.host.clone(),
        port: args.port,
        user: args.user.clone(),
        certs_dir: args.certs_dir.clone(),
        insecure: args.insecure.unwrap_or(false),
    };
    let account = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let home = std::env::var_os("HOME").filter(|h| !h.is_empty()).map(PathBuf::from);
    let surroundings = Surroundings {
        var: &|name| std::env::var(name).ok(),
        read: &read_file,
        exists: &|p| p.exists(),
        home: home.or_else(|| account.as_ref().map(|a| a.dir.clone())),
        account: account.map(|a| a.name),
    };
    match surroundings.choose(&flags)? {
        Choice::Embedded => {
            let place = embedded::Place::of_user()?;
            if !place.data().exists() {
                output::note(format!("making a private PostgreSQL in {}, once", place.home().display()));
            }
            let settings = embedded::start(&place)?;
            output::note(format!("server: the private PostgreSQL of this user, {}", settings.describe()));
            Ok(settings)
        }
        Choice::Server(settings, origin) => {
            output::note(format!("server: {} (from {origin})", settings.describe()));
            if args.password {
                let password = ask_password(&settings)?;
                return Ok(settings.with_password(&password));
            }
            Ok(*settings)
        }
    }
}

/// The place of the private server, if that is where these settings lead.
pub(super) fn private_place(settings: &Settings) -> Option<embedded::Place> {
    let place = embedded::Place::of_user().ok()?;
    let socket = Host::Unix(place.socket_dir());
    settings.hosts().iter().any(|(host, _)| *host == socket).then_some(place)
}

/// The disk of the private server, if the settings lead there.
pub(super) fn private_disk(settings: &Settings) -> Option<Arc<dyn Disk>> {
    let place = private_place(settings)?;
    Some(embedded::Room::new(&place, settings.clone()))
}

/// Reads a password or service file; a password file that others may read is left out with a warning.
fn read_file(path: &Path) -> Option<String> {
    let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let is_service = path.extension().is_some_and(|e| e == "conf");
    if !is_service && meta.mode() & 0o077 != 0 {
        output::warn(format!("{} is ignored: others may read it (chmod 600 it)", path.display()));
        return None;
    }
    std::fs::read_to_string(path).ok()
}

/// [`settings`], complete with the password if the server asks for one: makes a trial connection, and asks on
/// the terminal. No thread of it is left, so the caller may still fork.
pub fn checked_settings(args: &ConnectionArgs, options: &PoolOptions) -> anyhow::Result<Settings> {
    let settings = settings(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(Pool::connect(settings.clone(), options.clone()));
    drop(runtime);
    match outcome {
        Ok(_) => Ok(settings),
        Err(e) if e.needs_password() && !args.password => {
            let password = ask_password(&settings).map_err(|why| unless_interrupted(why, e))?;
            Ok(settings.with_password(&password))
        }
        Err(e) => Err(e.into()),
    }
}

/// A pool for the settings of the arguments; asks for a password on the terminal if the server wants one.
pub async fn pool(args: &ConnectionArgs, options: PoolOptions) -> anyhow::Result<Pool> {
    pool_with(settings(args)?, options).await
}

/// The same for settings that are known.
pub async fn pool_with(settings: Settings, options: PoolOptions) -> anyhow::Result<Pool> {
    match Pool::connect(settings.clone(), options.clone()).await {
        Ok(pool) => Ok(pool),
        Err(e) if e.needs_password() => {
            let password = ask_password(&settings).map_err(|why| unless_interrupted(why, e))?;
            Ok(Pool::connect(settings.with_password(&password), options).await?)
        }
        Err(e) => Err(e.into()),
    }
}

/// Where nobody could be asked for the password, its being asked for is the error; Ctrl-C is its own.
fn unless_interrupted(why: anyhow::Error, asked: Error) -> anyhow::Error {
    if why.is::<WithExit>() { why } else { asked.into() }
}

/// Asks on the terminal, without echo. Ctrl-C ends the question with an error, whatever handles signals.
fn ask_password(settings: &Settings) -> anyhow::Result<String> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let tty = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty");
    let mut tty = tty.context("no terminal to ask for the password on")?;
    let before = tcgetattr(&tty)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
    // First silent, then the question: what is typed at once is neither shown nor thrown away.
    tcsetattr(&tty, SetArg::TCSAFLUSH, &silent)?;
    let asked = write!(tty, "Password for {}: ", settings.describe());
    let line = asked.and_then(|()| typed_line(&mut tty));
    let _ = writeln!(tty);
    tcsetattr(&tty, SetArg::TCSADRAIN, &before)?;
    line.map_err(|e| match e.kind() {
        io::ErrorKind::Interrupted => {
            WithExit { message: "interrupted".to_owned(), exit: Exit::Interrupted }.into()
        }
        _ => e.into(),
    })
}

/// A line typed on a terminal that edits nothing itself.
fn typed_line(tty: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut key = [0];
    loop {
        if tty.read(&mut key)? == 0 {
            break;
        }
        match key[0] {
            b'\n' | b'\r' | 0x04 => break,
            0x03 | 0x1c => return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            0x08 | 0x7f => {
                // A whole character: its continuation bytes, too.
                while line.pop().is_some_and(|b: u8| b & 0xc0 == 0x80) {}
            }
            0x15 => line.clear(),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the password is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::typed_line;

    #[test]
    fn typing() {
        let line = |keys: &str| typed_line(&mut keys.as_bytes()).map_err(|e| e.to_string());
        assert_eq!(line("s3cret\nrest").as_deref(), Ok("s3cret"));
        assert_eq!(line("no\x15a\u{e9}\x7fb\r").as_deref(), Ok("ab"));
        assert_eq!(line("\x7f\x04").as_deref(), Ok(""));
        assert_eq!(line("abc\x03").unwrap_err(), "interrupted");
    }
}
