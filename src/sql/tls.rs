//! Secure connections: what is verified in each [`SslMode`], and which certificate we show.

use super::config::{RootCert, Settings, SslMode};
use super::{Error, ErrorClass};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The connector for these settings. Reads the certificate files anew each time, so that renewed ones are
/// taken at the next connection.
pub(super) fn connector(s: &Settings) -> Result<MakeRustlsConnect, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let check = match s.ssl_mode {
        SslMode::VerifyCa => Check::Chain,
        SslMode::VerifyFull => Check::ChainAndName,
        _ => Check::Nothing,
    };
    let (roots, pinned) =
        if check == Check::Nothing { (RootCertStore::empty(), Vec::new()) } else { roots(s)? };
    let verifier = Verifier { check, roots, pinned, provider: provider.clone() };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| tls(format!("cannot set up TLS: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match identity(s)? {
        Some((certs, key)) => builder.with_client_auth_cert(certs, key).map_err(|e| {
            tls(format!("the client certificate and its key cannot be used: {e}"))
                .with_hint("check that sslcert and sslkey belong together")
        })?,
        None => builder.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn tls(message: String) -> Error {
    Error::new(ErrorClass::Tls, message)
}

/// The trusted authorities, and the same certificates as bytes.
fn roots(s: &Settings) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
    let mut store = RootCertStore::empty();
    let certs = match &s.root_cert {
        Some(RootCert::File(path)) => read_certs(path, "the authority's certificate")?,
        Some(RootCert::System) => rustls_native_certs::load_native_certs().certs,
        // With the host name checked, the public authorities are as good as one of one's own.
        None if s.ssl_mode == SslMode::VerifyFull => rustls_native_certs::load_native_certs().certs,
        None => {
            return Err(tls(format!("sslmode={} needs the certificate of the authority", s.ssl_mode.word()))
                .with_hint("give sslrootcert=FILE, sslrootcert=system, or --certs-dir with a ca.crt in it"));
        }
    };
    let (added, _) = store.add_parsable_certificates(certs.iter().cloned());
    if added == 0 {
        return Err(tls("there is no usable certificate of an authority".to_owned())
            .with_hint("check sslrootcert; for sslrootcert=system install the package ca-certificates"));
    }
    Ok((store, certs))
}

fn read_certs(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = read(path, what)?;
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certs {
        Ok(certs) if !certs.is_empty() => Ok(certs),
        Ok(_) => Err(tls(format!("{what} {} holds no PEM certificate", path.display()))),
        Err(e) => Err(tls(format!("{what} {} cannot be read as PEM: {e}", path.display()))),
    }
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|e| {
        let hint = match e.kind() {
            std::io::ErrorKind::NotFound => {
                "check the path; --certs-dir expects ca.crt, client.<user>.crt and client.<user>.key"
            }
            std::io::ErrorKind::PermissionDenied => "run as the user who owns the file",
            _ => "check the path",
        };
        tls(format!("cannot read {what} {}: {}", path.display(), io_words(&e))).with_hint(hint)
    })
}

