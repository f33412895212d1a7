//! Opens one connection: hosts in order, TLS by mode, session settings, errors with a remedy.

use super::config::{Host, RootCert, Settings, SslMode, describe_host};
use super::conn::Link;
use super::dialect::Dialect;
use super::error::io_kind;
use super::socket::Socket;
use super::{Error, ErrorClass, ghost, tls};
use futures_util::future::join;
use std::error::Error as StdError;
use std::io::ErrorKind;
use std::time::Duration;
use tokio_postgres::config::SslMode as PgSslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// What a connection is opened with, besides the settings.
pub(super) struct Opening<'a> {
    pub(super) settings: &'a Settings,
    pub(super) application_name: &'a str,
    pub(super) timeout: Duration,
    /// Commits need not wait for the disk (PostgreSQL only).
    pub(super) deferred: bool,
    /// See [`super::PoolOptions::key_lookups`].
    pub(super) key_lookups: bool,
    /// Known from the first connection.
    pub(super) dialect: Option<&'a Dialect>,
}

/// Opens a connection and sets up its session. Cancel-safe: a dropped future closes the socket.
pub(super) async fn open(o: &Opening<'_>) -> Result<(Link, Dialect), Error> {
    let mut unreachable: Vec<Error> = Vec::new();
    for (host, port) in &o.settings.hosts {
        let limit = o.settings.connect_timeout.unwrap_or(o.timeout);
        let attempt = open_host(o, host, *port);
        let outcome = match tokio::time::timeout(limit, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::new(
                ErrorClass::Unreachable,
                format!("no answer from {} within {} s", describe_host(host, *port), limit.as_secs()),
            )
            .with_hint("check host, port and firewall")),
        };
        match outcome {
            Ok(done) => return Ok(done),
            Err(e) if e.class() == ErrorClass::Unreachable => unreachable.push(e),
            Err(e) => return Err(e),
        }
    }
    Err(all(unreachable))
}

