//! The corpus at the size of an ordinary test run; `examples/measure.rs` makes it as large as wanted.

use remit_insight::{replay, what_if};
use remit_ledger::{Reader, Trust, verify};
use remit_testkit::corpus;

#[test]
fn every_decision_of_the_corpus_comes_out_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let refused = corpus::write(folder.path(), 1, 2_000).unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    let report = replay(&reader);
    assert_eq!((report.decisions, report.agree), (2_000, 2_000), "{report}");
    assert_eq!(report.policy_sets.len(), 3);
    assert!((200..1_800).contains(&refused), "{refused}");

    // Every kind of result is in it, or it would prove little.
    let mut kinds = std::collections::BTreeMap::<String, u64>::new();
    for index in 1..reader.len() {
        let record = reader.record(index).unwrap();
        *kinds.entry(record.text("/decision/result").unwrap().to_owned()).or_default() += 1;
    }
    for kind in ["allow", "deny", "step_up", "mask", "quota", "error_fail_closed"] {
        assert!(kinds.get(kind).is_some_and(|count| *count >= 5), "{kind}: {kinds:?}");
    }
}

#[test]
fn the_corpus_is_a_ledger_and_its_seed_says_which() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    for (folder, seed) in folders.iter().zip([5, 5, 6]) {
        corpus::write(folder.path(), seed, 200).unwrap();
    }
    let report = verify(folders[0].path(), &Trust::default());
    assert!(report.ok(), "{report:?}");
    let root = |at: usize| Reader::open(folders[at].path()).unwrap().checkpoint().root;
    assert_eq!(root(0), root(1));
    assert_ne!(root(0), root(2));
}

#[test]
fn what_the_last_policies_would_have_changed() {
    let folder = tempfile::tempdir().unwrap();
    corpus::write(folder.path(), 2, 400).unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    let last = corpus::bundles().unwrap().pop().unwrap();
    let report = what_if(&reader, &last, None).unwrap();
    assert_eq!(report.same + report.flipped, 400, "{report}");
    assert!(report.flips.iter().any(|flip| flip.becomes == "error_fail_closed"), "{report}");
    assert_eq!(report.flips.iter().map(|flip| flip.count).sum::<u64>(), report.flipped);
}
