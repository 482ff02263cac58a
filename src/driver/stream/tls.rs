//! TLS of SIP connections: whom we trust, what we show, and the two handshakes.
//!
//! TLS 1.2 and 1.3. A server's certificate is checked against the host of the URI that was called
//! (RFC 5922 §7.2) by its `dNSName` or `iPAddress`; one that names its domain by a `sip:` URI
//! only, or in the Common Name, **is not** accepted. Revocation **is not** looked up.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use futures_rustls::rustls::server::{
    ParsedCertificate, ServerSessionMemoryCache, WebPkiClientVerifier,
};
use futures_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use smol::Async;
use smol::future::FutureExt;
use std::net::TcpStream;

use super::{HANDSHAKE, prepare, timeout};
use crate::config::{Config, Network, Tls as Settings};
use crate::sip::uri::Uri;

/// What a configuration says of TLS, ready for handshakes.
pub struct Tls {
    client: Arc<ClientConfig>,
    /// Of trunks with a table of their own, by the hosts of their server and proxy.
    clients: Vec<(String, Arc<ClientConfig>)>,
    /// `None`: no certificate to show, and no listener that would need one.
    server: Option<Arc<ServerConfig>>,
    /// Which addresses are whose: a trunk that wants certificates has a configuration of its own.
    callers: Vec<(Network, Option<Arc<ServerConfig>>)>,
}

impl Tls {
    /// # Errors
    /// What the TLS library does not take.
    pub fn of(config: &Config) -> Result<Self, String> {
        let general = &config.sip.tls;
        let mut tls = Self {
            client: client(general).map_err(|error| format!("[sip] tls: {error}"))?,
            clients: Vec::new(),
            server: server(general, None).map_err(|error| format!("[sip] tls: {error}"))?,
            callers: Vec::new(),
        };
        if !general.verify {
            log::warn!("[sip] tls verify = false: any server is taken for the one that is called");
        }
        for trunk in &config.trunks {
            let named = |error: String| format!("[trunk.{}] tls: {error}", trunk.name);
            if trunk.tls != *general {
                let own = client(&trunk.tls).map_err(named)?;
                let places = [&trunk.server, &trunk.account.outbound_proxy].into_iter();
                let hosts = places.filter_map(|place| Some(place.parse::<Uri>().ok()?.host));
                tls.clients.extend(hosts.map(|host| (host, own.clone())));
                if !trunk.tls.verify && general.verify {
                    log::warn!("[trunk.{}] tls verify = false: any server is taken", trunk.name);
                }
            }
            let callers = trunk.tls.authorities.as_ref().filter(|_| trunk.is_mutual);
            let wanted = match callers {
                Some(callers) => server(general, Some(callers)).map_err(named)?,
                None => None,
            };
            let networks = trunk.accept_from.iter();
            tls.callers.extend(networks.map(|network| (*network, wanted.clone())));
        }
        Ok(tls)
    }

    /// The handshake with a peer that connected.
    pub async fn accept(&self, socket: Async<TcpStream>, peer: SocketAddr) -> io::Result<Secure> {
        let config = self.server_for(peer.ip()).ok_or(io::ErrorKind::Unsupported)?;
        prepare(&socket)?;
        let handshake = TlsAcceptor::from(config).accept(socket);
        let mut stream = handshake.or(timeout(HANDSHAKE)).await?;
        stream.get_mut().1.set_buffer_limit(Some(SEALED_BYTES));
        Ok(Box::new(stream.into()))
    }

    /// The handshake with a server that must be `name`.
    pub async fn connect(&self, socket: Async<TcpStream>, name: &str) -> io::Result<Secure> {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let own = self.clients.iter().find(|(host, _)| host.eq_ignore_ascii_case(name));
        let config = own.map_or(&self.client, |(_, config)| config);
        let handshake = TlsConnector::from(config.clone()).connect(server, socket);
        let mut stream = handshake.or(timeout(HANDSHAKE)).await?;
        stream.get_mut().1.set_buffer_limit(Some(SEALED_BYTES));
        Ok(Box::new(stream.into()))
    }

    /// As calls are attributed to trunks: the longest prefix decides, then the order.
    fn server_for(&self, peer: IpAddr) -> Option<Arc<ServerConfig>> {
        let here = self.callers.iter().rev().filter(|(network, _)| network.contains(peer));
        let closest = here.max_by_key(|(network, _)| network.prefix);
        closest.and_then(|(_, wanted)| wanted.clone()).or_else(|| self.server.clone())
    }
}

/// A connection whose handshake is done.
pub type Secure = Box<TlsStream<Async<TcpStream>>>;

fn client(settings: &Settings) -> Result<Arc<ClientConfig>, String> {
    let roots = match &settings.authorities {
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Some(authorities) => store(authorities)?,
    };
    let provider = Arc::new(ring::default_provider());
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = Verifier {
        webpki: webpki.build().map_err(text)?,
        pinned: settings.authorities.clone().unwrap_or_default(),
        verify: settings.verify,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(text)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some(own) => {
            builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key()).map_err(text)?
        }
    };
    config.resumption = Resumption::in_memory_sessions(TICKETS);
    Ok(Arc::new(config))
}

/// `callers`: who connects must show a certificate of one of these.
fn server(
    settings: &Settings,
    callers: Option<&Arc<[CertificateDer<'static>]>>,
) -> Result<Option<Arc<ServerConfig>>, String> {
    let Some(own) = &settings.certificate else { return Ok(None) };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(text)?;
    let builder = match callers {
        None => builder.with_no_client_auth(),
        Some(callers) => {
            let roots = Arc::new(store(callers)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(text)?)
        }
    };
    let mut config =
        builder.with_single_cert(own.chain.clone(), own.key.clone_key()).map_err(text)?;
    config.session_storage = ServerSessionMemoryCache::new(TICKETS);
    Ok(Some(Arc::new(config)))
}

fn store(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(text)?;
    }
    Ok(roots)
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

/// What a server must prove: a chain to an authority, or that it is itself one of those that `ca`
/// lists, as a self-signed one is (webpki takes no authority for a server).
#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    pinned: Arc<[CertificateDer<'static>]>,
    verify: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.verify {
            return Ok(ServerCertVerified::assertion());
        }
        if self.pinned.contains(end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.webpki.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// What is encrypted and not taken by the system yet.
const SEALED_BYTES: usize = 16 << 10;
/// Sessions that can be resumed, either way. Full: the oldest goes, and its next handshake is a
/// whole one.
const TICKETS: usize = 64;
