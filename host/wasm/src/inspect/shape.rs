//! Imports and exports of a component, read off its sections with their types.

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    BinaryReaderError, ComponentExternName, ComponentType, ComponentTypeDeclaration,
    ComponentTypeSectionReader, Encoding, InstanceTypeDeclaration, Parser, Payload, ValidPayload,
    Validator, WasmFeatures,
};

use super::ImportName;

/// Components may contain components: as deep as this.
const MAX_NESTED: usize = 64;

/// Type definitions may contain type definitions: as deep as this. Readers and validators descend by
/// recursion, here and in the compiler, with no limit of their own and over 3 KiB of stack a level: a
/// small file could end the process.
const MAX_NESTED_TYPES: usize = 32;

/// Definitions inside of definitions that one section may have, as counted by [`check_nesting`].
const MAX_INNER_TYPES: usize = 4_096;

/// A component's outside.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) imports: Vec<ImportName>,
    pub(super) exports: Vec<ExportName>,
    /// It exports nothing but types, and has no code.
    pub(super) is_wit_package: bool,
}

/// One export.
#[derive(Debug)]
pub(super) struct ExportName {
    pub(super) name: String,
    pub(super) functions: Vec<String>,
}

#[derive(Debug)]
pub(super) enum ShapeError {
    Invalid(BinaryReaderError),
    TooDeep { what: &'static str, limit: usize },
}

impl From<BinaryReaderError> for ShapeError {
    fn from(error: BinaryReaderError) -> Self {
        Self::Invalid(error)
    }
}

impl Shape {
    /// Reads a component, and checks everything but function bodies.
    pub(super) fn read(bytes: &[u8], features: WasmFeatures) -> Result<Self, ShapeError> {
        let mut validator = Validator::new_with_features(features);
        let mut names = Names::default();
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match &payload {
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    if depth > MAX_NESTED {
                        return Err(ShapeError::TooDeep {
                            what: "components",
                            limit: MAX_NESTED,
                        });
                    }
                    names.has_code |= *encoding == Encoding::Module;
                }
                Payload::ComponentTypeSection(section) => {
                    check_nesting(bytes, section)?;
                }
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section.clone() {
                        names.imports.push(import?.name);
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section.clone() {
                        names.exports.push(export?.name);
                    }
                }
                _ => {}
            }
            if let ValidPayload::End(types) = validator.payload(&payload)? {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Ok(names.resolve(&types));
                }
            }
        }
        // The reader reports a missing end itself; this is for its word to be law.
        Ok(Self::default())
    }
}

/// The outermost names, until their types are known.
#[derive(Default)]
struct Names<'a> {
    imports: Vec<ComponentExternName<'a>>,
    exports: Vec<ComponentExternName<'a>>,
    has_code: bool,
}

impl Names<'_> {
    fn resolve(self, types: &Types) -> Shape {
        let types = types.as_ref();
        let mut only_types = true;
        let imports = self
            .imports
            .iter()
            .map(|name| {
                let entity = types
                    .component_item_for_import(name.name)
                    .map(|item| item.ty);
                ImportName {
                    name: full_name(name),
                    functions: functions(types, name.name, entity),
                    types_only: is_types_only(types, entity),
                }
            })
            .collect();
        let exports: Vec<_> = self
            .exports
            .iter()
            .map(|name| {
                let entity = types
                    .component_item_for_export(name.name)
                    .map(|item| item.ty);
                only_types &= matches!(entity, Some(ComponentEntityType::Type { .. }));
                ExportName {
                    name: full_name(name),
                    functions: functions(types, name.name, entity),
                }
            })
            .collect();
        Shape {
            is_wit_package: only_types && !self.has_code && !exports.is_empty(),
            imports,
            exports,
        }
    }
}

/// A name with its version whole: tools may split `@0.2.6` into `@0.2` and a suffix.
fn full_name(name: &ComponentExternName<'_>) -> String {
    format!("{}{}", name.name, name.version_suffix.unwrap_or_default())
}

fn functions(types: TypesRef<'_>, name: &str, entity: Option<ComponentEntityType>) -> Vec<String> {
    match entity {
        Some(ComponentEntityType::Instance(id)) => types[id]
            .exports
            .iter()
            .filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)))
            .map(|(name, _)| name.clone())
            .collect(),
        Some(ComponentEntityType::Func(_)) => vec![name.to_owned()],
        _ => Vec::new(),
    }
}

fn is_types_only(types: TypesRef<'_>, entity: Option<ComponentEntityType>) -> bool {
    let is_data = |ty: &ComponentEntityType| match ty {
        ComponentEntityType::Type { created, .. } => {
            !matches!(created, ComponentAnyTypeId::Resource(_))
        }
        _ => false,
    };
    match entity {
        Some(ComponentEntityType::Instance(id)) => {
            types[id].exports.values().all(|item| is_data(&item.ty))
        }
        Some(ty) => is_data(&ty),
        None => false,
    }
}

/// Refuses type sections that are nested too deep to be read. A definition inside of another is
/// always introduced by one of two pairs of bytes; counting those gives a bound on the depth without
/// descending. Where the bound does not suffice, the depth is measured, on a stack that does.
fn check_nesting(bytes: &[u8], section: &ComponentTypeSectionReader<'_>) -> Result<(), ShapeError> {
    const STACK_PER_LEVEL: usize = 8 << 10;
    let too_deep = || ShapeError::TooDeep {
        what: "type definitions",
        limit: MAX_NESTED_TYPES,
    };
    let inner = bytes
        .get(section.range())
        .unwrap_or_default()
        .windows(2)
        .filter(|pair| matches!(pair, [0x01, 0x41 | 0x42]))
        .count();
    if inner < MAX_NESTED_TYPES {
        return Ok(());
    }
    if inner > MAX_INNER_TYPES {
        return Err(too_deep());
    }
    let measured = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size((inner + 16) * STACK_PER_LEVEL)
            .spawn_scoped(scope, || {
                // What cannot be read is the validator's to report.
                let types = section.clone().into_iter().map_while(Result::ok);
                types.map(|ty| nesting(&ty)).max().unwrap_or(0)
            })
            .ok()
            .and_then(|thread| thread.join().ok())
    });
    match measured {
        Some(depth) if depth <= MAX_NESTED_TYPES => Ok(()),
        _ => Err(too_deep()),
    }
}

fn nesting(ty: &ComponentType<'_>) -> usize {
    let deepest = match ty {
        ComponentType::Component(decls) => decls
            .iter()
            .filter_map(|decl| match decl {
                ComponentTypeDeclaration::Type(ty) => Some(nesting(ty)),
                _ => None,
            })
            .max(),
        ComponentType::Instance(decls) => decls
            .iter()
            .filter_map(|decl| match decl {
                InstanceTypeDeclaration::Type(ty) => Some(nesting(ty)),
                _ => None,
            })
            .max(),
        ComponentType::Defined(_) | ComponentType::Func(_) | ComponentType::Resource { .. } => None,
    };
    1 + deepest.unwrap_or(0)
}
