//! Ways to log in, and secure connections, against a real PostgreSQL with certificates.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use userfilefs::sql::{Error, ErrorClass, Lane, Pool, PoolOptions, Settings};

use crate::support::cli::on_a_terminal;
use crate::support::database::options;
use crate::support::postgres::{Server, free_port};
use crate::support::require;

/// A server with certificates, and the directory with the clients' files.
struct Secure {
    server: Server,
    certs: PathBuf,
}

fn openssl(dir: &Path, line: &str) {
    let out =
        Command::new("openssl").args(line.split(' ')).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A certificate `name.crt`, `name.key` signed by `ca`.
fn sign(dir: &Path, ca: &str, name: &str, subject: &str, extension: &str) {
    fs::write(dir.join("ext"), format!("basicConstraints=CA:FALSE\n{extension}\n")).unwrap();
    openssl(dir, "ecparam -name prime256v1 -genkey -noout -out tmp.key");
    openssl(dir, &format!("pkcs8 -topk8 -nocrypt -in tmp.key -out {name}.key"));
    openssl(dir, &format!("req -new -key {name}.key -subj {subject} -out tmp.csr"));
    openssl(
        dir,
        &format!(
            "x509 -req -in tmp.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial -days 2 -extfile ext -out {name}.crt"
        ),
    );
    fs::set_permissions(dir.join(format!("{name}.key")), fs::Permissions::from_mode(0o600)).unwrap();
}

fn authority(dir: &Path, name: &str) {
    openssl(dir, &format!("ecparam -name prime256v1 -genkey -noout -out {name}.key"));
    openssl(dir, &format!("req -x509 -new -key {name}.key -subj /CN={name} -days 2 -out {name}.crt"));
}

/// Started once; never dropped, so its directory is removed by the next run.
fn secure() -> Option<&'static Secure> {
    static SECURE: OnceLock<Option<Secure>> = OnceLock::new();
    let made = SECURE.get_or_init(|| std::thread::spawn(make).join().expect("a server with certificates"));
    if made.is_none() {
        require::skip("postgres", "no PostgreSQL server binaries, or no openssl, for tests of TLS");
    }
    made.as_ref()
}

fn make() -> Option<Secure> {
    let there = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
    there.ok().filter(std::process::ExitStatus::success)?;
    let server = Server::start(&[])?;
    let dir = server.root().join("certs");
    fs::create_dir(&dir).unwrap();
    authority(&dir, "ca");
    authority(&dir, "wrong");
    sign(&dir, "ca", "server", "/CN=db", "subjectAltName=DNS:localhost,DNS:db.example");
    sign(&dir, "ca", "client.alice", "/CN=alice", "extendedKeyUsage=clientAuth");
    sign(&dir, "wrong", "client.mallory", "/CN=alice", "extendedKeyUsage=clientAuth");
    let data = server.data();
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&data).unwrap());
    for (from, to) in [("server.crt", "server.crt"), ("server.key", "server.key"), ("ca.crt", "root.crt")] {
        fs::copy(dir.join(from), data.join(to)).unwrap();
        chown(data.join(to), Some(owner), None).unwrap();
    }
    fs::set_permissions(data.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let admin = server.db("postgres");
    for sql in [
        "CREATE DATABASE defaultdb",
        "CREATE ROLE alice LOGIN",
        "CREATE ROLE bob LOGIN PASSWORD 's3cret'",
        "CREATE ROLE md5 LOGIN",
        "CREATE ROLE plain LOGIN",
        "CREATE ROLE few LOGIN CONNECTION LIMIT 1",
        "CREATE ROLE shut LOGIN",
        "CREATE DATABASE closed",
        "REVOKE CONNECT ON DATABASE closed FROM public",
    ] {
        admin.exec(sql);
    }
    drop(admin);
    let hba = "hostssl all alice 127.0.0.1/32 cert\nhostnossl all plain 127.0.0.1/32 trust\nhostssl all plain 127.0.0.1/32 reject\n\
               hostssl all md5 127.0.0.1/32 trust\nhostnossl all md5 127.0.0.1/32 reject\nhost all bob 127.0.0.1/32 scram-sha-256\n\
               host all shut 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 trust\n";
    fs::write(data.join("pg_hba.conf"), hba).unwrap();
    fs::write(data.join("postgresql.auto.conf"), "ssl = on\nssl_ca_file = 'root.crt'\n").unwrap();
    server.stop(nix::sys::signal::Signal::SIGINT);
    server.run();
    Some(Secure { server, certs: dir })
}

