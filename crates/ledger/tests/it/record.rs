//! Records: what every one holds, what none holds, and what sealing refuses.

use crate::world::{World, intent, plain, rich_decision, sealer};
use remit_ledger::{Draft, Hash, Record, Side, record::*, tree};
use remit_model::{Moment, TenantId, json};
use serde_json::{Value, json};

#[test]
fn every_mandatory_member_is_there_even_when_nothing_was_set() {
    let mut world = World::new();
    let draft = Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Heartbeat);
    let record = Record::parse(&world.seal(draft).bytes).unwrap();
    assert_eq!(record.outcome(), "unknown", "an unset outcome is honest");
    assert_eq!(record.text("/outcome/effect_confirmed"), Some("none"));
    assert_eq!(record.text("/chain/0/kind"), Some("service"), "the producer itself acted");
    assert_eq!(record.text("/request/hash"), Some(tree::empty_root().to_string().as_str()));
    assert_eq!(record.text("/time/wall"), Some("2027-01-15T08:00:00.002469134Z"));
    assert_eq!(record.number("/time/wall_ns"), Some(1_800_000_000_002_469_134));
    assert_eq!(record.number("/time/error_bound_ns"), Some(u64::MAX));
    assert_eq!(record.value()["chain_depth"], 1);
    assert_eq!(record.seq(), 1);
}

#[test]
fn each_missing_mandatory_member_is_refused() {
    let world = World::of(5);
    let whole = world.record(4).value().clone();
    let mandatory = [
        "schema",
        "record_id",
        "record_type",
        "tenant_id",
        "env",
        "producer",
        "seq",
        "prev_hash",
        "chain_uid",
        "time",
        "chain",
        "chain_depth",
        "owner_ref",
        "protocol",
        "action",
        "resource",
        "request",
        "response",
        "human_in_loop",
        "outcome",
        "commit",
        "record_hash",
        "sigs",
        "retention",
    ];
    for member in mandatory {
        let mut cut = whole.clone();
        cut.as_object_mut().unwrap().shift_remove(member).unwrap();
        assert!(Record::parse(&json::canonical(&cut)).is_err(), "{member}");
    }
}

#[test]
fn a_rich_record_holds_what_it_should_and_nothing_personal() {
    let mut world = World::of(4);
    let sealed = world.try_seal(remit_ledger::Draft { session_seq: Some(u64::MAX), ..rich_decision() }).unwrap();
    let text = String::from_utf8(sealed.bytes.clone()).unwrap();
    for personal in ["alice", "olga", "carol", "T-4711", "jti-agent", "edge.of", "dpop.proof.jws", "9007199254740993"] {
        // An agent's name is its registered identity and stays readable in `agent.uid`.
        assert!(!text.contains(personal), "{personal} is in the record");
    }
    assert!(sealed.bytes.len() < 6000, "{} bytes", sealed.bytes.len());
    let record = Record::parse(&sealed.bytes).unwrap();
    let text = |pointer: &str| record.text(pointer).map(str::to_owned);
    assert_eq!(text("/decision/reason_code").as_deref(), Some("argument_not_granted"));
    assert_eq!(text("/session_seq").as_deref(), Some("18446744073709551615"));
    assert_eq!(text("/chain/2/edge_proof"), Some(Hash::of(&[b"edge.of.agent:summarizer"]).to_string()));
    assert_eq!(text("/chain/1/token/jti_hash"), Some(Hash::of(&[b"jti-agent:planner"]).to_string()));
    assert_eq!(text("/chain/1/cnf/proof_hash"), Some(Hash::of(&[b"dpop.proof.jws"]).to_string()));
    assert!(record.value().pointer("/chain/0/edge_proof").is_none(), "a root has no edge");
    assert!(record.value().pointer("/chain/0/grant/parent_jti_hash").is_some_and(Value::is_null));
    assert_eq!(text("/decision/input_hash"), sealed.side.leaf("/decision/input").map(|leaf| leaf.to_string()));
    assert_eq!(text("/request/hash"), sealed.side.leaf("/call/arguments").map(|leaf| leaf.to_string()));
    assert_eq!(record.commit_root(), sealed.side.root());
    assert!(sealed.side.count().is_power_of_two());
}

