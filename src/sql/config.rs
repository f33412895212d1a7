//! Where and as whom to connect. Pure: files and variables are read by the caller.

use super::params::{Params, split_host};
use super::{Error, ErrorClass};
use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::ChannelBinding;

/// PostgreSQL's port, for URLs that name none.
pub const PORT_POSTGRES: u16 = 5432;
/// CockroachDB's port, for its own flags where they name none.
pub const PORT_COCKROACH: u16 = 26257;
/// The database that the userfile tables live in where nothing else is said.
pub const DEFAULT_DATABASE: &str = "defaultdb";

/// What is written as it is in the parameter of a URL that names a directory.
const PATH_ENCODED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One address to try.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Host {
    /// A host name, as certificates are checked against, and the address to use instead of looking it up.
    Tcp {
        /// Host name or address in text.
        name: String,
        /// `hostaddr`, if it was given.
        addr: Option<IpAddr>,
    },
    /// The directory of a unix socket.
    Unix(PathBuf),
}

/// How much the connection is protected; the names are libpq's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SslMode {
    /// Never encrypt.
    Disable,
    /// Encrypt only if the server insists.
    Allow,
    /// Encrypt if the server can.
    Prefer,
    /// Encrypt, trust any certificate.
    Require,
    /// Encrypt, trust certificates of the authority, whatever their host name.
    VerifyCa,
    /// Encrypt, trust certificates of the authority for this host name.
    VerifyFull,
}

impl SslMode {
    /// From libpq's word.
    pub fn parse(word: &str) -> Result<SslMode, Error> {
        Ok(match word {
            "disable" => SslMode::Disable,
            "allow" => SslMode::Allow,
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            other => {
                return Err(Error::new(ErrorClass::Config, format!("there is no sslmode {other:?}"))
                    .with_hint("use disable, allow, prefer, require, verify-ca or verify-full"));
            }
        })
    }

    /// libpq's word.
    pub fn word(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

/// Whose certificates are trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RootCert {
    /// The system's authorities.
    System,
    /// The authorities in this PEM file.
    File(PathBuf),
}

/// Everything needed to connect. Debug and Display leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    pub(super) hosts: Vec<(Host, u16)>,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: String,
    pub(super) ssl_mode: SslMode,
    pub(super) root_cert: Option<RootCert>,
    pub(super) client_cert: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) options: Option<String>,
    pub(super) application_name: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    /// Hosts whose sessions cannot write are passed over.
    pub(super) read_write: bool,
    /// Whether a password is only given to the holder of the certificate.
    pub(super) channel_binding: ChannelBinding,
}

impl Settings {
    /// From a connection URL or `key=value` string alone: no variables, no files.
    pub fn parse(text: &str) -> Result<Settings, Error> {
        Settings::resolve(&Params::parse(text)?)
    }

