//! Logging itself in trouble: a disk that is really full, a process killed in the middle of it, a clock that is stepped,
//! witnesses that are gone. SPEC: record.md §1.10 (PCI DSS 10.7).

use crate::fixture::{NOW, batch, config, draft};
use remit_clock::Clock;
use remit_ledger::{Record, Trust, verify};
use remit_model::{
    Code,
    time::{ClockStatus, Moment},
};
use remit_store::{ApplyError, Config, Outage, Receipt, Store};
use remit_testkit::wait_until;
use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

const WHERE: &str = "REMIT_STORE_OUTAGE_DIR";

/// A file system of a few megabytes, which only root may mount.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(dir: &Path) -> Option<Self> {
        fs::create_dir_all(dir).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(dir).stderr(Stdio::null()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir.to_owned()));
        }
        eprintln!("SKIPPED: mounting a small tmpfs needs root");
        None
    }

    fn fill(&self) {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.0.join("ballast")).unwrap();
        for size in [64 << 10, 4 << 10, 1] {
            while ballast.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

async fn act(store: &Store, name: &str) -> Result<Receipt, ApplyError> {
    store.apply(batch().record(draft(name))).await.map(|applied| applied.receipts[0].clone())
}

async fn note(store: &Store, name: &str) -> Result<Receipt, ApplyError> {
    store.apply(batch().note().record(draft(name))).await.map(|applied| applied.receipts[0].clone())
}

async fn act_until_full(store: &Store) {
    for n in 0..10_000 {
        match act(store, "filling").await {
            Ok(_) => {}
            Err(ApplyError::Unavailable(Outage::Disk(_))) => return,
            Err(error) => panic!("{n}: {error}"),
        }
    }
    panic!("the disk never was full");
}

async fn names(store: &Store) -> Vec<String> {
    let records = store.records(0, 1_000).await.unwrap();
    let name = |bytes: &[u8]| Record::parse(bytes).unwrap().action().to_owned();
    records.iter().map(|record| name(&record.bytes)).filter(|name| name != "filling").collect()
}

fn verified(dir: &Path) {
    let report = verify(&dir.join("ledger"), &Trust::default());
    assert!(report.ok(), "{report}");
}

#[tokio::test]
async fn a_full_disk_refuses_actions_and_keeps_notes_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("data")) else { return };
    let store = Store::open(config(dir.path())).unwrap();
    act(&store, "before").await.unwrap();
    disk.fill();
    act_until_full(&store).await;
    assert_eq!(store.outage().unwrap().code(), Code::LedgerFull);
    let mut noted = Vec::new();
    for n in 0..20 {
        noted.push(note(&store, &format!("note-{n}")).await.unwrap());
        assert!(matches!(act(&store, "refused").await, Err(ApplyError::Unavailable(Outage::Disk(_)))));
    }
    assert!(noted.windows(2).all(|pair| pair[1].index == pair[0].index + 1), "in the order of the log");
    assert!(store.len() <= noted[0].index, "none is in the database yet");

    disk.free();
    store.tend().await;
    assert_eq!(store.outage(), None);
    act(&store, "after").await.unwrap();
    for receipt in &noted {
        let record = store.record(receipt.index).await.unwrap().expect("what was acknowledged is there");
        assert_eq!(record.record_id, receipt.record_id);
    }
    let mut expected = vec!["start".to_owned(), "before".to_owned(), "outage.began".to_owned()];
    expected.extend((0..20).map(|n| format!("note-{n}")));
    expected.extend(["outage.over".to_owned(), "after".to_owned()]);
    assert_eq!(names(&store).await, expected);
    let records = store.records(0, 1_000).await.unwrap();
    let over = records.iter().map(|record| Record::parse(&record.bytes).unwrap()).find(|record| record.action() == "outage.over");
    let facts = over.unwrap().ext("outage").unwrap().clone();
    assert_eq!((facts["code"].as_str(), facts["spooled"].as_str()), (Some("ledger_full"), Some("21")));
    assert_eq!(facts["refused"], "21", "the one that met the full disk first, and those in the loop");
    store.close().await.unwrap();
    verified(dir.path());
}

/// The counts that the record of an outage's end states.
async fn refused_in(store: &Store) -> Vec<(String, String)> {
    let mut counts = Vec::new();
    for stored in store.records(0, 1_000).await.unwrap() {
        let record = Record::parse(&stored.bytes).unwrap();
        if record.action() == "outage.over" {
            let facts = record.ext("outage").unwrap();
            counts.push((facts["code"].as_str().unwrap().to_owned(), facts["refused"].as_str().unwrap().to_owned()));
        }
    }
    counts
}

