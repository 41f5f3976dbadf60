//! Whom the client believes, against real handshakes.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WantsServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ConfigBuilder, ServerConfig};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::wire::{read_request, request};
use crate::pve::{Answer, Fingerprint, HttpTransport, Method, TlsOptions, Transport as _, Unanswered};

/// A cluster's CA, and the certificate that it gave a node.
struct Pki {
    ca_file: NamedTempFile,
    fingerprint: Fingerprint,
    certificate: CertificateDer<'static>,
    server: Arc<ServerConfig>,
}

fn pki(names: &[&str]) -> Pki {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("a CA").pem();
    let mut ca_file = NamedTempFile::new().expect("a file");
    ca_file.write_all(ca_pem.as_bytes()).expect("a written file");

    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = CertificateParams::new(names).expect("parameters");
    let leaf = params.signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate");
    let bytes: Vec<String> = Sha256::digest(leaf.der()).iter().map(|byte| format!("{byte:02x}")).collect();

    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let certificate = leaf.der().clone();
    let server = server().with_single_cert(vec![certificate.clone()], private).expect("a server");
    Pki {
        ca_file,
        fingerprint: bytes.join(":").parse().expect("a fingerprint"),
        server: Arc::new(server),
        certificate,
    }
}

fn server() -> ConfigBuilder<ServerConfig, WantsServerCert> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
}

/// One call of a server with that certificate, reached by `host`.
async fn call(pki: &Pki, host: &str, tls: &TlsOptions) -> Result<Answer, Unanswered> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let acceptor = TlsAcceptor::from(pki.server.clone());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let Ok(mut stream) = acceptor.accept(stream).await else { return };
        read_request(&mut stream).await;
        // Neither a length nor, behind it, a farewell of TLS.
        let head = b"HTTP/1.1 401 No ticket\r\nConnection: close\r\n\r\n";
        stream.write_all(head).await.expect("an open connection");
        stream.flush().await.expect("an open connection");
    });
    let url = Url::parse(&format!("https://{host}:{port}")).expect("a URL");
    let client = HttpTransport::new(&url, "pool@pve!svc=s3cret", tls).expect("a client");
    let outcome = client.call(request(Method::Get, "/version", &[])).await;
    match outcome {
        Ok(_) => server.await.expect("the server"),
        // It may never have come to a connection.
        Err(_) => server.abort(),
    }
    outcome
}

fn answered() -> Answer {
    Answer { status: 401, reason: "No ticket".to_owned(), body: Vec::new() }
}

#[tokio::test]
async fn an_unknown_ca_is_refused_and_its_fingerprint_told() {
    let pki = pki(&["127.0.0.1"]);
    let outcome = call(&pki, "127.0.0.1", &TlsOptions::default()).await;
    let Err(Unanswered::NotSent(text)) = outcome else { panic!("{outcome:?}") };
    assert!(text.contains(&pki.fingerprint.to_string()), "{text}");
}

#[tokio::test]
async fn a_ca_file_is_believed_for_the_names_that_it_vouches_for() {
    let pki = pki(&["127.0.0.1", "localhost"]);
    let tls = TlsOptions { ca_file: Some(pki.ca_file.path().to_owned()), ..TlsOptions::default() };
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(call(&pki, host, &tls).await.expect(host), answered());
    }
    let other = self::pki(&["pve2.example"]);
    let tls = TlsOptions { ca_file: Some(other.ca_file.path().to_owned()), ..TlsOptions::default() };
    let outcome = call(&other, "127.0.0.1", &tls).await;
    assert!(matches!(outcome, Err(Unanswered::NotSent(_))), "{outcome:?}");
}

#[tokio::test]
async fn on_a_node_of_the_cluster_its_ca_is_believed_and_a_broken_one_left_out() {
    let pki = pki(&["127.0.0.1"]);
    let at = |path: &std::path::Path| TlsOptions { cluster_ca: path.to_owned(), ..TlsOptions::default() };
    assert_eq!(call(&pki, "127.0.0.1", &at(pki.ca_file.path())).await.expect("believed"), answered());
    let broken = NamedTempFile::new().expect("a file");
    for nothing in [broken.path(), std::path::Path::new("/nowhere/pve-root-ca.pem")] {
        let outcome = call(&pki, "127.0.0.1", &at(nothing)).await;
        assert!(matches!(outcome, Err(Unanswered::NotSent(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_pin_is_asked_when_verification_fails() {
    let pki = pki(&["pve1.example"]);
    let pinned = |fingerprint| TlsOptions { fingerprint: Some(fingerprint), ..TlsOptions::default() };
    assert_eq!(call(&pki, "127.0.0.1", &pinned(pki.fingerprint)).await.expect("believed"), answered());
    let wrong: Fingerprint = "00".repeat(32).parse().expect("a fingerprint");
    let outcome = call(&pki, "127.0.0.1", &pinned(wrong)).await;
    let Err(Unanswered::NotSent(text)) = outcome else { panic!("{outcome:?}") };
    assert!(text.contains("is not the pinned one"), "{text}");
    // A certificate that verifies needs no pin: it may have been renewed.
    let verified = self::pki(&["127.0.0.1"]);
    let ca_file = Some(verified.ca_file.path().to_owned());
    let tls = TlsOptions { ca_file, ..pinned(wrong) };
    assert_eq!(call(&verified, "127.0.0.1", &tls).await.expect("believed"), answered());
}

#[tokio::test]
async fn without_verification_anybody_is_believed() {
    let pki = pki(&["pve1.example"]);
    let tls = TlsOptions { verify: false, ..TlsOptions::default() };
    assert_eq!(call(&pki, "127.0.0.1", &tls).await.expect("believed"), answered());
}

#[tokio::test]
async fn whoever_shows_a_certificate_must_have_its_key() {
    let genuine = pki(&["127.0.0.1"]);
    let key = KeyPair::generate().expect("a key");
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let private = ring::sign::any_supported_type(&private).expect("a key that signs");
    let stolen = CertifiedKey::new(vec![genuine.certificate.clone()], private);
    let server = server().with_cert_resolver(Arc::new(SingleCertAndKey::from(stolen)));
    let thief = Pki { server: Arc::new(server), ..genuine };
    for tls in [
        TlsOptions { fingerprint: Some(thief.fingerprint), ..TlsOptions::default() },
        TlsOptions { ca_file: Some(thief.ca_file.path().to_owned()), ..TlsOptions::default() },
        TlsOptions { verify: false, ..TlsOptions::default() },
    ] {
        let outcome = call(&thief, "127.0.0.1", &tls).await;
        assert!(matches!(outcome, Err(Unanswered::NotSent(_))), "{outcome:?}");
    }
}
