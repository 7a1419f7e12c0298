//! Witnesses, their policy, proofs in a file, and logs that part: mostly what must not be believed.

use crate::world::{ORIGIN, PINNED, World, as_published, files, intent, log_key, plain, published, reader_of};
use base64::{Engine, engine::general_purpose::STANDARD};
use remit_ledger::{
    Against, Checkpoint, Hash, Reader, Trust, Writer,
    compare::{Agreement, CompareError, compare},
    cosign::{Cosigner, WitnessKey},
    note::{Note, Signature, SigningKey, VerifyingKey},
    policy::Policy,
    proof::{Proof, TlogProofError},
    record::RecordType,
    tree, verify,
    verify::verify_log,
    witness::{self, Refused, Request, judge},
};
use std::{fs, path::Path};

const AT: u64 = 1_800_000_100;

pub(crate) fn witness(n: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness{n}.example/w"), &[100 + n; 32]).unwrap()
}

/// Two out of three witnesses.
pub(crate) fn policy_text() -> String {
    let line = |n: u8| format!("witness w{n} {} https://witness{n}.example", witness(n).public());
    let text = format!("log {}\n\n{}\n{}\n{}\n", log_key().public(), line(1), line(2), line(3));
    text + "# two of three\ngroup three 2 w1 w2 w3\nquorum three\n"
}

fn policy() -> Policy {
    Policy::parse(policy_text().as_bytes()).unwrap()
}

fn cosign(note: &[u8], witnesses: &[u8], at: u64) -> Vec<u8> {
    let text = Note::parse(note).unwrap().text;
    let lines: String = witnesses.iter().map(|&n| witness(n).cosign(&text, at).to_string()).collect();
    [note, lines.as_bytes()].concat()
}

fn cut(text: &str, by: usize) -> &str {
    text.get(..text.len() - by).unwrap()
}

fn head_of(leaves: &[Hash]) -> Vec<u8> {
    let head = Checkpoint { origin: ORIGIN.to_owned(), size: leaves.len().try_into().unwrap(), root: tree::root(leaves) };
    log_key().sign(&head.to_text()).unwrap()
}

fn leaves(world: &World) -> Vec<Hash> {
    world.entries().iter().map(|entry| tree::leaf_hash(entry)).collect()
}

/// A log whose checkpoint these witnesses cosigned at a time.
fn cosigned(world: &World, witnesses: &[u8], at: u64) -> Reader {
    let mut files = files(&world.entries(), &world.sides());
    let note = cosign(&files["checkpoint"], witnesses, at);
    files.insert("checkpoint".to_owned(), note);
    reader_of(files)
}

fn by_policy() -> Trust {
    Trust { policy: Some(policy()), now: Some(AT), ..Trust::default() }
}

fn failures(reader: &Reader, trust: &Trust) -> Vec<(String, Option<u64>, String)> {
    let report = verify_log(reader, trust);
    report.failures().map(|check| (check.name.to_owned(), check.index, check.detail.clone())).collect()
}

#[test]
fn lg_18_a_cosignature_is_what_the_specification_says() {
    let cosigner = witness(1);
    let text = "log.example/main\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let line = cosigner.cosign(text, 1_679_315_147);
    assert_eq!(line.value.len(), 72);
    assert_eq!(line.value[..8], 1_679_315_147_u64.to_be_bytes());
    let key = WitnessKey::parse(&cosigner.public().to_string()).unwrap();
    // The message, written down once more; the raw key is the tail of the vkey.
    let message = format!("cosignature/v1\ntime 1679315147\n{text}");
    let raw = STANDARD.decode(key.to_string().splitn(3, '+').nth(2).unwrap()).unwrap();
    assert_eq!(raw[0], 4);
    let id = Hash::of(&[b"witness1.example/w\n\x04", &raw[1..]]);
    assert_eq!(line.id, id.0[..4]);
    aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &raw[1..])
        .verify(message.as_bytes(), &line.value[8..])
        .unwrap();
}

