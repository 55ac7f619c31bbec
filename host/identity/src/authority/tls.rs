//! TLS: which certificate a handshake gets, and which client certificates it takes.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    ServerConfig, SignatureScheme,
};
use webpki::RawPublicKeyEntity;

use super::{Inner, parse};

/// Settings whose certificate is whatever the authority has at the time. No ALPN: clients of either version
/// of MQTT and of HTTP/1.1 offer none (client contract, section 5), and what others offer is passed over.
pub(super) fn server_config(inner: Arc<Inner>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let clock = inner.config.clock.clone();
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS12, &TLS13])?
        .with_client_cert_verifier(Arc::new(AnyClient { provider }))
        .with_cert_resolver(Arc::new(Current { inner }));
    config.time_provider = clock;
    Ok(config)
}

/// Gives each handshake the certificate in use. If the clock has left its validity, another one is made first.
#[derive(Debug)]
struct Current {
    inner: Arc<Inner>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.inner.for_handshake())
    }
}

/// Takes any client certificate, and none. That the client has its key is checked by TLS as ever; who it is, and
/// whether the certificate is valid, is for the registry: self-signed ones are known by thumbprint.
///
/// Of the certificate only the public key is read, because rustls' own way reads X.509 version 3 alone, and
/// `openssl x509 -req -signkey`, by which IoT Hub's tutorials make certificates, writes version 1.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Names no CA, so that clients send what they have.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        _above: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    /// A scheme of TLS 1.2 does not say the curve: the algorithm is whichever fits the key.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(certificate)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        let schemes = self.provider.signature_verification_algorithms.mapping;
        let (_, algorithms) = schemes
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        algorithms
            .iter()
            .any(|algorithm| {
                key.verify_signature(*algorithm, message, signed.signature())
                    .is_ok()
            })
            .then(HandshakeSignatureValid::assertion)
            .ok_or(Error::InvalidCertificate(CertificateError::BadSignature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let key = public_key(certificate)?;
        verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn public_key(
    certificate: &CertificateDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'static>, CertificateError> {
    let key = parse::public_key(certificate).ok_or(CertificateError::BadEncoding)?;
    Ok(key.into())
}
