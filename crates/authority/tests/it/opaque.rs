//! What a client holds and cannot read: long enough not to be guessed, and kept only as a keyed hash. SPEC: X-12

use crate::{flow::request, world::*};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{collections::BTreeSet, fs};

/// Every byte that the database and the ledger have on disk.
fn on_disk(folder: &std::path::Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(on_disk(&path));
        } else {
            all.extend(fs::read(path).unwrap());
        }
    }
    all
}

#[tokio::test]
async fn x_12_codes_and_refresh_tokens_have_128_bits_and_are_not_kept() {
    let world = World::new().await;
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        let code = world.code("alice", &request()).await;
        let refresh = world.redeem(&world.planner, &code, &[]).await.body["refresh_token"].as_str().unwrap().to_owned();
        for secret in [&code, &refresh] {
            assert!(URL_SAFE_NO_PAD.decode(secret).unwrap().len() >= 16, "{secret}");
            assert!(seen.insert(secret.clone()), "given twice: {secret}");
        }
    }
    let disk = on_disk(world.folder());
    assert!(disk.windows(13).any(|bytes| bytes == b"agent:planner"), "the rows are where they are looked for");
    for secret in &seen {
        let raw = URL_SAFE_NO_PAD.decode(secret).unwrap();
        assert!(!disk.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "kept as text");
        assert!(!disk.windows(raw.len()).any(|bytes| bytes == raw), "kept as bytes");
    }
}

/// SPEC: IN-01, RV-01
#[tokio::test]
async fn x_02_n_in_03_every_endpoint_that_takes_a_form_takes_nothing_else() {
    let world = World::new().await;
    for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke"] {
        let reply = world.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.headers["allow"].to_str().unwrap()), (405, "POST"), "{path}");
        for kind in ["application/json", "text/plain", ""] {
            let request = axum::http::Request::post(path).header("content-type", kind);
            let reply = world.send(request.body(axum::body::Body::from("{}")).unwrap()).await;
            assert_eq!(reply.status.as_u16(), 415, "{path} {kind}");
            assert_eq!(reply.headers["cache-control"], "no-store", "{path}");
        }
    }
}