#[tokio::test]
async fn every_refused_action_of_an_outage_is_counted_once_at_any_place() {
    // Whether an action meets the full disk first, or something that the log says of itself.
    for action_first in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(&dir.path().join("data")) else { return };
        let clock = Clock::manual(Moment::at(NOW));
        let store = Store::open(Config { clock: clock.clone(), ..config(dir.path()) }).unwrap();
        disk.fill();
        let mut refused = 0;
        if action_first {
            act_until_full(&store).await;
            refused += 1;
        } else {
            while store.outage().is_none() {
                clock.advance(Config::HEARTBEAT);
                store.tend().await;
            }
        }
        let outage = store.outage().expect("known before the next one comes");
        for _ in 0..3 {
            assert_eq!(store.refuse(&outage).code, Code::LedgerFull, "turned away before the store is asked");
            note(&store, "the refusal's record").await.unwrap();
            assert!(act(&store, "turned away by the store").await.is_err());
            refused += 2;
        }
        disk.free();
        store.tend().await;
        act(&store, "after").await.unwrap();
        assert_eq!(refused_in(&store).await, [("ledger_full".to_owned(), refused.to_string())], "action first: {action_first}");
        store.close().await.unwrap();
        verified(dir.path());
    }
}

#[tokio::test]
async fn refusals_of_every_kind_of_outage_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    for round in 1..=2 {
        store.set_witnesses(false);
        let outage = store.outage().unwrap();
        store.refuse(&outage);
        for _ in 0..round {
            act(&store, "refused").await.unwrap_err();
        }
        store.refuse(&outage);
        store.set_witnesses(true);
        store.tend().await;
        act(&store, "after").await.unwrap();
    }
    let counted = |count: &str| ("witness_quorum_lost".to_owned(), count.to_owned());
    assert_eq!(refused_in(&store).await, [counted("3"), counted("4")], "each outage its own");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_full_spool_refuses_notes_but_keeps_room_for_effects() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("data")) else { return };
    let store = Store::open(Config { spool_bytes: 64 << 10, ..config(dir.path()) }).unwrap();
    disk.fill();
    act_until_full(&store).await;
    let mut kept = 0;
    while note(&store, "note").await.is_ok() {
        kept += 1;
    }
    assert!((5..64).contains(&kept), "{kept} notes in three quarters of 64 KiB");
    assert!(matches!(note(&store, "note").await, Err(ApplyError::Unavailable(Outage::Disk(_)))));
    let mut effect = draft("effect");
    effect.record_type = remit_ledger::record::RecordType::Effect;
    let last = store.apply(batch().note().record(effect)).await.expect("the outcome of something begun still fits");
    disk.free();
    store.tend().await;
    assert_eq!(store.record(last.receipts[0].index).await.unwrap().unwrap().record_id, last.receipts[0].record_id);
    store.close().await.unwrap();
    // The effect was made up and has no intent; everything else holds.
    let report = verify(&dir.path().join("ledger"), &Trust::default());
    assert!(report.failures().all(|check| check.name == "intents"), "{report}");
}

#[tokio::test]
async fn a_process_killed_with_a_filled_spool_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("data")) else { return };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["outages::child_with_a_full_disk", "--exact", "--ignored", "--nocapture"])
        .env(WHERE, dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let done = dir.path().join("done");
    wait_until("the child has filled its spool", || {
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        done.exists()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    disk.free();
    let promised: Vec<Receipt> = serde_json::from_slice(&fs::read(&done).unwrap()).unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    for receipt in &promised {
        let record = store.record(receipt.index).await.unwrap().expect("what was acknowledged is there");
        assert_eq!((&record.record_id, remit_ledger::tree::leaf_hash(&record.bytes)), (&receipt.record_id, receipt.leaf_hash));
    }
    store.close().await.unwrap();
    // Opened once more: the emptied spool gives nothing twice.
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(names(&store).await.iter().filter(|name| name.starts_with("note-")).count(), promised.len());
    store.close().await.unwrap();
    verified(dir.path());
}

#[tokio::test]
#[ignore = "started by a_process_killed_with_a_filled_spool_loses_nothing"]
async fn child_with_a_full_disk() {
    let Some(dir) = std::env::var_os(WHERE).map(PathBuf::from) else { return };
    let disk = std::mem::ManuallyDrop::new(SmallDisk(dir.join("data")));
    let store = Store::open(config(&dir)).unwrap();
    disk.fill();
    act_until_full(&store).await;
    let mut receipts = Vec::new();
    for n in 0..12 {
        receipts.push(note(&store, &format!("note-{n}")).await.unwrap());
    }
    let part = dir.join("part");
    File::create(&part).unwrap().write_all(&serde_json::to_vec(&receipts).unwrap()).unwrap();
    fs::rename(part, dir.join("done")).unwrap();
    // PAUSE: until it is killed.
    thread::sleep(Duration::from_hours(1));
}

#[tokio::test]
async fn a_stepped_clock_stops_actions_until_it_settles_and_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Moment::at(NOW));
    let store = Store::open(Config { clock: clock.clone(), ..config(dir.path()) }).unwrap();
    act(&store, "before").await.unwrap();
    let now = clock.now();
    clock.set(Moment { wall_ns: now.wall_ns - 7_200_000_000_000, ..now });
    assert_eq!(act(&store, "refused").await, Err(ApplyError::Unavailable(Outage::Clock)));
    note(&store, "noted").await.unwrap();
    assert_eq!(store.outage(), Some(Outage::Clock));
    clock.advance(Clock::SETTLE + Duration::from_secs(1));
    store.tend().await;
    assert_eq!(store.outage(), None);
    act(&store, "after").await.unwrap();
    let expected = ["start", "before", "clock.stepped", "outage.began", "noted", "outage.over", "after"];
    assert_eq!(names(&store).await, expected);
    let stepped = Record::parse(&store.record(2).await.unwrap().unwrap().bytes).unwrap();
    assert_eq!(stepped.ext("clock").unwrap()["step_ns"], "-7200000000000");
    assert_eq!(stepped.text("/time/clock_status"), Some("disrupted"));
    assert_eq!(clock.now().status, ClockStatus::Unknown);
    store.close().await.unwrap();
    verified(dir.path());
}

