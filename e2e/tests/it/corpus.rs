//! Two verifiers, one corpus: `remit audit verify` and `verify.py` say the same of every honest and attacked ledger that
//! `e2e/corpus/` makes, and both catch every attack by the check that is there for it.

use crate::harness::{python, root, succeed, text};
use base64::{Engine, engine::general_purpose::STANDARD};
use remit_insight::{CustodyReport, PinnedKeys, custody, custody_with, explain_at, replay};
use remit_ledger::{Reader, Trust, cosign::Cosigner, policy::Policy, vault::Keyring, verify::verify_log};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// The name of a check, and the record at which it failed.
type Failure = (String, Option<u64>);

/// What is known of a case, with what each verifier says besides failures.
struct Case {
    about: Value,
    ours: BTreeSet<Failure>,
    theirs: BTreeSet<Failure>,
    said: [Value; 2],
}

/// The least that the corpus must hold, so that it cannot shrink unnoticed.
const ATTACKS: usize = 1_500;

fn run(what: &str, corpus: &Path) -> String {
    let mut command = Command::new(python());
    command.arg("-B").arg(root().join("e2e/corpus/run.py")).arg(what).arg(corpus);
    String::from_utf8(succeed(command).stdout).unwrap()
}

/// The log and the custody checks; decision replay is left out, because `verify.py` has no policy engine.
fn ours(place: &Path, about: &Value) -> (BTreeSet<Failure>, Value) {
    let earlier = about.get("earlier").map(|note| STANDARD.decode(note.as_str().unwrap()).unwrap());
    let trust = Trust { vkey: about["vkey"].as_str().map(str::to_owned), earlier, ..Trust::default() };
    let Ok(reader) = Reader::open(&place.join("ledger")) else {
        return (BTreeSet::from([("checkpoint".to_owned(), None)]), Value::Null);
    };
    let reader = match about.get("keys") {
        None => reader,
        Some(keys) => {
            let file = json!({"schema": "remit.disclosure.v1", "origin": "remit.example/main", "keys": keys});
            reader.with_keys(Keyring::from_disclosure(file.to_string().as_bytes()).unwrap())
        }
    };
    let report = verify_log(&reader, &trust);
    let log = report.failures().map(|check| (check.name.to_owned(), check.index));
    let pinned = about.get("pinned").map(|keys| PinnedKeys::parse(keys.to_string().as_bytes()).unwrap());
    let custody = custody_with(&reader, pinned.as_ref());
    let said = said(&custody);
    let custody = custody.failures.into_iter().map(|broken| ("custody".to_owned(), Some(broken.index)));
    (log.chain(custody).collect(), said)
}

/// What a report says of roots and of keys of other issuers, and its notes.
fn said(report: &CustodyReport) -> Value {
    let mut roots = json!(report.people);
    if report.signed_roots > 0 {
        roots["passkey"] = json!(report.signed_roots);
    }
    let notes: BTreeSet<&str> = report.notes.keys().copied().collect();
    json!({"roots": roots, "keys": report.keys, "notes": notes})
}

/// What both verifiers say of the checkpoint's witnesses; `None` where the policy itself is refused.
fn witnessed(place: &Path, policy: &str) -> (Option<bool>, Option<bool>) {
    let file = place.join("policy");
    fs::write(&file, policy).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let ours = Policy::parse(policy.as_bytes()).ok().map(|policy| {
        let trust = Trust { policy: Some(policy), now: Some(now), ..Trust::default() };
        verify_log(&Reader::open(&place.join("ledger")).unwrap(), &trust).ok()
    });
    let mut command = Command::new(python());
    command.arg("-B").arg(root().join("verify.py")).arg(place.join("ledger")).arg("--policy").arg(&file);
    let theirs = match command.output().unwrap().status.code() {
        Some(2) => None,
        code => Some(code == Some(0)),
    };
    (ours, theirs)
}

#[test]
fn both_verifiers_count_the_same_witnesses() {
    let corpus = TempDir::new().unwrap();
    run("make", corpus.path());
    let place = corpus.path().join("0000");
    let about: Value = serde_json::from_slice(&fs::read(place.join("case.json")).unwrap()).unwrap();
    let reader = Reader::open(&place.join("ledger")).unwrap();
    let note = reader.checkpoint_note().to_vec();
    let head = reader.checkpoint().to_text();
    let newest = reader.record(reader.len() - 1).unwrap().wall_ns() / 1_000_000_000;
    let witness = |n: u8| Cosigner::from_seed(&format!("w{n}.example"), &[n; 32]).unwrap();
    let line = |n: u8, at: u64| witness(n).cosign(&head, at).to_string();
    let forged = Cosigner::from_seed("w2.example", &[2; 32]).unwrap().cosign("another head\n", newest).to_string();
    let log = about["vkey"].as_str().unwrap();
    let (a, b) = (witness(1).public().to_string(), witness(2).public().to_string());
    let two = format!("log {log}\nwitness a {a}\nwitness b {b}\n");
    let (any, all) = (format!("{two}group g any a b\nquorum g\n"), format!("{two}group g all a b\nquorum g\n"));
    let foreign = Cosigner::from_seed("other.example", &[3; 32]).unwrap().public().to_string();
    for (why, policy, lines, good) in [
        ("one of any", any.clone(), vec![line(1, newest)], Some(true)),
        ("both", all.clone(), vec![line(1, newest), line(2, newest)], Some(true)),
        ("one witness twice", all.clone(), vec![line(1, newest), line(1, newest + 1)], Some(false)),
        ("a bad line of another witness", any.clone(), vec![line(1, newest), forged], Some(false)),
        ("before the newest record", any.clone(), vec![line(1, newest - 3600)], Some(false)),
        ("the newest line counts", any.clone(), vec![line(1, newest - 3600), line(1, newest)], Some(true)),
        ("from the future", any.clone(), vec![line(1, 1 << 40)], Some(false)),
        ("one key under two names", format!("log {log}\nwitness a {a}\nwitness b {a}\nquorum a\n"), vec![line(1, newest)], None),
        ("one member in two groups", format!("{two}group g any a\ngroup h all a b\nquorum h\n"), vec![line(1, newest)], None),
        ("a last line without end", any.trim_end().to_owned(), vec![line(1, newest)], None),
        ("no log of this name", format!("witness a {a}\nquorum a\n"), vec![line(1, newest)], Some(false)),
        ("a witness in place of the log", format!("log {foreign}\nwitness a {a}\nquorum a\n"), vec![line(1, newest)], None),
    ] {
        fs::write(place.join("ledger/checkpoint"), [&note[..], lines.concat().as_bytes()].concat()).unwrap();
        assert_eq!(witnessed(&place, &policy), (good, good), "{why}");
    }
}

