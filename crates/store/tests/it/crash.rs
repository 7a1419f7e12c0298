//! Death at any moment: a child process works under load, is killed with SIGKILL at a random instant, and whatever it
//! acknowledged must be there afterwards. SPEC: N-LG-11.

use crate::fixture::{NOW, batch, config};
use remit_clock::Entropy;
use remit_ledger::{
    Record, Trust,
    record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType},
    verify,
};
use remit_model::{id::TenantId, resource::ToolClass, time::UnixTime};
use remit_store::{ApplyError, Budget, JtiKind, Precondition, Receipt, Store};
use remit_testkit::wait_until;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

const ROUNDS: u32 = 25;
const TASKS: u64 = 24;
const BUDGETS: u64 = 8;
const LIMIT: i64 = 40;
const WHERE: &str = "REMIT_STORE_CRASH_DIR";
const ROUND: &str = "REMIT_STORE_CRASH_ROUND";

#[tokio::test]
async fn n_lg_11_no_kill_loses_an_acknowledged_record_or_leaves_an_effect_without_its_intent() {
    let dir = tempfile::tempdir().unwrap();
    let entropy = Entropy::system();
    let mut killed_at = Vec::new();
    for round in 0..ROUNDS {
        let mut child = start(dir.path(), round);
        wait_for_load(&mut child, &acks(dir.path(), round));
        let [pause] = entropy.bytes::<1>();
        // PAUSE: the kill comes at any moment.
        thread::sleep(Duration::from_millis(u64::from(pause)));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(config(dir.path())).unwrap();
        killed_at.push(check(&store, dir.path(), round).await);
        store.close().await.unwrap();
        if round % 8 == 0 || round + 1 == ROUNDS {
            let report = verify(&dir.path().join("ledger"), &Trust::default());
            assert!(report.ok(), "round {round}: {report}");
        }
    }
    let acknowledged: usize = killed_at.iter().sum();
    eprintln!("{ROUNDS} kills, {acknowledged} acknowledged batches, all of them found");
    assert!(acknowledged > 500, "the load was too small to prove anything: {killed_at:?}");
}

/// Everything the child promised holds. Gives back how many promises there were.
async fn check(store: &Store, dir: &Path, round: u32) -> usize {
    let (mut log, mut budgets, mut next) = (BTreeMap::new(), BTreeMap::<String, i64>::new(), 0);
    let mut intents = BTreeSet::new();
    let (mut epoch, mut seq, mut last_hash) = (0, 0, None);
    loop {
        let page = store.records(next, 1_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        for stored in page {
            assert_eq!(stored.index, next, "no gap");
            next += 1;
            let record = Record::parse(&stored.bytes).unwrap();
            if record.is_start() {
                (epoch, seq) = (epoch + 1, 0);
            }
            assert_eq!((record.epoch(), record.seq()), (epoch, seq), "gapless sequence at {}", stored.index);
            assert!(last_hash.is_none_or(|hash| hash == record.prev_hash()), "chained at {}", stored.index);
            (seq, last_hash) = (seq + 1, Some(record.record_hash()));
            match record.record_type() {
                "intent" => drop(intents.insert(record.record_id().to_owned())),
                "effect" => assert!(intents.contains(record.intent_id().unwrap()), "an effect follows its intent"),
                _ => {}
            }
            if let Some(key) = record.ext("budget").and_then(|key| key.as_str()) {
                *budgets.entry(key.to_owned()).or_default() += 1;
            }
            log.insert(stored.index, remit_ledger::tree::leaf_hash(&stored.bytes));
        }
    }
    for (key, counted) in budgets {
        assert_eq!(store.spent(&key).await.unwrap(), counted, "count and records are one fact");
        assert!(counted <= LIMIT, "{key} overspent: {counted}");
    }
    let promised = lines(&acks(dir, round));
    for line in &promised {
        let receipt: Receipt = serde_json::from_str(line).unwrap();
        assert_eq!(log.get(&receipt.index), Some(&receipt.leaf_hash), "round {round}: {receipt:?} was acknowledged");
    }
    for effect in lines(&effects(dir, round)) {
        assert!(intents.contains(&effect), "round {round}: {effect} happened without a durable intent");
    }
    promised.len()
}

fn start(dir: &Path, round: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child_under_load", "--exact", "--ignored", "--nocapture"])
        .env(WHERE, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn wait_for_load(child: &mut Child, acks: &Path) {
    wait_until("the child has acknowledged something", || {
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        fs::metadata(acks).is_ok_and(|meta| meta.len() > 0)
    });
}

fn acks(dir: &Path, round: u32) -> PathBuf {
    dir.join(format!("acks-{round}"))
}

fn effects(dir: &Path, round: u32) -> PathBuf {
    dir.join(format!("effects-{round}"))
}

/// Complete lines only: the last may have been cut by the kill.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

/// The child. Run only by the test above, which names the directory.
#[test]
#[ignore = "started by the crash test as a process of its own"]
fn child_under_load() {
    let (Some(dir), Some(round)) = (std::env::var_os(WHERE), std::env::var_os(ROUND)) else { return };
    let (dir, round) = (PathBuf::from(dir), round.to_str().unwrap().parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = config(&dir);
        config.publish_every = Duration::from_millis(15);
        let store = Store::open(config).unwrap();
        let witness = Arc::new(Witness { acks: append(&acks(&dir, round)), effects: append(&effects(&dir, round)) });
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(work(store.clone(), witness.clone(), task, round))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// What outlives the child: each line is one `write`, in the page cache the moment it returns.
struct Witness {
    acks: File,
    effects: File,
}

impl Witness {
    fn acknowledged(&self, receipts: &[Receipt]) {
        for receipt in receipts {
            let line = format!("{}\n", serde_json::to_string(receipt).unwrap());
            (&self.acks).write_all(line.as_bytes()).unwrap();
        }
    }

    fn effect(&self, intent: &str) {
        (&self.effects).write_all(format!("{intent}\n").as_bytes()).unwrap();
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

/// Mutating calls without end: count, intend, act, record the effect.
async fn work(store: Store, witness: Arc<Witness>, task: u64, round: u32) {
    for call in 0_u64.. {
        let key = format!("{round}/{}", (task + call) % BUDGETS);
        let budget = Budget { key: key.clone(), add: 1, limit: LIMIT, until: None };
        let counted = draft(RecordType::Decision).ext("budget", key.into());
        match store.apply(batch().require(Precondition::Budget(budget)).record(counted)).await {
            Ok(applied) => witness.acknowledged(&applied.receipts),
            Err(ApplyError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
        let jti = format!("{round}/{task}/{call}");
        let intent = batch().once(JtiKind::Other, jti, UnixTime(NOW + 60)).record(draft(RecordType::Intent));
        let intended = store.apply(intent).await.unwrap();
        witness.acknowledged(&intended.receipts);
        let id = intended.receipts[0].record_id.clone();
        witness.effect(&id);
        let mut effect = draft(RecordType::Effect).outcome(OutcomeStatus::Success, EffectConfirmed::Acked);
        effect.intent_id = Some(id);
        witness.acknowledged(&store.apply(batch().record(effect)).await.unwrap().receipts);
    }
}

fn draft(kind: RecordType) -> Draft {
    Draft::new(TenantId::main(), ProducerKind::Gateway, kind)
        .action("refund_create", ToolClass::Payment)
        .commit("/call/arguments", serde_json::json!({ "amount": 49 }))
}
