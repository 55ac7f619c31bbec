//! From an image's name to the id of what is on this machine: fetched, and compared with its pin.
//!
//! What the gate is asked about is the registry's digest of it, because that is what is signed. An engine
//! knows under which digests an image came from which repository; one that was never in the repository
//! that the deployment names has no such digest, only an id.

use std::collections::HashMap;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::ImageInspect;
use bollard::query_parameters::{CreateImageOptions, ListContainersOptions, RemoveImageOptions};
use edge_core::deployment::{ContainerSpec, PullPolicy, RegistryCredentials};
use edge_core::runtime::{Artifact, ArtifactOrigin};
use edge_core::{Digest, ModuleId};
use futures_util::StreamExt as _;
use tracing::{debug, info, warn};

use crate::KnownImage;
use crate::engine::{Engine, EngineError};

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// It is not what the deployment pins.
    #[error(
        "image {image} is not what the deployment pins: expected digest {expected}, found {found}; \
         it was changed, or the pin is for another build"
    )]
    Digest {
        image: String,
        expected: Digest,
        found: String,
    },
    /// The registry has nothing of this digest.
    #[error(
        "nothing with digest {expected} is at {image}: {why}; correct the digest, or push the image"
    )]
    NoSuchDigest {
        image: String,
        expected: Digest,
        why: String,
    },
    /// The parent's registry.
    #[error("image {0} comes by way of a parent ($upstream), and this device has none")]
    Upstream(String),
    /// It is not here, and may not be fetched.
    #[error(
        "image {0} is not on this machine and imagePullPolicy is never: load it, or let it be fetched"
    )]
    Absent(String),
    /// What it was resolved to is gone, and comes from nowhere.
    #[error(
        "image {image} was {id} when this deployment resolved it; that is not on this machine any more, and was \
         in no registry: load it again, or change the module's version to take what bears the name now"
    )]
    Gone { image: String, id: Digest },
    /// It could not be fetched.
    #[error("cannot fetch image {image}")]
    Pull {
        image: String,
        #[source]
        why: EngineError,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine names an image in a way that is not known.
    #[error("the container engine gives image {image} the id {id:?}, which is no digest")]
    Id { image: String, id: String },
}

impl ImageError {
    /// Whether the deployment has to change.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Digest { .. } | Self::NoSuchDigest { .. } | Self::Upstream(_)
        )
    }
}

/// An image that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// Its id, which is a hash of what is in it.
    pub(crate) id: Digest,
    /// What the gate is asked about; one of them has to pass. Never empty.
    pub(crate) artifacts: Vec<Artifact>,
}

impl Image {
    /// What is to be remembered of it.
    pub(crate) fn known(&self) -> KnownImage {
        let in_registry = |artifact: &Artifact| match artifact.origin {
            ArtifactOrigin::Registry { .. } => Some(artifact.digest),
            _ => None,
        };
        KnownImage {
            id: self.id,
            manifest: self.artifacts.iter().find_map(in_registry),
        }
    }
}

/// The parts of a reference that the manifest's reader has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reference<'i> {
    name: &'i str,
    tag: &'i str,
    digest: Option<Digest>,
}

impl<'i> Reference<'i> {
    fn of(image: &'i str) -> Self {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, digest.parse().ok()),
            None => (image, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (rest, "latest"),
        };
        Self { name, tag, digest }
    }

    fn tagged(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }
}

