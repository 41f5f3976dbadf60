//! Certificates that nobody vouches for, shown over real TLS.

use super::*;

/// What is found about the certificate of a server that nobody vouches for.
pub(super) async fn distrusted(settings: &[(&str, &str)]) -> Finding {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let settings: Vec<_> = settings.iter().copied().chain([("PVE_API_URL", url.as_str())]).collect();
    let config = config(&settings);
    let transport = crate::app::transport(&config).unwrap();
    let findings = pve::examine(&config, &Pve::new(Arc::new(transport)), None).await;
    server.abort();
    assert_eq!(wrong(&findings), BTreeSet::from(["pve-tls".to_owned()]), "{findings:#?}");
    findings.into_iter().find(|finding| finding.check == "pve-tls").unwrap()
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_named() {
    let found = distrusted(&[]).await.found;
    assert!(found.contains("fingerprint is"), "what could be pinned is shown: {found}");
    let found = distrusted(&[("PVE_FINGERPRINT", &"ab".repeat(32))]).await.found;
    assert!(found.contains("is not the pinned one"), "{found}");
}