#[test]
fn n_lg_08_a_witness_key_of_another_kind_name_or_id_is_refused() {
    let vkey = witness(1).public().to_string();
    assert!(WitnessKey::parse(&vkey).is_ok());
    let log = log_key().public().to_string();
    let dsa = format!("w+00000000+{}", STANDARD.encode([vec![6], vec![0; 1312]].concat()));
    for (wrong, why) in [
        (log.as_str(), "a log's key"),
        (dsa.as_str(), "ML-DSA"),
        (&vkey.replace("witness1", "witness2"), "the id is not"),
        (&vkey.replace('+', " "), "not `name+id+key`"),
        (cut(&vkey, 4), "32 bytes"),
        (cut(&vkey, 1), "base64"),
        ("w+00000000+", "empty"),
        ("w+00000000+BA==", "32 bytes"),
    ] {
        let error = WitnessKey::parse(wrong).unwrap_err().to_string();
        assert!(error.contains(why), "{wrong}: {error}");
    }
    assert!(VerifyingKey::parse(&vkey).is_err(), "and a witness's key is not a log's");
}

#[test]
fn lg_22_the_quorum_decides() {
    let note = head_of(&leaves(&World::of(3)));
    let enough = |witnesses: &[u8]| policy().judge(&cosign(&note, witnesses, AT), |_| Ok(())).unwrap().quorum;
    for (witnesses, quorum) in
        [(&[][..], false), (&[1], false), (&[1, 1, 1], false), (&[1, 3], true), (&[1, 2, 3], true), (&[4, 5], false)]
    {
        assert_eq!(enough(witnesses), quorum, "{witnesses:?}");
    }
    let nested = policy_text().replace("quorum three\n", "")
        + &format!("witness x {}\ngroup both all three x\nquorum both\n", witness(4).public());
    let nested = Policy::parse(nested.as_bytes()).unwrap();
    let enough = |witnesses: &[u8]| nested.judge(&cosign(&note, witnesses, AT), |_| Ok(())).unwrap().quorum;
    assert!(enough(&[1, 2, 4]) && !enough(&[1, 2, 3]) && !enough(&[1, 4]));
}

#[test]
fn n_lg_07_13_what_does_not_count() {
    let world = World::of(9);
    let fails = |reader: &Reader| failures(reader, &by_policy());
    assert_eq!(fails(&cosigned(&world, &[1, 2], AT)), []);
    for (reader, why) in [
        (cosigned(&world, &[], AT), "cosigned by no witness"),
        (cosigned(&world, &[1], AT), "cosigned by witness1.example/w"),
        (cosigned(&world, &[7, 8], AT), "no witness"),
        // Long before the newest record was made, and after now.
        (cosigned(&world, &[1, 2], 1_799_990_000), "no witness"),
        (cosigned(&world, &[1, 2], AT + 301), "no witness"),
    ] {
        let failures = fails(&reader);
        assert!(
            matches!(failures.as_slice(), [(name, None, detail)] if name == "witnesses" && detail.contains(why)),
            "{failures:?}"
        );
    }
    let without = Trust { policy: None, ..by_policy() };
    assert_eq!(failures(&cosigned(&world, &[7], AT), &without), [], "lines of unknown keys are ignored");
}

#[test]
fn lg_15_a_bad_line_under_a_known_key_refuses_the_note() {
    let note = head_of(&leaves(&World::of(3)));
    let good = String::from_utf8(cosign(&note, &[1, 2], AT)).unwrap();
    let judge = |note: &str| policy().judge(note.as_bytes(), |_| Ok(()));
    assert!(judge(&good).unwrap().quorum);
    let parsed = Note::parse(good.as_bytes()).unwrap();
    let cosignature = parsed.signatures[1].clone();
    let mut time_moved = cosignature.clone();
    time_moved.value[7] ^= 1;
    let mut beyond = cosignature.clone();
    beyond.value[0] = 0x80;
    let short = Signature { value: cosignature.value[..71].to_vec(), ..cosignature.clone() };
    let other_log = witness(3).cosign("other.example\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n", AT);
    for bad in [time_moved, beyond, short, other_log] {
        assert!(judge(&format!("{good}{bad}")).is_err(), "{bad:?}");
    }
    // The log's own key over the same text is not a cosignature, whatever name it takes.
    let posing = Signature { name: "witness3.example/w".to_owned(), ..parsed.signatures[0].clone() };
    assert_eq!(judge(&format!("{good}{posing}")).unwrap().cosigned.len(), 2);
    // An ML-DSA line of the same witness is a line of an unknown key.
    let dsa = Signature { name: "witness1.example/w".to_owned(), id: [9; 4], value: vec![7; 2428] };
    assert!(judge(&format!("{good}{dsa}")).unwrap().quorum);
}