/// Brings an image here if that is wanted.
pub(crate) async fn resolve(
    engine: &Engine,
    module: &ModuleId,
    container: &ContainerSpec,
) -> Result<Image, ImageError> {
    let image = &container.image;
    if image.starts_with("$upstream") {
        return Err(ImageError::Upstream(image.clone()));
    }
    let docker = engine.docker().await?;
    let reference = Reference::of(image);
    let local = find(engine, &docker, &reference).await?;
    let known = local
        .as_ref()
        .is_some_and(|local| pinned_is(&reference, local));
    let fetch = match container.pull {
        PullPolicy::Never => false,
        PullPolicy::IfAbsent => local.is_none() || reference.digest.is_some() && !known,
        // What is pinned cannot have changed.
        PullPolicy::OnCreate => !(known && reference.digest.is_some()),
    };
    let found = match fetch {
        false => local.ok_or_else(|| ImageError::Absent(image.clone()))?,
        true => match pull(
            engine,
            &docker,
            module,
            &reference,
            container.credentials.as_ref(),
        )
        .await
        {
            Ok(()) => {
                let found = find(engine, &docker, &reference).await?;
                found.ok_or_else(|| ImageError::Absent(image.clone()))?
            }
            Err(why) => match (local, reference.digest) {
                // A device goes on with what it has while it has no network.
                (Some(local), None) => {
                    warn!(%module, image, error = %why, "image not fetched: the one that is here is used");
                    local
                }
                (_, Some(expected)) if why.is_not_found() => {
                    return Err(ImageError::NoSuchDigest {
                        image: image.clone(),
                        expected,
                        why: why.to_string(),
                    });
                }
                _ => {
                    return Err(ImageError::Pull {
                        image: image.clone(),
                        why,
                    });
                }
            },
        },
    };
    if let Some(expected) = reference.digest
        && !pinned_is(&reference, &found)
    {
        return Err(ImageError::Digest {
            image: image.clone(),
            expected,
            found: digests(&found),
        });
    }
    described(image, &reference, &found).ok_or_else(|| ImageError::Id {
        image: image.clone(),
        id: found.id.unwrap_or_default(),
    })
}

/// Brings an image here that was resolved before: that one, whatever bears its name now.
pub(crate) async fn again(
    engine: &Engine,
    module: &ModuleId,
    container: &ContainerSpec,
    known: KnownImage,
) -> Result<Image, ImageError> {
    let image = &container.image;
    let docker = engine.docker().await?;
    let (reference, id) = (Reference::of(image), known.id.to_string());
    let mut found = inspect(engine, &docker, &id).await?;
    if found.is_none() {
        let gone = || ImageError::Gone {
            image: image.clone(),
            id: known.id,
        };
        let manifest = known.manifest.ok_or_else(gone)?;
        if container.pull == PullPolicy::Never {
            return Err(ImageError::Absent(image.clone()));
        }
        let reference = Reference {
            digest: Some(manifest),
            ..reference
        };
        let credentials = container.credentials.as_ref();
        let pulled = pull(engine, &docker, module, &reference, credentials).await;
        pulled.map_err(|why| ImageError::Pull {
            image: image.clone(),
            why,
        })?;
        found = inspect(engine, &docker, &id).await?;
    }
    let found = found.ok_or_else(|| ImageError::Absent(image.clone()))?;
    described(image, &reference, &found).ok_or_else(|| ImageError::Id {
        image: image.clone(),
        id,
    })
}

