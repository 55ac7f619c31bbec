//! A certificate authority: its chain, its key, and what it issues. ECDSA P-256 throughout: small, quick, and known
//! to every TLS library of the SDKs; ring makes no RSA keys.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use edge_core::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use zeroize::Zeroizing;

use super::parse::Validity;
use super::{IssueError, Kind, parse};

/// How far back the validity of what is issued begins, because clients' clocks differ.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// Longest common name in characters [RFC 5280, appendix A: ub-common-name].
const MAX_COMMON_NAME: usize = 64;

/// One that can issue.
pub(super) struct Ca {
    /// Its certificate, and those above it but the root: what is sent after a leaf.
    pub(super) chain: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(super) struct Leaf {
    /// Itself, then the CA's chain.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// PKCS #8.
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) validity: Validity,
}

/// A fresh CA.
pub(super) struct NewCa {
    pub(super) certificate: CertificateDer<'static>,
    /// PKCS #8.
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// Without keys.
impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").finish_non_exhaustive()
    }
}

impl Ca {
    /// From a CA's chain, its own certificate first, and its key.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: KeyPair,
    ) -> Result<Self, IssueError> {
        let own = chain.first().ok_or(IssueError::NoCa)?;
        let issuer = Issuer::from_ca_cert_der(own, key)?;
        Ok(Self { chain, issuer })
    }

    /// Issues a certificate with a fresh key, valid from a day ago (or from 1970) for a time from now.
    pub(super) fn issue(
        &self,
        common_name: &str,
        names: &[Name],
        kind: Kind,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Leaf, IssueError> {
        let seconds = |time: Timestamp| Timestamp(time.0 / 1_000_000_000 * 1_000_000_000);
        let back = u64::try_from(BACKDATE.as_nanos()).unwrap_or(0);
        let validity = Validity {
            from: seconds(Timestamp(now.0.saturating_sub(back))),
            to: seconds(now.after(lifetime)),
        };
        // A server's name also stands in the other names; a client's counts as a whole, whatever the bound says.
        let mut params = match kind {
            Kind::Server => params(
                &common_name
                    .chars()
                    .take(MAX_COMMON_NAME)
                    .collect::<String>(),
            ),
            Kind::Client => params(common_name),
        };
        // A `Timestamp` ends in the year 2554, so this never overflows.
        let date = |time: Timestamp| {
            date_time_ymd(1970, 1, 1) + Duration::from_secs(time.0 / 1_000_000_000)
        };
        params.not_before = date(validity.from);
        params.not_after = date(validity.to);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = names.iter().map(|name| name.0.clone()).collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match kind {
            Kind::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Kind::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let mut chain = vec![certificate.der().clone()];
        chain.extend_from_slice(&self.chain);
        Ok(Leaf {
            chain,
            key: Zeroizing::new(key.serialize_der()),
            validity,
        })
    }
}

/// A self-signed root, valid from 1970 to 9999.
pub(super) fn new_root(common_name: &str) -> Result<NewCa, IssueError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let params = ca_params(common_name, BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key)?;
    Ok(NewCa {
        certificate: certificate.der().clone(),
        key: Zeroizing::new(key.serialize_der()),
    })
}

/// A CA under a root, which issues leaves only; valid from 1970 to 9999.
pub(super) fn new_edge_ca(
    common_name: &str,
    root: &CertificateDer<'static>,
    root_key: KeyPair,
) -> Result<NewCa, IssueError> {
    let root = Issuer::from_ca_cert_der(root, root_key)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = ca_params(common_name, BasicConstraints::Constrained(0));
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &root)?;
    Ok(NewCa {
        certificate: certificate.der().clone(),
        key: Zeroizing::new(key.serialize_der()),
    })
}

/// Whether a key is that of a certificate.
pub(super) fn belongs(key: &KeyPair, certificate: &CertificateDer<'_>) -> bool {
    parse::public_key(certificate).is_some_and(|spki| spki == key.subject_public_key_info())
}

/// A key that can sign certificates.
pub(super) fn signing_key(key: &PrivateKeyDer<'_>) -> Result<KeyPair, &'static str> {
    match key {
        PrivateKeyDer::Pkcs8(_) => KeyPair::try_from(key.secret_der())
            .map_err(|_| "its key is of no kind that can sign here"),
        _ => Err(
            "its key is not in PKCS #8; `openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW` makes it so",
        ),
    }
}

/// A name that a certificate can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(SanType);

impl Name {
    pub(super) fn new(text: &str) -> Result<Self, IssueError> {
        let bad = || IssueError::BadName(text.chars().take(260).collect());
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(SanType::IpAddress(ip)));
        }
        DnsName::try_from(text).map_err(|_| bad())?;
        Ok(Self(SanType::DnsName(text.try_into().map_err(|_| bad())?)))
    }
}

/// As [`parse::names`] reads it back.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SanType::IpAddress(ip) => write!(f, "{ip}"),
            SanType::DnsName(name) => f.write_str(name.as_str()),
            _ => Ok(()),
        }
    }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn ca_params(common_name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = params(common_name);
    params.not_before = date_time_ymd(1970, 1, 1);
    // The end of time of certificates [RFC 5280, 4.1.2.5]: 99991231235959Z.
    params.not_after = date_time_ymd(9999, 12, 31) + Duration::from_secs(24 * 3600 - 1);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