#[test]
fn lg_22_policies_that_mean_nothing_are_refused_with_their_line() {
    let (log, w1, w2) = (log_key().public().to_string(), witness(1).public().to_string(), witness(2).public().to_string());
    let renamed = SigningKey::from_seed("other.example", &[7; 32]).unwrap().public().to_string();
    let many: String =
        (0..64_u8).map(|n| ["witness n", &n.to_string(), " ", &witness(n).public().to_string(), "\n"].concat()).collect();
    for (text, line, why) in [
        (String::new(), 0, "does not end"),
        ("quorum none".to_owned(), 0, "does not end"),
        ("\n".to_owned(), 0, "no quorum line"),
        ("quorum none\nquorum none\n".to_owned(), 2, "second quorum"),
        ("quorum w\n".to_owned(), 1, "not defined above"),
        (format!("quorum w\nwitness w {w1}\n"), 1, "not defined above"),
        (format!("witness none {w1}\nquorum none\n"), 1, "taken"),
        (format!("witness w {w1}\nwitness w {w2}\nquorum w\n"), 2, "defined twice"),
        (format!("witness a {w1}\nwitness b {w1}\nquorum a\n"), 2, "key stands here twice"),
        (format!("log {log}\nlog {renamed}\nquorum none\n"), 2, "key stands here twice"),
        (format!("witness a {log}\nquorum a\n"), 1, "a log's key"),
        (format!("log {w1}\nquorum none\n"), 1, "not an Ed25519 key"),
        (format!("witness a {w1}\ngroup g 0 a\nquorum g\n"), 2, "threshold"),
        (format!("witness a {w1}\ngroup g 2 a\nquorum g\n"), 2, "threshold"),
        (format!("witness a {w1}\ngroup g 01 a\nquorum g\n"), 2, "threshold"),
        (format!("witness a {w1}\ngroup g all\nquorum g\n"), 2, "without members"),
        (format!("witness a {w1}\ngroup g any a a\nquorum g\n"), 2, "member of a group already"),
        (format!("witness a {w1}\ngroup g any a\ngroup h any a g\nquorum h\n"), 3, "member of a group already"),
        (format!("witness a {w1}\ngroup g any g\nquorum g\n"), 2, "not defined above"),
        (format!("witness a {w1}\ngroup a any a\nquorum a\n"), 2, "defined twice"),
        (format!("witness a {w1}\ngroup g any none\nquorum a\n"), 2, "not defined above"),
        (format!("witness a {w1} https://a https://b\nquorum a\n"), 1, "more than one URL"),
        ("quorum none\r\n".to_owned(), 1, "control character"),
        ("Quorum none\n".to_owned(), 1, "is not a log"),
        (format!("{many}quorum none\n"), 64, "more than 63"),
    ] {
        let error = Policy::parse(text.as_bytes()).unwrap_err();
        assert!(error.line == line && error.reason.to_string().contains(why), "{text}: {error}");
    }
    let pair = |n: u8| format!("witness n{n} {}\ngroup g{n} any n{n}\n", witness(n).public());
    let at_least: String = (0..32).map(pair).collect();
    assert!(Policy::parse(format!("{at_least}quorum g31\n").as_bytes()).is_ok());
    let octets =
        [b" \tlog\t".as_slice(), log.as_bytes(), b"\n#\xff\nwitness \xe2\x84\xaa ", w1.as_bytes(), b"\nquorum \xe2\x84\xaa\n"]
            .concat();
    assert!(Policy::parse(&octets).unwrap().requires_witnesses());
    assert!(Policy::threshold(log_key().public().clone(), vec![(witness(1).public().clone(), None)], 2).is_none());
}

