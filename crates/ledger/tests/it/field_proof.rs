//! One field shown, and nothing else.

use crate::world::{World, log_key, rich_decision};
use remit_ledger::{
    field_proof::{FieldProof, FieldProofError},
    note::SigningKey,
    policy::Policy,
    record::Opening,
};

fn policy(key: &SigningKey) -> Policy {
    Policy::threshold(key.public().clone(), Vec::new(), 0).unwrap()
}

fn world() -> World {
    let mut world = World::of(9);
    world.seal(rich_decision());
    world
}

#[test]
fn every_committed_value_proves_itself_and_shows_no_other() {
    let world = world();
    let (reader, index) = (world.reader(), 9);
    let side = reader.side(index).unwrap().unwrap();
    for (path, opening) in &side.fields {
        let proof = FieldProof::of(&reader, index, path).unwrap();
        let file = proof.to_bytes();
        let read = FieldProof::parse(&file).unwrap();
        assert_eq!(read, proof, "{path}");
        let (record, _) = read.verify(&policy(&log_key())).unwrap();
        assert_eq!(record.record_id(), world.sealed[9].record_id);
        assert_eq!(read.field.as_ref().unwrap().value(), side.value(path));
        let text = String::from_utf8(file).unwrap();
        assert!(matches!(opening, Opening::Open { salt, .. } if text.contains(salt.as_str())), "{path}");
        for (other, opening) in side.fields.iter().filter(|(other, _)| *other != path) {
            let Opening::Open { salt, value, .. } = opening else { panic!("open") };
            assert!(!text.contains(salt.as_str()), "{path} shows the salt of {other}");
            let shown = value.to_string();
            assert!(shown.len() < 8 || !text.contains(&shown), "{path} shows the value of {other}");
        }
        for name in ["user:alice", "user:olga", "carol@example.com", "T-4711"] {
            let own = opening_text(opening).contains(name);
            assert!(own || !text.contains(name), "{path} shows {name}");
        }
    }
}

fn opening_text(opening: &Opening) -> String {
    opening.value().unwrap().to_string()
}

#[test]
fn a_plain_member_proves_inclusion_only_and_nothing_proves_nothing() {
    let reader = world().reader();
    let proof = FieldProof::of(&reader, 9, "/action/name").unwrap();
    assert_eq!(proof.field, None);
    assert!(FieldProof::parse(&proof.to_bytes()).unwrap().verify(&policy(&log_key())).is_ok());
    assert!(matches!(FieldProof::of(&reader, 9, "/nothing"), Err(FieldProofError::Absent(_))));
    assert!(matches!(FieldProof::of(&reader, 9, "no pointer"), Err(FieldProofError::Absent(_))));
    assert!(FieldProof::of(&reader, 10, "/owner").is_err(), "beyond the log");
}

#[test]
fn whatever_is_changed_is_refused() {
    let reader = world().reader();
    let good = FieldProof::of(&reader, 9, "/owner").unwrap();
    let trusted = policy(&log_key());
    let stranger = SigningKey::from_seed(crate::world::ORIGIN, &[9; 32]).unwrap();
    assert!(good.verify(&policy(&stranger)).is_err(), "another log's key");
    let refused = |change: &dyn Fn(&mut FieldProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        assert!(proof.verify(&trusted).is_err(), "{proof:?}");
    };
    refused(&|proof| proof.entry[200] ^= 1);
    refused(&|proof| proof.proof.index = 8);
    refused(&|proof| proof.field.as_mut().unwrap().position ^= 1);
    refused(&|proof| proof.field.as_mut().unwrap().siblings[0].0[0] ^= 1);
    refused(&|proof| proof.field.as_mut().unwrap().siblings.clear());
    refused(&|proof| proof.field.as_mut().unwrap().path.push('x'));
    refused(&|proof| proof.field = FieldProof::of(&reader, 8, "/chain/0/subject").unwrap().field);
    let file = String::from_utf8(good.to_bytes()).unwrap();
    for (from, to) in [("olga", "otto"), ("field-proof.v1", "field-proof.v2"), ("\"path\"", "\"Path\""), ("\"salt\"", "\"Salt\"")]
    {
        let changed = file.replace(from, to);
        assert_ne!(changed, file);
        assert!(FieldProof::parse(changed.as_bytes()).and_then(|proof| proof.verify(&trusted).map(drop)).is_err(), "{to}");
    }
    for at in (0..file.len()).step_by(97) {
        crate::fuzz::field_proof(&file.as_bytes()[..at]);
        let mut flipped = file.clone().into_bytes();
        flipped[at] ^= 1 << (at % 8);
        crate::fuzz::field_proof(&flipped);
    }
}
