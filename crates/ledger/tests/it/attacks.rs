//! What someone with write access to the files, and even with the log's key, cannot do unnoticed.

use crate::world::{ORIGIN, World, effect, files, intent, leaves_of, log_key, plain, reader_of, rich_decision};
use remit_ledger::{
    Checkpoint, Hash, Report, Side, Trust,
    note::SigningKey,
    record::{Opening, RecordType},
    tree,
    verify::verify_log,
};
use remit_model::json;
use serde_json::{Value, json};
use std::collections::HashMap;

fn trust() -> Trust {
    Trust { vkey: Some(log_key().public().to_string()), ..Trust::default() }
}

fn report_on(files: HashMap<String, Vec<u8>>) -> Report {
    verify_log(&reader_of(files), &trust())
}

/// The log the operator would show who rewrote entries and rebuilt and re-signed the tree over them.
fn rebuilt(entries: &[Vec<u8>]) -> Report {
    report_on(files(entries, &[]))
}

fn failed(report: &Report, name: &str, index: u64) -> bool {
    report.failures().any(|check| check.name == name && check.index == Some(index))
}

/// A log whose record 4 is a rich decision.
fn world() -> World {
    let mut world = World::of(4);
    world.seal(rich_decision());
    world.seal(intent());
    let id = world.last().record_id.clone();
    world.seal(effect(&id));
    world
}

#[test]
fn an_honest_log_passes() {
    let report = verify_log(&world().reader(), &trust());
    assert!(report.ok(), "{report}");
    assert_eq!(report.records, 7);
    assert!(report.to_string().lines().count() >= 9);
}

#[test]
fn flipped_bits_are_caught_even_when_the_tree_is_rebuilt() {
    let world = world();
    let entries = world.entries();
    // Every member is changed below; here any byte, of which a prime stride takes a good sample.
    for at in (0..entries[4].len()).step_by(13) {
        let mut flipped = entries.clone();
        flipped[4][at] ^= 1 << (at % 8);
        let report = rebuilt(&flipped);
        assert!(report.failures().any(|check| check.index == Some(4)), "byte {at}: {report}");
    }
}

#[test]
fn a_change_to_every_member_is_caught_even_when_canonical_rehashed_and_rebuilt() {
    let world = world();
    let entries = world.entries();
    let whole = world.record(4).value().clone();
    let mut pointers = Vec::new();
    leaves_of(&whole, "", &mut pointers);
    assert!(pointers.len() > 100, "{} kinds of field", pointers.len());
    for pointer in pointers {
        let mut changed = whole.clone();
        let value = changed.pointer_mut(&pointer).unwrap();
        *value = match value {
            Value::String(text) => json!(format!("{text}0")),
            Value::Number(number) => json!(number.as_u64().unwrap() + 1),
            Value::Bool(truth) => json!(!*truth),
            _ => json!("something"),
        };
        let report = |changed: &Value| {
            let mut entries = entries.clone();
            entries[4] = json::canonical(changed);
            rebuilt(&entries)
        };
        assert!(report(&changed).failures().any(|check| check.index == Some(4)), "{pointer}");
        // The attacker also states the new hash: the signature, or the next record, no longer fits.
        rehash(&mut changed);
        assert!(changed == whole || !report(&changed).ok(), "{pointer} rehashed");
    }
}

fn rehash(record: &mut Value) {
    let members = record.as_object_mut().unwrap();
    let mut bare = members.clone();
    for outside in ["record_hash", "sigs", "log"] {
        bare.shift_remove(outside);
    }
    let hash = Hash::of(&[&json::canonical(&Value::Object(bare))]);
    members.insert("record_hash".to_owned(), json!(hash));
}

#[test]
fn deletion_insertion_and_reordering_are_caught_in_a_rebuilt_log() {
    let entries = world().entries();
    let mut deleted = entries.clone();
    deleted.remove(3);
    assert!(failed(&rebuilt(&deleted), "sequence", 3));
    let mut first = entries.clone();
    first.remove(0);
    assert!(failed(&rebuilt(&first), "sequence", 0));
    let mut twice = entries.clone();
    twice.insert(3, entries[2].clone());
    assert!(failed(&rebuilt(&twice), "sequence", 3));
    let mut swapped = entries.clone();
    swapped.swap(2, 3);
    assert!(failed(&rebuilt(&swapped), "sequence", 2));
    // Records of another installation with its own key and chain do not fit either.
    let mut foreign = entries.clone();
    foreign.insert(3, World::of(9).sealed[8].bytes.clone());
    assert!(!rebuilt(&foreign).ok());
}

#[test]
fn a_truncated_log_is_caught_by_an_earlier_checkpoint() {
    let entries = world().entries();
    let earlier = files(&entries, &[]).remove("checkpoint").unwrap();
    let trust = Trust { earlier: Some(earlier), ..trust() };
    let report = verify_log(&reader_of(files(&entries[..5], &[])), &trust);
    assert!(report.failures().any(|check| check.name == "extension"), "{report}");
    let mut rewritten = world();
    rewritten.seal(plain(RecordType::Token, "t"));
    let mut entries = rewritten.entries();
    entries[6] = entries[7].clone();
    let report = verify_log(&reader_of(files(&entries, &[])), &trust);
    assert!(report.failures().any(|check| check.name == "extension"), "{report}");
}