impl Secure {
    fn url(&self, user: &str, host: &str, rest: &str) -> String {
        let certs = self.certs.display().to_string();
        format!(
            "postgresql://{user}@{host}:{}/defaultdb?{}",
            self.server.port(),
            rest.replace("CERTS", &certs)
        )
    }

    async fn connect(&self, user: &str, host: &str, rest: &str) -> Result<Pool, Error> {
        connect(&self.url(user, host, rest)).await
    }

    /// True if the session is encrypted.
    async fn encrypted(&self, user: &str, host: &str, rest: &str) -> bool {
        let pool =
            self.connect(user, host, rest).await.unwrap_or_else(|e| panic!("{user} {host} {rest}: {e:?}"));
        let c = pool.conn(Lane::Meta, None).await.unwrap();
        let row = c.query_opt("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
        row.unwrap().get(0)
    }

    /// The class, the message and the hint of a failure.
    async fn fails(&self, user: &str, host: &str, rest: &str) -> (ErrorClass, String, String) {
        let e = self
            .connect(user, host, rest)
            .await
            .err()
            .unwrap_or_else(|| panic!("{user} {host} {rest}: connected"));
        let port = self.server.port().to_string();
        let text = e.to_string().replace(&port, "PORT").replace(&self.certs.display().to_string(), "CERTS");
        assert!(!text.contains("s3cret") && !text.contains('\n'), "{text}");
        (e.class(), text, e.hint().unwrap_or_default().to_owned())
    }
}

async fn connect(url: &str) -> Result<Pool, Error> {
    let options = PoolOptions { connect_timeout: Duration::from_secs(5), ..options() };
    Pool::connect(Settings::parse(url)?, options).await
}

const CA: &str = "sslrootcert=CERTS/ca.crt";

#[tokio::test]
async fn modes_that_work() {
    let Some(s) = secure() else { return };
    assert!(!s.encrypted("postgres", "127.0.0.1", "sslmode=disable").await);
    assert!(!s.encrypted("postgres", "127.0.0.1", "sslmode=allow").await);
    assert!(s.encrypted("md5", "127.0.0.1", "sslmode=allow").await, "allow does not encrypt where it must");
    assert!(s.encrypted("postgres", "127.0.0.1", "sslmode=prefer").await);
    assert!(s.encrypted("postgres", "127.0.0.1", "").await);
    assert!(!s.encrypted("plain", "127.0.0.1", "sslmode=prefer").await, "prefer does not fall back");
    assert!(s.encrypted("postgres", "127.0.0.1", "sslmode=require").await);
    assert!(
        s.encrypted("postgres", "127.0.0.1", &format!("sslmode=verify-ca&{CA}")).await,
        "verify-ca looks at the name"
    );
    assert!(s.encrypted("postgres", "localhost", &format!("sslmode=verify-full&{CA}")).await);
    assert!(
        s.encrypted("postgres", "db.example", &format!("sslmode=verify-full&{CA}&hostaddr=127.0.0.1")).await
    );
    assert!(
        s.encrypted("bob:s3cret", "localhost", &format!("sslmode=verify-full&{CA}")).await,
        "SCRAM over TLS"
    );
    let cert = "sslmode=require&sslcert=CERTS/client.alice.crt&sslkey=CERTS/client.alice.key";
    assert!(s.encrypted("alice", "127.0.0.1", cert).await);
}

#[tokio::test]
async fn certificates_that_do_not_fit() {
    let Some(s) = secure() else { return };
    let (class, text, hint) = s.fails("postgres", "127.0.0.1", &format!("sslmode=verify-full&{CA}")).await;
    assert_eq!(class, ErrorClass::Tls);
    assert!(text.contains("is for another host: it is for localhost"), "{text}");
    assert!(hint.contains("verify-ca"), "{hint}");
    for mode in ["verify-ca", "verify-full", "require"] {
        let (class, text, _) =
            s.fails("postgres", "localhost", &format!("sslmode={mode}&sslrootcert=CERTS/wrong.crt")).await;
        assert_eq!(
            (class, text.as_str()),
            (ErrorClass::Tls, "the certificate of localhost:PORT is not signed by the given authority")
        );
    }
    let (class, text, _) =
        s.fails("postgres", "localhost", "sslmode=verify-full&sslrootcert=CERTS/none.crt").await;
    assert_eq!(
        (class, text.as_str()),
        (
            ErrorClass::Tls,
            "cannot read the authority's certificate CERTS/none.crt: no such file or directory"
        )
    );
    let (_, text, hint) = s.fails("postgres", "localhost", "sslmode=verify-ca").await;
    assert_eq!(text, "sslmode=verify-ca needs the certificate of the authority");
    assert!(hint.contains("--certs-dir"), "{hint}");
}

#[tokio::test]
async fn client_certificates_that_do_not_fit() {
    let Some(s) = secure() else { return };
    let (class, text, _) = s
        .fails(
            "alice",
            "localhost",
            "sslmode=require&sslcert=CERTS/client.mallory.crt&sslkey=CERTS/client.mallory.key",
        )
        .await;
    assert_eq!(class, ErrorClass::Tls, "{text}");
    assert!(text.contains("does not accept the client certificate"), "{text}");
    let (class, text, hint) = s.fails("alice", "localhost", "sslmode=require").await;
    assert_eq!(class, ErrorClass::Auth, "{text}");
    assert!(hint.contains("client certificate"), "{text}; {hint}");
    let (class, text, _) =
        s.fails("alice", "localhost", "sslmode=require&sslcert=CERTS/client.alice.crt").await;
    assert_eq!(
        (class, text.as_str()),
        (ErrorClass::Tls, "the client certificate CERTS/client.alice.crt comes without a key")
    );
    let open = s.certs.join("open.key");
    fs::copy(s.certs.join("client.alice.key"), &open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, text, hint) = s
        .fails("alice", "localhost", "sslmode=require&sslcert=CERTS/client.alice.crt&sslkey=CERTS/open.key")
        .await;
    assert_eq!(text, "others may read the client key CERTS/open.key");
    assert!(hint.starts_with("chmod 600 "), "{hint}");
    let (_, text, _) = s
        .fails(
            "alice",
            "localhost",
            "sslmode=require&sslcert=CERTS/client.alice.crt&sslkey=CERTS/client.mallory.key",
        )
        .await;
    assert!(text.contains("cannot be used"), "{text}");
}

#[tokio::test]
async fn logins_that_fail() {
    let Some(s) = secure() else { return };
    let plain = "sslmode=disable";
    let (class, text, _) = s.fails("bob:wrong", "127.0.0.1", plain).await;
    assert_eq!((class, text.as_str()), (ErrorClass::Auth, "127.0.0.1:PORT rejects the password of user bob"));
    let (class, text, hint) = s.fails("bob", "127.0.0.1", plain).await;
    assert_eq!(
        (class, text.as_str()),
        (ErrorClass::Auth, "127.0.0.1:PORT asks for the password of user bob")
    );
    assert!(hint.contains("PGPASSWORD"), "{hint}");
    assert!(connect(&s.url("bob", "127.0.0.1", plain)).await.err().unwrap().needs_password());
    let (class, text, hint) = s.fails("nobody", "127.0.0.1", plain).await;
    assert_eq!((class, text.as_str()), (ErrorClass::Auth, "there is no user nobody on 127.0.0.1:PORT"));
    assert!(hint.contains("CREATE ROLE"), "{hint}");
    let (class, text, hint) = s.fails("shut", "127.0.0.1", plain).await;
    assert_eq!(class, ErrorClass::Auth);
    assert!(hint.contains("pg_hba.conf"), "{text}; {hint}");
    let url = s.url("postgres", "127.0.0.1", plain).replace("/defaultdb", "/nothing");
    let e = connect(&url).await.err().unwrap();
    assert_eq!(e.class(), ErrorClass::NoDatabase);
    assert!(e.to_string().starts_with("there is no database nothing on"), "{e}");
    assert!(e.hint().unwrap().contains("CREATE DATABASE \"nothing\""));
    let url = s.url("bob:s3cret", "127.0.0.1", plain).replace("/defaultdb", "/closed");
    let e = connect(&url).await.err().unwrap();
    assert_eq!(e.class(), ErrorClass::Denied, "{e}");
    assert!(e.hint().unwrap().contains("GRANT CONNECT"));
    let _one = s.connect("few", "127.0.0.1", plain).await.unwrap();
    let (class, text, hint) = s.fails("few", "127.0.0.1", plain).await;
    assert_eq!(class, ErrorClass::Unreachable, "{text}");
    assert!(text.contains("too many connections") && hint.contains("close other clients"), "{text}; {hint}");
}

#[tokio::test]
async fn servers_that_do_not_answer() {
    let Some(_) = secure() else { return };
    let url = |host: &str, port: u16| format!("postgresql://u@{host}:{port}/d?sslmode=disable");
    let said = |e: Error| (e.class(), e.to_string(), e.hint().unwrap_or_default().to_owned());
    let port = free_port();
    let (class, text, hint) = said(connect(&url("127.0.0.1", port)).await.err().unwrap());
    assert_eq!(
        (class, text),
        (ErrorClass::Unreachable, format!("cannot reach 127.0.0.1:{port}: connection refused"))
    );
    assert!(hint.contains("is the server running"), "{hint}");
    let (class, text, _) = said(connect(&url("no-such-host.invalid", 1)).await.err().unwrap());
    assert_eq!(
        (class, text.as_str()),
        (ErrorClass::Unreachable, "cannot reach no-such-host.invalid:1: the host name is unknown")
    );
    let (class, text, _) = said(connect("postgresql:///d?host=/nowhere").await.err().unwrap());
    assert_eq!(
        (class, text.as_str()),
        (ErrorClass::Unreachable, "cannot reach /nowhere/.s.PGSQL.5432: there is no such socket")
    );
    // Somebody else listens there.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    std::thread::spawn(move || other.incoming().take(3).for_each(drop));
    let (class, text, hint) = said(connect(&url("127.0.0.1", port)).await.err().unwrap());
    assert_eq!(class, ErrorClass::Unreachable, "{text}");
    assert!(text.contains("closed the connection") && hint.contains("listen on this port"), "{text}; {hint}");
    // A web server.
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = web.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut caller in web.incoming().take(3).flatten() {
            let _ = std::io::Write::write_all(&mut caller, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = std::io::Read::read(&mut caller, &mut [0; 512]);
        }
    });
    let prefer = url("127.0.0.1", port).replace("disable", "prefer");
    let (class, text, hint) = said(connect(&prefer).await.err().unwrap());
    assert_eq!(class, ErrorClass::Unreachable, "{text}");
    assert!(text.contains("no PostgreSQL or CockroachDB server") && hint.contains("26257"), "{text}; {hint}");
    // A server that ends, or a wire that is cut, in the middle of the handshake: it may be back the next moment.
    let cut = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = cut.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut caller in cut.incoming().take(1).flatten() {
            let _ = std::io::Read::read(&mut caller, &mut [0; 8]);
            let _ = std::io::Write::write_all(&mut caller, b"S");
        }
    });
    let require = url("127.0.0.1", port).replace("disable", "require");
    let (class, text, _) = said(connect(&require).await.err().unwrap());
    assert_eq!(class, ErrorClass::Unreachable, "{text}");
    // Somebody listens and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let options = PoolOptions { connect_timeout: Duration::from_millis(300), ..options() };
    let e = Pool::connect(Settings::parse(&url("127.0.0.1", port)).unwrap(), options).await.err().unwrap();
    assert_eq!(e.class(), ErrorClass::Unreachable, "{e}");
    assert!(e.to_string().contains("no answer from"), "{e}");
}

