//! Which server is meant: flags, URL, variables, files, in that order. No I/O of its own.

use crate::sql::{ConnectParams as Params, Error, ErrorClass, PORT_COCKROACH, Settings, files, split_host};
use std::path::{Path, PathBuf};

/// What was said on the command line.
#[derive(Clone, Default, Debug)]
pub(super) struct Flags {
    pub(super) url: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) certs_dir: Option<PathBuf>,
    pub(super) insecure: bool,
}

/// What the process can see: variables, files, the account it runs as.
pub(super) struct Surroundings<'a> {
    pub(super) var: &'a dyn Fn(&str) -> Option<String>,
    pub(super) read: &'a dyn Fn(&Path) -> Option<String>,
    pub(super) exists: &'a dyn Fn(&Path) -> bool,
    pub(super) home: Option<PathBuf>,
    pub(super) account: Option<String>,
}

/// Where to go.
#[derive(PartialEq, Debug)]
pub(super) enum Choice {
    /// Nothing was said, or the word `embedded`: the private server.
    Embedded,
    /// A server, with where its address comes from.
    Server(Box<Settings>, &'static str),
}

/// Words that mean the private server where a URL may stand (fstab needs one).
const EMBEDDED_WORDS: &[&str] = &["embedded", "userfilefs", "none"];

/// Variables of libpq by the keyword they set.
const PG_VARIABLES: &[(&str, &str)] = &[
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGDATABASE", "dbname"),
    ("PGSERVICE", "service"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGGSSENCMODE", "gssencmode"),
];

/// The first of these say that a server is meant.
const PG_SELECTORS: usize = 6;
/// Those of them that say where it is.
const PG_ADDRESSES: &[&str] = &["PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE"];

impl Surroundings<'_> {
    fn var(&self, name: &str) -> Option<String> {
        (self.var)(name).filter(|v| !v.is_empty())
    }

    fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|n| self.var(n).is_some())
    }

    /// Decides. Errors never contain a password.
    pub(super) fn choose(&self, flags: &Flags) -> Result<Choice, Error> {
        if flags.url.as_deref().is_some_and(|u| EMBEDDED_WORDS.contains(&u.trim_end_matches(':'))) {
            return Ok(Choice::Embedded);
        }
        let (cockroach, origin) = self.cockroach_layer(flags)?;
        let pg = self.pg_layer();
        let selected_by_pg = PG_VARIABLES[..PG_SELECTORS].iter().any(|(v, _)| self.var(v).is_some());
        let (top, origin, is_cockroach) = match (cockroach, origin) {
            (Some(p), origin) => {
                // A user or certificates alone go with the address of libpq's variables.
                let addressed = p.get("host").is_some() || p.get("port").is_some();
                let by_url = origin == "URL" || origin == "COCKROACH_URL";
                let is_cockroach = !by_url && (addressed || !self.any(PG_ADDRESSES));
                (p, origin, is_cockroach)
            }
            (None, _) if selected_by_pg => (Params::new(), "PG* variables", false),
            (None, _) => return Ok(Choice::Embedded),
        };
        // A host that was named outright is not to be mixed with variables for another one.
        let mut pg = pg;
        if top.get("host").is_some() || top.get("hostaddr").is_some() || top.get("service").is_some() {
            for key in ["host", "hostaddr", "port", "service"] {
                pg.set(key, "");
            }
        }
        let mut p = top.or(Params::new());
        if let Some(name) = p.get("service").or(pg.get("service")).map(str::to_owned) {
            p = p.or(self.service(&name)?);
        }
        let mut p = p.or(pg);
        if is_cockroach {
            p = p.or(pairs(&[("host", "localhost"), ("user", "root")]));
            if p.get("port").is_none() {
                p.set("port", PORT_COCKROACH.to_string());
            }
            // As `cockroach`: in the clear only where that is asked for.
            if p.get("sslmode").is_none() {
                p.set("sslmode", "verify-full");
            }
        } else if let Some(account) = &self.account {
            p = p.or(pairs(&[("user", account)]));
        }
        let p = self.certificates(p, flags, is_cockroach);
        let mut settings = Settings::resolve(&p)?;
        if !settings.has_password()
            && let Some(found) = self.password(&p, &settings)
        {
            settings = settings.with_password(&found);
        }
        Ok(Choice::Server(Box::new(settings), origin))
    }

    /// The URL and the flags and variables of `cockroach`; None if there are none.
    fn cockroach_layer(&self, flags: &Flags) -> Result<(Option<Params>, &'static str), Error> {
        let mut own = Params::new();
        if let Some(host) = &flags.host {
            set_host(&mut own, host)?;
        }
        if let Some(port) = flags.port {
            own.set("port", port.to_string());
        }
        if let Some(user) = &flags.user {
            own.set("user", user);
        }
        if flags.insecure {
            own.set("sslmode", "disable");
        }
        if let Some(url) = &flags.url {
            // What the URL says wins, as with `cockroach`.
            return Ok((Some(Params::parse(url)?.or(own)), "URL"));
        }
        if flags.host.is_none()
            && flags.port.is_none()
            && let Some(url) = self.var("COCKROACH_URL")
        {
            let url = Params::parse(&url).map_err(|e| e.context("COCKROACH_URL"))?;
            return Ok((Some(own.or(url)), "COCKROACH_URL"));
        }
        let flagged = !own.is_empty() || flags.certs_dir.is_some();
        let variables = [
            "COCKROACH_HOST",
            "COCKROACH_PORT",
            "COCKROACH_USER",
            "COCKROACH_CERTS_DIR",
            "COCKROACH_INSECURE",
        ];
        if !flagged && !self.any(&variables) {
            return Ok((None, ""));
        }
        let mut env = Params::new();
        if let Some(host) = self.var("COCKROACH_HOST").filter(|_| flags.host.is_none()) {
            set_host(&mut env, &host)?;
        }
        if let Some(port) = self.var("COCKROACH_PORT").filter(|_| flags.host.is_none()) {
            env.set("port", port);
        }
        if let Some(user) = self.var("COCKROACH_USER") {
            env.set("user", user);
        }
        if self
            .var("COCKROACH_INSECURE")
            .is_some_and(|v| matches!(v.as_str(), "1" | "t" | "true" | "TRUE" | "True"))
        {
            env.set("sslmode", "disable");
        }
        if let Some(database) = self.var("COCKROACH_DATABASE") {
            env.set("dbname", database);
        }
        Ok((Some(own.or(env)), if flagged { "flags" } else { "COCKROACH_* variables" }))
    }

    fn pg_layer(&self) -> Params {
        let mut p = Params::new();
        for (variable, key) in PG_VARIABLES {
            if let Some(value) = self.var(variable) {
                p.set(key, value);
            }
        }
        p
    }

    fn service(&self, name: &str) -> Result<Params, Error> {
        let own = self.var("PGSERVICEFILE").map(PathBuf::from);
        let own = own.or_else(|| self.home.as_ref().map(|h| h.join(".pg_service.conf")));
        let system = self.var("PGSYSCONFDIR").map_or("/etc/postgresql-common".into(), PathBuf::from);
        for path in own.into_iter().chain([system.join("pg_service.conf")]) {
            if let Some(text) = (self.read)(&path)
                && let Some(p) = files::service(&text, name)?
            {
                return Ok(p);
            }
        }
        Err(Error::new(ErrorClass::Config, format!("no service file defines the service {name}"))
            .with_hint("add it to ~/.pg_service.conf, or name the file in PGSERVICEFILE"))
    }

    /// The certificates of `--certs-dir`, or of libpq's usual place, where none are named.
    fn certificates(&self, mut p: Params, flags: &Flags, is_cockroach: bool) -> Params {
        let named = flags.certs_dir.clone().or_else(|| self.var("COCKROACH_CERTS_DIR").map(PathBuf::from));
        let usual = self
            .home
            .as_ref()
            .map(|h| h.join(".cockroach-certs"))
            .filter(|d| (self.exists)(&d.join("ca.crt")));
        let explicit = named.is_some();
        let dir = named.or(usual);
        let user = p.get("user").unwrap_or("root").to_owned();
        if let Some(dir) = dir
            .filter(|_| explicit || is_cockroach || p.get("sslmode").is_some_and(|m| m.starts_with("verify")))
        {
            if p.get("sslmode") == Some("disable") {
                return p;
            }
            let text = |name: String| dir.join(name).to_string_lossy().into_owned();
            if p.get("sslmode").is_none() {
                p.set("sslmode", "verify-full");
            }
            if p.get("sslrootcert").is_none() {
                p.set("sslrootcert", text("ca.crt".to_owned()));
            }
            let (cert, key) = (text(format!("client.{user}.crt")), text(format!("client.{user}.key")));
            if p.get("sslcert").is_none() && (self.exists)(Path::new(&cert)) {
                p.set("sslcert", cert);
                p.set("sslkey", key);
            }
        }
        if let Some(home) = &self.home {
            let usual = |name: &str| Some(home.join(".postgresql").join(name)).filter(|f| (self.exists)(f));
            let verify = p.get("sslmode").is_some_and(|m| m.starts_with("verify"));
            if verify
                && p.get("sslrootcert").is_none()
                && let Some(f) = usual("root.crt")
            {
                p.set("sslrootcert", f.to_string_lossy());
            }
            if p.get("sslcert").is_none()
                && p.get("sslmode") != Some("disable")
                && let (Some(cert), Some(key)) = (usual("postgresql.crt"), usual("postgresql.key"))
            {
                p.set("sslcert", cert.to_string_lossy());
                p.set("sslkey", key.to_string_lossy());
            }
        }
        p
    }

    fn password(&self, p: &Params, settings: &Settings) -> Option<String> {
        let named = p.get("passfile").map(PathBuf::from);
        let path = named.or_else(|| self.home.as_ref().map(|h| h.join(".pgpass")))?;
        files::password(&(self.read)(&path)?, settings)
    }
}