#[test]
fn a_file_changed_without_the_key_is_caught() {
    let world = world();
    let good = files(&world.entries(), &world.sides());
    for path in good.keys() {
        let mut bad = good.clone();
        let bytes = bad.get_mut(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        let failed =
            std::panic::catch_unwind(|| match remit_ledger::Reader::from_fetch(move |path, _| Ok(bad.get(path).cloned())) {
                Ok(reader) => !verify_log(&reader, &trust()).ok(),
                Err(_) => true,
            });
        assert!(failed.unwrap(), "{path}");
        let mut gone = good.clone();
        gone.remove(path);
        let withheld = path.starts_with("side/");
        let verdict = match remit_ledger::Reader::from_fetch(move |path, _| Ok(gone.get(path).cloned())) {
            Ok(reader) => verify_log(&reader, &trust()).ok(),
            Err(_) => false,
        };
        assert_eq!(verdict, withheld, "{path} missing");
    }
}

#[test]
fn n_lg_07_a_log_signed_by_another_key_is_refused() {
    let entries = world().entries();
    let mut other = files(&entries, &[]);
    let leaves: Vec<Hash> = entries.iter().map(|entry| tree::leaf_hash(entry)).collect();
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 7, root: tree::root(&leaves) };
    let key = SigningKey::from_seed(ORIGIN, &[9; 32]).unwrap();
    other.insert("checkpoint".to_owned(), key.sign(&checkpoint.to_text()).unwrap());
    let report = report_on(other);
    assert!(report.failures().any(|check| check.name == "checkpoint"), "{report}");
}

#[test]
fn without_a_key_of_ones_own_the_report_says_so() {
    let report = verify_log(&world().reader(), &Trust::default());
    assert!(report.ok() && !report.independent, "{report}");
    assert!(report.to_string().contains("not independent"), "{report}");
    let report = verify_log(&world().reader(), &Trust { vkey: Some("nonsense".to_owned()), ..Trust::default() });
    assert!(!report.ok());
}

#[test]
fn a_changed_opening_is_caught() {
    let world = world();
    let entries = world.entries();
    let check = |change: &dyn Fn(&mut Side)| {
        let mut sides = world.sides();
        change(sides[4].as_mut().unwrap());
        report_on(files(&entries, &sides))
    };
    assert!(check(&|_| {}).ok());
    let lie = |side: &mut Side| {
        let opening = side.fields.get_mut("/call/arguments").unwrap();
        let Opening::Open { value, .. } = opening else { panic!("open") };
        *value = json!({ "amount": 5 });
    };
    assert!(failed(&check(&lie), "commitments", 4));
    assert!(failed(&check(&|side| side.decoys.clear()), "commitments", 4));
    assert!(failed(&check(&|side| drop(side.fields.remove("/owner"))), "commitments", 4));
    let close = |side: &mut Side| {
        let leaf = side.leaf("/chain/0/subject").unwrap();
        side.fields.insert("/chain/0/subject".to_owned(), Opening::Closed { leaf });
    };
    assert!(check(&close).ok(), "an erased value breaks nothing");
    // The openings of another record do not open this one.
    let mut sides = world.sides();
    sides[4] = sides[5].clone();
    assert!(failed(&report_on(files(&entries, &sides)), "commitments", 4));
}

#[test]
fn an_intent_without_effect_is_unknown_and_an_effect_without_intent_is_a_failure() {
    let mut world = World::of(4);
    world.seal(intent());
    let report = verify_log(&world.reader(), &trust());
    assert!(report.ok(), "{report}");
    assert_eq!(report.unknown_outcomes, [4]);
    world.seal(effect("0190f8f0-0000-7000-8000-000000000000"));
    assert!(failed(&verify_log(&world.reader(), &trust()), "intents", 5));
    let mut world = world_with_two_effects();
    world.seal(plain(RecordType::Token, "t"));
    assert!(failed(&verify_log(&world.reader(), &trust()), "intents", 6));
}

fn world_with_two_effects() -> World {
    let mut world = World::of(4);
    world.seal(intent());
    let id = world.last().record_id.clone();
    world.seal(effect(&id));
    world.seal(effect(&id));
    world
}

#[test]
fn a_wall_clock_set_back_is_a_note() {
    let mut world = World::of(4);
    world.set_clock(1_700_000_000_000_000_000);
    world.seal(intent());
    let report = verify_log(&world.reader(), &trust());
    assert!(report.ok(), "{report}");
    assert_eq!(report.notes.len(), 1);
}

#[test]
fn an_epoch_cannot_be_skipped_or_begun_without_its_key() {
    let mut world = World::of(4);
    world.restart();
    world.seal(plain(RecordType::Token, "t"));
    assert!(verify_log(&world.reader(), &trust()).ok());
    let mut entries = world.entries();
    entries.remove(5);
    let report = rebuilt(&entries);
    assert!(failed(&report, "sequence", 5) && failed(&report, "signature", 5), "{report}");
}

#[test]
fn a_forged_size_does_not_keep_the_verifier_busy() {
    let mut forged = files(&world().entries(), &[]);
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: u64::MAX, root: Hash([1; 32]) };
    forged.insert("checkpoint".to_owned(), log_key().sign(&checkpoint.to_text()).unwrap());
    let report = report_on(forged);
    assert!(report.failures().any(|check| check.name == "tree"), "{report}");
}

#[test]
fn entries_that_are_no_records_are_one_line_each() {
    let mut entries = world().entries();
    entries[2] = Vec::new();
    entries[3] = vec![0xFF; 65_535];
    entries[5] = b"{\"schema\":\"agent.audit.v1\"}".to_vec();
    let report = rebuilt(&entries);
    for index in [2, 3, 5] {
        assert!(failed(&report, "canonical", index), "{report}");
    }
}