#[test]
fn lg_20_a_witness_follows_the_rule_to_the_letter() {
    let world = World::of(12);
    let leaves = leaves(&world);
    let head =
        |size: usize| Checkpoint { origin: ORIGIN.to_owned(), size: size.try_into().unwrap(), root: tree::root(&leaves[..size]) };
    let ask = |old: u64, proof: Vec<Hash>, note: Vec<u8>, last: Option<Checkpoint>| {
        let request = Request::parse(&Request { old, proof, note }.to_bytes())?;
        judge(&request, &[log_key().public().clone()], |origin| {
            assert_eq!(origin, ORIGIN);
            last
        })
    };
    let from5 = tree::prove_consistency(&leaves, 5).unwrap();
    let note = head_of(&leaves);
    assert_eq!(ask(0, vec![], note.clone(), None).unwrap(), head(12), "the first is taken on trust");
    assert_eq!(ask(5, from5.clone(), note.clone(), Some(head(5))).unwrap(), head(12));
    assert_eq!(ask(12, vec![], note.clone(), Some(head(12))).unwrap(), head(12), "the same again");
    assert!(ask(0, vec![], head_of(&[]), None).is_ok());

    let mut fork = leaves.clone();
    fork[3] = Hash::of(&[b"rewritten"]);
    let stranger = SigningKey::from_seed("stranger.example", &[7; 32]).unwrap();
    let impostor = SigningKey::from_seed(ORIGIN, &[8; 32]).unwrap();
    let text = |leaves: &[Hash]| String::from_utf8(head_of(leaves)).unwrap().split("\n\n").next().unwrap().to_owned() + "\n";
    let empty_root = log_key().sign(&format!("{ORIGIN}\n0\n{}\n", STANDARD.encode([7; 32]))).unwrap();
    for (old, proof, note, last, status) in [
        (13, vec![], note.clone(), Some(head(5)), 400),
        (0, vec![], stranger.sign(&text(&leaves).replace(ORIGIN, "stranger.example")).unwrap(), None, 404),
        (0, vec![], impostor.sign(&text(&leaves)).unwrap(), None, 403),
        (0, vec![], note.clone(), Some(head(5)), 409),
        (4, from5.clone(), note.clone(), Some(head(5)), 409),
        (6, from5.clone(), note.clone(), Some(head(5)), 409),
        (5, vec![], note.clone(), None, 409),
        (5, vec![], note.clone(), Some(head(5)), 422),
        (5, from5[1..].to_vec(), note.clone(), Some(head(5)), 422),
        (5, [from5.clone(), vec![Hash::ZERO]].concat(), note.clone(), Some(head(5)), 422),
        (0, vec![Hash::ZERO], note.clone(), None, 422),
        (5, tree::prove_consistency(&fork, 5).unwrap(), head_of(&fork), Some(head(5)), 422),
        (12, vec![], head_of(&fork), Some(head(12)), 422),
        (12, vec![Hash::ZERO], note.clone(), Some(head(12)), 422),
        (0, vec![], empty_root, None, 422),
        (0, vec![Hash::ZERO; 64], note.clone(), None, 400),
    ] {
        let refused = ask(old, proof, note, last).unwrap_err();
        assert_eq!(refused.status(), status, "old {old}: {refused}");
    }
    // N-LG-03: the last entry dropped and the head signed again.
    let shorter = ask(12, vec![], head_of(&leaves[..11]), Some(head(12))).unwrap_err();
    assert_eq!(shorter, Refused::Backwards);
    let stale = ask(11, vec![], head_of(&leaves[..11]), Some(head(12))).unwrap_err();
    assert_eq!(stale, Refused::Stale(12));
}

