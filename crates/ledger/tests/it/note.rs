//! Signed notes and checkpoints: published examples, and everything that must be refused.

use proptest::prelude::*;
use remit_ledger::{
    Checkpoint, Hash,
    checkpoint::CheckpointError,
    note::{Note, NoteError, SigningKey, VerifyingKey},
    tree,
};

/// The example of the Go package that defined the format.
const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, &[seed; 32]).unwrap()
}

fn signed() -> (SigningKey, String) {
    let key = key("log.example/one", 7);
    let note = key.sign(&Checkpoint { origin: "log.example/one".to_owned(), size: 3, root: Hash([9; 32]) }.to_text()).unwrap();
    (key, String::from_utf8(note).unwrap())
}

#[test]
fn lg_14_the_known_example_verifies() {
    let key = VerifyingKey::parse(PETER_KEY).unwrap();
    assert_eq!(key.to_string(), PETER_KEY);
    let note = Note::parse(PETER_NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(std::slice::from_ref(&key)), Ok(vec![&key]));
}

#[test]
fn n_lg_06_one_note_has_one_spelling() {
    let (key, note) = signed();
    let open = |note: &str| Checkpoint::open(note.as_bytes(), key.public());
    assert_eq!(open(&note).unwrap().size, 3);
    let (text, line) = note.split_once("\n\n").unwrap();
    let signature = line.trim_end().rsplit_once(' ').unwrap().1;
    let broken = [
        ("CRLF", note.replace('\n', "\r\n")),
        ("extra blank line", note.replace("\n\n", "\n\n\n")),
        ("no blank line", note.replace("\n\n", "\n")),
        ("trailing byte", format!("{note}x")),
        ("trailing newline", format!("{note}\n")),
        ("no final newline", note.trim_end().to_owned()),
        ("leading space", format!(" {note}")),
        ("tab", note.replace(' ', "\t")),
        ("hyphen for the dash", note.replace('\u{2014}', "-")),
        ("base64 without padding", note.replace(signature, signature.trim_end_matches('='))),
        ("base64 for URLs", note.replace(signature, "-___")),
        ("empty signature", note.replace(signature, "")),
        ("key id only", note.replace(signature, "AAAAAA==")),
        ("no signature line", format!("{text}\n\n")),
        ("only text", format!("{text}\n")),
        ("two spaces", line.replace("one ", "one  ")),
        ("empty", String::new()),
        ("control character", note.replacen('3', "3\u{7}", 1)),
    ];
    for (what, note) in broken {
        assert!(open(&note).is_err(), "{what}");
    }
    assert!(Note::parse(b"text\n\n\xFF\xFE\n").is_err(), "not UTF-8");
}

#[test]
fn n_lg_06_one_checkpoint_has_one_spelling() {
    let root = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
    assert!(Checkpoint::parse(&format!("log.example\n3\n{root}\n")).is_ok());
    for text in [
        format!("log.example\n03\n{root}\n"),
        format!("log.example\n+3\n{root}\n"),
        format!("log.example\n-3\n{root}\n"),
        format!("log.example\n\n{root}\n"),
        format!("log.example\n18446744073709551616\n{root}\n"),
        format!("log.example\n3\n{}\n", root.trim_end_matches('=')),
        format!("log.example\n3\n{}\n", root.replace("k=", "l=")),
        format!("log.example\n3\n{root}\nextension\n"),
        format!("log.example\n3\n{root}"),
        format!("log.example\n3\n{root}\n\n"),
        format!("\n3\n{root}\n"),
        format!("log example\n3\n{root}\n"),
        format!("log+example\n3\n{root}\n"),
        "log.example\n3\nAAAA\n".to_owned(),
        format!("log.example\n0\n{root}\n"),
        String::new(),
    ] {
        assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
    }
    let empty = Checkpoint { origin: "log.example".to_owned(), size: 0, root: tree::empty_root() };
    assert_eq!(Checkpoint::parse(&empty.to_text()), Ok(empty));
}

