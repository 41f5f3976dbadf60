//! Whom the client believes to be PVE.
//!
//! Verification is on unless it is turned off by name. A pinned fingerprint is asked only when the usual
//! verification fails, so that a certificate renewed under a known CA does not end the service; whoever is
//! believed must still prove that the key is theirs.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

/// Where a node of the cluster finds the CA that signed the certificates of all nodes.
const CLUSTER_CA: &str = "/etc/pve/pve-root-ca.pem";

/// Whom to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// Whether the certificate is verified at all. Without it anybody on the way reads the token.
    pub verify: bool,
    /// Where the cluster's own CA is, if this machine is a node of it.
    pub cluster_ca: PathBuf,
    /// CA certificates in PEM, besides the system's and the cluster's own.
    pub ca_file: Option<PathBuf>,
    /// The one certificate that is believed although its verification fails.
    pub fingerprint: Option<Fingerprint>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { verify: true, cluster_ca: CLUSTER_CA.into(), ca_file: None, fingerprint: None }
    }
}

/// SHA-256 over a certificate in DER, as PVE's web interface shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a SHA-256 fingerprint: 32 bytes in hex, with or without colons")]
pub struct InvalidFingerprint;

impl Fingerprint {
    /// The fingerprint of a certificate.
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let text = text.trim();
        let digits = if text.contains(':') {
            let bytes: Vec<&str> = text.split(':').collect();
            if bytes.iter().any(|byte| byte.len() != 2) {
                return Err(InvalidFingerprint);
            }
            bytes.concat()
        } else {
            text.to_owned()
        };
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidFingerprint);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = &digits[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidFingerprint)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(':')?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA file is not there, or not PEM.
    #[error("CA file `{}` cannot be read", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The CA file has no certificate that can be a CA's.
    #[error("CA file `{}` has no usable certificate", .0.display())]
    NoCa(PathBuf),
    /// The roots do not make a verifier.
    #[error("certificates cannot be verified")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
    /// The TLS library refuses its settings.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl TlsOptions {
    /// Whether they can be used.
    pub fn check(&self) -> Result<(), TlsError> {
        client_config(self).map(drop)
    }
}

/// TLS as the options want it.
pub(super) fn client_config(options: &TlsOptions) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let trust = if options.verify {
        let roots = Arc::new(roots(&options.cluster_ca, options.ca_file.as_deref())?);
        // A verifier wants at least one root; a pin alone needs none.
        let chain = if roots.is_empty() {
            None
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
            Some(builder.build().map_err(TlsError::Verifier)?)
        };
        Trust::Verified { chain, pin: options.fingerprint }
    } else {
        Trust::Anybody
    };
    let verifier = Arc::new(Verifier { trust, provider: provider.clone() });
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// The system's roots, the cluster's own on a node, and those of the file.
fn roots(cluster_ca: &Path, ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "a root certificate of the system cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if cluster_ca.exists()
        && let Err(error) = add(&mut roots, cluster_ca)
    {
        tracing::warn!(error = %error, path = %cluster_ca.display(), "the cluster's CA is left out");
    }
    if let Some(path) = ca_file {
        add(&mut roots, path)?;
    }
    Ok(roots)
}

/// Adds the certificates of a PEM file, of which there must be some.
fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let unreadable = |source| TlsError::CaFile { path: path.to_owned(), source };
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(TlsError::NoCa(path.to_owned())),
        _ => Ok(()),
    }
}

/// Who is believed.
#[derive(Debug)]
enum Trust {
    /// Whoever a root vouches for, and the pinned certificate.
    Verified { chain: Option<Arc<WebPkiServerVerifier>>, pin: Option<Fingerprint> },
    /// Whoever answers.
    Anybody,
}

/// Decides about a certificate; the proof that the peer has its key is always verified.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (chain, pin) = match &self.trust {
            Trust::Anybody => return Ok(ServerCertVerified::assertion()),
            Trust::Verified { chain, pin } => (chain, pin),
        };
        let outcome = match chain {
            Some(chain) => {
                chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let Err(error) = outcome else { return outcome };
        let seen = Fingerprint::of(end_entity);
        match pin {
            Some(pin) if *pin == seen => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(rustls::Error::General(format!(
                "{error}, and the certificate's fingerprint {seen} is not the pinned one"
            ))),
            None => Err(rustls::Error::General(format!("{error} (the certificate's fingerprint is {seen})"))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_with_and_without_colons() {
        let plain = "00ff".repeat(16);
        let colons = ["00:FF"; 16].join(":");
        let fingerprint: Fingerprint = plain.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(colons.parse(), Ok(fingerprint));
        assert_eq!(fingerprint.to_string(), colons);
        for bad in ["", "00", &"0".repeat(63), &"zz".repeat(32), &format!("{plain}00"), &colons[1..], "é"] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(InvalidFingerprint), "{bad}");
        }
    }

    #[test]
    fn a_ca_file_must_have_a_certificate() {
        let options = |path: &Path| TlsOptions { ca_file: Some(path.to_owned()), ..TlsOptions::default() };
        let empty = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(client_config(&options(empty.path())), Err(TlsError::NoCa(_))));
        let absent = client_config(&options(Path::new("/nonexistent/ca.pem")));
        assert!(matches!(absent, Err(TlsError::CaFile { .. })));
    }
}
