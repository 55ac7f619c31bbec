//! From a manifest to what is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use edge_agent::{Desired, LastDesiredStatus};
use edge_core::deployment::{ComponentRef, Deployment, ModuleKind};
use edge_core::runtime::{DesiredModule, Resolved};
use edge_core::{Digest, ModuleId};
use edge_hub::{Side, TwinError};
use edge_manifest::ReadOptions;
use edge_route::{Mode, Route, RouteEntry, RouteTable};
use edge_store::{Commit, CommitError};
use serde_json::{Map, Value};
use tracing::{error, info, warn};

use super::identities::IdentityError;
use super::record::{self, Record, Standing};
use super::resolutions::{self, Resolution};
use super::trial::{self, Trial};
use super::{Components, Device, restarts};
use crate::api::types::{Applied, ApplyRequest, CurrentDeployment, DeploymentInfo};

/// Why a deployment was not taken. What was in force still is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The document asks for what cannot be; every mistake.
    #[error("{name} cannot be deployed")]
    Mistakes {
        /// The manifest.
        name: String,
        /// What is wrong, one or two lines each.
        mistakes: Vec<String>,
        /// Whether it is of a schema version that is not known here.
        version: bool,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Request(String),
    /// There is no such deployment.
    #[error("{0}")]
    NoSuch(String),
    /// Desired properties cannot be set.
    #[error("desired properties of module {module}")]
    Twin {
        /// The module.
        module: ModuleId,
        /// Why.
        #[source]
        why: TwinError,
    },
    /// Its modules' identities cannot be made or removed.
    #[error("identities of the modules")]
    Identities(#[source] IdentityError),
    /// It could not be stored.
    #[error("the deployment could not be stored")]
    Store(#[from] CommitError),
    /// The work panicked.
    #[error("reading the manifest failed: see the daemon's log")]
    Panicked,
}

impl ApplyError {
    /// As IoT Edge numbers it.
    fn code(&self) -> u16 {
        match self {
            Self::Mistakes { version: true, .. } => 412,
            Self::Mistakes { .. } | Self::Request(_) | Self::Twin { .. } | Self::NoSuch(_) => 400,
            Self::Identities(_) | Self::Store(_) | Self::Panicked => 500,
        }
    }

    /// Whether the same would be refused again.
    pub(crate) fn is_final(&self) -> bool {
        self.code() < 500
    }

    /// All that is known, a line each.
    pub(crate) fn description(&self) -> String {
        let first = edge_core::chain(self);
        let more: &[String] = match self {
            Self::Mistakes { mistakes, .. } => mistakes,
            _ => &[],
        };
        let lines = std::iter::once(&first).chain(more);
        lines.map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// A deployment ready to be put in force.
pub(super) struct Ready {
    pub(super) deployment: Deployment,
    pub(super) routes: Vec<RouteEntry>,
}

impl Device {
    /// Checks a manifest, takes its components in and puts it in force. Comes back when that is on the
    /// device; the modules are brought up after that.
    ///
    /// # Errors
    /// Nothing changed.
    pub(crate) async fn apply(
        self: &Arc<Self>,
        request: ApplyRequest,
    ) -> Result<Applied, ApplyError> {
        // One at a time, in the order in which they came.
        let mut current = self.current.lock().await;
        let device = self.clone();
        let checked = tokio::task::spawn_blocking(move || check(&device.components, request));
        let taken = match checked.await.map_err(|_| ApplyError::Panicked)? {
            Ok((record, ready, warnings)) => self.take(&mut current, record, ready, warnings).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &taken {
            self.agent.refuse(LastDesiredStatus {
                code: error.code(),
                description: error.description(),
            });
        }
        taken
    }

    /// Puts a deployment in force, instead of the current one.
    pub(super) async fn take(
        &self,
        current: &mut Option<Record>,
        mut record: Record,
        ready: Ready,
        warnings: Vec<String>,
    ) -> Result<Applied, ApplyError> {
        record.number = record::last_number(&**self.hub.log()) + 1;
        record.applied = self.hub.now().0;
        match &*current {
            Some(known) if known.same(&record) => record = known.clone(),
            _ => {
                self.check_twins(&ready.deployment)?;
                self.plan_identities(&mut record, &ready.deployment, current.as_ref());
                let resolved = self.resolutions.taken_over(&record, &ready.deployment);
                self.keep_new(&record, &resolved).await?;
            }
        }
        // From here on the device has it: what fails now is made good by the next start.
        let (number, name) = (record.number, record.name.clone());
        info!(deployment = number, manifest = %name, "deployment accepted");
        let put = self.put_in_force(&mut record, ready).await;
        let info = record.info();
        *current = Some(record);
        // Before anybody else takes components in, or theirs would be taken for nobody's.
        self.prune();
        let generation = put?;
        Ok(Applied {
            deployment: info,
            generation,
            warnings,
        })
    }

    /// What is in force.
    pub(crate) fn deployment(&self) -> Option<CurrentDeployment> {
        self.shown().map(|(record, _)| CurrentDeployment {
            deployment: record.info(),
            manifest: record.manifest.clone(),
        })
    }

    /// What is and what was in force, newest first.
    pub(crate) fn deployments(&self) -> Vec<DeploymentInfo> {
        let records = record::history(&**self.hub.log());
        records.iter().map(Record::info).collect()
    }

    /// Brings up what was in force when the device stopped. What cannot be read is said and left: the
    /// device runs, so that another deployment can be applied.
    pub(super) async fn boot(self: &Arc<Self>) {
        let mut current = self.current.lock().await;
        let mut record = match record::current(&**self.hub.log()) {
            Ok(Some(record)) => record,
            Ok(None) => {
                info!("no deployment yet");
                self.agent.set_desired(Desired::Nothing);
                return;
            }
            Err(error) => {
                error!(%error, "deployment not started");
                self.run_nothing();
                return;
            }
        };
        let options = ReadOptions {
            routes: record.mode(),
        };
        let ready = edge_manifest::read(&record.manifest, &options).map(|read| Ready {
            routes: compile(&read.deployment, record.mode()),
            deployment: read.deployment,
        });
        match ready {
            Ok(ready) => {
                info!(deployment = record.number, "deployment found");
                if let Err(error) = self.put_in_force(&mut record, ready).await {
                    error!(
                        error = &error as &dyn std::error::Error,
                        "deployment only started in part"
                    );
                }
            }
            Err(mistakes) => {
                let mistakes = edge_manifest::render(&record.name, &mistakes);
                error!(deployment = record.number, %mistakes, "deployment not started: this version cannot read it");
                self.run_nothing();
            }
        }
        *current = Some(record);
        self.prune();
        drop(current);
    }

    /// Nothing runs, and no message goes anywhere: the deployment that is not started may want it so.
    fn run_nothing(&self) {
        self.hub
            .set_routes(RouteTable::default(), Some(self.time_to_live));
        self.agent.set_desired(Desired::Nothing);
    }

    /// Stores a record, and returns when it is on the device.
    pub(super) async fn keep(&self, record: &Record) -> Result<(), CommitError> {
        let mut commit = Commit::new();
        record.stage(&mut commit);
        let lsn = self.commit(&mut commit)?;
        self.durable(lsn).await
    }

    /// Stores the record of a new deployment with what is known of its references.
    async fn keep_new(
        &self,
        record: &Record,
        resolved: &[(ModuleId, Resolution)],
    ) -> Result<(), CommitError> {
        let mut commit = Commit::new();
        record.stage(&mut commit);
        record::stage_pruning(&**self.hub.log(), record.number, &mut commit);
        for (module, resolution) in resolved {
            resolutions::stage(record.number, module, resolution, &mut commit);
        }
        let lsn = self.commit(&mut commit)?;
        self.durable(lsn).await
    }

    async fn put_in_force(&self, record: &mut Record, ready: Ready) -> Result<u64, ApplyError> {
        let Ready { deployment, routes } = ready;
        let rollback = deployment.rollback;
        // Before anything runs that asks for tokens. What fails is tried at the next start.
        let modules = deployment.modules.iter().map(|spec| &spec.id);
        let identities = self.ensure_modules(modules).await;
        // A twin that cannot be set keeps no module from running; it is said, and tried at the next start.
        let mut twins = Ok(());
        if record.twins_pending {
            twins = self.set_twins(&deployment);
            record.twins_pending = twins.is_err();
            if twins.is_ok() {
                self.keep(record).await?;
            }
        }
        self.hub
            .set_routes(RouteTable::new(routes), deployment.time_to_live);
        let modules = deployment.modules.into_iter().map(|spec| {
            let digest = record.components.get(spec.id.as_str());
            let digest: Option<Digest> = digest.and_then(|text| text.parse().ok());
            DesiredModule {
                spec,
                resolved: Resolved {
                    component: digest.map(|digest| self.components.path(&digest)),
                    // What was taken in is what runs.
                    digest,
                    signatures: digest.and_then(|digest| self.components.signatures_hash(&digest)),
                    base: record.base.clone(),
                },
            }
        });
        let modules: Vec<_> = modules.collect();
        // The agent asks for them at once.
        let late = self.resolutions.put_in_force(record.number, modules.iter());
        let mut commit = Commit::new();
        for (module, resolution) in &late {
            resolutions::stage(record.number, module, resolution, &mut commit);
        }
        if !late.is_empty() {
            self.commit(&mut commit)?;
        }
        let desired = Desired::Modules(modules);
        let restarts = restarts::of(&**self.hub.log(), record.number);
        let generation = self.agent.resume(desired, restarts);
        if let Some(instead_of) = &record.instead_of {
            let status = trial::status(instead_of, record.brings_back.unwrap_or(record.number));
            self.agent.refuse(status);
        }
        self.set_shown(Some((Arc::new(record.clone()), generation)));
        self.trial.send_replace(Trial::of(
            record,
            generation,
            rollback,
            &self.trial_settings,
        ));
        self.swept.notify_one();
        identities.map_err(ApplyError::Identities)?;
        self.let_go(record).await?;
        twins.map(|()| generation)
    }

    /// Notes which identities come and go with a deployment.
    fn plan_identities(
        &self,
        record: &mut Record,
        deployment: &Deployment,
        before: Option<&Record>,
    ) {
        let none = BTreeSet::new();
        let made = before.map_or(&none, |record| &record.identities);
        let late = before.map_or(&none, |record| &record.leaving);
        let made: BTreeSet<_> = made.union(late).cloned().collect();
        let names: BTreeSet<_> = deployment
            .modules
            .iter()
            .map(|spec| spec.id.to_string())
            .collect();
        record.leaving = made.difference(&names).cloned().collect();
        record.identities = self.made_for(names.into_iter(), &made);
    }

    /// Takes their identity from modules that are no longer deployed, once.
    async fn let_go(&self, record: &mut Record) -> Result<(), ApplyError> {
        if record.leaving.is_empty() {
            return Ok(());
        }
        let removed = self.remove_modules(&record.leaving).await;
        removed.map_err(ApplyError::Identities)?;
        // Or one that is made by hand under such a name would go at the next start.
        record.leaving.clear();
        Ok(self.keep(record).await?)
    }

    /// Whether the desired properties could be set.
    fn check_twins(&self, deployment: &Deployment) -> Result<(), ApplyError> {
        for (module, desired) in &deployment.desired {
            if let Some(patch) = self.twin_patch(module, desired)? {
                let patch = Value::Object(patch).to_string();
                let fits = self.hub.check_desired(&self.identity(module), &patch);
                fits.map_err(|why| ApplyError::Twin {
                    module: module.clone(),
                    why,
                })?;
            }
        }
        Ok(())
    }

    fn set_twins(&self, deployment: &Deployment) -> Result<(), ApplyError> {
        for (module, desired) in &deployment.desired {
            if let Some(patch) = self.twin_patch(module, desired)? {
                let patch = Value::Object(patch).to_string();
                let set = self.hub.set_desired(&self.identity(module), &patch);
                set.map_err(|why| ApplyError::Twin {
                    module: module.clone(),
                    why,
                })?;
            }
        }
        Ok(())
    }

    /// What has to change in a module's desired properties, so that they are those of the manifest.
    fn twin_patch(
        &self,
        module: &ModuleId,
        desired: &str,
    ) -> Result<Option<Map<String, Value>>, ApplyError> {
        let failed = |why| ApplyError::Twin {
            module: module.clone(),
            why,
        };
        let wanted: Map<String, Value> = serde_json::from_str(desired)
            .map_err(|error| failed(TwinError::Invalid(error.to_string())))?;
        let limit = self.twin_limit;
        if desired.len() as u64 > limit.0 {
            return Err(failed(TwinError::TooLarge {
                size: desired.len(),
                limit,
            }));
        }
        let identity = self.identity(module);
        let section = self
            .hub
            .twin(&identity, Side::Desired, None)
            .map_err(failed)?;
        Ok(edge_core::twin::difference(&section.properties, &wanted))
    }

    /// Gives up what belongs to no kept deployment: components, and lines of modules that are gone.
    fn prune(&self) {
        let log = &**self.hub.log();
        let kept = record::history(log);
        let numbers = kept.iter().map(|record| record.number).collect();
        let mut commit = Commit::new();
        if resolutions::stage_pruning(log, &numbers, &mut commit)
            && let Err(error) = self.commit(&mut commit)
        {
            warn!(%error, "what references of earlier deployments stood for could not be removed");
        }
        let wanted = || {
            let fetched = self
                .resolutions
                .all()
                .filter_map(|resolution| resolution.component);
            kept.iter()
                .flat_map(Record::digests)
                .chain(fetched)
                .collect()
        };
        if let Err(error) = self.components.keep(wanted) {
            // They only take room, and the next deployment tries again.
            warn!(%error, "components that are no longer used could not be removed");
        }
        let status = self.agent.status();
        let status = status.borrow();
        let shown = self.shown();
        let manifest = shown
            .as_ref()
            .map_or("", |(record, _)| record.manifest.as_str());
        self.logs
            .keep(|module| status.module(module).is_some() || manifest.contains(module.as_str()));
    }
}

/// Mistakes of a manifest, each in one text.
pub(super) fn render_mistakes(name: &str, mistakes: &[edge_manifest::Mistake]) -> Vec<String> {
    let rendered = mistakes
        .iter()
        .map(|mistake| edge_manifest::render(name, std::slice::from_ref(mistake)));
    rendered.map(|text| text.trim_end().to_owned()).collect()
}

/// Reads a manifest, and takes in the components that it names. Blocks.
fn check(
    components: &Components,
    request: ApplyRequest,
) -> Result<(Record, Ready, Vec<String>), ApplyError> {
    let ApplyRequest {
        name,
        manifest,
        base,
        routes,
    } = request;
    let mode = match routes {
        None => Mode::Compat,
        Some(text) => text
            .parse()
            .map_err(|error| ApplyError::Request(format!("routes: {error}")))?,
    };
    if !base.is_absolute() {
        return Err(ApplyError::Request(format!(
            "base: {} is relative, expected a path from / on",
            base.display()
        )));
    }
    let lines = |mistakes: &[edge_manifest::Mistake]| render_mistakes(&name, mistakes);
    let read = match edge_manifest::read(&manifest, &ReadOptions { routes: mode }) {
        Ok(read) => read,
        Err(mistakes) => {
            return Err(ApplyError::Mistakes {
                version: mistakes.iter().any(|mistake| mistake.version),
                mistakes: lines(&mistakes),
                name,
            });
        }
    };
    let warnings = lines(&read.warnings);
    let (imported, mistakes) = import(components, &read.deployment, &base);
    if !mistakes.is_empty() {
        return Err(ApplyError::Mistakes {
            name,
            mistakes,
            version: false,
        });
    }
    let ready = Ready {
        routes: compile(&read.deployment, mode),
        deployment: read.deployment,
    };
    let record = Record {
        number: 0,
        name,
        manifest,
        base,
        routes: mode.to_string(),
        components: imported,
        applied: 0,
        twins_pending: true,
        identities: BTreeSet::new(),
        leaving: BTreeSet::new(),
        standing: Standing::Trial,
        brings_back: None,
        instead_of: None,
    };
    Ok((record, ready, warnings))
}

/// Takes in the components from files. Says what is wrong with each that cannot be.
fn import(
    components: &Components,
    deployment: &Deployment,
    base: &Path,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut imported = BTreeMap::new();
    let mut mistakes = Vec::new();
    for spec in &deployment.modules {
        let ModuleKind::Wasm(wasm) = &spec.kind else {
            continue;
        };
        let ComponentRef::File(file) = &wasm.image else {
            continue;
        };
        let path = base.join(file);
        let (module, path_text) = (&spec.id, path.display());
        match components.import(&path) {
            Ok(digest) => match wasm.digest {
                Some(pinned) if pinned != digest => mistakes.push(format!(
                    "module {module}: {path_text} has digest {digest}, expected {pinned}: \
                     it was changed, or the pin is for another build"
                )),
                _ => {
                    imported.insert(module.to_string(), digest.to_string());
                }
            },
            Err(error) => mistakes.push(format!(
                "module {module}: cannot read component {path_text}: {error}; \
                 paths are relative to the manifest's folder"
            )),
        }
    }
    (imported, mistakes)
}

/// The routes of a deployment that was read without mistakes.
pub(super) fn compile(deployment: &Deployment, mode: Mode) -> Vec<RouteEntry> {
    let entries = deployment.routes.iter().filter_map(|spec| {
        // What the manifest's reader has compiled compiles again.
        let route = Route::compile(&spec.text, mode).ok()??;
        Some(RouteEntry {
            name: spec.name.clone(),
            route,
            priority: spec.priority,
            time_to_live: spec.time_to_live,
        })
    });
    entries.collect()
}