#[test]
fn n_lg_07_a_note_signed_only_by_strangers_is_refused() {
    let (_, note) = signed();
    let stranger = key("log.example/two", 8);
    let refused = Checkpoint::open(note.as_bytes(), stranger.public());
    assert_eq!(refused, Err(CheckpointError::Note(NoteError::Unsigned)));
}

#[test]
fn n_lg_08_a_wrong_key_id_is_refused() {
    let wrong = PETER_KEY.replace("c74f20a3", "c74f20a4");
    assert!(matches!(VerifyingKey::parse(&wrong), Err(NoteError::Key(_))));
    assert!(VerifyingKey::parse(&PETER_KEY.replace("c74f20a3", "C74F20A3")).is_err());
    assert!(VerifyingKey::parse(&PETER_KEY.replace("PeterNeumann", "Peter")).is_err());
    // The right key under another name is another key: the line is a stranger's.
    let other = key("log.example/other", 7);
    let (_, note) = signed();
    let renamed = note.replacen("\u{2014} log.example/one", "\u{2014} log.example/other", 1);
    assert_eq!(Checkpoint::open(renamed.as_bytes(), other.public()), Err(CheckpointError::Note(NoteError::Unsigned)));
}

#[test]
fn lg_15_a_bad_signature_of_a_known_key_refuses_the_note_despite_good_ones() {
    let (one, two) = (key("one", 1), key("two", 2));
    let line = |key: &SigningKey, text: &str| {
        String::from_utf8(key.sign(text).unwrap()).unwrap().split("\n\n").nth(1).unwrap().to_owned()
    };
    let note = |second: &str| format!("text\n\n{}{}", line(&one, "text\n"), line(&two, second));
    let known = [one.public().clone(), two.public().clone()];
    let verify =
        |note: &str, known: &[VerifyingKey]| Note::parse(note.as_bytes()).unwrap().verify(known).map(|signers| signers.len());
    assert_eq!(verify(&note("text\n"), &known), Ok(2));
    assert_eq!(verify(&note("other\n"), &known), Err(NoteError::Signature("two".to_owned())));
    assert_eq!(verify(&note("other\n"), &known[..1]), Ok(1), "lines by unknown keys are ignored");
}

#[test]
fn lg_15_sixteen_signatures_are_read() {
    let keys: Vec<SigningKey> = (1..=16).map(|seed| key(&format!("witness{seed}"), seed)).collect();
    let lines: String = keys
        .iter()
        .map(|key| String::from_utf8(key.sign("text\n").unwrap()).unwrap().split("\n\n").nth(1).unwrap().to_owned())
        .collect();
    let known: Vec<VerifyingKey> = keys.iter().map(|key| key.public().clone()).collect();
    assert_eq!(Note::parse(format!("text\n\n{lines}").as_bytes()).unwrap().verify(&known).unwrap().len(), 16);
}

#[test]
fn a_text_may_hold_blank_lines_and_the_last_one_splits() {
    let key = key("one", 1);
    let note = key.sign("a\n\nb\n\n\u{2014} not a signature\n").unwrap();
    let note = Note::parse(&note).unwrap();
    assert_eq!(note.text, "a\n\nb\n\n\u{2014} not a signature\n");
    assert!(note.verify(std::slice::from_ref(key.public())).is_ok());
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_what_is_changed_does_not(text in "[^\\p{Cc}]{1,80}", seed in any::<[u8; 32]>(), at in any::<prop::sample::Index>()) {
        let text = format!("{text}\n");
        let key = SigningKey::from_seed("name", &seed).unwrap();
        let signed = key.sign(&text).unwrap();
        let known = [VerifyingKey::parse(&key.public().to_string()).unwrap()];
        prop_assert!(Note::parse(&signed).unwrap().verify(&known).is_ok());
        let mut changed = signed.clone();
        let at = at.index(changed.len());
        changed[at] ^= 1;
        let accepted = Note::parse(&changed).is_ok_and(|note| note.verify(&known).is_ok());
        prop_assert!(!accepted, "byte {at} changed unnoticed");
    }
}