fn all(mut errors: Vec<Error>) -> Error {
    if errors.len() == 1
        && let Some(only) = errors.pop()
    {
        return only;
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let joined = Error::new(ErrorClass::Unreachable, texts.join("; "));
    match errors.iter().rev().find_map(|e| e.hint()) {
        Some(hint) => joined.with_hint(hint),
        None => joined,
    }
}

async fn open_host(o: &Opening<'_>, host: &Host, port: u16) -> Result<(Link, Dialect), Error> {
    let modes: &[PgSslMode] = match (host, o.settings.ssl_mode) {
        (Host::Unix(_), _) | (_, SslMode::Disable) => &[PgSslMode::Disable],
        (_, SslMode::Allow) => &[PgSslMode::Disable, PgSslMode::Require],
        (_, SslMode::Prefer) => &[PgSslMode::Prefer, PgSslMode::Disable],
        _ => &[PgSslMode::Require],
    };
    let mut last = None;
    for (i, mode) in modes.iter().enumerate() {
        match open_mode(o, host, port, *mode).await {
            Ok(done) => return Ok(done),
            Err(e) => {
                let other_mode_may_help = match mode {
                    PgSslMode::Disable => refused_in_clear(&e),
                    _ => e.class() == ErrorClass::Tls || e.sqlstate() == Some("28000"),
                };
                if !other_mode_may_help || i + 1 == modes.len() {
                    // The first failure tells more than that of the fallback.
                    return Err(last.filter(|_| i > 0 && !matches!(mode, PgSslMode::Require)).unwrap_or(e));
                }
                last = Some(e);
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::new(ErrorClass::Other, "no way to connect")))
}

/// True if the server wants TLS: no matching line in pg_hba.conf, or CockroachDB in secure mode.
fn refused_in_clear(e: &Error) -> bool {
    e.sqlstate() == Some("28000") || (e.sqlstate().is_some_and(|s| s.starts_with("08")))
}

async fn open_mode(
    o: &Opening<'_>,
    host: &Host,
    port: u16,
    mode: PgSslMode,
) -> Result<(Link, Dialect), Error> {
    let config = config(o, mode);
    let explain = |e: tokio_postgres::Error| explain(&e, o.settings, host, port);
    // What is wrong with the certificates is said before anybody is asked.
    let tls = match (mode, host) {
        (PgSslMode::Disable, _) | (_, Host::Unix(_)) => None,
        (_, Host::Tcp { name, .. }) => Some((tls::connector(o.settings)?, name)),
    };
    let limit = o.settings.connect_timeout.unwrap_or(o.timeout);
    let socket = Socket::connect(host, port, limit).await.map_err(|e| unreachable(&e, host, port))?;
    let traffic = socket.traffic();
    let (client, link) = match tls {
        None => {
            let (client, connection) = config.connect_raw(socket, NoTls).await.map_err(explain)?;
            (client, Link::drive(connection, traffic))
        }
        Some((mut maker, name)) => {
            let Ok(tls) = MakeTlsConnect::<Socket>::make_tls_connect(&mut maker, name);
            let (client, connection) = config.connect_raw(socket, tls).await.map_err(explain)?;
            (client, Link::drive(connection, traffic))
        }
    };
    let dialect = match o.dialect {
        Some(known) if !o.settings.read_write => known.clone(),
        _ => ask(&client).await?,
    };
    if o.settings.read_write && dialect.read_only() {
        let message =
            format!("{} is read-only, but target_session_attrs wants to write", describe_host(host, port));
        return Err(
            Error::new(ErrorClass::Unreachable, message).with_hint("name the primary server among the hosts")
        );
    }
    let (set, session) = join(set_session(&client, &dialect, o), ghost::session(&client, &dialect)).await;
    set?;
    Ok((link.finish(client, o.deferred, session), dialect))
}

fn config(o: &Opening<'_>, mode: PgSslMode) -> Config {
    let s = o.settings;
    let mut c = Config::new();
    c.user(&s.user)
        .dbname(&s.database)
        .ssl_mode(mode)
        .channel_binding(s.channel_binding)
        .application_name(s.application_name.as_deref().unwrap_or(o.application_name));
    if let Some(p) = &s.password {
        c.password(p);
    }
    if let Some(options) = &s.options {
        c.options(options);
    }
    c
}

/// Asks which server this is.
async fn ask(client: &Client) -> Result<Dialect, Error> {
    let version = scalar(client, "SELECT version()").await?;
    let read_only = scalar(client, "SHOW transaction_read_only").await.is_ok_and(|v| v == "on");
    let commit = scalar(client, "SHOW synchronous_commit").await.unwrap_or_default();
    Ok(Dialect::from_answers(&version, read_only, &commit))
}

async fn scalar(client: &Client, sql: &str) -> Result<String, Error> {
    let answer = client.simple_query(sql).await.map_err(|e| Error::from_pg(&e))?;
    let value = answer.iter().find_map(|m| match m {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten().map(str::to_owned),
        _ => None,
    });
    value.ok_or_else(|| Error::new(ErrorClass::Other, format!("no answer to {sql}")))
}

/// Settings of each PostgreSQL session. A transaction whose client has vanished must not hold its locks for
/// long; the server looks for such clients itself.
const SESSION: &[(&str, &str)] = &[
    ("client_min_messages", "warning"),
    ("standard_conforming_strings", "on"),
    ("jit", "off"),
    ("idle_in_transaction_session_timeout", "20s"),
    // One that struck a pipelined BEGIN would let the statements behind it commit one by one.
    ("statement_timeout", "0"),
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// Lookups by key are never better served otherwise, whatever the statistics (often none yet) say.
const KEY_LOOKUPS: &[(&str, &str)] = &[
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_sort", "off"),
    ("enable_bitmapscan", "off"),
];

async fn set_session(client: &Client, d: &Dialect, o: &Opening<'_>) -> Result<(), Error> {
    let failed = |e: tokio_postgres::Error| Error::from_pg(&e).context("cannot set up the session");
    if d.is_cockroach() {
        // Weaker isolation, where a cluster makes that its default, would let changes show between statements.
        let isolation = client.batch_execute("SET default_transaction_isolation = 'serializable'");
        let (zone, _) = join(client.batch_execute("SET TIME ZONE 'UTC'"), isolation).await;
        return zone.map_err(failed);
    }
    let commit = if o.deferred { "off" } else { d.durable_commit() };
    // A database without an encoding holds names of any bytes, which no client can be told as UTF-8.
    let raw = "SELECT set_config('client_encoding', 'SQL_ASCII', false) \
               WHERE current_setting('server_encoding') = 'SQL_ASCII'";
    let mut settings = format!("SET TIME ZONE 'UTC'; SET synchronous_commit = {commit}; {raw}");
    let plans = if o.key_lookups { KEY_LOOKUPS } else { &[] };
    let given = o.settings.options.as_deref().unwrap_or_default();
    for (name, value) in SESSION.iter().chain(plans).filter(|(name, _)| !given.contains(name)) {
        settings.push_str(&format!("; SET {name} = '{value}'"));
    }
    let main = client.batch_execute(&settings);
    // Ends the work of a client that is gone; not every platform has it.
    let check = async {
        if d.version().0 >= 14 {
            let _ = client.batch_execute("SET client_connection_check_interval = '10s'").await;
        }
    };
    let (main, ()) = join(main, check).await;
    main.map_err(failed)
}

/// A failed attempt in one line, with the remedy.
fn explain(e: &tokio_postgres::Error, s: &Settings, host: &Host, port: u16) -> Error {
    let at = describe_host(host, port);
    if let Some(db) = e.as_db_error() {
        return explain_db(Error::from_db(db), s, &at);
    }
    if let Some(t) = rustls_error(e) {
        let own_roots = matches!(s.root_cert, Some(RootCert::File(_)));
        return tls::explain(t, &at, own_roots);
    }
    let shown = e.to_string();
    let cause = e.source().map(ToString::to_string).unwrap_or_default();
    if cause == "password missing" {
        return Error::new(ErrorClass::Auth, format!("{at} asks for the password of user {}", s.user))
            .with_hint("put it into ~/.pgpass or PGPASSWORD, or run on a terminal to be asked")
            .needing_password();
    }
    if cause.contains("does not support TLS") {
        return Error::new(
            ErrorClass::Tls,
            format!("{at} does not speak TLS, but sslmode is {}", s.ssl_mode.word()),
        )
        .with_hint("use sslmode=disable (or --insecure) if you trust the network in between");
    }
    if shown.contains("TLS handshake") && io_kind(e).is_none_or(|kind| !is_cut(kind)) {
        return Error::new(ErrorClass::Tls, format!("the TLS handshake with {at} failed: {cause}"));
    }
    if shown.contains("authentication error") {
        return Error::new(ErrorClass::Auth, format!("cannot authenticate with {at}: {cause}"));
    }
    let (why, hint) = reason(io_kind(e), host, port, &cause);
    Error::new(ErrorClass::Unreachable, format!("cannot reach {at}: {why}")).with_hint(hint)
}

/// There is no socket.
fn unreachable(e: &std::io::Error, host: &Host, port: u16) -> Error {
    let (why, hint) = reason(Some(e.kind()), host, port, &e.to_string());
    let at = describe_host(host, port);
    Error::new(ErrorClass::Unreachable, format!("cannot reach {at}: {why}")).with_hint(hint)
}

fn explain_db(e: Error, s: &Settings, at: &str) -> Error {
    let (user, database) = (&s.user, &s.database);
    let create = format!("create it: CREATE DATABASE \"{}\"", database.replace('"', "\"\""));
    match (e.sqlstate().unwrap_or_default(), e.class()) {
        ("28P01", _) => Error::new(ErrorClass::Auth, format!("{at} rejects the password of user {user}"))
            .with_hint("check user and password"),
        ("28000", _) if e.to_string().contains("does not exist") => {
            Error::new(ErrorClass::Auth, format!("there is no user {user} on {at}")).with_hint(format!(
                "name another user, or create it: CREATE ROLE \"{}\" LOGIN",
                user.replace('"', "\"\"")
            ))
        }
        ("28000", _) if e.to_string().contains("pg_hba.conf") => e
            .context(format!("{at} lets nobody in this way"))
            .with_hint("add a line to the server's pg_hba.conf, or change user, database or sslmode"),
        ("28000", _) => e
            .context(format!("{at} rejects user {user}"))
            .with_hint("check user, password and client certificate"),
        (_, ErrorClass::NoDatabase) => {
            Error::new(ErrorClass::NoDatabase, format!("there is no database {database} on {at}"))
                .with_hint(format!("{create}, or name another database in the URL"))
        }
        ("53300", _) => e
            .context(format!("{at} has too many connections"))
            .with_hint("close other clients, or raise max_connections on the server"),
        ("57P03", _) => {
            e.context(format!("{at} is not ready")).with_hint("wait until the server has started")
        }
        (_, ErrorClass::Denied) => e
            .context(format!("user {user} may not connect to database {database} on {at}"))
            .with_hint(format!("GRANT CONNECT ON DATABASE \"{database}\" TO \"{user}\"")),
        ("57P01", _) => e.with_class(ErrorClass::Unreachable),
        _ if e.to_string().contains("SSL connection required") => e
            .context(format!("{at} takes encrypted connections only"))
            .with_class(ErrorClass::Tls)
            .with_hint("use sslmode=verify-full with --certs-dir (without --insecure)"),
        _ => e.context(format!("cannot connect to {at}")),
    }
}

/// True if the connection ended, for whatever was said on it until then.
fn is_cut(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::TimedOut
    )
}

/// Why nobody answers, and what to do.
fn reason(kind: Option<ErrorKind>, host: &Host, port: u16, cause: &str) -> (String, String) {
    let ports = match port {
        5432 => " (CockroachDB listens on 26257: name the port)",
        _ => "",
    };
    match (kind, host) {
        (Some(ErrorKind::ConnectionRefused), _) => {
            ("connection refused".to_owned(), format!("is the server running there, on this port?{ports}"))
        }
        (Some(ErrorKind::NotFound), Host::Unix(_)) => (
            "there is no such socket".to_owned(),
            "is the server running, with its socket in this directory?".to_owned(),
        ),
        (Some(ErrorKind::TimedOut), _) => {
            ("no answer".to_owned(), "check host, port and firewall".to_owned())
        }
        (Some(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), _)
        | (None, _) => (
            "the server closed the connection".to_owned(),
            "does a PostgreSQL or CockroachDB server listen on this port?".to_owned(),
        ),
        // An answer that makes no message of the protocol.
        (Some(kind), _)
            if matches!(kind, ErrorKind::InvalidInput | ErrorKind::InvalidData)
                || cause.contains("bytes remaining on stream") =>
        {
            (
                "what answers there is no PostgreSQL or CockroachDB server".to_owned(),
                "check the port: CockroachDB listens on 26257, PostgreSQL on 5432".to_owned(),
            )
        }
        _ if cause.contains("lookup") || cause.contains("resolve") => {
            ("the host name is unknown".to_owned(), "check the spelling of the host".to_owned())
        }
        _ => (
            cause.split(" (os error").next().unwrap_or(cause).to_lowercase(),
            "check host and port".to_owned(),
        ),
    }
}

/// The TLS library's error at the bottom of a client error.
fn rustls_error(e: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let mut at: Option<&(dyn StdError + 'static)> = e.source();
    while let Some(cause) = at {
        if let Some(t) = cause.downcast_ref::<rustls::Error>() {
            return Some(t);
        }
        if let Some(inner) = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(t) = inner.downcast_ref::<rustls::Error>()
        {
            return Some(t);
        }
        at = cause.source();
    }
    None
}