#[test]
fn one_subject_has_one_pseudonym_in_its_tenant_only() {
    let pepper = Pepper::new(b"one");
    let alice = pepper.subject_ref("main", "https://i", "user:alice");
    assert_eq!(alice, pepper.subject_ref("main", "https://i", "user:alice"));
    for other in [
        pepper.subject_ref("other", "https://i", "user:alice"),
        pepper.subject_ref("main", "https://j", "user:alice"),
        pepper.subject_ref("main", "https://iu", "ser:alice"),
        pepper.resource_ref("main", "https://i", "user:alice"),
        Pepper::new(b"two").subject_ref("main", "https://i", "user:alice"),
    ] {
        assert_ne!(alice, other);
    }
    let mut world = World::of(5);
    let record = Record::parse(&world.seal(rich_decision()).bytes).unwrap();
    let expected = world.sealer.pepper().subject_ref("main", crate::world::ISSUER, "user:alice");
    assert_eq!(record.text("/chain/0/subject_ref"), Some(expected.as_str()));
}

#[test]
fn numbers_that_no_double_holds_are_committed_as_text_and_read_back_exactly() {
    let mut world = World::of(4);
    let side = world.seal(rich_decision()).side.clone();
    let back = Side::parse(&side.to_bytes()).unwrap();
    assert_eq!(back, side);
    assert_eq!(back.value("/call/arguments").unwrap()["order"], 9_007_199_254_740_993_u64);
    assert_eq!(back.value("/decision/input").unwrap()["arguments"]["amount"], 60);
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    let side = world.seal(plain(RecordType::Token, "t").commit("/deep", deep.clone())).side.clone();
    assert_eq!(Side::parse(&side.to_bytes()).unwrap().value("/deep"), Some(deep));
}

#[test]
fn an_erased_value_leaves_the_root_and_every_other_value() {
    let mut world = World::of(4);
    let mut side = world.seal(rich_decision()).side.clone();
    let root = side.root();
    let leaf = side.leaf("/chain/0/subject").unwrap();
    side.fields.insert("/chain/0/subject".to_owned(), Opening::Closed { leaf });
    let back = Side::parse(&side.to_bytes()).unwrap();
    assert_eq!(back.root(), root);
    assert_eq!(back.value("/chain/0/subject"), None);
    assert!(back.value("/decision/input").is_some());
}

#[test]
fn equal_values_have_unequal_commitments() {
    let mut world = World::of(4);
    let one = world.seal(intent()).side.clone();
    let two = world.seal(intent()).side.clone();
    assert_eq!(one.value("/call/arguments"), two.value("/call/arguments"));
    assert_ne!(one.leaf("/call/arguments"), two.leaf("/call/arguments"));
}

#[test]
fn n_lg_09_a_record_that_does_not_fit_is_refused_and_consumes_nothing() {
    let mut world = World::of(4);
    let before = world.sealer.position();
    let large = |bytes: usize| plain(RecordType::Token, "t").ext("big", json!("x".repeat(bytes)));
    assert!(matches!(world.try_seal(large(70_000)), Err(SealError::TooLarge { .. })));
    let huge = plain(RecordType::Token, "t").commit("/big", json!("x".repeat(SIDE_LIMIT)));
    assert!(matches!(world.try_seal(huge), Err(SealError::SideTooLarge { .. })));
    let number = plain(RecordType::Token, "t").ext("count", json!(u64::MAX));
    assert!(matches!(world.try_seal(number), Err(SealError::Number { .. })));
    let twice = plain(RecordType::Token, "t").commit("/a", json!(1)).commit("/a", json!(2));
    assert!(matches!(world.try_seal(twice), Err(SealError::Path { .. })));
    let path = plain(RecordType::Token, "t").commit("a", json!(1));
    assert!(matches!(world.try_seal(path), Err(SealError::Path { .. })));
    let mut chain = plain(RecordType::Token, "t");
    chain.chain = vec![Party::new(PartyKind::Agent, "i", "s"); 17];
    assert!(matches!(world.try_seal(chain), Err(SealError::TooMany { .. })));
    assert_eq!(world.sealer.position(), before);
    // The largest that fits is exactly the limit.
    let overhead = world.try_seal(large(60_000)).unwrap().bytes.len() - 60_000;
    let fits = world.try_seal(large(ENTRY_LIMIT - overhead)).unwrap();
    assert_eq!(fits.bytes.len(), ENTRY_LIMIT);
    assert!(Record::parse(&fits.bytes).is_ok());
    assert!(matches!(world.try_seal(large(ENTRY_LIMIT - overhead + 1)), Err(SealError::TooLarge { bytes: 65_536 })));
}

