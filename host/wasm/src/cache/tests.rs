use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Barrier;

use tempfile::TempDir;
use wasmtime::{Config, Engine};

use super::*;

const DIGEST: Digest = Digest([7; 32]);
const OTHER: Digest = Digest([8; 32]);

/// A component with code in it: `f` gives 42.
fn component(engine: &Engine) -> Component {
    let text = r#"(component
        (core module $m (memory 1) (data (i32.const 0) "some data") (func (export "f") (result i32) i32.const 42))
        (core instance $i (instantiate $m))
        (func (export "f") (result u32) (canon lift (core func $i "f"))))"#;
    Component::new(engine, wat::parse_str(text).expect("valid text")).expect("compiles")
}

fn answer(component: &Component) -> u32 {
    let mut store = wasmtime::Store::new(component.engine(), ());
    let instance = wasmtime::component::Linker::new(component.engine())
        .instantiate(&mut store, component)
        .expect("instantiates");
    let f = instance
        .get_typed_func::<(), (u32,)>(&mut store, "f")
        .expect("has f");
    f.call(&mut store, ()).expect("returns").0
}

fn cache() -> (TempDir, CompileCache) {
    let dir = TempDir::new().expect("temporary folder");
    let cache = CompileCache::open(&dir.path().join("cache")).expect("opens");
    (dir, cache)
}

/// The one entry's file.
fn entry_path(cache: &CompileCache) -> PathBuf {
    let mut found = fs::read_dir(&cache.path)
        .expect("lists")
        .map(|item| item.expect("item").path())
        .filter(|path| path.extension().is_some_and(|end| end == "cwasm"));
    let path = found.next().expect("an entry");
    assert!(found.next().is_none(), "one entry only");
    path
}

/// Puts other bytes in the place of a read-only entry.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("removes");
    fs::write(path, bytes).expect("writes");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("sets mode");
}

fn reason(cache: &CompileCache, engine: &Engine) -> RebuildReason {
    match cache.load(engine, &DIGEST).expect("looks") {
        Lookup::Rebuild { reason } => reason,
        other => panic!("expected a rebuild, got {other:?}"),
    }
}

