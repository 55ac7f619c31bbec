//! What certificates say, for lists.

use edge_core::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;

use super::parse;
use crate::Thumbprint;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateDetails {
    /// Whose it is.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Its DNS names and IP addresses, sorted.
    pub names: Vec<String>,
    /// When its validity begins.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
    /// Its SHA-256.
    pub thumbprint: Thumbprint,
}

/// What a certificate says; `None` if it cannot be read.
pub fn certificate_details(der: &[u8]) -> Option<CertificateDetails> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let validity = parse::validity(der)?;
    Some(CertificateDetails {
        subject: parse::subject(der),
        issuer: certificate.issuer.to_string(),
        names: parse::names(der),
        from: validity.from,
        to: validity.to,
        thumbprint: Thumbprint::sha256(der),
    })
}

/// The certificates in PEM text. What is none is passed over.
pub fn certificates_of(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .filter_map(Result::ok)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, AuthorityConfig};

    #[test]
    fn a_certificate_says_whose_it_is_and_how_long() {
        let dir = tempfile::tempdir().unwrap();
        let config = AuthorityConfig::own(dir.path().join("ca"), "press-7.example");
        let now = Timestamp(1_800_000_000_000_000_000);
        let authority = Authority::open(config, now).unwrap();
        let chain = authority.server_chain();
        let server = certificate_details(&chain[0]).unwrap();
        assert!(
            server.names.contains(&"press-7.example".to_owned()),
            "{server:?}"
        );
        assert_eq!(server.to, authority.expires());
        let roots = certificates_of(&authority.trust_bundle());
        let root = certificate_details(&roots[0]).unwrap();
        assert_eq!(root.subject, root.issuer);
        assert_ne!(server.issuer, root.subject);
        assert!(certificate_details(b"nonsense").is_none());
        assert!(certificates_of("nonsense").is_empty());
    }
}
