//! The writer and reader over real directories: tiles, proofs, crashes and refusals.

use crate::world::{ORIGIN, PINNED, World, as_published, files, hash_tiles, log_key, published, reader_of};
use proptest::prelude::*;
use remit_ledger::{
    Checkpoint, Hash, Reader, Trust, Writer,
    dir::{self, Published, WriteError},
    note::SigningKey,
    tree::{self, Range},
    verify,
};
use std::{collections::HashMap, fs, path::Path};

fn number(index: usize) -> u64 {
    u64::try_from(index).unwrap()
}

fn trust() -> Trust {
    Trust { vkey: Some(log_key().public().to_string()), ..Trust::default() }
}

/// Small entries that are no records: enough for everything that is about the tree.
fn blobs(count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..count).map(|index| (format!("entry {index}").into_bytes(), br#"{"decoys":[],"fields":{}}"#.to_vec())).collect()
}

fn walk(dir: &Path, at: &Path, found: &mut HashMap<String, Vec<u8>>) {
    for file in fs::read_dir(at).unwrap().map(|file| file.unwrap().path()) {
        if file.is_dir() {
            walk(dir, &file, found);
        } else {
            let name = file.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read(&file).unwrap());
        }
    }
}

fn all_files(dir: &Path) -> HashMap<String, Vec<u8>> {
    let mut found = HashMap::new();
    walk(dir, dir, &mut found);
    found.remove(".lock");
    found
}

/// Publishes `entries` in steps and compares every file with its definition.
fn publish_in_steps(entries: &[(Vec<u8>, Vec<u8>)], steps: &[usize]) {
    let folder = tempfile::tempdir().unwrap();
    let all = as_published(entries);
    let mut from = 0;
    for &to in steps {
        // Each step is a new process: whatever it needs, it finds on disk.
        let mut writer = Writer::open(folder.path(), log_key()).unwrap();
        assert_eq!(writer.size(), number(from));
        let checkpoint = writer.publish(number(from), &all[from..to]).unwrap();
        assert_eq!(checkpoint.size, number(to));
        from = to;
        let plain: Vec<Vec<u8>> = entries[..to].iter().map(|(entry, _)| entry.clone()).collect();
        let found = all_files(folder.path());
        for (path, bytes) in files(&plain, &[]) {
            assert_eq!(found.get(&path), Some(&bytes), "{path} at size {to}");
        }
        assert!(!found.keys().any(|path| path.contains(".tmp")));
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!(Checkpoint::open(reader.checkpoint_note(), log_key().public()).unwrap(), checkpoint);
        assert_eq!(reader.subtree(Range { start: 0, end: number(to) }).unwrap(), checkpoint.root);
        if to > 0 {
            assert_eq!(reader.entry(number(to) - 1).unwrap(), plain[to - 1]);
        }
        assert!(reader.entry(number(to)).is_err(), "N-LG-14");
    }
}

#[test]
fn n_lg_10_sizes_around_a_full_tile() {
    publish_in_steps(&blobs(700), &[0, 1, 255, 256, 257, 511, 512, 700]);
}

#[test]
fn one_publish_may_fill_several_levels() {
    publish_in_steps(&blobs(66_000), &[66_000]);
}

