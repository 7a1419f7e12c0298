//! Sealed side values: what opens, for whom, and what stays true when a key is gone.

use crate::world::{ORIGIN, World, files, intent, log_key, plain, reader_of, rich_decision, sealer};
use proptest::prelude::*;
use remit_ledger::{
    Draft, Keyring, Reader, Record, Report, Sealed, Sealer, Side, Trust,
    record::{Classification, Opening, Party, PartyKind, RecordType, Resource},
    vault::{Key, KeyId, Subject, SubjectKey},
    verify::verify_log,
};
use remit_model::{Fault, Moment};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// One key a subject, made when first asked for; a test takes some away.
#[derive(Clone, Default)]
struct Keys(Arc<Mutex<BTreeMap<Subject, Key>>>);

impl Keys {
    fn get(&self, subject: &Subject) -> Key {
        let mut keys = self.0.lock().unwrap();
        let next = u8::try_from(keys.len()).unwrap();
        // Names in no relation to the order of subjects.
        let made = || Key { id: KeyId::new([next.wrapping_mul(151); 16]), secret: SubjectKey::new([next; 32]) };
        keys.entry(subject.clone()).or_insert_with(made).clone()
    }

    fn forget(&self, subject: &Subject) {
        assert!(self.0.lock().unwrap().remove(subject).is_some(), "no such subject");
    }

    fn ring(&self) -> Keyring {
        let keys: BTreeMap<KeyId, SubjectKey> =
            self.0.lock().unwrap().values().map(|key| (key.id.clone(), key.secret.clone())).collect();
        Keyring::from_fn(move |id| keys.get(id).cloned())
    }
}

struct Log {
    sealer: Sealer,
    keys: Keys,
    sealed: Vec<Sealed>,
    random: u8,
}

impl Log {
    fn new() -> Self {
        let mut log = Self { sealer: sealer(None), keys: Keys::default(), sealed: Vec::new(), random: 0 };
        let jwk = log.sealer.key().jwk();
        let vkey = log_key().public().to_string();
        let start =
            Draft::start(remit_model::TenantId::main(), remit_ledger::record::ProducerKind::AuthzServer, &jwk, &vkey, &json!({}));
        log.seal(start);
        log
    }

    fn seal(&mut self, draft: Draft) -> &Sealed {
        let keys = self.keys.clone();
        let random = &mut self.random;
        let fill = |bytes: &mut [u8]| {
            for byte in bytes {
                *random = random.wrapping_mul(13).wrapping_add(7);
                *byte = *random;
            }
        };
        let now = Moment::at(1_800_000_000);
        let sealed = self.sealer.seal_for(draft, &now, fill, &mut |subject| Ok(keys.get(subject))).unwrap();
        self.sealed.push(sealed);
        self.sealed.last().unwrap()
    }

    fn reader(&self, change: impl FnOnce(&mut Vec<Option<Side>>)) -> Reader {
        let entries: Vec<Vec<u8>> = self.sealed.iter().map(|sealed| sealed.bytes.clone()).collect();
        let mut sides = self.sealed.iter().map(|sealed| Some(sealed.side.clone())).collect();
        change(&mut sides);
        reader_of(files(&entries, &sides))
    }

    fn record(&self, index: usize) -> Record {
        Record::parse(&self.sealed[index].bytes).unwrap()
    }
}

fn decided() -> Log {
    let mut log = Log::new();
    log.seal(rich_decision());
    log
}

fn report(reader: &Reader) -> Report {
    verify_log(reader, &Trust { vkey: Some(log_key().public().to_string()), ..Trust::default() })
}

fn principal(sub: &str) -> Subject {
    Subject::Principal { iss: crate::world::ISSUER.to_owned(), sub: sub.to_owned() }
}

fn ticket() -> Subject {
    Subject::Data { kind: "ticket".to_owned(), id: "T-4711".to_owned() }
}

#[test]
fn nothing_sealed_shows_a_value_and_its_keys_show_all() {
    let log = decided();
    let sealed = &log.sealed[1];
    let line = String::from_utf8(sealed.side.to_line(1)).unwrap();
    for secret in ["alice", "olga", "carol", "T-4711", "planner", "salt", "value"] {
        assert!(!line.contains(secret), "{secret} in {line}");
    }
    assert_eq!(Side::parse_line(line.trim_end().as_bytes()).unwrap(), (1, sealed.side.clone()));

    let closed = log.reader(|_| {});
    assert_eq!(closed.side(1).unwrap().unwrap().value("/owner"), None, "without keys nothing opens");
    let open = log.reader(|_| {}).with_keys(log.keys.ring());
    let side = open.side(1).unwrap().unwrap();
    assert!(side.is_open());
    assert_eq!(side.value("/chain/0/subject").unwrap()["sub"], "user:alice");
    assert_eq!(side.value("/call/arguments").unwrap()["customer"], "carol@example.com");
    assert_eq!(side.root(), log.record(1).commit_root());
    let (with, without) = (report(&open), report(&closed));
    assert!(with.ok() && without.ok(), "{with}{without}");
    assert_eq!((with.undisclosed, without.undisclosed), (0, 2));
}