#[test]
fn what_was_stored_is_loaded_and_runs_whether_mapped_or_copied() {
    let engine = Engine::default();
    let (_dir, mut cache) = cache();
    assert!(matches!(cache.load(&engine, &DIGEST), Ok(Lookup::Miss)));
    cache.store(&DIGEST, &component(&engine)).expect("stores");
    for loading in [Loading::Map, Loading::Copy] {
        cache.loading = loading;
        match cache.load(&engine, &DIGEST).expect("looks") {
            Lookup::Hit(found) => assert_eq!(answer(&found), 42),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(cache.load(&engine, &OTHER), Ok(Lookup::Miss)));
    // A second opening reads the same key.
    let again = CompileCache::open(&cache.path).expect("opens");
    assert!(matches!(again.load(&engine, &DIGEST), Ok(Lookup::Hit(_))));
    assert_eq!(cache.remove(&DIGEST).expect("removes"), 1);
    assert!(matches!(cache.load(&engine, &DIGEST), Ok(Lookup::Miss)));
}

#[test]
fn a_loaded_component_outlives_its_entry() {
    let engine = Engine::default();
    let (_dir, cache) = cache();
    cache.store(&DIGEST, &component(&engine)).expect("stores");
    let Ok(Lookup::Hit(found)) = cache.load(&engine, &DIGEST) else {
        panic!("expected a hit");
    };
    cache.prune(0).expect("prunes");
    assert_eq!(answer(&found), 42);
}

#[test]
fn a_flipped_bit_anywhere_is_detected() {
    let engine = Engine::default();
    let (_dir, mut cache) = cache();
    cache.store(&DIGEST, &component(&engine)).expect("stores");
    let path = entry_path(&cache);
    let good = fs::read(&path).expect("reads");
    let payload = good.len() - FOOTER_LEN;
    let places = [0, 1, 63, payload / 3, payload / 2, payload - 1]
        .into_iter()
        .chain(payload..good.len());
    for place in places {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        overwrite(&path, &bad);
        for loading in [Loading::Map, Loading::Copy] {
            cache.loading = loading;
            reason(&cache, &engine);
        }
    }
    overwrite(&path, &good);
    assert!(matches!(cache.load(&engine, &DIGEST), Ok(Lookup::Hit(_))));
}

#[test]
fn a_cut_or_grown_entry_is_detected() {
    let engine = Engine::default();
    let (_dir, cache) = cache();
    cache.store(&DIGEST, &component(&engine)).expect("stores");
    let path = entry_path(&cache);
    let good = fs::read(&path).expect("reads");
    let payload = good.len() - FOOTER_LEN;
    for len in [
        0,
        1,
        FOOTER_LEN - 1,
        FOOTER_LEN,
        FOOTER_LEN + 1,
        payload,
        good.len() - 32,
        good.len() - 1,
    ] {
        overwrite(&path, &good[..len]);
        reason(&cache, &engine);
    }
    // Something is missing in the middle: the footer is whole.
    overwrite(&path, &[&good[..payload - 16], &good[payload..]].concat());
    assert!(matches!(
        reason(&cache, &engine),
        RebuildReason::Length { .. }
    ));
    overwrite(&path, &[good.as_slice(), b"x"].concat());
    assert_eq!(reason(&cache, &engine), RebuildReason::NoFooter);
    // A sparse file over the limit is not read.
    overwrite(&path, b"");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("opens");
    file.set_len(MAX_ENTRY + 1).expect("grows");
    assert_eq!(reason(&cache, &engine), RebuildReason::Size(MAX_ENTRY + 1));
}

#[test]
fn entries_of_other_components_engines_and_devices_are_not_loaded() {
    let engine = Engine::default();
    let other_engine = Engine::new(Config::new().epoch_interruption(true)).expect("engine");
    let (_dir, cache) = cache();
    cache.store(&DIGEST, &component(&engine)).expect("stores");
    assert!(matches!(
        cache.load(&other_engine, &DIGEST),
        Ok(Lookup::Miss)
    ));
    let good = fs::read(entry_path(&cache)).expect("reads");

    // Put where they do not belong.
    let place = |engine: &Engine, digest: &Digest| {
        cache.path.join(Binding::new(engine, digest).file_name())
    };
    fs::write(place(&other_engine, &DIGEST), &good).expect("writes");
    assert_eq!(reason(&cache, &other_engine), RebuildReason::Engine);
    fs::write(place(&engine, &OTHER), &good).expect("writes");
    match cache.load(&engine, &OTHER).expect("looks") {
        Lookup::Rebuild { reason } => assert_eq!(reason, RebuildReason::Component(DIGEST)),
        other => panic!("{other:?}"),
    }

    // From a device with another key.
    let (_foreign_dir, foreign) = super::tests::cache();
    foreign.store(&DIGEST, &component(&engine)).expect("stores");
    overwrite(
        &place(&engine, &DIGEST),
        &fs::read(entry_path(&foreign)).expect("reads"),
    );
    assert_eq!(reason(&cache, &engine), RebuildReason::Mac);

    // Of another format version, and for another machine.
    let payload = good.len() - FOOTER_LEN;
    for (at, expected) in [(8, RebuildReason::Version(2)), (88, RebuildReason::Target)] {
        let mut bad = good.clone();
        bad[payload + at] = 2;
        overwrite(&place(&engine, &DIGEST), &bad);
        assert_eq!(reason(&cache, &engine), expected);
    }
}

#[test]
fn an_entry_that_others_can_write_or_that_is_a_link_is_not_loaded() {
    let engine = Engine::default();
    let (dir, cache) = cache();
    cache.store(&DIGEST, &component(&engine)).expect("stores");
    let path = entry_path(&cache);
    fs::set_permissions(&path, Permissions::from_mode(0o620)).expect("sets mode");
    assert_eq!(reason(&cache, &engine), RebuildReason::NotOurs);
    fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("sets mode");
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&path, &elsewhere).expect("moves");
    symlink(&elsewhere, &path).expect("links");
    assert_eq!(reason(&cache, &engine), RebuildReason::NotOurs);
    fs::remove_file(&path).expect("removes");
    fs::create_dir(&path).expect("makes folder");
    assert_eq!(reason(&cache, &engine), RebuildReason::NotOurs);
}