#[test]
fn n_lg_06_requests_and_answers_have_one_spelling() {
    let note = String::from_utf8(head_of(&leaves(&World::of(3)))).unwrap();
    let hash = STANDARD.encode([1; 32]);
    assert!(Request::parse(format!("old 2\n{hash}\n\n{note}").as_bytes()).is_ok());
    for wrong in [
        format!("old 02\n{hash}\n\n{note}"),
        format!("old -1\n\n{note}"),
        format!("old +1\n\n{note}"),
        format!("old  1\n\n{note}"),
        format!("Old 1\n\n{note}"),
        format!("old 18446744073709551616\n\n{note}"),
        format!("old 1\n{hash}{note}"),
        format!("old 1\n{}\n\n{note}", cut(&hash, 1)),
        format!("old 1\n{}\n\n{note}", STANDARD.encode([1; 31])),
        format!("old 1\n {hash}\n\n{note}"),
        format!("old 1\r\n\r\n{note}"),
        format!("old 1\n\n\n{note}"),
        "old 1\n\n".to_owned(),
        format!("\n\n{note}"),
        format!("old 1\n\n{}", note.trim_end()),
        format!("old 1\n\n{note}{}", "x".repeat(70_000)),
    ] {
        assert_eq!(Request::parse(wrong.as_bytes()).unwrap_err().status(), 400, "{wrong}");
    }
    for wrong in ["", "12", "012\n", "12\n\n", "-1\n", "12 \n", "18446744073709551616\n"] {
        assert_eq!(witness::parse_size(wrong.as_bytes()), None, "{wrong:?}");
    }
    assert_eq!(witness::parse_size(b"12\n"), Some(12));
    for wrong in ["", "\n", "— w AAAA", "- w AAAAAAAA\n", "— w AAAAAAAA\n\n", "— w AAAAAA==\n", "— a+b AAAAAAAA\n"] {
        assert!(witness::parse_lines(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
}

#[test]
fn lg_24_a_proof_in_a_file_stands_alone() {
    let world = World::of(300);
    let reader = cosigned(&world, &[1, 3], AT);
    for index in [0, 1, 255, 256, 299] {
        let proof = Proof::parse(&Proof::of(&reader, index).unwrap().to_bytes()).unwrap();
        let judgement = proof.verify(&reader.entry(index).unwrap(), &policy()).unwrap();
        assert_eq!((judgement.checkpoint.size, judgement.cosigned.len()), (300, 2));
    }
    assert!(Proof::of(&reader, 300).is_err(), "N-LG-14");
    let good = Proof::of(&reader, 7).unwrap();
    let entry = reader.entry(7).unwrap();
    let refused = |proof: &Proof, entry: &[u8]| proof.verify(entry, &policy()).unwrap_err();
    let mut flipped = entry.clone();
    flipped[10] ^= 1;
    assert!(matches!(refused(&good, &flipped), TlogProofError::Inclusion(_)), "N-LG-01");
    assert!(matches!(refused(&good, &reader.entry(8).unwrap()), TlogProofError::Inclusion(_)), "N-LG-02");
    for index in [6, 8, 300, u64::MAX] {
        assert!(matches!(refused(&Proof { index, ..good.clone() }, &entry), TlogProofError::Inclusion(_)), "{index}");
    }
    for path in
        [good.path[1..].to_vec(), [good.path.clone(), vec![Hash::ZERO]].concat(), good.path.iter().rev().copied().collect()]
    {
        assert!(matches!(refused(&Proof { path, ..good.clone() }, &entry), TlogProofError::Inclusion(_)));
    }
    let few = Proof::of(&cosigned(&world, &[1], AT), 7).unwrap();
    assert!(matches!(refused(&few, &entry), TlogProofError::Quorum));
    let impostor = SigningKey::from_seed(ORIGIN, &[8; 32]).unwrap().sign(&reader.checkpoint().to_text()).unwrap();
    assert!(matches!(refused(&Proof { note: impostor, ..good.clone() }, &entry), TlogProofError::Checkpoint(_)));
    let with_extra = Proof { extra: Some(vec![1, 2, 3]), ..good };
    assert_eq!(Proof::parse(&with_extra.to_bytes()).unwrap(), with_extra);
}

#[test]
fn n_lg_06_malformed_proof_files_are_refused() {
    let good = String::from_utf8(Proof::of(&World::of(3).reader(), 1).unwrap().to_bytes()).unwrap();
    assert!(Proof::parse(good.as_bytes()).is_ok());
    for (from, to) in [
        ("@v1", "@v2"),
        ("index 1\n", "index 01\n"),
        ("index 1\n", "index -1\n"),
        ("index 1\n", ""),
        ("index 1\n", "index 1\nextra AAAA\n"),
        ("index 1\n", "extra !\nindex 1\n"),
        ("index 1\n", "extra AAAA\nextra AAAA\nindex 1\n"),
        ("index 1\n", "index 1\r\n"),
        ("index 1\n", "index 1\n\n"),
        ("=\n", "\n"),
        ("\n\n", "\n"),
        ("log.example/main\n3\n", "log.example/main\n03\n"),
    ] {
        let wrong = good.replacen(from, to, 1);
        assert_ne!(wrong, good);
        assert!(Proof::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
    let long = good.replacen("index 1\n", &format!("index 1\n{}", format!("{}\n", STANDARD.encode([0; 32])).repeat(65)), 1);
    assert!(Proof::parse(long.as_bytes()).is_err());
}

#[test]
fn the_writer_publishes_what_witnesses_cosigned_and_nothing_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::of(700);
    let all = published(&world);
    let all = as_published(&all);
    let mut writer = Writer::open(folder.path(), log_key()).unwrap();
    for pinned in PINNED {
        writer.put_object(pinned).unwrap();
    }
    let mut last: Option<Checkpoint> = None;
    for to in [300, 512, 700] {
        let from = usize::try_from(writer.size()).unwrap();
        let mut cosigner = |reader: Reader| {
            let (old, proof) = match &last {
                None => (0, Vec::new()),
                Some(last) => (last.size, reader.consistency(last.size).unwrap()),
            };
            let request = Request { old, proof, note: reader.checkpoint_note().to_vec() };
            let head = judge(&request, &[log_key().public().clone()], |_| last.clone()).unwrap();
            assert!(
                fs::read(folder.path().join("checkpoint")).ok().as_deref() != Some(reader.checkpoint_note()),
                "before it is published"
            );
            let line = witness(2).cosign(&head.to_text(), AT);
            last = Some(head);
            vec![line]
        };
        writer.publish_witnessed(from.try_into().unwrap(), &all[from..to], &mut cosigner).unwrap();
    }
    let judge = |dir: &Path| policy().judge(&fs::read(dir.join("checkpoint")).unwrap(), |_| Ok(())).unwrap().cosigned.len();
    assert_eq!(judge(folder.path()), 1);
    let text = writer.checkpoint().to_text();
    writer.witness_again(&mut |_| vec![witness(1).cosign(&text, AT), witness(2).cosign(&text, AT)]).unwrap();
    assert_eq!(judge(folder.path()), 2);
    let nonsense = Signature { name: "a b".to_owned(), id: [0; 4], value: vec![1] };
    assert!(writer.witness_again(&mut |_| vec![nonsense.clone()]).is_err());
    assert_eq!(judge(folder.path()), 2, "and the checkpoint stands");
    drop(writer);
    assert_eq!(Writer::open(folder.path(), log_key()).unwrap().size(), 700, "its own signature among others is found");
    let report = verify(folder.path(), &by_policy());
    assert!(report.ok() && report.independent, "{report}");
}

/// Two histories: the same for a while, then different records; both signed.
fn forked(common: usize, ours: usize, theirs: usize) -> (World, World) {
    let grow = |size: usize, other: bool| {
        let mut world = World::of(common);
        while world.sealed.len() < size {
            if other {
                world.seal(intent())
            } else {
                world.seal(plain(RecordType::Token, "token.issue"))
            };
        }
        world
    };
    (grow(ours, false), grow(theirs, true))
}

#[test]
fn lg_17_a_fork_is_found_at_its_first_record() {
    for (common, ours, theirs) in [(1, 5, 9), (255, 300, 257), (256, 300, 300), (257, 600, 258), (300, 301, 900), (512, 513, 514)]
    {
        let (a, b) = forked(common, ours, theirs);
        let index = common.try_into().unwrap();
        assert_eq!(compare(&a.reader(), &b.reader()).unwrap(), Agreement::Parted { index }, "{common} {ours} {theirs}");
        assert_eq!(compare(&b.reader(), &a.reader()).unwrap(), Agreement::Parted { index });
    }
    let (long, short) = (World::of(700), World::of(300));
    assert_eq!(compare(&short.reader(), &long.reader()).unwrap(), Agreement::Same { size: 300 });
    let mut damaged = files(&long.entries(), &long.sides());
    damaged.get_mut("tile/0/001").unwrap()[0] ^= 1;
    assert!(matches!(compare(&short.reader(), &reader_of(damaged)), Err(CompareError::Damaged { copy: "the other copy" })));
}

#[test]
fn a_split_view_is_shown_with_both_signed_heads() {
    let (ours, theirs) = forked(270, 300, 290);
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files(&theirs.entries(), &theirs.sides()) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let vkey = Some(log_key().public().to_string());
    let trust = |against| Trust { vkey: vkey.clone(), against: Some(against), ..Trust::default() };
    let report = verify_log(&ours.reader(), &trust(Against::Folder(folder.path().to_owned())));
    let failure = report.failures().next().unwrap();
    assert_eq!((failure.name, failure.index), ("against", Some(270)), "{report}");
    assert_eq!(report.evidence.len(), 2);
    for note in &report.evidence {
        Checkpoint::open(note.as_bytes(), log_key().public()).expect("evidence that anybody can check");
    }
    let note = fs::read(folder.path().join("checkpoint")).unwrap();
    let report = verify_log(&ours.reader(), &trust(Against::Note(note.clone())));
    assert!(!report.ok() && report.evidence.len() == 2, "{report}");
    let earlier = Trust { vkey: vkey.clone(), earlier: Some(note), ..Trust::default() };
    assert!(!verify_log(&ours.reader(), &earlier).ok());

    let same = World::of(300);
    let prefix = head_of(&leaves(&same)[..200]);
    assert!(verify_log(&same.reader(), &trust(Against::Note(prefix))).ok());
    let longer = head_of(&leaves(&World::of(301)));
    assert!(!verify_log(&same.reader(), &trust(Against::Note(longer))).ok(), "a head that this copy cannot judge is no success");
    let stranger = SigningKey::from_seed(ORIGIN, &[8; 32]).unwrap().sign(&same.reader().checkpoint().to_text()).unwrap();
    assert!(!verify_log(&same.reader(), &trust(Against::Note(stranger))).ok());
}

#[test]
fn damage_in_a_folder_names_the_first_bad_record() {
    let world = World::of(600);
    let other = World::of(601);
    for bad in [0_usize, 3, 255, 256, 599] {
        let mut entries = world.entries();
        // A record that is whole in itself, at a place that is not its own.
        entries[bad] = other.sealed[if bad == 3 { 4 } else { 3 }].bytes.clone();
        let mut tampered = files(&world.entries(), &world.sides());
        for (path, bytes) in files(&entries, &[]) {
            if path.starts_with("tile/entries") {
                tampered.insert(path, bytes);
            }
        }
        let found = failures(&reader_of(tampered), &Trust { vkey: Some(log_key().public().to_string()), ..Trust::default() });
        let index = Some(bad.try_into().unwrap());
        for name in ["tiles", "tree"] {
            let first = found.iter().find(|(failed, ..)| failed == name).unwrap();
            assert_eq!(first.1, index, "{name}: {found:?}");
        }
    }
    // A tile above the leaves: the range is named by its first record.
    let mut tampered = files(&world.entries(), &world.sides());
    tampered.get_mut("tile/1/000.p/2").unwrap()[40] ^= 1;
    let found = failures(&reader_of(tampered), &Trust { vkey: Some(log_key().public().to_string()), ..Trust::default() });
    assert!(matches!(found.as_slice(), [(name, Some(256), _)] if name == "tiles"), "{found:?}");
}

#[test]
fn one_honest_witness_of_three_catches_a_fork() {
    // Two witnesses collude and cosign both histories; the third keeps to the rule.
    let (ours, theirs) = forked(20, 40, 40);
    let honest = Checkpoint::parse(&Note::parse(&head_of(&leaves(&ours))).unwrap().text).unwrap();
    let request = Request { old: 40, proof: Vec::new(), note: head_of(&leaves(&theirs)) };
    let refused = judge(&request, &[log_key().public().clone()], |_| Some(honest.clone())).unwrap_err();
    assert_eq!(refused.status(), 422);
    // With all three required, the second history has no quorum.
    let all = Policy::parse(policy_text().replace("three 2 ", "three all ").as_bytes()).unwrap();
    let trust = Trust { policy: Some(all), now: Some(AT), ..Trust::default() };
    assert_eq!(failures(&cosigned(&ours, &[1, 2, 3], AT), &trust), []);
    let found = failures(&cosigned(&theirs, &[1, 2], AT), &trust);
    assert!(matches!(found.as_slice(), [(name, None, _)] if name == "witnesses"), "{found:?}");
    // And the holder of the honest witness's head has proof against the other history, whatever its quorum.
    let shown = Trust { against: Some(Against::Note(head_of(&leaves(&ours)))), ..by_policy() };
    let report = verify_log(&cosigned(&theirs, &[1, 2], AT), &shown);
    assert!(!report.ok() && report.evidence.len() == 2, "{report}");
}