/// Removes an image; see [`Moby::remove_image`](crate::Moby::remove_image).
pub(crate) async fn remove(engine: &Engine, id: &Digest) -> Result<bool, EngineError> {
    let docker = engine.docker().await?;
    let Some(found) = inspect(engine, &docker, &id.to_string()).await? else {
        return Ok(true);
    };
    let digests = found.repo_digests.unwrap_or_default();
    let filters = HashMap::from([("ancestor".to_owned(), vec![id.to_string()])]);
    let options = ListContainersOptions {
        all: true,
        filters: Some(filters),
        ..ListContainersOptions::default()
    };
    let having = docker.list_containers(Some(options)).await;
    let having = having.map_err(|error| engine.error(error))?;
    if digests.is_empty() || !having.is_empty() {
        return Ok(false);
    }
    // With its last name an image goes; without any it goes by its id.
    let names = found.repo_tags.into_iter().flatten().chain(digests);
    for name in names.chain([id.to_string()]) {
        let removed = docker
            .remove_image(&name, None::<RemoveImageOptions>, None)
            .await;
        match removed.map_err(|error| engine.error(error)) {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            // A container came to have it just now.
            Err(EngineError::Answer { status: 409, .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// What an image is called and pinned as; `None` if its id is no digest.
fn described(image: &str, reference: &Reference<'_>, found: &ImageInspect) -> Option<Image> {
    let id: Digest = found.id.as_deref()?.parse().ok()?;
    let artifact = |origin, digest| Artifact {
        origin,
        digest,
        pinned: reference.digest,
    };
    let known = found.repo_digests.iter().flatten();
    let mut digests: Vec<Digest> = known
        .filter_map(|known| known.split_once('@'))
        .filter(|(name, _)| familiar(name) == familiar(reference.name))
        .filter_map(|(_, digest)| digest.parse().ok())
        .collect();
    // The registry's digest that is pinned is the one that counts; an id that is pinned says nothing of it.
    if let Some(pin) = reference.digest.filter(|pin| digests.contains(pin)) {
        digests = vec![pin];
    }
    let artifacts = match &*digests {
        [] => vec![artifact(
            ArtifactOrigin::Engine {
                image: image.to_owned(),
            },
            id,
        )],
        digests => {
            let in_registry = |digest: &Digest| {
                let reference = image.to_owned();
                artifact(ArtifactOrigin::Registry { reference }, *digest)
            };
            digests.iter().map(in_registry).collect()
        }
    };
    Some(Image { id, artifacts })
}

/// A repository as engines call it, which leave out what is theirs by default.
fn familiar(name: &str) -> &str {
    let name = name.strip_prefix("index.").unwrap_or(name);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// The image of this id, of which a container is that was made from `container`; `None` if it is not what
/// is pinned, or is not known any more.
pub(crate) async fn of_container(
    engine: &Engine,
    container: &ContainerSpec,
    id: &str,
) -> Result<Option<Image>, EngineError> {
    let reference = Reference::of(&container.image);
    let docker = engine.docker().await?;
    match inspect(engine, &docker, id).await? {
        Some(found) if pinned_is(&reference, &found) => {
            Ok(described(&container.image, &reference, &found))
        }
        // Its image may have been removed by force: without a pin, the id is all that is known of it.
        None if reference.digest.is_none() => {
            let gone = ImageInspect {
                id: Some(id.to_owned()),
                ..ImageInspect::default()
            };
            Ok(described(&container.image, &reference, &gone))
        }
        _ => Ok(None),
    }
}

/// What is here by that name: the pinned one before the tagged one.
async fn find(
    engine: &Engine,
    docker: &Docker,
    reference: &Reference<'_>,
) -> Result<Option<ImageInspect>, EngineError> {
    if let Some(digest) = reference.digest {
        let name = format!("{}@{digest}", reference.name);
        if let Some(found) = inspect(engine, docker, &name).await? {
            return Ok(Some(found));
        }
    }
    inspect(engine, docker, &reference.tagged()).await
}

async fn inspect(
    engine: &Engine,
    docker: &Docker,
    name: &str,
) -> Result<Option<ImageInspect>, EngineError> {
    match docker
        .inspect_image(name)
        .await
        .map_err(|error| engine.error(error))
    {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the registry's digest of an image, or its id (a hash of its contents as well, and all that an
/// image has that was never in a registry), is the one that is pinned.
fn pinned_is(reference: &Reference<'_>, found: &ImageInspect) -> bool {
    let Some(pin) = reference.digest else {
        return true;
    };
    let pin = pin.to_string();
    let digests = found.repo_digests.iter().flatten();
    found.id.as_deref() == Some(&*pin)
        || digests
            .filter_map(|digest| digest.split_once('@'))
            .any(|(_, digest)| digest == pin)
}

/// For a message: what an image is known by.
fn digests(found: &ImageInspect) -> String {
    let digests = found.repo_digests.iter().flatten();
    let mut digests: Vec<_> = digests
        .filter_map(|digest| Some(digest.split_once('@')?.1.to_owned()))
        .collect();
    digests.extend(found.id.clone());
    digests.dedup();
    digests.join(" and ")
}

async fn pull(
    engine: &Engine,
    docker: &Docker,
    module: &ModuleId,
    reference: &Reference<'_>,
    credentials: Option<&RegistryCredentials>,
) -> Result<(), EngineError> {
    let tag = match reference.digest {
        Some(digest) => digest.to_string(),
        None => reference.tag.to_owned(),
    };
    info!(%module, image = reference.name, %tag, "fetching image");
    let options = CreateImageOptions {
        from_image: Some(reference.name.to_owned()),
        tag: Some(tag),
        ..CreateImageOptions::default()
    };
    let credentials = credentials.map(|credentials| DockerCredentials {
        username: Some(credentials.username.clone()),
        password: Some(credentials.password.clone()),
        serveraddress: Some(credentials.address.clone()),
        ..DockerCredentials::default()
    });
    let mut progress = docker.create_image(Some(options), None, credentials);
    while let Some(step) = progress.next().await {
        let step = step.map_err(|error| engine.error(error))?;
        if let Some(error) = step.error_detail {
            return Err(EngineError::Answer {
                status: error
                    .code
                    .and_then(|code| code.try_into().ok())
                    .unwrap_or(500),
                message: error.message.unwrap_or_default(),
            });
        }
        debug!(%module, layer = step.id, status = step.status, "image comes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let digest = Digest([1; 32]);
        for (image, name, tag, pin) in [
            ("cam", "cam", "latest", None),
            (
                "r.example:5000/a/cam",
                "r.example:5000/a/cam",
                "latest",
                None,
            ),
            ("r.example:5000/cam:2", "r.example:5000/cam", "2", None),
            (&format!("cam:2@{digest}"), "cam", "2", Some(digest)),
            (&format!("cam@{digest}"), "cam", "latest", Some(digest)),
        ] {
            let expected = Reference {
                name,
                tag,
                digest: pin,
            };
            assert_eq!(Reference::of(image), expected);
        }
    }

    #[test]
    fn the_gate_is_asked_about_the_digests_of_the_repository_that_is_named() {
        let (one, two, other, id) = (
            Digest([1; 32]),
            Digest([2; 32]),
            Digest([3; 32]),
            Digest([4; 32]),
        );
        let found = ImageInspect {
            id: Some(id.to_string()),
            repo_digests: Some(vec![
                format!("r.example/cam@{one}"),
                format!("elsewhere.example/cam@{other}"),
                format!("r.example/cam@{two}"),
                format!("cam@{two}"),
            ]),
            ..ImageInspect::default()
        };
        let asked = |image: &str| {
            let image = described(image, &Reference::of(image), &found).unwrap();
            assert_eq!(image.id, id);
            let artifacts = image.artifacts.into_iter();
            artifacts
                .map(|artifact| {
                    let by_registry = matches!(artifact.origin, ArtifactOrigin::Registry { .. });
                    (by_registry, artifact.digest, artifact.pinned)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            asked("r.example/cam:1"),
            [(true, one, None), (true, two, None)]
        );
        let pinned = format!("r.example/cam:1@{two}");
        assert_eq!(asked(&pinned), [(true, two, Some(two))]);
        // By its id, which no registry has signed.
        let by_id = format!("r.example/cam@{id}");
        assert_eq!(
            asked(&by_id),
            [(true, one, Some(id)), (true, two, Some(id))]
        );
        assert_eq!(asked("docker.io/library/cam:1"), [(true, two, None)]);
        // A tag made here leads to no registry.
        assert_eq!(asked("r.example/other:1"), [(false, id, None)]);
    }

    #[test]
    fn a_pin_is_met_by_the_registrys_digest_or_by_the_id_and_by_nothing_else() {
        let (registry, id) = (Digest([1; 32]), Digest([2; 32]));
        let found = ImageInspect {
            id: Some(id.to_string()),
            repo_digests: Some(vec![format!("cam@{registry}")]),
            ..ImageInspect::default()
        };
        for (pin, met) in [(registry, true), (id, true), (Digest([3; 32]), false)] {
            let image = format!("cam@{pin}");
            assert_eq!(pinned_is(&Reference::of(&image), &found), met, "{pin}");
        }
    }
}