#[test]
fn partial_tiles_go_when_the_full_one_stands() {
    let folder = tempfile::tempdir().unwrap();
    let entries = blobs(300);
    let all = as_published(&entries);
    let mut writer = Writer::open(folder.path(), log_key()).unwrap();
    for to in [3, 200, 300] {
        writer.publish(writer.size(), &all[usize::try_from(writer.size()).unwrap()..to]).unwrap();
    }
    let found = all_files(folder.path());
    assert!(found.contains_key("tile/entries/000") && found.contains_key("tile/0/000"));
    assert!(!found.keys().any(|path| path.starts_with("tile/entries/000.p") || path.starts_with("tile/0/000.p")));
    assert!(found.contains_key("tile/entries/001.p/44") && found.contains_key("tile/1/000.p/1"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn any_steps_lead_to_the_same_files(mut steps in prop::collection::vec(0_usize..600, 1..5)) {
        steps.sort_unstable();
        publish_in_steps(&blobs(600), &steps);
    }
}

#[test]
fn proofs_from_tiles_are_those_from_leaves() {
    let leaves: Vec<Hash> = (0..70_000_u32).map(|index| tree::leaf_hash(&index.to_be_bytes())).collect();
    for size in [1_usize, 2, 255, 256, 257, 1000, 65_535, 65_536, 65_537, 70_000] {
        let leaves = &leaves[..size];
        let mut files = hash_tiles(leaves);
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: number(size), root: tree::root(leaves) };
        files.insert("checkpoint".to_owned(), log_key().sign(&checkpoint.to_text()).unwrap());
        let reader = reader_of(files);
        for index in [0, 1, 127, 255, 256, size / 3, size / 2, size - 1].into_iter().filter(|&index| index < size) {
            let proof = reader.inclusion(number(index)).unwrap();
            tree::verify_inclusion(&leaves[index], number(index), number(size), &proof, &checkpoint.root).unwrap();
            if index > 0 {
                let proof = reader.consistency(number(index)).unwrap();
                tree::verify_consistency(number(index), &tree::root(&leaves[..index]), number(size), &checkpoint.root, &proof)
                    .unwrap();
            }
        }
        assert!(reader.inclusion(number(size)).is_err(), "N-LG-14");
        assert!(reader.consistency(number(size) + 1).is_err());
    }
}

#[test]
fn a_crash_between_files_and_checkpoint_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    let entries = blobs(600);
    let all = as_published(&entries);
    let mut writer = Writer::open(folder.path(), log_key()).unwrap();
    writer.publish(0, &all[..200]).unwrap();
    let old = fs::read(folder.path().join("checkpoint")).unwrap();
    // A reader with the old checkpoint still finds what it covers while the writer runs ahead.
    writer.publish(200, &all[200..600]).unwrap();
    drop(writer);
    // The crash: every file of the second publish is there, its checkpoint is not.
    fs::write(folder.path().join("checkpoint"), &old).unwrap();
    fs::write(folder.path().join("tile/entries/000.tmp"), b"half a bundle").unwrap();
    assert_eq!(Reader::open(folder.path()).unwrap().entry(199).unwrap(), entries[199].0, "from the full bundle");
    let mut writer = Writer::open(folder.path(), log_key()).unwrap();
    assert_eq!(writer.size(), 200);
    let checkpoint = writer.publish(199, &all[199..]).unwrap();
    let leaves: Vec<Hash> = entries.iter().map(|(entry, _)| tree::leaf_hash(entry)).collect();
    assert_eq!((checkpoint.size, checkpoint.root), (600, tree::root(&leaves)));
}

#[test]
fn lg_17_a_fork_is_refused_before_anything_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let entries = blobs(300);
    let all = as_published(&entries);
    let mut writer = Writer::open(folder.path(), log_key()).unwrap();
    writer.publish(0, &all).unwrap();
    let signed = fs::read(folder.path().join("checkpoint")).unwrap();
    // N-LG-04: a database restored from a backup has other records where the log already has some.
    let long = vec![0; 65_536];
    let other = Published { entry: b"rewritten", side: None };
    for at in [0, 255, 256, 299] {
        assert!(matches!(writer.publish(at, &[other]), Err(WriteError::Fork { index }) if index == at));
    }
    assert!(matches!(writer.publish(301, &[other]), Err(WriteError::Gap { start: 301, size: 300 })));
    assert!(matches!(writer.publish(299, &[all[299], Published { entry: &long, side: None }]), Err(WriteError::Tile(_))));
    assert_eq!(fs::read(folder.path().join("checkpoint")).unwrap(), signed);
    // The same entries again change nothing.
    assert_eq!(writer.publish(0, &all).unwrap().size, 300);
    assert_eq!(fs::read(folder.path().join("checkpoint")).unwrap(), signed);
    // Someone else moved the head.
    fs::write(folder.path().join("checkpoint"), log_key().sign("log.example/main\n").unwrap()).unwrap();
    assert!(matches!(writer.publish(300, &[other]), Err(WriteError::Overtaken)));
}