#[test]
fn both_verifiers_order_authorities_alike() {
    // The model's own test keeps the file current.
    let differing = run("authority", &root().join("e2e/corpus/authority.jsonl"));
    assert_eq!(differing, "");
}

/// A ledger that an earlier build wrote: principals without a kind, records of the token service without the time of the
/// decision, questions without a version.
#[test]
fn a_ledger_of_an_earlier_build_is_verified_by_both_and_its_decisions_are_repeated() {
    let place = root().join("e2e/corpus/ledgers");
    let (folder, keys) = (place.join("first"), place.join("first.disclosure.json"));
    let open = || Reader::open(&folder).unwrap().with_keys(Keyring::from_disclosure(&fs::read(&keys).unwrap()).unwrap());
    let reader = open();
    let report = verify_log(&reader, &Trust::default());
    assert!(report.ok(), "{report}");
    let chains = custody(&reader);
    assert!(chains.failures.is_empty() && chains.hops == 2, "{chains}");
    let decisions = replay(&reader);
    assert_eq!((decisions.decisions, decisions.agree, decisions.mismatches.len()), (7, 7, 0), "{decisions}");
    for index in 0..reader.len() {
        explain_at(&reader, index).unwrap();
    }
    let mut command = Command::new(python());
    command.arg("-B").arg(root().join("verify.py")).arg(&folder).arg("--keys").arg(&keys);
    let told = String::from_utf8(succeed(command).stdout).unwrap();
    assert!(told.contains("VERIFIED"), "{told}");
}

/// Every case with what both verifiers say.
fn judged() -> Vec<Case> {
    let corpus = TempDir::new().unwrap();
    run("make", corpus.path());
    let place = corpus.path().to_owned();
    let theirs = thread::spawn(move || run("verify", &place));
    let mut places: Vec<PathBuf> = fs::read_dir(corpus.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    places.sort();
    let mine: Vec<_> = places
        .iter()
        .map(|place| {
            let about: Value = serde_json::from_slice(&fs::read(place.join("case.json")).unwrap()).unwrap();
            let ours = ours(place, &about);
            (about, ours)
        })
        .collect();
    let theirs = theirs.join().unwrap();
    let theirs: Vec<Value> = theirs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(mine.len(), theirs.len());
    let failures = |said: &Value| {
        let one = |failure: &Value| (failure[0].as_str().unwrap().to_owned(), failure[1].as_u64());
        said["failures"].as_array().unwrap().iter().map(one).collect()
    };
    let judged = places.iter().zip(mine).zip(theirs);
    judged
        .map(|((place, (about, (ours, mine))), said)| {
            assert!(text(place).ends_with(said["case"].as_str().unwrap()));
            // verify.py also notes what concerns the log.
            let notes: BTreeSet<&str> = said["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let theirs = json!({"roots": said["roots"], "keys": said["keys"], "notes": notes});
            Case { about, ours, theirs: failures(&said), said: [mine, theirs] }
        })
        .collect()
}

/// Whether a check that is there for this attack failed where it was made; honest ledgers fail nowhere.
fn right(about: &Value, said: &BTreeSet<Failure>) -> bool {
    let expected = about["expect"].as_array().unwrap();
    if expected.is_empty() {
        return said.is_empty();
    }
    let at = about["index"].as_u64();
    said.iter().any(|(name, index)| expected.iter().any(|one| one == name.as_str()) && (at.is_none() || at == *index))
}

/// SPEC: LG-23, N-LG-01 to N-LG-06: two implementations in two languages that share nothing but the documents.
#[test]
fn two_verifiers_agree_on_every_ledger_of_the_corpus() {
    let cases = judged();
    let attacks = cases.iter().filter(|case| case.about["expect"] != json!([])).count();
    assert!(attacks >= ATTACKS, "the corpus has only {attacks} attacks");
    let mut wrong = Vec::new();
    for Case { about, ours, theirs, said } in &cases {
        let (name, expect, at) = (&about["name"], &about["expect"], &about["index"]);
        if !right(about, ours) || !right(about, theirs) {
            wrong.push(format!("{name} is to be caught by {expect} at {at}: remit {ours:?}, verify.py {theirs:?}"));
        } else if ours != theirs {
            wrong.push(format!("{name}: remit {ours:?}, verify.py {theirs:?}"));
        } else if ours.is_empty() && said[0] != said[1] {
            wrong.push(format!("{name}: remit says {}, verify.py {}", said[0], said[1]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
