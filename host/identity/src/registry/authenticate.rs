//! Who is it really: credentials against entries.

use std::sync::Arc;

use edge_core::{Identity, Timestamp};
use rustls::pki_types::CertificateDer;

use super::Registry;
use crate::authority::validity;
use crate::credential::Proof;
use crate::{
    Auth, CertificateFault, Credential, Denied, Entry, Permit, Secret, Thumbprint, Token,
    TokenFault,
};

/// Modules that an edge device may make.
const MOST_MODULES: usize = 1_000;
/// Characters of a client's text that go into an error.
const QUOTED: usize = 200;

impl Registry {
    /// Checks that somebody is who it says. Cheap enough for a storm of connects: no file, no lock but for the
    /// look-up, at most two MACs for each level, or the signatures of one chain.
    ///
    /// # Errors
    /// Says why not; see [`Denied`]. Only `NotReady` is passing.
    pub fn authenticate(
        &self,
        identity: &Identity,
        credential: Credential<'_>,
        now: Timestamp,
    ) -> Result<Permit, Denied> {
        let (entry, device) = self.enabled(identity)?;
        let (proof, expires) = match credential {
            Credential::Token(text) => {
                self.by_token(&entry, &self.signers(&entry, device.as_ref()), text, now)?
            }
            Credential::Key(text) => by_key(&entry, text)?,
            Credential::Certificates(chain) => self.by_certificate(&entry, chain, now)?,
            Credential::None => return Err(Denied::NoCredential),
        };
        Ok(Permit {
            identity: identity.clone(),
            expires,
            generation: entry.generation,
            proof,
        })
    }

    /// The same for a token, of which that of an edge device may be for a module that is not there yet: the module
    /// is made. An edge device has a module `$edgeAgent`; whoever has its key decides which modules it has, as
    /// IoT Edge's security daemon does in the cloud.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate); nothing was made then.
    pub fn authenticate_or_make(
        &self,
        identity: &Identity,
        token: &str,
        now: Timestamp,
    ) -> Result<Permit, Denied> {
        let denied = match self.authenticate(identity, Credential::Token(token), now) {
            Err(Denied::Unknown) => Denied::Unknown,
            judged => return judged,
        };
        let Identity::Module(device, _) = identity else {
            return Err(denied);
        };
        let (device_entry, _) = self.enabled(&Identity::Device(device.clone()))?;
        let modules = self.modules(device);
        let is_agent = |entry: &Arc<Entry>| matches!(&entry.identity, Identity::Module(_, module) if module.as_str() == "$edgeAgent");
        if !modules.iter().any(is_agent) || modules.len() >= MOST_MODULES {
            return Err(denied);
        }
        let as_module = Entry {
            identity: identity.clone(),
            ..Entry::clone(&device_entry)
        };
        self.by_token(&as_module, &[], token, now)?;
        match self.ensure(identity, now) {
            Ok(_) => self.authenticate(identity, Credential::Token(token), now),
            Err(error) => {
                tracing::warn!(%identity, %error, "a module of an edge device was not registered");
                Err(Denied::NotReady)
            }
        }
    }

    /// Checks that a permit still holds: the identity is there and enabled, what proved it is still its own, and
    /// the token or certificate has not expired.
    ///
    /// # Errors
    /// Says why not; the connection is to be closed.
    pub fn recheck(&self, permit: &Permit, now: Timestamp) -> Result<(), Denied> {
        let (entry, device) = self.enabled(&permit.identity)?;
        if entry.generation != permit.generation {
            return Err(Denied::Replaced);
        }
        let holds = match (&permit.proof, &entry.auth) {
            (Proof::Key(key), _) => {
                let signers = self.signers(&entry, device.as_ref());
                keys(&entry, &signers).any(|own| own == key)
            }
            (Proof::Thumbprint(print), Auth::Thumbprints(own)) => own.iter().any(|p| p == print),
            (Proof::Chain, Auth::Authority) => true,
            (Proof::Thumbprint(_) | Proof::Chain, _) => false,
        };
        if !holds {
            return Err(Denied::Replaced);
        }
        match permit.expires {
            Some(at) if now >= at => Err(Denied::Expired { at }),
            _ => Ok(()),
        }
    }