#[test]
fn long_lists_are_cut_and_say_so() {
    let mut world = World::of(4);
    let pointers: Vec<String> = (0..500).map(|index| format!("/rows/{index}/name")).collect();
    let draft =
        plain(RecordType::Decision, "t").resource(Resource::new("rows", None).projected(pointers.clone(), pointers, "grant"));
    let record = Record::parse(&world.seal(draft).bytes).unwrap();
    assert_eq!(record.value().pointer("/resource/0/fields_masked").and_then(Value::as_array).map(Vec::len), Some(FIELD_LIMIT));
    assert_eq!(record.text("/resource/0/fields_masked_total"), Some("500"));
    assert_eq!(record.text("/resource/0/fields_returned_total"), Some("500"));
}

#[test]
fn an_explanation_is_cut_between_characters() {
    let mut world = World::of(4);
    let mut facts = DecisionFacts::new(DecisionResult::Deny);
    facts.explanation = Some("ü".repeat(400));
    let record = Record::parse(&world.seal(plain(RecordType::Decision, "t").decision(facts)).bytes).unwrap();
    assert_eq!(record.text("/decision/explanation").map(str::len), Some(EXPLANATION_LIMIT));
}

#[test]
fn an_epoch_begins_with_its_start_record_and_continues_the_chain() {
    let mut fresh = sealer(None);
    let refused = fresh.seal(plain(RecordType::Token, "t"), &Moment::at(1), |_| {});
    assert!(matches!(refused, Err(SealError::NotStarted)));
    let mut world = World::of(5);
    world.restart();
    let (stop, start) = (world.record(5), world.record(6));
    assert_eq!((stop.epoch(), stop.seq()), (1, 5));
    assert_eq!((start.epoch(), start.seq()), (2, 0));
    assert_eq!(start.prev_hash(), stop.record_hash());
    assert!(start.is_start());
}

#[test]
fn a_rewound_sealer_repeats_its_place() {
    let mut world = World::of(5);
    let position = world.sealer.position();
    world.try_seal(intent()).unwrap();
    world.sealer.rewind(position);
    let again = Record::parse(&world.seal(intent()).bytes).unwrap();
    assert_eq!(again.seq(), 5);
    assert_eq!(again.prev_hash(), world.record(4).record_hash());
}

#[test]
fn the_logical_clock_survives_a_wall_clock_set_back() {
    let mut world = World::of(5);
    let before = world.record(4).hlc();
    world.set_clock(1_000);
    let record = Record::parse(&world.seal(intent()).bytes).unwrap();
    assert!(record.hlc() > before);
    assert!(record.wall_ns() < 10_000_000);
}

#[test]
fn the_signature_is_bound_to_its_domain_and_key() {
    let world = World::of(2);
    let record = world.record(1);
    let value = record.text("/sigs/0/value").unwrap();
    let jwk = world.sealer.key().jwk();
    assert_eq!(record.recomputed_hash(), record.record_hash());
    assert!(verify_record_signature(&jwk, &record.record_hash(), value));
    assert!(!verify_record_signature(&jwk, &Hash::ZERO, value));
    let other = RecordKey::from_seed(&[1; 32]).unwrap();
    assert!(!verify_record_signature(&other.jwk(), &record.record_hash(), value));
    assert!(!verify_record_signature(&json!({ "kty": "oct" }), &record.record_hash(), value));
    assert_eq!(record.text("/sigs/0/kid"), Some(world.sealer.key().kid()));
}

#[test]
fn bytes_that_mean_a_record_but_are_not_its_form_are_refused() {
    let world = World::of(2);
    let bytes = world.sealed[1].bytes.clone();
    let text = String::from_utf8(bytes.clone()).unwrap();
    for other in [
        text.replace(':', ": "),
        format!("{text}\n"),
        format!(" {text}"),
        text.replacen("\"chain_depth\":1", "\"chain_depth\":1.0", 1),
        text.replacen("\"chain_depth\":1", "\"chain_depth\":1,\"chain_depth\":1", 1),
        text.replacen("agent.audit.v1", "agent.audit.v2", 1),
        text.replacen("sha-256:", "sha-512:", 1),
        text.replacen("\"seq\":\"1\"", "\"seq\":\"01\"", 1),
        text.replacen("\"seq\":\"1\"", "\"seq\":1", 1),
        text.replacen("agent", "\\u0061gent", 1),
    ] {
        assert_ne!(other, text);
        assert!(Record::parse(other.as_bytes()).is_err(), "{other}");
    }
}
