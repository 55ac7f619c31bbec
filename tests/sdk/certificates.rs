//! Certificates of devices: signed by themselves, or by an authority that the daemon is told to trust.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use sha2::{Digest, Sha256};

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Files {
    /// PEM, the leaf first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// SHA-256 of the leaf, in hexadecimal.
    pub thumbprint: String,
}

impl Files {
    fn write(dir: &Path, identity: &str, chain: &str, leaf: &[u8], key: &KeyPair) -> Self {
        let name = identity.replace('/', "-");
        let files = Self {
            certificate: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
            thumbprint: Sha256::digest(leaf)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        };
        fs::write(&files.certificate, chain).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
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

fn client(identity: &str) -> CertificateParams {
    let mut params = params(identity);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A certificate that a device made for itself.
pub fn self_signed(dir: &Path, identity: &str) -> Files {
    let key = KeyPair::generate().unwrap();
    let certificate = client(identity).self_signed(&key).unwrap();
    Files::write(dir, identity, &certificate.pem(), certificate.der(), &key)
}

/// A root of the fleet's owner, with an intermediate below it, as factories have them.
pub struct Authority {
    path: PathBuf,
    intermediate: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Writes its root to a folder.
    pub fn new(dir: &Path) -> Self {
        let authority = |name: &str| {
            let mut params = params(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            (params, KeyPair::generate().unwrap())
        };
        let (root, root_key) = authority("fleet root");
        let certificate = root.self_signed(&root_key).unwrap();
        let path = dir.join("fleet.pem");
        fs::write(&path, certificate.pem()).unwrap();
        let root = Issuer::new(root, root_key);
        let (factory, factory_key) = authority("factory 7");
        let certificate = factory.signed_by(&factory_key, &root).unwrap();
        Self {
            path,
            pem: certificate.pem(),
            intermediate: Issuer::new(factory, factory_key),
        }
    }

    /// The file with the root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A certificate by the intermediate, which follows it in the file.
    pub fn issue(&self, dir: &Path, identity: &str) -> Files {
        let key = KeyPair::generate().unwrap();
        let certificate = client(identity)
            .signed_by(&key, &self.intermediate)
            .unwrap();
        let chain = certificate.pem() + &self.pem;
        Files::write(dir, identity, &chain, certificate.der(), &key)
    }
}
