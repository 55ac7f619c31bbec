//! What the authority holds, and how the server's certificate is replaced while it is in use.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use edge_core::Timestamp;
use rustls::sign::CertifiedKey;

use super::material::{self, Material, Served};
use super::server::{self, Wanted};
use super::{AuthorityConfig, AuthorityError, IssueError, Renewal, Source, files, sealing};
use crate::Secret;

/// How often files that were given are read again.
const FILE_CHECK: Duration = Duration::from_secs(3600);

/// What handshakes share with the authority. Lock order: `renewing`, then one of the others at a time.
pub(super) struct Inner {
    pub(super) config: AuthorityConfig,
    wanted: Wanted,
    sealing: Secret,
    material: RwLock<Arc<Material>>,
    served: RwLock<Arc<Served>>,
    renewing: Mutex<()>,
}

impl Inner {
    /// Reads what is there, and makes what is not.
    pub(super) fn open(config: AuthorityConfig, now: Timestamp) -> Result<Self, AuthorityError> {
        files::make_dir(&config.dir)?;
        let wanted = Wanted::new(&config)?;
        let sealing = sealing::open(&config.dir)?;
        let material = material::load(&config, now)?;
        let served = match (&material.server, &material.ca) {
            (Some(served), _) => served.clone(),
            (None, Some(ca)) => {
                let last = server::read(&config.dir)?;
                let reason = match &last {
                    Ok(last) => wanted.reason(last, ca, now).map(str::to_owned),
                    Err(why) => Some(why.clone()),
                };
                match (last, reason) {
                    (Ok(last), None) => Arc::new(last),
                    (_, reason) => {
                        let (leaf, served) = wanted.issue(ca, now)?;
                        server::write(&config.dir, &leaf)?;
                        log_issued(&served, reason.as_deref().unwrap_or_default());
                        Arc::new(served)
                    }
                }
            }
            (None, None) => return Err(IssueError::NoCa.into()),
        };
        if let Some(warning) = &material.warning {
            tracing::warn!(%warning, "certificate needs attention");
        }
        Ok(Self {
            config,
            wanted,
            sealing,
            material: RwLock::new(Arc::new(material)),
            served: RwLock::new(served),
            renewing: Mutex::new(()),
        })
    }

    pub(super) fn sealing(&self) -> &Secret {
        &self.sealing
    }

    pub(super) fn material(&self) -> Arc<Material> {
        let material = self.material.read();
        material.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn served(&self) -> Arc<Served> {
        let served = self.served.read();
        served.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn serve(&self, served: Arc<Served>) {
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = served;
    }

    pub(super) fn renew(&self, now: Timestamp) -> Result<Renewal, AuthorityError> {
        let renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let material = Arc::new(material::load(&self.config, now)?);
        *self
            .material
            .write()
            .unwrap_or_else(PoisonError::into_inner) = material.clone();
        let before = self.served();
        let mut written = Ok(());
        if let Some(given) = &material.server {
            if given.key.cert != before.key.cert {
                log_issued(given, "the given files changed");
            }
            self.serve(given.clone());
        } else if let Some(ca) = &material.ca
            && let Some(reason) = self.wanted.reason(&before, ca, now)
        {
            let (leaf, served) = self.wanted.issue(ca, now)?;
            log_issued(&served, reason);
            self.serve(Arc::new(served));
            written = server::write(&self.config.dir, &leaf);
        }
        drop(renewing);
        written?;
        let served = self.served();
        let mut next = match &material.server {
            Some(_) => Timestamp(u64::MAX),
            None => self.wanted.due(&served),
        };
        if self.config.source != Source::Own || !self.config.trusted.is_empty() {
            next = next.min(now.after(FILE_CHECK));
        }
        Ok(Renewal {
            renewed: served.key.cert != before.key.cert,
            expires: served.validity.to,
            next,
            warning: material.warning.clone(),
        })
    }

    /// The certificate for a handshake that begins now. Costs a look at the clock, but for the first handshake
    /// after the clock left the certificate's validity, which makes another one.
    pub(super) fn for_handshake(&self) -> Arc<CertifiedKey> {
        let served = self.served();
        let Some(now) = self.config.clock.current_time() else {
            return served.key.clone();
        };
        let now = Timestamp(now.as_secs().saturating_mul(1_000_000_000));
        if served.validity.holds(now) {
            return served.key.clone();
        }
        let renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let served = self.served();
        let material = self.material();
        let Some(ca) = material.ca.as_ref().filter(|_| !served.validity.holds(now)) else {
            return served.key.clone();
        };
        match self.wanted.issue(ca, now) {
            Ok((leaf, fresh)) => {
                log_issued(&fresh, "the clock is outside its validity");
                let key = fresh.key.clone();
                self.serve(Arc::new(fresh));
                if let Err(error) = server::write(&self.config.dir, &leaf) {
                    tracing::error!(%error, "server certificate is in use but not on the device");
                }
                drop(renewing);
                key
            }
            Err(error) => {
                tracing::error!(%error, "server certificate is not valid now and could not be renewed");
                served.key.clone()
            }
        }
    }
}

fn log_issued(served: &Served, reason: &str) {
    let expires = served.validity.to;
    tracing::info!(%expires, reason, "another server certificate is in use");
}

/// Without keys.
impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("dir", &self.config.dir)
            .field("expires", &self.served().validity.to)
            .finish_non_exhaustive()
    }
}
