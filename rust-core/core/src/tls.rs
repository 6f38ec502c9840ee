//! TLS to a Redis server: certificates and keys given as PEM text, checked once.

use std::fmt;
use std::sync::Arc;

use once_cell::sync::OnceCell;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::Deserialize;

use crate::error::OptionError;
use crate::ids::quoted;

/// The options for TLS as a host gives them.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsOptions {
    /// PEM text of the authorities to trust instead of the system's.
    ca: Option<String>,
    /// PEM text of the client's certificate and of those between it and its authority.
    cert: Option<String>,
    /// PEM text of the certificate's private key.
    key: Option<String>,
    /// What the server's certificate is for, where that is not the host of the URL.
    server_name: Option<String>,
    /// Take any certificate.
    #[serde(default)]
    insecure: bool,
}

/// Options that have been checked. Debug shows nothing of them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tls(TlsOptions);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

const CERTIFICATES: &str =
    "the PEM text of one or more certificates, as open() reads it from a file";
const KEY: &str = "the PEM text of an unencrypted private key, as open() reads it from a file";

/// The system's authorities, as soon as they could be read.
static SYSTEM: OnceCell<RootCertStore> = OnceCell::new();

fn system_authorities() -> Result<RootCertStore, String> {
    let mut system = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    system.add_parsable_certificates(found.certs);
    if system.is_empty() {
        return Err("this system has no certificates of authorities: give them as tls.ca".into());
    }
    Ok(system)
}

impl Tls {
    pub(crate) fn new(options: TlsOptions) -> Result<Self, OptionError> {
        match (&options.cert, &options.key) {
            (Some(_), None) => {
                return Err(OptionError::new(
                    "tls.key",
                    "nothing",
                    "the private key of tls.cert",
                ));
            }
            (None, Some(_)) => {
                return Err(OptionError::new(
                    "tls.cert",
                    "nothing",
                    "the certificate of tls.key",
                ));
            }
            _ => {}
        }
        if let Some(name) = &options.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            return Err(OptionError::new(
                "tls.serverName",
                quoted(name),
                "a host name or an IP address",
            ));
        }
        let this = Self(options);
        this.client_config(RootCertStore::empty())?;
        Ok(this)
    }

    /// The name that the server's certificate must have, where it is not that of the host.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// What to connect with. May read the system's authorities, once for the process, where none are given.
    ///
    /// # Errors
    /// In words, where the system has no authorities.
    pub(crate) fn config(&self) -> Result<ClientConfig, String> {
        let roots = if self.0.ca.is_none() && !self.0.insecure {
            SYSTEM.get_or_try_init(system_authorities)?.clone()
        } else {
            RootCertStore::empty()
        };
        self.client_config(roots).map_err(|e| e.to_string())
    }

    fn client_config(&self, system: RootCertStore) -> Result<ClientConfig, OptionError> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = system;
        if let Some(ca) = &self.0.ca {
            let refuse = |got: &str| OptionError::new("tls.ca", got, CERTIFICATES);
            for certificate in certificates(ca).map_err(refuse)? {
                roots
                    .add(certificate)
                    .map_err(|_| refuse("a certificate that cannot be read"))?;
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| OptionError::new("tls", e.to_string(), "TLS 1.2 or 1.3"))?;
        let builder = if self.0.insecure {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(roots)
        };
        let (Some(cert), Some(key)) = (&self.0.cert, &self.0.key) else {
            return Ok(builder.with_no_client_auth());
        };
        let cert =
            certificates(cert).map_err(|got| OptionError::new("tls.cert", got, CERTIFICATES))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| OptionError::new("tls.key", "a text without such a key", KEY))?;
        builder
            .with_client_auth_cert(cert, key)
            .map_err(|e| match e {
                rustls::Error::InconsistentKeys(_) => OptionError::new(
                    "tls.key",
                    "the key of another certificate",
                    "the private key of tls.cert",
                ),
                _ => OptionError::new("tls.key", "a key that cannot be used", KEY),
            })
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| "a text that is no valid PEM")?;
    if found.is_empty() {
        return Err("a text without a certificate");
    }
    Ok(found)
}

/// Takes any certificate, as k6 does with `insecureSkipTLSVerify`; signatures are checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