#[test]
fn the_record_names_every_key_and_no_subject() {
    let log = decided();
    let stated = log.record(1).value().pointer("/commit/key_ids").unwrap().clone();
    let names: Vec<&str> = stated.as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.len() == 5, "alice, olga, the ticket, two agents: {names:?}");
    for name in names {
        assert!(KeyId::parse(name).is_some(), "{name}");
    }
}

/// What can still be read once this subject's key is destroyed.
fn after_forgetting(subject: &Subject) -> (Vec<String>, Report) {
    let log = decided();
    log.keys.forget(subject);
    let reader = log.reader(|_| {}).with_keys(log.keys.ring());
    let side = reader.side(1).unwrap().unwrap();
    assert_eq!(side.root(), log.record(1).commit_root(), "every proof still adds up");
    let readable = side.fields.keys().filter(|path| side.value(path).is_some()).cloned().collect();
    (readable, report(&reader))
}

#[test]
fn destroying_one_key_destroys_what_is_about_its_subject_and_nothing_else() {
    let names = |of: &[&str]| of.iter().map(|&path| path.to_owned()).collect::<Vec<_>>();
    let (readable, report) = after_forgetting(&principal("user:alice"));
    assert_eq!(readable, names(&["/chain/1/subject", "/chain/2/subject", "/owner"]));
    assert!(report.ok() && report.undisclosed == 1, "{report}");
    let (readable, report) = after_forgetting(&ticket());
    assert_eq!(readable, names(&["/chain/0/subject", "/chain/1/subject", "/chain/2/subject", "/owner"]));
    assert!(report.ok(), "{report}");
    let (readable, _) = after_forgetting(&principal("user:olga"));
    assert_eq!(readable, names(&["/chain/0/subject", "/chain/1/subject", "/chain/2/subject"]), "the accountable human");
    let (readable, _) = after_forgetting(&principal("agent:planner"));
    assert!(!readable.contains(&"/chain/1/subject".to_owned()) && readable.contains(&"/call/arguments".to_owned()));
}

#[test]
fn an_erased_owner_takes_the_policys_input_along() {
    let mut log = Log::new();
    let mut draft = rich_decision();
    let agent = json!({"kind": "agent", "iss": crate::world::ISSUER, "sub": "agent:planner", "owner": "user:dora"});
    draft.decision.as_mut().unwrap().input = Some(json!({"principal": agent, "on_behalf_of": agent}));
    log.seal(draft);
    let input = |log: &Log| log.reader(|_| {}).with_keys(log.keys.ring()).side(1).unwrap().unwrap().value("/decision/input");
    assert!(input(&log).is_some());
    log.keys.forget(&principal("user:dora"));
    assert_eq!(input(&log), None, "her name is in it");
}

/// Changes one sealed field and says what verification makes of it, with and without keys.
fn tampered(path: &str, change: impl Fn(&mut Opening)) -> (Report, Report) {
    let log = decided();
    let change = |sides: &mut Vec<Option<Side>>| change(sides[1].as_mut().unwrap().fields.get_mut(path).unwrap());
    (report(&log.reader(change).with_keys(log.keys.ring())), report(&log.reader(change)))
}

#[test]
fn a_tampered_box_fails_verification_where_the_keys_are_at_hand() {
    for at in [0, 11, 12, 30] {
        let (with, without) = tampered("/owner", |opening| {
            let Opening::Sealed { sealed, .. } = opening else { panic!("sealed") };
            sealed.bytes[at] ^= 1;
        });
        assert!(with.checks.iter().any(|check| !check.ok && check.name == "commitments" && check.index == Some(1)), "{with}");
        assert!(without.ok(), "without the key the difference cannot be seen");
    }
    let (with, without) = tampered("/owner", |opening| {
        let Opening::Sealed { leaf, .. } = opening else { panic!("sealed") };
        leaf.0[0] ^= 1;
    });
    assert!(!with.ok() && !without.ok(), "a leaf is checked without any key");
    let (with, _) = tampered("/owner", |opening| {
        let Opening::Sealed { sealed, .. } = opening else { panic!("sealed") };
        sealed.bytes.truncate(29);
    });
    assert!(!with.ok());
}

#[test]
fn a_box_is_good_at_its_own_place_only() {
    let mut log = Log::new();
    log.seal(intent());
    log.seal(intent());
    let ring = log.keys.ring();
    let swap = |sides: &mut Vec<Option<Side>>| {
        let [_, Some(a), Some(b)] = &mut sides[..] else { panic!("three sides") };
        std::mem::swap(a, b);
    };
    assert!(!report(&log.reader(swap).with_keys(ring.clone())).ok(), "another record's");
    let move_over = |sides: &mut Vec<Option<Side>>| {
        let side = sides[1].as_mut().unwrap();
        let Opening::Sealed { sealed, .. } = side.fields["/call/arguments"].clone() else { panic!("sealed") };
        let Some(Opening::Sealed { sealed: other, .. }) = side.fields.get_mut("/chain/0/subject") else { panic!("sealed") };
        *other = sealed;
    };
    assert!(!report(&log.reader(move_over).with_keys(ring)).ok(), "another path's");
}