#[tokio::test]
async fn a_server_without_tls() {
    let Some(server) = crate::support::database::database() else { return };
    let port = server.server.port();
    let url = |mode: &str| {
        format!("postgresql://postgres@localhost:{port}/postgres?sslmode={mode}&hostaddr=127.0.0.1")
    };
    connect(&url("prefer")).await.unwrap();
    connect(&url("allow")).await.unwrap();
    let e = connect(&url("require")).await.err().unwrap();
    assert_eq!(
        (e.class(), e.to_string()),
        (ErrorClass::Tls, format!("localhost:{port} does not speak TLS, but sslmode is require"))
    );
    assert!(e.hint().unwrap().contains("--insecure"));
}

#[tokio::test]
async fn the_next_host_is_tried() {
    let Some(db) = crate::support::database::database() else { return };
    let dead = free_port();
    let url = format!(
        "postgresql://postgres@127.0.0.1:{dead},127.0.0.1:{}/{}?sslmode=disable",
        db.server.port(),
        db.name
    );
    connect(&url).await.unwrap();
    let e = connect(&format!("postgresql://u@127.0.0.1:{dead},127.0.0.1:1/d?sslmode=disable"))
        .await
        .err()
        .unwrap();
    assert!(e.to_string().contains(&dead.to_string()) && e.to_string().contains("127.0.0.1:1:"), "{e}");
}

