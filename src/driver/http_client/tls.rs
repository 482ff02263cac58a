//! TLS of the HTTP client: rustls with ring, TLS 1.2 and 1.3.

use std::sync::Arc;

use futures_rustls::rustls::client::Resumption;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, RootCertStore};

/// Trust in the certificate authorities that browsers trust.
pub fn public_authorities() -> Arc<ClientConfig> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    Arc::new(trusting(roots))
}

pub fn trusting(roots: RootCertStore) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(TICKETS);
    config
}

/// Servers whose tickets are kept. Full: the oldest goes, and its next handshake is a whole one.
const TICKETS: usize = 32;
