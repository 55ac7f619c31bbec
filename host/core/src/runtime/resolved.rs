//! A module of a deployment, and where its parts are on this machine.

use std::path::{Path, PathBuf};

use crate::deployment::{ModuleKind, ModuleSpec};
use crate::{Digest, ModuleId};

/// Where the parts of a module are on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// The component's file; `None`: it is not on this machine as a file (registry, container). Name
    /// it by what is in it, so that another build has another path.
    pub component: Option<PathBuf>,
    /// What that file hashed to when it was taken in; the pin of the specification is apart from it.
    pub digest: Option<Digest>,
    /// What the signatures beside that file hash to. Others make no other build, but another try of one
    /// that was refused.
    pub signatures: Option<Digest>,
    /// What relative paths of the specification are relative to: the manifest's folder.
    pub base: PathBuf,
}

impl Resolved {
    /// A path of the specification on this machine.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }
}

/// A module as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredModule {
    /// What the deployment says.
    pub spec: ModuleSpec,
    /// Where its parts are.
    pub resolved: Resolved,
}

impl DesiredModule {
    /// Its name.
    pub fn id(&self) -> &ModuleId {
        &self.spec.id
    }

    /// Whether one can go on running where the other is wanted: everything is the same that shows in
    /// a running module. Whether it is to run, when it is started again and in which order do not.
    pub fn same_build(&self, other: &Self) -> bool {
        let (a, b) = (&self.spec, &other.spec);
        a.id == b.id
            && a.version == b.version
            && a.env == b.env
            && same_kind(&a.kind, &b.kind)
            && self.resolved.component == other.resolved.component
            && (self.resolved.base == other.resolved.base || !self.has_relative_paths())
    }

    /// Whether the folder of the manifest shows in the running module.
    fn has_relative_paths(&self) -> bool {
        match &self.spec.kind {
            ModuleKind::Wasm(wasm) => {
                let grants = &wasm.options.grants;
                grants.dirs.iter().any(|dir| dir.host.is_relative())
            }
            ModuleKind::Container(_) => false,
        }
    }
}

fn same_kind(a: &ModuleKind, b: &ModuleKind) -> bool {
    match (a, b) {
        (ModuleKind::Container(a), ModuleKind::Container(b)) => a.same_build(b),
        (ModuleKind::Wasm(a), ModuleKind::Wasm(b)) => a.same_build(b),
        (ModuleKind::Container(_), ModuleKind::Wasm(_))
        | (ModuleKind::Wasm(_), ModuleKind::Container(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::deployment::{
        ComponentRef, ContainerSpec, DesiredStatus, DirGrant, PullPolicy, RegistryCredentials,
        RestartPolicy, WasmOptions, WasmSpec,
    };

    fn module(dir: Option<&str>) -> DesiredModule {
        let mut options = WasmOptions::default();
        options.grants.dirs.extend(dir.map(|dir| DirGrant {
            host: dir.into(),
            guest: "/data".to_owned(),
            write: false,
        }));
        DesiredModule {
            spec: ModuleSpec {
                id: ModuleId::new("filter").unwrap(),
                version: None,
                status: DesiredStatus::Running,
                restart: RestartPolicy::Always,
                startup_order: 0,
                env: BTreeMap::new(),
                kind: ModuleKind::Wasm(WasmSpec {
                    image: ComponentRef::File("filter.wasm".into()),
                    digest: None,
                    credentials: None,
                    options,
                }),
            },
            resolved: Resolved {
                component: Some("/components/1.wasm".into()),
                digest: None,
                signatures: None,
                base: "/home/a".into(),
            },
        }
    }

    #[test]
    fn what_does_not_show_in_a_running_module_makes_no_other_build() {
        let (one, mut other) = (module(None), module(None));
        other.spec.status = DesiredStatus::Stopped;
        other.spec.restart = RestartPolicy::Never;
        other.spec.startup_order = 7;
        other.resolved.base = "/home/b".into();
        other.resolved.signatures = Some(Digest([1; 32]));
        assert!(one.same_build(&other));
    }

    #[test]
    fn how_an_image_gets_here_makes_no_other_build_and_its_options_do() {
        let mut one = module(None);
        one.spec.kind = ModuleKind::Container(ContainerSpec::new("r.example/cam:1"));
        let with = |change: fn(&mut ContainerSpec)| {
            let mut other = one.clone();
            if let ModuleKind::Container(container) = &mut other.spec.kind {
                change(container);
            }
            other
        };
        assert!(one.same_build(&with(|container| container.pull = PullPolicy::Never)));
        assert!(!one.same_build(&with(
            |container| container.options = r#"{"Tty":true}"#.into()
        )));
        assert!(!one.same_build(&with(|container| container.image.push('0'))));
    }

    #[test]
    fn credentials_of_a_registry_make_no_other_build_of_a_component_and_a_pin_does() {
        let one = module(None);
        let with = |change: fn(&mut WasmSpec)| {
            let mut other = one.clone();
            if let ModuleKind::Wasm(wasm) = &mut other.spec.kind {
                change(wasm);
            }
            other
        };
        assert!(one.same_build(&with(|wasm| {
            wasm.credentials = Some(RegistryCredentials {
                address: "r.example".to_owned(),
                username: "u".to_owned(),
                password: "p".to_owned(),
            });
        })));
        assert!(!one.same_build(&with(|wasm| wasm.digest = Some(Digest([1; 32])))));
    }

    #[test]
    fn other_bytes_settings_or_folders_make_another_build() {
        let one = module(None);
        let mut bytes = one.clone();
        bytes.resolved.component = Some("/components/2.wasm".into());
        assert!(!one.same_build(&bytes));
        let mut env = one.clone();
        env.spec.env.insert("RATE".to_owned(), "5".to_owned());
        assert!(!one.same_build(&env));
        for (dir, same) in [("data", false), ("/data", true)] {
            let (here, mut there) = (module(Some(dir)), module(Some(dir)));
            there.resolved.base = "/home/b".into();
            assert_eq!(here.same_build(&there), same, "{dir}");
        }
    }
}