    /// Who signs for an identity besides itself: its device, and the gateways that the device is behind.
    fn signers(&self, entry: &Entry, device: Option<&Arc<Entry>>) -> Vec<Arc<Entry>> {
        let above = self.gateways(device.map_or(entry, Arc::as_ref));
        let above = above.into_iter().filter(|gateway| gateway.is_enabled());
        device.cloned().into_iter().chain(above).collect()
    }

    /// The entry of an identity that may connect, and for a module that of its device.
    pub(crate) fn enabled(
        &self,
        identity: &Identity,
    ) -> Result<(Arc<Entry>, Option<Arc<Entry>>), Denied> {
        let entry = self.get(identity).ok_or(Denied::Unknown)?;
        let device = match identity {
            Identity::Device(_) => None,
            Identity::Module(device, _) => {
                let device = self.get(&Identity::Device(device.clone()));
                Some(device.ok_or(Denied::Unknown)?)
            }
        };
        if entry.is_enabled() && device.as_deref().is_none_or(Entry::is_enabled) {
            Ok((entry, device))
        } else {
            Err(Denied::Disabled)
        }
    }

    fn by_token(
        &self,
        entry: &Entry,
        signers: &[Arc<Entry>],
        text: &str,
        now: Timestamp,
    ) -> Result<(Proof, Option<Timestamp>), Denied> {
        let token = Token::parse(text)?;
        if !token.is_for(&entry.identity) {
            return Err(Denied::WrongAudience {
                expected: match &entry.identity {
                    Identity::Device(device) => format!("devices/{device}"),
                    Identity::Module(device, module) => {
                        format!("devices/{device}/modules/{module}")
                    }
                },
                found: token.audience().chars().take(QUOTED).collect(),
            });
        }
        let ends = token.expires().after(self.skew);
        if now >= ends {
            return Err(Denied::Expired {
                at: token.expires(),
            });
        }
        let mut candidates = keys(entry, signers).peekable();
        if candidates.peek().is_none() {
            return Err(TokenFault::NoKeys.into());
        }
        let signer = candidates.find(|key| token.is_signed_by(key));
        let signer = signer.ok_or(TokenFault::Signature)?;
        Ok((Proof::Key(signer.clone()), Some(ends)))
    }

    fn by_certificate(
        &self,
        entry: &Entry,
        chain: &[CertificateDer<'static>],
        now: Timestamp,
    ) -> Result<(Proof, Option<Timestamp>), Denied> {
        let own = chain.first().ok_or(Denied::NoCredential)?;
        match &entry.auth {
            Auth::Keys(_) => Err(CertificateFault::NotExpected.into()),
            Auth::Thumbprints(prints) => {
                let Some(print) = prints.iter().find(|print| print.is_of(own)) else {
                    return Err(Denied::BadCertificate(CertificateFault::Thumbprint {
                        found: Thumbprint::sha256(own),
                        sha1: Thumbprint::sha1(own),
                    }));
                };
                let valid = validity(own).ok_or(CertificateFault::Unreadable)?;
                valid.check(now)?;
                Ok((Proof::Thumbprint(*print), Some(valid.to)))
            }
            Auth::Authority => {
                let verifier = self.verifier.get().ok_or(Denied::NotReady)?;
                let name = verifier.verify_client(chain, now)?;
                let expected = entry.identity.to_string();
                if name.name == expected {
                    Ok((Proof::Chain, Some(name.expires)))
                } else {
                    let found = name.name.chars().take(QUOTED).collect();
                    Err(CertificateFault::CommonName { expected, found }.into())
                }
            }
        }
    }
}

/// The keys that may sign for an identity: its own, then those of others in their order.
fn keys<'a>(entry: &'a Entry, signers: &'a [Arc<Entry>]) -> impl Iterator<Item = &'a Secret> {
    let entries = std::iter::once(entry).chain(signers.iter().map(Arc::as_ref));
    entries
        .filter_map(|entry| entry.auth.keys())
        .flat_map(|keys| keys.iter())
}

/// A key itself as password. Only the identity's own: a device's key is not for its modules to hold.
fn by_key(entry: &Entry, text: &[u8]) -> Result<(Proof, Option<Timestamp>), Denied> {
    let mut own = entry.auth.keys().ok_or(TokenFault::NoKeys)?.iter();
    let shown = own.find(|key| key.is_text(text)).ok_or(Denied::BadKey)?;
    Ok((Proof::Key(shown.clone()), None))
}
