//! What certificates say.

use std::net::IpAddr;

use edge_core::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::CertificateFault;

/// When a certificate is valid, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Validity {
    pub(crate) fn holds(self, now: Timestamp) -> bool {
        self.from <= now && now <= self.to
    }

    pub(crate) fn check(self, now: Timestamp) -> Result<(), CertificateFault> {
        let Self { from, to } = self;
        if self.holds(now) {
            Ok(())
        } else {
            Err(CertificateFault::NotValidNow { from, to })
        }
    }
}

/// When a certificate is valid; `None` if it cannot be read. Times before 1970 are 1970, those that no
/// [`Timestamp`] holds are the last one (the year 2554).
pub(crate) fn validity(der: &[u8]) -> Option<Validity> {
    let certificate = read(der)?;
    let time = |time: ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        Timestamp(seconds.saturating_mul(1_000_000_000))
    };
    Some(Validity {
        from: time(certificate.validity.not_before),
        to: time(certificate.validity.not_after),
    })
}

/// Its one common name.
pub(super) fn common_name(der: &[u8]) -> Option<String> {
    let certificate = read(der)?;
    let mut names = certificate.subject.iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}

/// Its subject, for people.
pub(super) fn subject(der: &[u8]) -> String {
    read(der).map_or_else(String::new, |certificate| certificate.subject.to_string())
}

/// Its DNS names and IP addresses, sorted.
pub(crate) fn names(der: &[u8]) -> Vec<String> {
    let Some(certificate) = read(der) else {
        return Vec::new();
    };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => ip(bytes).map(|ip| ip.to_string()),
        _ => None,
    };
    let all = &extension.value.general_names;
    let mut names: Vec<_> = all.iter().filter_map(name).collect();
    names.sort();
    names
}

/// Its public key, as DER of the SubjectPublicKeyInfo.
pub(super) fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    Some(read(der)?.public_key().raw.to_vec())
}

/// Whether it may issue others.
pub(super) fn is_ca(der: &[u8]) -> bool {
    read(der).is_some_and(|certificate| certificate.is_ca())
}

/// Whether another certificate's key signed it, and its subject is its issuer.
pub(super) fn is_issued_by(der: &[u8], issuer: &[u8]) -> bool {
    let Some((certificate, issuer)) = read(der).zip(read(issuer)) else {
        return false;
    };
    certificate.issuer.as_raw() == issuer.subject.as_raw()
        && certificate
            .verify_signature(Some(issuer.public_key()))
            .is_ok()
}

/// Whether it is a root.
pub(super) fn is_self_signed(der: &[u8]) -> bool {
    is_issued_by(der, der)
}

fn read(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = parse_x509_certificate(der).ok()?;
    rest.is_empty().then_some(certificate)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
