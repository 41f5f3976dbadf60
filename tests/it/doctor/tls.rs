//! Certificates: PVE behind TLS, as its own front end has it.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::ground::{Ground, listener};
use super::{Case, case};

pub const CASES: &[Case] = &[
    case("a certificate that nobody vouches for", "pve-tls", |it| drop(behind_tls(it))),
    case("another certificate than the pinned one", "pve-tls", |it| {
        behind_tls(it);
        it.set("PVE_FINGERPRINT", "ab".repeat(32));
    }),
    case("a CA that did not sign the certificate", "pve-tls", |it| {
        behind_tls(it);
        it.set_file("PVE_CA_FILE", "pve-root-ca.pem", &certificate("another").1);
    }),
    case("a certificate that is not verified", "pve-tls", |it| {
        behind_tls(it);
        it.set("PVE_VERIFY_TLS", "false");
    }),
];

/// PVE behind a certificate that the settings vouch for.
pub fn vouched_for(ground: &mut Ground) {
    let pem = behind_tls(ground);
    ground.set_file("PVE_CA_FILE", "pve-root-ca.pem", &pem);
}

/// A key and its certificate, signed by itself, in PEM.
fn certificate(name: &str) -> (KeyPair, String, rcgen::Certificate) {
    let key = KeyPair::generate().expect("a key");
    let names = [name.to_owned()];
    let certificate = CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
    (key, certificate.pem(), certificate)
}

/// Puts PVE behind TLS, and returns its certificate in PEM.
fn behind_tls(ground: &mut Ground) -> String {
    let (key, pem, certificate) = certificate("127.0.0.1");
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a server");
    ground.show(fingerprint(certificate.der()), "AB:CD:…");
    ground.behind(|pve| terminate(server, pve));
    pem
}

fn fingerprint(der: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Speaks TLS before something that does not.
fn terminate(server: rustls::ServerConfig, behind: SocketAddr) -> SocketAddr {
    let listener = tokio::net::TcpListener::from_std(listener()).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut front = acceptor.accept(stream).await?;
                let mut back = tokio::net::TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut front, &mut back).await
            });
        }
    });
    address
}