#[test]
fn folders_and_keys_that_others_can_get_at_are_refused() {
    let (_dir, cache) = cache();
    let mode = |path: &Path| fs::metadata(path).expect("stat").permissions().mode() & 0o777;
    let key = cache.path.join("key");
    assert_eq!((mode(&cache.path), mode(&key)), (0o700, 0o600));
    for (path, bad, good, word) in [
        (&cache.path, 0o770, 0o700, "write"),
        (&cache.path, 0o702, 0o700, "write"),
        (&key, 0o620, 0o600, "write"),
        (&key, 0o640, 0o600, "read"),
        (&key, 0o604, 0o600, "read"),
    ] {
        fs::set_permissions(path, Permissions::from_mode(bad)).expect("sets mode");
        let error = CompileCache::open(&cache.path)
            .expect_err("refused")
            .to_string();
        assert!(error.contains(word) && error.contains("chmod"), "{error}");
        fs::set_permissions(path, Permissions::from_mode(good)).expect("sets mode");
    }
    fs::set_permissions(&cache.path, Permissions::from_mode(0o755)).expect("sets mode");
    CompileCache::open(&cache.path).expect("readers are welcome");
    fs::write(&key, b"short").expect("writes");
    let error = CompileCache::open(&cache.path)
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("5 bytes") && error.contains("remove it"),
        "{error}"
    );
    fs::remove_file(&key).expect("removes");
    symlink("/dev/zero", &key).expect("links");
    CompileCache::open(&cache.path).expect_err("links are refused");
    let file = cache.path.join("file");
    fs::write(&file, b"").expect("writes");
    CompileCache::open(&file).expect_err("a file is no folder");
}

#[test]
fn the_key_is_never_shown() {
    let (_dir, cache) = cache();
    let shown = format!("{cache:?}");
    assert!(shown.contains("path") && !shown.contains("key"), "{shown}");
}

#[test]
fn openings_at_the_same_time_agree_on_one_key() {
    let dir = TempDir::new().expect("temporary folder");
    let engine = Engine::default();
    for round in 0..20 {
        let path = dir.path().join(round.to_string());
        let start = Barrier::new(4);
        let caches: Vec<_> = std::thread::scope(|scope| {
            let openings: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        CompileCache::open(&path).expect("opens")
                    })
                })
                .collect();
            openings
                .into_iter()
                .map(|o| o.join().expect("no panic"))
                .collect()
        });
        caches[0]
            .store(&DIGEST, &component(&engine))
            .expect("stores");
        for cache in &caches {
            assert!(matches!(cache.load(&engine, &DIGEST), Ok(Lookup::Hit(_))));
        }
        let names = caches[0].names().expect("lists");
        assert!(
            !names.iter().any(|name| name.ends_with(".tmp")),
            "{names:?}"
        );
    }
}

#[test]
fn storing_loading_and_pruning_at_the_same_time_never_shows_half_an_entry() {
    let engine = Engine::default();
    let (_dir, cache) = cache();
    let component = component(&engine);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope
                .spawn(|| (0..100).for_each(|_| cache.store(&DIGEST, &component).expect("stores")));
        }
        scope.spawn(|| {
            for _ in 0..100 {
                cache.prune(0).expect("prunes");
            }
        });
        for _ in 0..200 {
            match cache.load(&engine, &DIGEST).expect("looks") {
                Lookup::Hit(found) => assert_eq!(answer(&found), 42),
                Lookup::Miss => {}
                Lookup::Rebuild { reason } => panic!("{reason}"),
            }
        }
    });
}

#[test]
fn pruning_keeps_what_was_used_last_and_clears_what_was_abandoned() {
    let engine = Engine::default();
    let (_dir, cache) = cache();
    let component = component(&engine);
    let digests: Vec<_> = (0..4).map(|n| Digest([n; 32])).collect();
    let long_ago = SystemTime::now() - Duration::from_secs(1_000_000);
    let (mut size, mut age) = (0, 0);
    for digest in &digests {
        cache.store(digest, &component).expect("stores");
        let path = cache.path.join(Binding::new(&engine, digest).file_name());
        let file = File::open(&path).expect("opens");
        age += 10;
        file.set_modified(long_ago + Duration::from_secs(age))
            .expect("sets time");
        size = file.metadata().expect("stat").len();
    }
    // The oldest is used again, and so is the youngest.
    assert!(matches!(
        cache.load(&engine, &digests[0]),
        Ok(Lookup::Hit(_))
    ));
    // A writer died, another lives; a file is not ours.
    fs::write(cache.path.join(".dead.tmp"), b"half").expect("writes");
    let (living, _held) = create_temp(&cache.dir, &cache.path).expect("makes");
    fs::write(cache.path.join("README"), b"mine").expect("writes");

    let pruned = cache.prune(2 * size).expect("prunes");
    assert_eq!(
        pruned,
        Pruned {
            removed: 2,
            removed_bytes: 2 * size,
            kept: 2,
            kept_bytes: 2 * size,
        }
    );
    let hit = |digest| matches!(cache.load(&engine, digest), Ok(Lookup::Hit(_)));
    assert_eq!(
        digests.iter().map(hit).collect::<Vec<_>>(),
        [true, false, false, true]
    );
    let mut names = cache.names().expect("lists");
    names.retain(|name| !name.ends_with(".cwasm") && name != "." && name != "..");
    names.sort();
    assert_eq!(names, [living.as_str(), "README", "key"]);
}