#[tokio::test]
async fn a_read_only_host_is_passed_over_where_asked() {
    let Some(db) = crate::support::database::database() else { return };
    let port = db.server.port();
    db.psql(&format!(
        "CREATE ROLE reader_{0} LOGIN; ALTER ROLE reader_{0} SET default_transaction_read_only = on",
        db.name
    ));
    let url = |user: &str, rest: &str| {
        format!("postgresql://{user}@127.0.0.1:{port}/{}?sslmode=disable{rest}", db.name)
    };
    let reader = format!("reader_{}", db.name);
    assert!(connect(&url(&reader, "")).await.unwrap().dialect().read_only());
    let e = connect(&url(&reader, "&target_session_attrs=read-write")).await.err().unwrap();
    assert_eq!(e.class(), ErrorClass::Unreachable);
    assert!(e.to_string().contains("is read-only"), "{e}");
    connect(&url("postgres", "&target_session_attrs=read-write")).await.unwrap();
    db.psql(&format!("DROP ROLE {reader}"));
}

#[test]
fn the_password_is_asked_for_on_the_terminal() {
    let Some(s) = secure() else { return };
    let list = |url: &str| {
        let mut c = crate::support::cli::userfilefs();
        c.args(["list", "--url", url])
            .env("HOME", s.certs.as_os_str())
            .env_remove("PGPASSWORD")
            .env_remove("PGPASSFILE");
        c
    };
    let url = s.url("bob", "127.0.0.1", "sslmode=disable");
    let (shown, out, code) = on_a_terminal(list(&url), "s3cret\n");
    assert_eq!(code, Some(0), "{shown}{out}");
    assert!(
        shown.contains("Password for postgresql://bob@127.0.0.1") && !shown.contains("s3cret"),
        "{shown}"
    );
    let (shown, _, code) = on_a_terminal(list(&url), "wrong\n");
    assert!(code == Some(1) && shown.contains("rejects the password of user bob"), "{shown}");
    let (shown, _, code) = on_a_terminal(list(&url), "s3\x03");
    assert!(code == Some(3) && shown.contains("ERROR: interrupted"), "{shown}");
    // From the password file nobody is asked; from one that others may read, nothing is taken.
    let passfile = s.certs.join(".pgpass");
    fs::write(&passfile, "*:*:defaultdb:bob:s3cret\n").unwrap();
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
    let done = crate::support::cli::run(&mut list(&url));
    assert!(done.success(), "{}", done.stderr());
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o644)).unwrap();
    let done = crate::support::cli::run(&mut list(&url));
    assert!(!done.success(), "{}", done.stdout());
    assert!(
        done.stderr().contains("others may read it") && !done.stderr().contains("s3cret"),
        "{}",
        done.stderr()
    );
    fs::remove_file(&passfile).unwrap();
}
