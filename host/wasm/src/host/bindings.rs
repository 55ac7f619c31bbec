//! Generated from `wit/`: the interfaces that are not on the way of every message.

#![allow(
    missing_docs,
    missing_debug_implementations,
    reason = "generated; the WIT has the words"
)]

wasmtime::component::bindgen!({
    path: ["../../wit", "wit/keyvalue-draft"],
    inline: "
        package edge:host;

        world imports {
            import edge:module/twin@0.1.0;
            import edge:module/methods@0.1.0;
            import wasi:config/store@0.2.0-rc.1;
            import wasi:logging/logging@0.1.0-draft;
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
            import wasi:keyvalue/batch@0.2.0-draft2;
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:keyvalue/batch@0.2.0-draft;
        }
    ",
    world: "edge:host/imports",
    imports: { default: trappable },
    with: {
        "edge:module/types": super::messages::interface,
        "wasi:keyvalue/store@0.2.0-draft2.bucket": super::keyvalue::Bucket,
        "wasi:keyvalue/store@0.2.0-draft.bucket": super::keyvalue::Bucket,
        "wasi:keyvalue/atomics@0.2.0-draft2.cas": super::keyvalue::Cas,
    },
});
