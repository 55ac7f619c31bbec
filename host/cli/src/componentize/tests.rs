use super::*;

/// `\0asm`, version 1, no sections.
const EMPTY: &[u8] = b"\0asm\x01\0\0\0";
/// `\0asm`, a component, no sections.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn refusal(core: &[u8], wit: &[PathBuf]) -> String {
    let error = componentize(core.to_vec(), wit, None).expect_err("refused");
    format!("{error:#}")
}

/// A section of a core module; the content is shorter than 128 bytes.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("short");
    [&[id, length], content].concat()
}

/// The folder of our own WIT.
fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

/// A folder with a world of its own, beside ours.
fn world(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary folder");
    fs::write(
        dir.path().join("world.wit"),
        format!("package local:module; {text}"),
    )
    .expect("write");
    dir
}

#[test]
fn what_is_no_core_module_is_refused() {
    assert!(refusal(b"hello", &[]).contains("not WebAssembly"));
    assert!(refusal(&EMPTY[..6], &[]).contains("not WebAssembly"));
    assert!(refusal(COMPONENT, &[]).contains("a component already"));
}

#[test]
fn a_module_without_a_world_asks_for_one() {
    assert!(refusal(EMPTY, &[]).contains("--wit"));
}

#[test]
fn calls_of_preview_1_are_named() {
    let mut core = EMPTY.to_vec();
    core.extend(section(1, &[1, 0x60, 0, 0])); // one type: () -> ()
    let mut imports = vec![1, 22];
    imports.extend(b"wasi_snapshot_preview1\x08fd_write\0\0");
    core.extend(section(2, &imports));
    let refusal = refusal(&core, &[wit()]);
    assert!(refusal.contains("fd_write"), "{refusal}");
}

#[test]
fn a_module_that_lacks_an_export_of_its_world_is_refused() {
    let dir = world("world module { export edge:module/timer-handler@0.1.0; }");
    let refusal = refusal(EMPTY, &[wit(), dir.path().to_owned()]);
    assert!(refusal.contains("timer-handler"), "{refusal}");
}

#[test]
fn a_world_of_ones_own_beside_ours_makes_a_component() {
    let dir = world("world module { import edge:module/send-event@0.1.0; }");
    let component =
        componentize(EMPTY.to_vec(), &[wit(), dir.path().to_owned()], None).expect("component");
    assert_eq!(component[..8], *COMPONENT);
}

#[test]
fn types_that_are_in_it_already_may_be_given_again() {
    let dir = world("world module { import edge:module/send-event@0.1.0; }");
    let wit = [wit(), dir.path().to_owned()];
    let (resolve, world) = load(&wit, None).expect("WIT");
    let mut core = EMPTY.to_vec();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("types");
    componentize(core.clone(), &[], None).expect("component");
    componentize(core, &wit, None).expect("component");
}

#[test]
fn a_folder_without_wit_is_named() {
    let refusal = refusal(EMPTY, &[PathBuf::from("/nowhere")]);
    assert!(refusal.contains("/nowhere"), "{refusal}");
}

#[test]
fn a_component_is_written_whole() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("out.wasm");
    write(&path, b"old").expect("write");
    write(&path, b"new").expect("write");
    assert_eq!(fs::read(&path).expect("read"), b"new");
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
}
