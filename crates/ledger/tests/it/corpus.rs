//! Garbage for the fuzz targets of the ledger, and what writes their seeds. The fuzz crate replays these.

use crate::{
    fuzz,
    witnessing::{policy_text, witness},
    world::{World, files, log_key},
};
use proptest::prelude::*;
use remit_ledger::{Hash, field_proof::FieldProof, proof::Proof, tile, witness::Request};
use serde_json::{Value, json};
use std::{fs, path::Path};

#[test]
#[ignore = "writes the seeds; run after a change of format"]
fn write_the_seeds() {
    let world = World::of(5);
    let files = files(&world.entries(), &world.sides());
    let note = files["checkpoint"].clone();
    let text = String::from_utf8(note.clone()).unwrap();
    let bundle = |count: usize| {
        let entries = world.sealed[..count].iter().map(|sealed| sealed.bytes.as_slice());
        [vec![u8::try_from(count - 1).unwrap()], tile::encode_bundle(entries).unwrap()].concat()
    };
    let checkpoint = text.split("\n\n").next().unwrap();
    let cosigned = witness(1).cosign(&format!("{checkpoint}\n"), 1_800_000_000).to_string();
    let proof = Proof::of(&world.reader(), 2).unwrap();
    let request = |old, proof: &[Hash]| Request { old, proof: proof.to_vec(), note: note.clone() }.to_bytes();
    let requests = vec![request(0, &[]), request(2, &proof.path), [request(1, &[]), cosigned.clone().into_bytes()].concat()];
    let extra = Proof { extra: Some(b"where it is".to_vec()), ..proof.clone() };
    let seeds: [(&str, Vec<Vec<u8>>); 12] = [
        ("note", vec![note.clone(), log_key().sign("a\n\nb\n").unwrap(), text.replace('\n', "\r\n").into_bytes()]),
        (
            "checkpoint",
            vec![
                format!("{checkpoint}\n").into(),
                "a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".into(),
                "a\n01\n=\n".into(),
            ],
        ),
        (
            "tile_path",
            vec![b"tile/0/x001/x234/067".to_vec(), b"tile/entries/273.p/112".to_vec(), b"tile/63/x001/067.p/0".to_vec()],
        ),
        ("bundle", vec![bundle(1), bundle(3), vec![0, 0, 0]]),
        ("record", world.sealed.iter().map(|sealed| sealed.bytes.clone()).collect()),
        ("side", world.sealed.iter().map(|sealed| sealed.side.to_bytes()).collect()),
        (
            "policy",
            vec![
                policy_text().into_bytes(),
                b"# nothing\n\tquorum none \n".to_vec(),
                b"group g 1 a\nquorum g\nquorum none\n".to_vec(),
            ],
        ),
        ("tlog_proof", vec![proof.to_bytes(), extra.to_bytes(), b"c2sp.org/tlog-proof@v1\nindex 00\n\n".to_vec()]),
        ("witness_request", requests),
        ("witness_answer", vec![cosigned.clone().into_bytes(), cosigned.repeat(3).into_bytes(), b"20852163\n".to_vec()]),
        ("field_proof", field_proofs(&world)),
        ("disclosure", disclosures()),
    ];
    for (name, seeds) in seeds {
        let holds_records = ["bundle", "record", "side", "field_proof", "disclosure"].contains(&name);
        let target = if holds_records { "ledger_records" } else { "ledger_notes" };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("{name}-{number:02}")), seed).unwrap();
        }
    }
}

/// A committed value, a plain member, and one whose parts do not belong together.
fn field_proofs(world: &World) -> Vec<Vec<u8>> {
    let of = |index, path| FieldProof::of(&world.reader(), index, path).unwrap();
    let foreign = FieldProof { entry: b"{}".to_vec(), ..of(2, "/action/name") };
    let shown = world.reader().side(1).unwrap().unwrap().fields.into_keys().next().unwrap();
    vec![of(1, &shown).to_bytes(), of(2, "/action/name").to_bytes(), foreign.to_bytes()]
}

/// Keys with a name for one of them, none at all, and a key that is too short.
fn disclosures() -> Vec<Vec<u8>> {
    let file = |keys: Value, subjects: Value| json!({"schema": "remit.disclosure.v1", "origin": "log.example/main", "keys": keys, "subjects": subjects});
    let (name, key) = (format!("k:{}", "A".repeat(22)), "A".repeat(43));
    let alice = json!({"hmac-sha-256:00": {"iss": "https://as", "sub": "user:alice"}});
    let files = [file(json!({&name: key}), alice), file(json!({}), json!({})), file(json!({&name: "AAAA"}), json!({}))];
    files.iter().map(|file| file.to_string().into_bytes()).collect()
}

proptest! {
    #[test]
    fn garbage_breaks_nothing(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz::notes(&bytes);
        fuzz::records(&bytes);
    }

    #[test]
    fn garbage_text_breaks_nothing(text in "(tile/|log\n|old |index |quorum |group |\u{2014} |\\{\"|[0-9x/.p+ \n\"\\}:,=]){0,30}") {
        fuzz::notes(text.as_bytes());
        fuzz::records(text.as_bytes());
    }
}
