//! Bodies of the targets for `remit-ledger`. They panic where a property does not hold.

use remit_ledger::{
    checkpoint::Checkpoint,
    field_proof::FieldProof,
    note::{Note, SIGNATURE_LIMIT},
    policy::Policy,
    proof::Proof,
    record::Record,
    record::Side,
    tile,
    vault::Keyring,
    witness,
};

/// Everything that a log, its mirrors and its witnesses exchange.
pub fn notes(data: &[u8]) {
    for target in [note, checkpoint, tile_path, policy, tlog_proof, witness_request, witness_answer] {
        target(data);
    }
}

/// Everything that holds records or values.
pub fn records(data: &[u8]) {
    for target in [bundle, record, side, field_proof, disclosure] {
        target(data);
    }
}

/// Signed notes: whatever parses is made of its own text.
pub fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert!(data.starts_with(note.text.as_bytes()), "the text is not a prefix of the note");
    }
}

/// Checkpoints: one checkpoint has one spelling.
pub fn checkpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_text(), text, "a second spelling");
    }
}

/// Tile paths: one tile has one path.
pub fn tile_path(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    if let Ok(tile) = tile::Tile::parse(path) {
        assert_eq!(tile.path(), path, "a second spelling");
    }
}

/// Entry bundles: what parses encodes to the same bytes.
pub fn bundle(data: &[u8]) {
    let Some((&width, bytes)) = data.split_first() else { return };
    if let Ok(entries) = tile::parse_bundle(bytes, u16::from(width) + 1) {
        assert_eq!(tile::encode_bundle(entries).ok().as_deref(), Some(bytes), "a second spelling");
    }
}

/// Records: whatever parses is canonical, so its bytes are those of its value.
pub fn record(data: &[u8]) {
    if let Ok(record) = Record::parse(data) {
        assert_eq!(remit_model::json::canonical(record.value()), data, "a second spelling");
        let _ = record.recomputed_hash();
    }
}

/// Side values: what parses is written in one spelling, whose hashes are the same. `49.0` is written as `49`, which is the same
/// number and commits to the same leaf.
pub fn side(data: &[u8]) {
    let Ok(side) = Side::parse(data) else { return };
    let written = side.to_bytes();
    // A number that no double holds exactly is in no side of ours, which commit to its text instead; it is not read twice.
    let Ok(again) = Side::parse(&written) else { return only_long_numbers_are_not_read_twice(&written) };
    assert_eq!(again.to_bytes(), written, "a second spelling");
    for path in side.fields.keys() {
        assert_eq!(side.leaf(path), again.leaf(path), "another leaf at {path}");
    }
}

/// Policy files: written out and read again, a policy whose names are text says the same.
pub fn policy(data: &[u8]) {
    let Ok(policy) = Policy::parse(data) else { return };
    if std::str::from_utf8(data).is_ok() {
        assert_eq!(Policy::parse(policy.to_string().as_bytes()), Ok(policy), "written otherwise than read");
    }
}

/// Proof files: one proof has one spelling.
pub fn tlog_proof(data: &[u8]) {
    if let Ok(proof) = Proof::parse(data) {
        assert_eq!(proof.to_bytes(), data, "a second spelling");
    }
}

/// What a witness is asked: one request has one spelling, and judging it never fails otherwise than by refusing.
pub fn witness_request(data: &[u8]) {
    if let Ok(request) = witness::Request::parse(data) {
        assert_eq!(request.to_bytes(), data, "a second spelling");
        assert!(witness::judge(&request, &[], |_| None).is_err(), "a witness without logs cosigned");
    }
}

/// What a witness answers: lines that are written as they were read.
pub fn witness_answer(data: &[u8]) {
    let _ = witness::parse_size(data);
    if let Ok(lines) = witness::parse_lines(data)
        && lines.len() < SIGNATURE_LIMIT
    {
        let text: String = lines.iter().map(ToString::to_string).collect();
        assert_eq!(text.as_bytes(), data, "a second spelling");
    }
}

fn only_long_numbers_are_not_read_twice(written: &[u8]) {
    let long = written.split(|byte| !byte.is_ascii_digit()).any(|digits| digits.len() >= 16);
    assert!(long, "not read again: {}", String::from_utf8_lossy(written));
}

/// Field proofs: what parses is written in one spelling, as for side values.
pub fn field_proof(data: &[u8]) {
    let Ok(proof) = FieldProof::parse(data) else { return };
    let written = proof.to_bytes();
    let Ok(again) = FieldProof::parse(&written) else { return only_long_numbers_are_not_read_twice(&written) };
    assert_eq!(again.to_bytes(), written, "a second spelling");
}

/// Disclosure files: reading never fails but in words.
pub fn disclosure(data: &[u8]) {
    let _ = Keyring::from_disclosure(data);
}