/// The system's message without "(os error N)".
pub(super) fn io_words(e: &std::io::Error) -> String {
    let text = e.to_string();
    let short = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = short.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => text,
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Our own certificate chain and key, if both are named.
fn identity(s: &Settings) -> Result<Option<Identity>, Error> {
    let (cert, key) = match (&s.client_cert, &s.client_key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return Ok(None),
        (Some(cert), None) => {
            return Err(tls(format!("the client certificate {} comes without a key", cert.display()))
                .with_hint("give sslkey=FILE as well"));
        }
        (None, Some(key)) => {
            return Err(tls(format!("the client key {} comes without a certificate", key.display()))
                .with_hint("give sslcert=FILE as well"));
        }
    };
    let certs = read_certs(cert, "the client certificate")?;
    check_key_mode(key)?;
    let pem = read(key, "the client key")?;
    if pem.windows(9).any(|w| w == b"ENCRYPTED") {
        return Err(tls(format!("the client key {} is encrypted", key.display()))
            .with_hint("write it without a passphrase: openssl pkey -in KEY -out NEWKEY"));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|e| tls(format!("the client key {} cannot be read as PEM: {e}", key.display())))?;
    Ok(Some((certs, key)))
}

/// As libpq and CockroachDB: a key that others may read is refused.
fn check_key_mode(path: &Path) -> Result<(), Error> {
    let Ok(meta) = std::fs::metadata(path) else { return Ok(()) };
    let forbidden = if meta.uid() == 0 { 0o037 } else { 0o077 };
    if meta.mode() & forbidden != 0 {
        return Err(tls(format!("others may read the client key {}", path.display()))
            .with_hint(format!("chmod 600 {}", path.display())));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    roots: RootCertStore,
    /// The same as bytes: a self-signed server certificate that is itself trusted needs no chain.
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let cert = ParsedCertificate::try_from(end_entity)?;
        if !self.pinned.iter().any(|p| p.as_ref() == end_entity.as_ref()) {
            rustls::client::verify_server_cert_signed_by_trust_anchor(
                &cert,
                &self.roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.check == Check::ChainAndName {
            rustls::client::verify_server_name(&cert, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.check == Check::Nothing {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.check == Check::Nothing {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a failed handshake means for a person. `own_roots`: the authority was named.
pub(super) fn explain(e: &rustls::Error, host: &str, own_roots: bool) -> Error {
    use rustls::{AlertDescription as A, Error as R};
    match e {
        R::InvalidCertificate(c) => explain_certificate(c, host, own_roots),
        R::AlertReceived(A::UnknownCA | A::BadCertificate | A::CertificateUnknown | A::AccessDenied) => {
            tls(format!("{host} does not accept the client certificate ({e})"))
                .with_hint("the client certificate must be signed by the server's authority for clients")
        }
        R::AlertReceived(A::CertificateRequired | A::HandshakeFailure) => tls(format!(
            "{host} wants a client certificate ({e})"
        ))
        .with_hint("give sslcert and sslkey, or --certs-dir with client.<user>.crt and client.<user>.key"),
        R::AlertReceived(A::CertificateExpired) => tls("the client certificate has expired".to_owned())
            .with_hint("have a new client certificate signed"),
        other => tls(format!("the TLS handshake with {host} failed: {other}")),
    }
}

fn explain_certificate(c: &CertificateError, host: &str, own_roots: bool) -> Error {
    use CertificateError as C;
    let said = c.to_string();
    match c {
        C::UnknownIssuer | C::BadSignature => {
            let by = if own_roots { "the given authority" } else { "an authority that this machine trusts" };
            tls(format!("the certificate of {host} is not signed by {by}"))
                .with_hint("give the authority of this server as sslrootcert, or as ca.crt in --certs-dir")
        }
        C::NotValidForNameContext { presented, .. } => {
            let names = match presented.as_slice() {
                [] => "it names no host (a common name alone does not count)".to_owned(),
                some => {
                    let plain: Vec<&str> = some.iter().map(|n| plain_name(n)).collect();
                    format!("it is for {}", plain.join(", "))
                }
            };
            tls(format!("the certificate of {host} is for another host: {names}"))
                .with_hint("connect by a name of the certificate, or use sslmode=verify-ca")
        }
        C::NotValidForName => tls(format!("the certificate of {host} is for another host"))
            .with_hint("connect by a name of the certificate, or use sslmode=verify-ca"),
        C::Expired | C::ExpiredContext { .. } => {
            tls(format!("the certificate of {host} has expired")).with_hint("renew the server's certificate")
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            tls(format!("the certificate of {host} is not valid yet"))
                .with_hint("check the clocks of both machines")
        }
        _ if said.contains("UnsupportedCertVersion") || said.contains("BadEncoding") => tls(format!(
            "the certificate of {host} is not an X.509 version 3 certificate"
        ))
        .with_hint("make the server's certificate with extensions (subjectAltName), or use sslmode=require"),
        _ => tls(format!("the certificate of {host} is not acceptable: {said}")),
    }
}

/// `localhost` from `DnsName("localhost")`, as the library prints names.
fn plain_name(shown: &str) -> &str {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(shown, |name| name.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn names_of_certificates() {
        assert_eq!(plain_name("DnsName(\"db.example.com\")"), "db.example.com");
        assert_eq!(plain_name("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(plain_name("other"), "other");
    }
}
