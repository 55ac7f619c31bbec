//! Manifests and configs without a registry.

use super::*;

const NAME: &str = "r.example/filter:1";

fn manifest(text: &str) -> Result<Manifest, PullError> {
    Manifest::read(text.as_bytes(), Some(MANIFEST), NAME)
}

fn digest() -> Digest {
    Digest([0xab; 32])
}

fn with(config: &str, layer: &str) -> String {
    let digest = digest();
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{config}","digest":"{digest}","size":2}},
            "layers":[{{"mediaType":"{layer}","digest":"{digest}","size":9}}]}}"#
    )
}

fn claims(text: &str) -> Result<Claims, PullError> {
    let read = manifest(text)?;
    let claims = read.claims(Digest([1; 32]), &PullLimits::default(), NAME);
    claims.map(|(claims, _)| claims)
}

#[test]
fn all_layouts_are_told_apart() {
    for (config, layer, layout) in [
        (CONFIG, WASM, Layout::Cncf),
        (IMAGE_CONFIG, WASM, Layout::Cncf),
        (EMPTY, WASM, Layout::Bare),
        (OLD_CONFIG, OLD_LAYERS[0], Layout::Old),
        (OLD_CONFIG, OLD_LAYERS[1], Layout::Old),
    ] {
        let claims = claims(&with(config, layer)).expect(config);
        assert_eq!(
            (claims.layout, claims.component, claims.size),
            (layout, digest(), 9)
        );
    }
}

#[test]
fn manifests_of_something_else_are_refused_with_what_they_are() {
    let two = with(CONFIG, WASM).replace(
        "\"layers\":[",
        &format!(
            r#""layers":[{{"mediaType":"{WASM}","digest":"{}","size":1}},"#,
            digest()
        ),
    );
    let cases = [
        (
            with(CONFIG, "application/vnd.oci.image.layer.v1.tar+gzip"),
            "media type of its component",
        ),
        (
            with("application/vnd.example+json", WASM),
            "media type of its config",
        ),
        (two, "2 layers"),
        (
            with(CONFIG, WASM).replace("sha256:", "sha512:"),
            "names the component by",
        ),
        (
            with(CONFIG, WASM).replace("\"size\":9", "\"size\":999999999999"),
            "at most 256MiB",
        ),
        (
            with(CONFIG, WASM).replace("\"schemaVersion\":2", "\"schemaVersion\":1"),
            "schemaVersion is 1",
        ),
        (
            with(CONFIG, WASM).replace('{', &format!(r#"{{"mediaType":"{INDEX}","manifests":[],"#)),
            "media type of its manifest",
        ),
        (
            with(CONFIG, WASM).replacen('{', r#"{"manifests":[],"#, 1),
            "an index at once",
        ),
        ("{".to_owned(), "cannot be read"),
    ];
    for (text, why) in cases {
        let error = claims(&text).expect_err(why);
        assert!(error.is_refusal(), "{error}");
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
}

#[test]
fn a_manifest_without_a_type_has_that_of_its_answer() {
    let text = with(CONFIG, WASM);
    assert!(Manifest::read(text.as_bytes(), Some(MANIFEST), NAME).is_ok());
    for header in [Some(INDEX), Some("text/html"), None] {
        assert!(
            Manifest::read(text.as_bytes(), header, NAME).is_err(),
            "{header:?}"
        );
    }
}

#[test]
fn a_config_that_does_not_fit_its_manifest_is_refused() {
    let good = format!(
        r#"{{"created":"2026-01-01T00:00:00Z","author":null,"architecture":"wasm","os":"wasip2",
            "layerDigests":["{}"],
            "component":{{"exports":["wasi:cli/run@0.2.0"],"imports":["wasi:io/poll@0.2.0"],"target":null}}}}"#,
        digest()
    );
    let check = |text: &str| {
        let mut found = claims(&with(CONFIG, WASM))?;
        Config::check(text.as_bytes(), &mut found, NAME).map(|()| found)
    };
    let found = check(&good).expect("good");
    assert_eq!(
        found.imports.as_deref(),
        Some(&["wasi:io/poll@0.2.0".to_owned()][..])
    );
    assert_eq!(
        found.exports.as_deref(),
        Some(&["wasi:cli/run@0.2.0".to_owned()][..])
    );
    for (text, why) in [
        (
            good.replace("\"wasm\"", "\"amd64\""),
            "architecture \"amd64\"",
        ),
        (good.replace("wasip2", "wasip1"), "built for \"wasip1\""),
        (
            good.replace("sha256:ab", "sha256:ac"),
            "config of r.example/filter:1 is of another component",
        ),
        (good.replace("layerDigests", "layers"), "another component"),
        (
            good.replace("\"component\"", "\"composition\""),
            "says nothing of the component",
        ),
        ("[]".to_owned(), "cannot be read"),
    ] {
        let error = check(&text).expect_err(why);
        assert!(error.is_refusal(), "{error}");
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
}

/// What `wkg oci push` 0.16.1 wrote of a sample that keeps state.
const WKG: [&[u8]; 2] = [
    include_bytes!("wkg-0.16.1-manifest.json"),
    include_bytes!("wkg-0.16.1-config.json"),
];

#[test]
fn what_wkg_pushes_is_read_with_all_that_it_says() {
    let [manifest, config] = WKG;
    let read = Manifest::read(manifest, Some(MANIFEST), NAME).expect("it is one");
    let claims = read.claims(Digest([1; 32]), &PullLimits::default(), NAME);
    let (mut claims, configured) = claims.expect("it is a component");
    assert!(configured);
    assert_eq!(read.config.digest, crate::push::sha256(config).to_string());
    Config::check(config, &mut claims, NAME).expect("they fit");
    let imports = claims.imports.expect("it says");
    assert!(
        imports.contains(&"wasi:keyvalue/store@0.2.0-draft2".to_owned()),
        "{imports:?}"
    );
    assert_eq!(
        claims.exports.expect("it says"),
        ["edge:module/input-handler@0.1.0"]
    );
}