#[test]
fn n_lg_12_a_second_writer_is_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let first = Writer::open(folder.path(), log_key()).unwrap();
    assert!(matches!(Writer::open(folder.path(), log_key()), Err(WriteError::Locked)));
    drop(first);
    assert!(Writer::open(folder.path(), log_key()).is_ok());
}

#[test]
fn a_log_that_is_damaged_or_not_ours_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let entries = blobs(300);
    Writer::open(folder.path(), log_key()).unwrap().publish(0, &as_published(&entries)).unwrap();
    let foreign = SigningKey::from_seed(ORIGIN, &[8; 32]).unwrap();
    assert!(matches!(Writer::open(folder.path(), foreign), Err(WriteError::Checkpoint(_))));
    let renamed = SigningKey::from_seed("log.example/other", &[7; 32]).unwrap();
    assert!(matches!(Writer::open(folder.path(), renamed), Err(WriteError::Checkpoint(_))));
    for path in ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"] {
        let file = folder.path().join(path);
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        fs::write(&file, &bad).unwrap();
        assert!(Writer::open(folder.path(), log_key()).is_err(), "{path}");
        fs::remove_file(&file).unwrap();
        assert!(Writer::open(folder.path(), log_key()).is_err(), "{path} missing");
        fs::write(&file, &good).unwrap();
    }
    assert!(Writer::open(folder.path(), log_key()).is_ok());
}

#[test]
fn a_copied_directory_of_records_verifies_with_sides_and_objects() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::of(260);
    world.restart();
    let entries = published(&world);
    let mut writer = Writer::open(folder.path(), log_key()).unwrap();
    let policy = writer.put_object(b"permit(principal, action, resource);").unwrap();
    assert_eq!(writer.put_object(b"permit(principal, action, resource);").unwrap(), policy);
    for pinned in PINNED {
        writer.put_object(pinned).unwrap();
    }
    let all = as_published(&entries);
    writer.publish(0, &all[..100]).unwrap();
    let earlier = fs::read(folder.path().join("checkpoint")).unwrap();
    writer.publish(100, &all[100..]).unwrap();
    let report = verify(folder.path(), &Trust { earlier: Some(earlier), ..trust() });
    assert!(report.ok(), "{report}");
    assert_eq!((report.records, report.undisclosed, report.independent), (262, 0, true));
    assert!(report.checks.iter().any(|check| check.name == "extension"));
    let reader = Reader::open(folder.path()).unwrap();
    let index = (0..reader.len()).find(|&index| reader.record(index).unwrap().record_type() == "decision").unwrap();
    assert_eq!(reader.side(index).unwrap().unwrap().root(), reader.record(index).unwrap().commit_root());
    assert_eq!(reader.object(&policy).unwrap().as_deref(), Some(&b"permit(principal, action, resource);"[..]));
    assert_eq!(reader.object(&Hash::ZERO).unwrap(), None);
    fs::write(folder.path().join(dir::object_path(&policy)), b"forbid").unwrap();
    assert!(reader.object(&policy).is_err());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join("side/000")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "personal values are for the operator's account only");
    }
    // The auditor's copy without the side bundles is just as sound, and says what it did not see.
    fs::remove_dir_all(folder.path().join("side")).unwrap();
    let report = verify(folder.path(), &trust());
    assert!(report.ok(), "{report}");
    assert_eq!(report.undisclosed, 262);
}

#[test]
fn an_empty_log_has_a_checkpoint_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path(), log_key()).unwrap();
    let checkpoint = writer.publish(0, &[]).unwrap();
    assert_eq!((checkpoint.size, checkpoint.root), (0, tree::empty_root()));
    let report = verify(folder.path(), &trust());
    assert!(report.ok(), "{report}");
}

#[test]
fn a_pipe_in_a_copy_is_a_failure_and_no_wait() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("checkpoint");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (say, said) = std::sync::mpsc::channel();
    let dir = folder.path().to_owned();
    std::thread::spawn(move || say.send(verify(&dir, &trust()).ok()));
    assert_eq!(said.recv_timeout(std::time::Duration::from_secs(20)), Ok(false), "it waits for a writer at the pipe");
}