    /// From settings by keyword. What is missing takes libpq's default, the database `defaultdb` and the
    /// user `root`.
    pub fn resolve(p: &Params) -> Result<Settings, Error> {
        refuse_unsupported(p)?;
        let ssl_mode = p.get("sslmode").map(SslMode::parse).transpose()?;
        let root_cert = p.get("sslrootcert").map(|f| match f {
            "system" => RootCert::System,
            file => RootCert::File(file.into()),
        });
        let ssl_mode = match (ssl_mode, &root_cert) {
            // As libpq: an authority that is named is used.
            (Some(SslMode::Require), Some(RootCert::File(_))) => SslMode::VerifyCa,
            (Some(m), Some(RootCert::System)) if m < SslMode::VerifyFull => {
                return Err(Error::new(
                    ErrorClass::Config,
                    format!("sslmode={} is too weak for sslrootcert=system", m.word()),
                )
                .with_hint("use sslmode=verify-full"));
            }
            (Some(m), _) => m,
            (None, Some(_)) => SslMode::VerifyFull,
            (None, None) => SslMode::Prefer,
        };
        let connect_timeout = match p.get("connect_timeout").map(str::parse::<i64>) {
            None => None,
            Some(Ok(s)) => u64::try_from(s).ok().filter(|s| *s > 0).map(|s| Duration::from_secs(s.max(2))),
            Some(Err(_)) => {
                return Err(Error::new(ErrorClass::Config, "connect_timeout is not a number of seconds"));
            }
        };
        Ok(Settings {
            hosts: hosts(p)?,
            user: p.get("user").unwrap_or("root").to_owned(),
            password: p.get("password").map(str::to_owned),
            database: p.get("dbname").unwrap_or(DEFAULT_DATABASE).to_owned(),
            ssl_mode,
            root_cert,
            client_cert: p.get("sslcert").map(PathBuf::from),
            client_key: p.get("sslkey").map(PathBuf::from),
            options: run_time_options(p),
            application_name: p.get("application_name").map(str::to_owned),
            connect_timeout,
            channel_binding: match p.get("channel_binding") {
                None | Some("prefer") => ChannelBinding::Prefer,
                Some("disable") => ChannelBinding::Disable,
                Some("require") => ChannelBinding::Require,
                Some(other) => {
                    return Err(Error::new(
                        ErrorClass::Config,
                        format!("there is no channel_binding {other:?}"),
                    )
                    .with_hint("use disable, prefer or require"));
                }
            },
            read_write: match p.get("target_session_attrs") {
                None | Some("any" | "prefer-standby" | "read-only" | "standby") => false,
                Some("read-write" | "primary") => true,
                Some(other) => {
                    return Err(Error::new(
                        ErrorClass::Config,
                        format!("there is no target_session_attrs {other:?}"),
                    )
                    .with_hint("use any, read-write or primary"));
                }
            },
        })
    }

    /// The user's name on the server.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database to connect to.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The same settings for another database.
    pub fn with_database(mut self, database: &str) -> Settings {
        self.database = database.to_owned();
        self
    }

    /// The same settings with a password.
    pub fn with_password(mut self, password: &str) -> Settings {
        self.password = Some(password.to_owned());
        self
    }

    /// True if a password was given.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// The protection that was asked for.
    pub fn ssl_mode(&self) -> SslMode {
        self.ssl_mode
    }

    /// The addresses to try, in order.
    pub fn hosts(&self) -> &[(Host, u16)] {
        &self.hosts
    }