#[tokio::test]
async fn each_record_states_the_status_and_the_error_bound_of_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Moment::at(NOW));
    let store = Store::open(Config { clock: clock.clone(), ..config(dir.path()) }).unwrap();
    let stated = [
        (ClockStatus::Synchronized, 1_500_000, "synchronized"),
        (ClockStatus::FreeRunning, 90_000_000, "free_running"),
        (ClockStatus::Synchronized, u64::MAX, "synchronized"),
        (ClockStatus::Unknown, u64::MAX, "unknown"),
    ];
    for (status, error_bound_ns, word) in stated {
        clock.set(Moment { status, error_bound_ns, ..clock.now() });
        let index = act(&store, "act").await.unwrap().index;
        let record = Record::parse(&store.record(index).await.unwrap().unwrap().bytes).unwrap();
        assert_eq!(record.text("/time/clock_status"), Some(word));
        assert_eq!(record.number("/time/error_bound_ns"), Some(error_bound_ns));
        assert_eq!(record.error_bound_ns(), (error_bound_ns < u64::MAX).then_some(error_bound_ns));
    }
    store.close().await.unwrap();
    verified(dir.path());
}

#[tokio::test]
async fn a_clock_set_forward_by_mistake_forgets_no_revocation() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Moment::at(NOW));
    let store = Store::open(Config { clock: clock.clone(), ..config(dir.path()) }).unwrap();
    let what = remit_store::Revocation::Jti("stolen".to_owned());
    let until = remit_model::time::UnixTime(NOW + 300);
    store.apply(batch().change(remit_store::Change::Revoke { what, until })).await.unwrap();
    let now = clock.now();
    clock.set(Moment { wall_ns: now.wall_ns + 86_400_000_000_000, ..now });
    note(&store, "noted").await.unwrap();
    clock.set(now);
    note(&store, "noted").await.unwrap();
    assert!(store.snapshot().is_revoked("stolen", [], "-"), "the token is not expired, so it is still revoked");
    clock.advance(Duration::from_hours(1));
    store.tend().await;
    note(&store, "noted").await.unwrap();
    assert!(!store.snapshot().is_revoked("stolen", [], "-"), "time that passes does forget it");
}

#[tokio::test]
async fn without_witnesses_or_side_keys_nothing_is_done_but_refusals_are_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    store.set_witnesses(false);
    assert_eq!(act(&store, "refused").await, Err(ApplyError::Unavailable(Outage::Witnesses)));
    note(&store, "noted").await.unwrap();
    store.set_side_store(Some("gone".to_owned()));
    assert_eq!(store.outage().unwrap().code(), Code::SideStoreUnavailable, "the graver one is named");
    store.set_side_store(None);
    store.set_witnesses(true);
    act(&store, "after").await.unwrap();
    assert_eq!(store.outage(), None);
    let changing = batch().note().change(remit_store::Change::PutObject(vec![1]));
    assert!(matches!(store.apply(changing).await, Err(ApplyError::Invalid(_))), "a note cannot smuggle a change past an outage");
    store.close().await.unwrap();
    verified(dir.path());
}
