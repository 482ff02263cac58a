//! `tls = { cert, key, ca, verify }` of `[sip]` and of a trunk: PEM files to what TLS works with.
//!
//! What is read here is known to be whole: a certificate with the key that belongs to it, and
//! authorities that can be read. Whether a certificate has expired is seen by those who are shown
//! it.

use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::read::{Source, Table};

/// Who we are, and whom we trust.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// `None`: no certificate to show.
    pub certificate: Option<Arc<Certificate>>,
    /// Trusted in the place of the public authorities; those of callers, too.
    pub authorities: Option<Arc<[CertificateDer<'static>]>>,
    /// Whether servers must prove that they are who we called.
    pub verify: bool,
}

/// A certificate with its chain, our own first, and its key.
#[derive(Debug, PartialEq)]
pub struct Certificate {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificate: None, authorities: None, verify: true }
    }
}

impl Tls {
    /// Whether this table names a `ca` beside the general one.
    pub(super) fn has_own_authorities(&self, general: &Self) -> bool {
        match (&self.authorities, &general.authorities) {
            (Some(own), Some(general)) => !Arc::ptr_eq(own, general),
            (own, _) => own.is_some(),
        }
    }
}

/// Reads the table; what it does not say is as in `general`.
pub(super) fn tls(table: Table<'_>, source: &Source<'_>, general: &Tls) -> Tls {
    let pem = |key: &'static str, longest: usize| {
        let text = table.string(key, "");
        if text.is_empty() || text.starts_with("-----BEGIN") {
            // The second comes from "env:" or "file:".
            return Some(text).filter(|text| !text.is_empty());
        }
        match (source.environment.file)(&source.path(&text), longest) {
            Ok(file) => Some(file.text),
            Err(error) => {
                table.problem(key, format!("\"{text}\": {error}"));
                None
            }
        }
    };
    let problems = source.count();
    let (cert, key) = (pem("cert", PEM_BYTES), pem("key", PEM_BYTES));
    let ca = pem("ca", AUTHORITIES_BYTES);
    let tls = Tls {
        certificate: match (cert, key) {
            (Some(cert), Some(key)) => certificate(&table, &cert, &key),
            // What was named but is not there is reported already.
            (None, None) => general.certificate.clone(),
            _ if source.count() > problems => None,
            (Some(_), None) => {
                table.problem("cert", "has no key: name its private key in key");
                None
            }
            (None, Some(_)) => {
                table.problem("key", "has no certificate: name it in cert");
                None
            }
        },
        authorities: match ca {
            Some(ca) => authorities(&table, &ca),
            None => general.authorities.clone(),
        },
        verify: table.flag("verify", general.verify),
    };
    table.finish();
    tls
}

fn certificate(table: &Table<'_>, cert: &str, key: &str) -> Option<Arc<Certificate>> {
    let chain = certificates(table, "cert", cert)?;
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else {
        table.problem("key", "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)");
        return None;
    };
    let Ok(signing) = any_supported_type(&key) else {
        table.problem("key", "is of no kind that is supported: RSA from 2048 bits, ECDSA, Ed25519");
        return None;
    };
    match CertifiedKey::new(chain.clone(), signing).keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            table.problem("key", "does not belong to the first certificate in cert");
            return None;
        }
        Err(error) => {
            table.problem("cert", format!("cannot be used: {error}"));
            return None;
        }
    }
    Some(Arc::new(Certificate { chain, key }))
}

fn authorities(table: &Table<'_>, ca: &str) -> Option<Arc<[CertificateDer<'static>]>> {
    let certificates = certificates(table, "ca", ca)?;
    for (index, certificate) in certificates.iter().enumerate() {
        if let Err(error) = RootCertStore::empty().add(certificate.clone()) {
            let number = index + 1;
            table.problem("ca", format!("certificate {number} in it cannot be used: {error}"));
            return None;
        }
    }
    Some(certificates.into())
}

fn certificates(
    table: &Table<'_>,
    key: &'static str,
    pem: &str,
) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Some(certificates),
        Ok(_) | Err(_) => {
            table.problem(key, "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)");
            None
        }
    }
}