#[test]
fn a_key_the_record_does_not_name_and_a_wrong_key_are_failures() {
    let (with, without) = tampered("/owner", |opening| {
        let Opening::Sealed { sealed, .. } = opening else { panic!("sealed") };
        sealed.keys = vec![KeyId::new([0xee; 16])];
    });
    assert!(!with.ok() && !without.ok());
    let log = decided();
    let wrong = Keyring::from_fn(|_| Some(SubjectKey::new([0xee; 32])));
    assert!(!report(&log.reader(|_| {}).with_keys(wrong)).ok());
}

#[test]
fn hostile_sealed_fields_are_refused() {
    let log = decided();
    let good: Value = serde_json::from_slice(&log.sealed[1].side.to_bytes()).unwrap();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut side = good.clone();
        change(&mut side["fields"]["/owner"]);
        let bytes = remit_model::json::canonical(&side);
        crate::fuzz::side(&bytes);
        assert!(Side::parse(&bytes).is_err(), "{}", side["fields"]["/owner"]);
    };
    let id = |n: u8| json!(KeyId::new([n; 16]).as_str());
    refused(&|field| field["keys"] = json!([]));
    refused(&|field| field["keys"] = json!((0..17).map(id).collect::<Vec<_>>()));
    refused(&|field| field["keys"] = json!([id(1), id(1)]));
    refused(&|field| field["keys"] = json!([id(9), id(1)]));
    refused(&|field| field["keys"] = json!(["k:short"]));
    refused(&|field| field["keys"] = json!("k:"));
    refused(&|field| field["sealed"] = json!("AAAA"));
    refused(&|field| field["sealed"] = json!("not base64url!"));
    refused(&|field| field["leaf"] = json!("sha-256:00"));
    refused(&|field| field["value"] = json!("a value beside its seal"));
    refused(&|field| drop(field.as_object_mut().unwrap().remove("sealed")));
    refused(&|field| drop(field.as_object_mut().unwrap().remove("leaf")));
}

#[test]
fn what_is_about_too_many_people_is_closed_for_good() {
    let mut log = Log::new();
    let mut draft = intent();
    for n in 0..20 {
        let mut resource = Resource::new("customer", Some(format!("c-{n}")));
        resource.classification = Classification::Pii;
        draft.resources.push(resource);
    }
    log.seal(draft);
    let side = &log.sealed[1].side;
    assert!(matches!(side.fields["/call/arguments"], Opening::Closed { .. }), "nothing readable outlives one of them");
    assert!(matches!(side.fields["/chain/0/subject"], Opening::Sealed { .. }));
    assert!(report(&log.reader(|_| {}).with_keys(log.keys.ring())).ok());
}

#[test]
fn without_a_key_nothing_is_recorded_and_nothing_consumed() {
    let mut log = Log::new();
    let before = log.sealer.position();
    let mut gone = |_: &Subject| Err(Fault::new("the key store is gone"));
    let error = log.sealer.seal_for(intent(), &Moment::at(1_800_000_001), |_| {}, &mut gone).unwrap_err();
    assert!(error.to_string().contains("key store"), "{error}");
    assert_eq!(log.sealer.position(), before);
}

#[test]
fn closing_keeps_every_proof() {
    let log = decided();
    let reader = log.reader(|sides| sides[1].as_mut().unwrap().close()).with_keys(log.keys.ring());
    let side = reader.side(1).unwrap().unwrap();
    assert!(side.is_closed());
    assert_eq!(side.root(), log.record(1).commit_root());
    assert!(report(&reader).ok());
}

#[test]
fn an_old_log_with_open_values_reads_as_before() {
    let world = World::of(6);
    let report = verify_log(&world.reader().with_keys(Keyring::from_fn(|_| None)), &Trust::default());
    assert!(report.ok() && report.undisclosed == 0, "{report}");
    assert_eq!(world.reader().checkpoint().origin, ORIGIN);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_sealed_opens_to_itself(
        values in prop::collection::btree_map("/[a-z]{1,6}", prop_oneof![Just(json!(null)), any::<i64>().prop_map(|n| json!(n)), ".{0,40}".prop_map(|text| json!({"text": text, "list": [1, 2.5, false]}))], 0..12),
        people in 0_usize..6,
    ) {
        let mut log = Log::new();
        let mut draft = plain(RecordType::Token, "t").chain(
            (0..=people).map(|n| Party::new(PartyKind::Agent, "i", format!("agent:{n}"))).collect(),
        );
        for (path, value) in &values {
            draft = draft.commit(path.clone(), value.clone());
        }
        let sealed = log.seal(draft).clone();
        prop_assert_eq!(sealed.side.key_ids().len(), people + 1);
        let mut side = Side::parse(&sealed.side.to_bytes()).unwrap();
        prop_assert_eq!(side.leaves(), sealed.side.leaves());
        side.open(&sealed.record_id, &log.keys.ring()).unwrap();
        for (path, value) in values {
            prop_assert_eq!(side.value(&path), Some(value));
        }
        prop_assert_eq!(side.leaves(), sealed.side.leaves());
    }
}
