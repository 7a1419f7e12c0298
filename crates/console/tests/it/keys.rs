//! The issuer's keys over the admin API.

use super::*;
use remit_model::{KeyStage, issuer_keys};
use remit_token::{KeyFolder, issuer::key_file};
use std::{path::Path, time::Duration};

fn read(file: &Path) -> Result<PrivateKey, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    PrivateKey::from_pkcs8_pem(&text).map_err(|fault| fault.to_string())
}

/// What the server begins with: one key, and the folder for others.
pub(crate) fn at_hand(dir: &Path) -> SigningKeys {
    SigningKeys::with([private(1)], Some(KeyFolder { dir: dir.to_owned(), read }))
}

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap()
}

fn kid(seed: u8) -> String {
    private(seed).public().thumbprint().to_owned()
}

impl World {
    /// Puts the private half of a key where the server looks for it, and gives back its public one.
    fn lay(&self, seed: u8) -> Value {
        let key = private(seed);
        let file = self.dir.path().join(key_file(key.public().thumbprint()).unwrap());
        std::fs::write(file, key.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
        key.public().to_jwk()
    }

    fn stage(&self, seed: u8) -> KeyStage {
        let (world, now) = (self.store.snapshot(), self.clock.unix());
        world.issuer_keys().stage(world.issuer_keys().key(&kid(seed)).unwrap(), now)
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.admin("POST", path, &body).await
    }

    async fn last_record(&self) -> Value {
        let record = self.store.record(self.store.len() - 1).await.unwrap().unwrap();
        serde_json::from_slice(&record.bytes).unwrap()
    }
}

#[tokio::test]
async fn jw_02_a_key_is_published_before_it_signs_and_the_one_before_outlives_its_tokens() {
    let world = World::new().await;
    assert_eq!(world.stage(1), KeyStage::Signing);
    let (status, answer) = world.post("/admin/v1/keys", json!({"key": world.lay(2)})).await;
    assert_eq!((status, answer["keys"][0]["stage"].as_str()), (StatusCode::OK, Some("next")), "{answer}");
    assert_eq!((world.stage(1), world.stage(2)), (KeyStage::Signing, KeyStage::Next));
    let record = world.last_record().await;
    assert_eq!((record["record_type"].as_str(), record["action"]["name"].as_str()), (Some("config_change"), Some("keys.rotate")));
    let stated = &record["ext"]["keys"];
    assert_eq!(stated["issuer"]["keys"].as_array().unwrap().len(), 2);
    assert_eq!((stated["next"].as_str(), stated["issuer_until"][kid(1)].as_str().is_some()), (Some(kid(2).as_str()), true));

    world.clock.advance(Duration::from_secs(issuer_keys::NOTICE.unsigned_abs()));
    assert_eq!((world.stage(1), world.stage(2)), (KeyStage::Retiring, KeyStage::Signing));
    world.clock.advance(Duration::from_secs(issuer_keys::OVERLAP.unsigned_abs() - 1));
    assert_eq!(world.stage(1), KeyStage::Retiring);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!((world.stage(1), world.stage(2)), (KeyStage::Retired, KeyStage::Signing));

    // A day later the next rotation forgets it.
    world.clock.advance(Duration::from_hours(25));
    let (status, answer) = world.post("/admin/v1/keys", json!({"key": world.lay(3), "after": 0})).await;
    assert_eq!((status, answer["keys"].as_array().unwrap().len()), (StatusCode::OK, 2), "{answer}");
    assert_eq!(world.stage(3), KeyStage::Signing);
}

#[tokio::test]
async fn jw_02_a_revoked_key_is_gone_at_once_and_something_else_signs() {
    let world = World::new().await;
    let revoke = format!("/admin/v1/keys/{}/revoke", kid(1));
    let (status, answer) = world.post(&revoke, json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "nothing could sign: {answer}");
    assert_eq!(world.stage(1), KeyStage::Signing);
    let (status, answer) = world.post(&revoke, json!({"key": world.lay(2)})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((world.stage(1), world.stage(2)), (KeyStage::Revoked, KeyStage::Signing));
    assert!(world.signing.key(&kid(1)).is_err(), "the private half is wiped");
    let stated = world.last_record().await["ext"]["keys"].clone();
    assert_eq!(
        (stated["revoked"].as_str(), stated["issuer"]["keys"][0]["kid"].as_str()),
        (Some(kid(1).as_str()), Some(kid(2).as_str()))
    );
    assert_eq!(stated["issuer"]["keys"].as_array().unwrap().len(), 1);
    let (status, answer) = world.post(&revoke, json!({})).await;
    assert!(status == StatusCode::BAD_REQUEST && answer.to_string().contains("already"), "{answer}");
    // With a published next key, that one takes over, and no other is needed.
    world.post("/admin/v1/keys", json!({"key": world.lay(3)})).await;
    let (status, answer) = world.post(&format!("/admin/v1/keys/{}/revoke", kid(2)), Value::Null).await;
    assert_eq!((status, world.stage(3)), (StatusCode::OK, KeyStage::Signing), "{answer}");
}

#[tokio::test]
async fn n_jw_04_no_key_is_taken_twice_and_none_without_its_private_half() {
    let world = World::new().await;
    let refused = async |body: Value, why: &str| {
        let before = world.store.len();
        let (status, answer) = world.post("/admin/v1/keys", body).await;
        assert!(status == StatusCode::BAD_REQUEST && answer["reason"].as_str().unwrap().contains(why), "{why}: {answer}");
        assert_eq!(world.store.len(), before, "nothing is recorded of what was not done");
    };
    refused(json!({"key": private(1).public().to_jwk()}), "is, or was, a key").await;
    refused(json!({"key": private(9).public().to_jwk()}), "does not find the private key").await;
    refused(json!({"key": {"kty": "oct", "k": "c2VjcmV0"}}), "").await;
    let mut with_d = world.lay(2);
    with_d["d"] = json!("AAAA");
    refused(json!({"key": with_d}), "").await;
    refused(json!({}), "no next key").await;
    refused(json!({"key": world.lay(2), "after": -1}), "`after`").await;
    refused(json!({"key": world.lay(2), "after": 40 * 86_400}), "`after`").await;
    refused(json!({"key": world.lay(2), "soon": true}), "soon").await;
    world.post("/admin/v1/keys", json!({"key": world.lay(2)})).await;
    refused(json!({"key": world.lay(3)}), "is published already").await;
    // A file that holds another key than its name says.
    let file = world.dir.path().join(key_file(&kid(4)).unwrap());
    std::fs::write(file, private(5).to_pkcs8_pem().unwrap().as_bytes()).unwrap();
    refused(json!({"key": private(4).public().to_jwk()}), "another key").await;
    // A revoked key does not come back.
    world.post(&format!("/admin/v1/keys/{}/revoke", kid(1)), json!({})).await;
    refused(json!({"key": private(1).public().to_jwk()}), "").await;
    let (status, _) = world.post("/admin/v1/keys/none/revoke", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_time_of_a_published_key_can_be_changed() {
    let world = World::new().await;
    world.post("/admin/v1/keys", json!({"key": world.lay(2)})).await;
    let (status, answer) = world.post("/admin/v1/keys", json!({"after": 0})).await;
    assert_eq!((status, world.stage(2)), (StatusCode::OK, KeyStage::Signing), "{answer}");
    let (_, answer) = world.admin("GET", "/admin/v1/keys", &Value::Null).await;
    assert_eq!(
        (answer["keys"][0]["stage"].as_str(), answer["keys"][0]["at_hand"].as_bool()),
        (Some("signing"), Some(true)),
        "{answer}"
    );
    assert_eq!(answer["keys"][1]["stage"], "retiring");
    assert!(!answer.to_string().contains("\"d\""), "N-JW-01");
}