/// A certificate with its chain, or a key.
const PEM_BYTES: usize = 64 << 10;
/// All public authorities take a quarter of it.
const AUTHORITIES_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, Environment, FileText, Problem};

    /// Files are those of `tests/data/tls`.
    fn parse(text: &str) -> Result<Config, Vec<Problem>> {
        let environment = Environment {
            variable: &|_| None,
            file: &|path, longest| {
                let name = path.file_name().unwrap().to_str().unwrap();
                let text = match name {
                    "server.pem" => include_str!("../../tests/data/tls/server.pem"),
                    "server.key" => include_str!("../../tests/data/tls/server.key"),
                    "client.key" => include_str!("../../tests/data/tls/client.key"),
                    "ca.pem" => include_str!("../../tests/data/tls/ca.pem"),
                    _ => return Err("no such file".to_owned()),
                };
                assert!(text.len() <= longest);
                Ok(FileText { text: text.to_owned(), modified_unix: 0 })
            },
            memory_bytes: 4 << 30,
        };
        Config::parse(Path::new("config.toml"), text, &environment)
    }

    #[track_caller]
    fn check(tls: &str, expected: &[&str]) {
        let problems = parse(&format!("[sip]\ntls = {{ {tls} }}\n")).unwrap_err();
        let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(messages, expected);
    }

    #[test]
    fn certificate_and_key_are_checked_against_each_other() {
        check(
            "cert = 'server.pem', key = 'client.key'",
            &["config.toml:2: [sip.tls] key does not belong to the first certificate in cert"],
        );
        check(
            "cert = 'server.pem'",
            &["config.toml:2: [sip.tls] cert has no key: name its private key in key"],
        );
        check(
            "key = 'server.key'",
            &["config.toml:2: [sip.tls] key has no certificate: name it in cert"],
        );
        check(
            "cert = 'gone.pem', key = 'server.key'",
            &["config.toml:2: [sip.tls] cert \"gone.pem\": no such file"],
        );
        check(
            "cert = 'server.key', key = 'server.key'",
            &["config.toml:2: [sip.tls] cert holds no certificate in PEM \
                (-----BEGIN CERTIFICATE-----)"],
        );
        check(
            "cert = 'server.pem', key = 'ca.pem', ca = 'server.key', verfy = true",
            &[
                "config.toml:2: [sip.tls] key holds no private key in PEM \
                 (-----BEGIN PRIVATE KEY-----)",
                "config.toml:2: [sip.tls] ca holds no certificate in PEM \
                 (-----BEGIN CERTIFICATE-----)",
                "config.toml:2: [sip.tls] unknown key \"verfy\"; did you mean \"verify\"?",
            ],
        );
    }

    #[test]
    fn secure_listener_needs_a_certificate() {
        let problems = parse("[sip]\nlisten = ['wss://[::]:443']\n").unwrap_err();
        let expected = "config.toml:2: [sip] listen \"wss://[::]:443\" needs a certificate: set \
                        cert and key in tls";
        assert_eq!(problems[0].to_string(), expected);
    }

    #[test]
    fn trunks_of_one_host_have_one_tls() {
        let text = "[[trunk]]\nname = 'a'\nserver = 'sips:a.example'\n\
                    [[trunk]]\nname = 'b'\nserver = 'sip:a.example:5071;transport=tls'\n\
                    tls = { verify = false }\n";
        let problems = parse(text).unwrap_err();
        let expected = "config.toml:7: [trunk.b] tls is not that of [trunk.a], which has the same \
                        host";
        assert_eq!(problems[0].to_string(), expected);
        parse(&text.replace(";transport=tls", ";transport=udp")).unwrap();
    }

    #[test]
    fn who_shows_a_certificate_is_known_by_the_address() {
        let text = "[[trunk]]\nname = 'a'\nserver = 'sip:a.example'\n\
                    accept_from = ['192.0.2.0/24']\n\
                    [[trunk]]\nname = 'b'\nserver = 'sip:b.example;transport=tls'\n\
                    accept_from = ['192.0.2.1']\ntls = { ca = 'ca.pem' }\n";
        let problem = |text: &str| parse(text).unwrap_err()[0].to_string();
        assert!(problem(text).contains("holds addresses of [trunk.a], which trusts another"));
        let without = text.replace("accept_from = ['192.0.2.1']\n", "");
        assert!(problem(&without).contains("accept_from is needed where tls has a ca of its own"));
        parse(&text.replace("192.0.2.1'", "198.51.100.1'")).unwrap();
    }

    #[test]
    fn trunk_has_what_it_does_not_say_from_sip() {
        let config = parse(
            "[sip]\ntls = { cert = 'server.pem', key = 'server.key', verify = false }\n\
             [[trunk]]\nname = 'a'\nserver = 'sips:a.example'\n\
             [[trunk]]\nname = 'b'\nserver = 'sip:b.example;transport=tls'\n\
             accept_from = ['192.0.2.1']\ntls = { ca = 'ca.pem', verify = true }\n",
        )
        .unwrap();
        let [a, b] = &config.trunks[..] else { panic!("two trunks") };
        assert_eq!(a.tls, config.sip.tls);
        assert!(!a.is_mutual && b.is_mutual && b.tls.verify);
        assert_eq!(b.tls.certificate, config.sip.tls.certificate);
        assert_eq!(b.tls.authorities.as_ref().map(|all| all.len()), Some(1));
    }
}