    /// A URL without the password that other clients (and `--url`) take for the first host.
    pub fn url(&self) -> String {
        let enc = |t: &str| {
            percent_encoding::utf8_percent_encode(t, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let (user, database) = (enc(&self.user), enc(&self.database));
        match self.hosts.first() {
            Some((Host::Unix(dir), port)) => {
                let dir = percent_encoding::percent_encode(dir.as_os_str().as_bytes(), PATH_ENCODED);
                format!("postgresql://{user}@/{database}?host={dir}&port={port}")
            }
            Some((host, port)) => {
                format!(
                    "postgresql://{user}@{}/{database}?sslmode={}",
                    describe_host(host, *port),
                    self.ssl_mode.word()
                )
            }
            None => format!("postgresql://{user}@/{database}"),
        }
    }

    /// `postgresql://bob@host:26257/defaultdb`, without any secret.
    pub fn describe(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(|(h, p)| describe_host(h, *p)).collect();
        format!("postgresql://{}@{}/{}", self.user, hosts.join(","), self.database)
    }
}

/// `name:port`, `[v6]:port` or the socket's path.
pub(super) fn describe_host(host: &Host, port: u16) -> String {
    match host {
        Host::Tcp { name, .. } if name.contains(':') => format!("[{name}]:{port}"),
        Host::Tcp { name, .. } => format!("{name}:{port}"),
        Host::Unix(dir) => format!("{}/.s.PGSQL.{port}", dir.display()),
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = if self.password.is_some() { ", with a password" } else { "" };
        write!(f, "Settings({}, sslmode {}{password})", self.describe(), self.ssl_mode.word())
    }
}

fn hosts(p: &Params) -> Result<Vec<(Host, u16)>, Error> {
    let config = |m: String| Error::new(ErrorClass::Config, m);
    let names: Vec<&str> = p.get("host").map(|h| h.split(',').collect()).unwrap_or_default();
    let addrs: Vec<&str> = p.get("hostaddr").map(|h| h.split(',').collect()).unwrap_or_default();
    let ports: Vec<&str> = p.get("port").map(|h| h.split(',').collect()).unwrap_or_default();
    let n = names.len().max(addrs.len()).max(1);
    if !names.is_empty() && !addrs.is_empty() && names.len() != addrs.len() {
        return Err(config(format!("{} hosts but {} hostaddrs", names.len(), addrs.len())));
    }
    if ports.len() > 1 && ports.len() != n {
        return Err(config(format!("{} ports for {n} hosts", ports.len())));
    }
    let mut out = Vec::with_capacity(n);
    for i in 0..n {
        let port =
            ports.get(i).or(if ports.len() == 1 { ports.first() } else { None }).copied().unwrap_or("");
        let port = match port.trim() {
            "" => PORT_POSTGRES,
            text => text.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(|| config(not_a_port(text)))?,
        };
        let addr: Option<IpAddr> = match addrs.get(i).copied().unwrap_or("") {
            "" => None,
            text => {
                Some(text.parse().map_err(|_| config(format!("hostaddr {text:?} is not an IP address")))?)
            }
        };
        match (names.get(i).copied().unwrap_or("").trim(), addr) {
            ("", None) => {
                // As libpq: the usual socket directories; then, unlike it, this machine's TCP port.
                out.push((Host::Unix("/var/run/postgresql".into()), port));
                out.push((Host::Tcp { name: "localhost".to_owned(), addr: None }, port));
            }
            ("", Some(a)) => out.push((Host::Tcp { name: a.to_string(), addr }, port)),
            (dir, _) if dir.starts_with('/') => out.push((Host::Unix(dir.into()), port)),
            (name, addr) => {
                let (name, _) = if name.starts_with('[') { split_host(name)? } else { (name, "") };
                out.push((Host::Tcp { name: name.to_owned(), addr }, port));
            }
        }
    }
    Ok(out)
}

/// Keywords that ask for a protection which there is not here: to leave them out silently would be to promise it.
const UNSUPPORTED: &[&str] = &["sslcrl", "sslcrldir", "require_auth", "requirepeer"];

fn refuse_unsupported(p: &Params) -> Result<(), Error> {
    let gss = p.get("gssencmode") == Some("require");
    match UNSUPPORTED.iter().find(|k| p.get(k).is_some()).or(gss.then_some(&"gssencmode")) {
        None => Ok(()),
        Some(key) => Err(Error::new(ErrorClass::Config, format!("{key} is not supported"))
            .with_hint("leave it out if you can do without that protection")),
    }
}

/// Where the host is forgotten, the password stands in its port's place.
fn not_a_port(text: &str) -> String {
    match text.chars().all(|c| c.is_ascii_digit()) && text.len() <= 6 {
        true => format!("{text} is not a port number"),
        false => "the port is not a number".to_owned(),
    }
}

/// Keywords of libpq that mean nothing here, and those handled above; any other is a setting of the session.
const KNOWN: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "options",
    "application_name",
    "connect_timeout",
    "fallback_application_name",
    "passfile",
    "service",
    "servicefile",
    "channel_binding",
    "client_encoding",
    "require_auth",
    "sslcompression",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "sslnegotiation",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "gssencmode",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "target_session_attrs",
    "load_balance_hosts",
];

/// `options`, with every unknown keyword added as `-c key=value`, as other clients send them.
fn run_time_options(p: &Params) -> Option<String> {
    let mut words: Vec<String> = p.get("options").map(str::to_owned).into_iter().collect();
    for (key, value) in p.iter().filter(|(k, v)| !KNOWN.contains(k) && !v.is_empty()) {
        let escaped = value.replace('\\', "\\\\").replace(' ', "\\ ");
        words.push(format!("-c {key}={escaped}"));
    }
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn err(text: &str) -> String {
        Settings::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_url_reads_back() {
        let dir = "/tmp/a b%&#=+\"é/run";
        let mut params = Params::new();
        for (key, value) in [("host", dir), ("user", "al.ice"), ("dbname", "d/b")] {
            params.set(key, value);
        }
        let url = Settings::resolve(&params).unwrap().url();
        assert!(url.contains("host=/tmp/a%20b%25%26%23%3D%2B%22%C3%A9/run"), "{url}");
        let back = Settings::parse(&url).unwrap();
        assert_eq!((back.user(), back.database()), ("al.ice", "d/b"));
        assert_eq!(back.hosts()[0].0, Host::Unix(dir.into()));
    }

    #[test]
    fn defaults_and_description() {
        let s = Settings::parse("postgres://bob:s3cret@h:1/").unwrap();
        assert_eq!(s.describe(), "postgresql://bob@h:1/defaultdb");
        assert_eq!(
            format!("{s:?}"),
            "Settings(postgresql://bob@h:1/defaultdb, sslmode prefer, with a password)"
        );
        assert_eq!(s.with_database("x").database(), "x");
        let s = Settings::parse("postgres://a,[::1]:9,%2Ftmp/d?sslmode=disable&search_path=a%20b").unwrap();
        assert_eq!(s.describe(), "postgresql://root@a:5432,[::1]:9,/tmp/.s.PGSQL.5432/d");
        assert_eq!(s.options.as_deref(), Some("-c search_path=a\\ b"));
    }

    #[test]
    fn tls_modes() {
        let mode = |t: &str| Settings::parse(t).unwrap().ssl_mode;
        assert_eq!(mode("postgres://h"), SslMode::Prefer);
        assert_eq!(mode("postgres://h?sslrootcert=/ca"), SslMode::VerifyFull);
        assert_eq!(mode("postgres://h?sslmode=require&sslrootcert=/ca"), SslMode::VerifyCa);
        assert_eq!(mode("postgres://h?sslmode=verify-full&sslrootcert=system"), SslMode::VerifyFull);
        assert_eq!(
            err("postgres://h?sslmode=require&sslrootcert=system"),
            "sslmode=require is too weak for sslrootcert=system"
        );
        assert_eq!(err("postgres://h?sslmode=x"), "there is no sslmode \"x\"");
    }

    #[test]
    fn bad_lists() {
        assert_eq!(err("postgres://h:0"), "0 is not a port number");
        assert_eq!(err("postgres://h:99999"), "99999 is not a port number");
        assert_eq!(err("postgres://user:s3cret"), "the port is not a number");
        assert_eq!(err("host=a,b,c port=1,2"), "2 ports for 3 hosts");
        assert_eq!(err("host=a hostaddr=x"), "hostaddr \"x\" is not an IP address");
    }

    #[test]
    fn protections_are_kept_or_refused() {
        assert_eq!(err("postgres://h?sslcrl=/x"), "sslcrl is not supported");
        assert_eq!(err("postgres://h?require_auth=scram-sha-256"), "require_auth is not supported");
        assert_eq!(err("postgres://h?gssencmode=require"), "gssencmode is not supported");
        assert_eq!(err("postgres://h?channel_binding=x"), "there is no channel_binding \"x\"");
        let s = Settings::parse("postgres://h?channel_binding=require&gssencmode=prefer").unwrap();
        assert_eq!(s.channel_binding, ChannelBinding::Require);
    }
}