fn pairs(list: &[(&str, &str)]) -> Params {
    let mut p = Params::new();
    for (key, value) in list {
        p.set(key, *value);
    }
    p
}

/// `--host` takes `host:port`.
fn set_host(p: &mut Params, text: &str) -> Result<(), Error> {
    let (name, port) = split_host(text)?;
    p.set("host", if name.is_empty() { "localhost" } else { name });
    if !port.is_empty() {
        p.set("port", port);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct World {
        vars: BTreeMap<&'static str, &'static str>,
        files: BTreeMap<&'static str, &'static str>,
    }

    fn choose(
        vars: &[(&'static str, &'static str)],
        files: &[(&'static str, &'static str)],
        flags: Flags,
    ) -> String {
        let w = World { vars: vars.iter().copied().collect(), files: files.iter().copied().collect() };
        let s = Surroundings {
            var: &|n| w.vars.get(n).map(|v| (*v).to_owned()),
            read: &|p| w.files.get(p.to_str()?).map(|t| (*t).to_owned()),
            exists: &|p| p.to_str().is_some_and(|p| w.files.contains_key(p)),
            home: Some("/home/me".into()),
            account: Some("me".into()),
        };
        match s.choose(&flags) {
            Ok(Choice::Embedded) => "embedded".to_owned(),
            Ok(Choice::Server(s, origin)) => {
                let password = if s.has_password() { " with password" } else { "" };
                format!("{} {}{password} by {origin}", s.describe(), s.ssl_mode().word())
            }
            Err(e) => format!("error: {e}"),
        }
    }

    fn url(u: &str) -> Flags {
        Flags { url: Some(u.to_owned()), ..Flags::default() }
    }

    #[test]
    fn nothing_said_is_embedded() {
        assert_eq!(choose(&[], &[], Flags::default()), "embedded");
        assert_eq!(
            choose(&[("PGSSLMODE", "require"), ("PGPASSWORD", "x"), ("PGHOST", "")], &[], Flags::default()),
            "embedded"
        );
        assert_eq!(choose(&[("PGHOST", "h")], &[], url("embedded")), "embedded");
    }

    #[test]
    fn flags_of_cockroach() {
        let insecure = Flags { insecure: true, ..Flags::default() };
        assert_eq!(
            choose(&[], &[], insecure.clone()),
            "postgresql://root@localhost:26257/defaultdb disable by flags"
        );
        let host = Flags { host: Some("h:7".into()), user: Some("bob".into()), ..insecure };
        assert_eq!(
            choose(&[("COCKROACH_URL", "postgres://x@y/z")], &[], host),
            "postgresql://bob@h:7/defaultdb disable by flags"
        );
        let certs = Flags { certs_dir: Some("/c".into()), ..Flags::default() };
        assert_eq!(
            choose(&[], &[], certs),
            "postgresql://root@localhost:26257/defaultdb verify-full by flags"
        );
        assert_eq!(
            choose(&[("COCKROACH_HOST", "a:1"), ("COCKROACH_INSECURE", "true")], &[], Flags::default()),
            "postgresql://root@a:1/defaultdb disable by COCKROACH_* variables"
        );
        let v6 = Flags { host: Some("[::1]:5".into()), ..Flags::default() };
        assert_eq!(choose(&[], &[], v6), "postgresql://root@[::1]:5/defaultdb verify-full by flags");
        let user = Flags { user: Some("bob".into()), ..Flags::default() };
        assert_eq!(
            choose(&[("PGHOST", "pg"), ("PGUSER", "x")], &[], user.clone()),
            "postgresql://bob@pg:5432/defaultdb prefer by flags"
        );
        assert_eq!(
            choose(&[("PGSSLMODE", "require")], &[], user),
            "postgresql://bob@localhost:26257/defaultdb require by flags"
        );
    }

    #[test]
    fn urls_beat_variables() {
        let vars = [
            ("PGHOST", "pg"),
            ("PGPORT", "9"),
            ("PGPASSWORD", "p"),
            ("COCKROACH_URL", "postgres://r@c:1/d?sslmode=disable"),
        ];
        assert_eq!(
            choose(&vars, &[], url("postgres://u@h/d")),
            "postgresql://u@h:5432/d prefer with password by URL"
        );
        assert_eq!(
            choose(&vars, &[], Flags::default()),
            "postgresql://r@c:1/d disable with password by COCKROACH_URL"
        );
        assert_eq!(
            choose(&vars[..3], &[], Flags::default()),
            "postgresql://me@pg:9/defaultdb prefer with password by PG* variables"
        );
        assert_eq!(choose(&vars[..2], &[], url("postgres:///d")), "postgresql://me@pg:9/d prefer by URL");
        let mut both = url("postgres://h/d");
        both.user = Some("flag".into());
        assert_eq!(choose(&[], &[], both), "postgresql://flag@h:5432/d prefer by URL");
    }

    #[test]
    fn files_of_libpq() {
        let files = [
            ("/home/me/.pg_service.conf", "[s]\nhost=sh\nport=3\nuser=su\n"),
            ("/home/me/.pgpass", "sh:3:*:su:pw\n"),
            ("/home/me/.postgresql/root.crt", ""),
        ];
        assert_eq!(
            choose(&[("PGSERVICE", "s")], &files, Flags::default()),
            "postgresql://su@sh:3/defaultdb prefer with password by PG* variables"
        );
        assert_eq!(
            choose(&[("PGHOST", "x")], &files, url("service=s dbname=q")),
            "postgresql://su@sh:3/q prefer with password by URL"
        );
        assert_eq!(
            choose(&[("PGSERVICE", "t")], &files, Flags::default()),
            "error: no service file defines the service t"
        );
    }

    #[test]
    fn certificates() {
        let files = [("/c/ca.crt", ""), ("/c/client.bob.crt", ""), ("/home/me/.cockroach-certs/ca.crt", "")];
        let flags = Flags { certs_dir: Some("/c".into()), user: Some("bob".into()), ..Flags::default() };
        assert_eq!(
            choose(&[], &files, flags),
            "postgresql://bob@localhost:26257/defaultdb verify-full by flags"
        );
        let host = Flags { host: Some("h".into()), ..Flags::default() };
        assert_eq!(choose(&[], &files, host), "postgresql://root@h:26257/defaultdb verify-full by flags");
        assert_eq!(choose(&[], &files, url("postgres://h:1/d")), "postgresql://me@h:1/d prefer by URL");
    }
}
