//! The checks on each record: hash, signature, place in its producer's sequence, commitments, intents, time.

use super::{Report, members::misformed, sessions::Completeness};
use crate::{
    dir::{ReadError, Reader},
    hash::Hash,
    record::{Record, Side, key::thumbprint, verify_record_signature},
    tile::WIDTH,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is remembered from record to record.
pub(super) struct Records<'a> {
    reader: &'a Reader,
    producers: HashMap<String, Producer>,
    /// Intents still without effect: record id to index and act.
    intents: BTreeMap<String, (u64, Act)>,
    /// Digests of pinned objects that were looked at.
    pinned: HashSet<String>,
    /// The last side bundle that could not be read, reported once.
    broken_side: Option<u64>,
    disclosed: u64,
    completeness: Completeness,
}

/// What an intent and its effect are about: the action's name and the delegation chain.
type Act = (String, Option<String>);

/// The state of one producer's chain of records.
struct Producer {
    epoch: u64,
    seq: u64,
    hash: Hash,
    /// The key stated by the epoch's start record.
    key: Option<Value>,
    hlc: (u64, u64),
    wall_ns: u64,
    mono_ns: u64,
    boot_id: String,
}

impl<'a> Records<'a> {
    pub(super) fn new(reader: &'a Reader) -> Self {
        Self {
            reader,
            producers: HashMap::new(),
            intents: BTreeMap::new(),
            pinned: HashSet::new(),
            broken_side: None,
            disclosed: 0,
            completeness: Completeness::default(),
        }
    }

    pub(super) fn check(&mut self, index: u64, record: &Record, report: &mut Report) {
        let hash = record.recomputed_hash();
        if hash != record.record_hash() {
            report.fail("record_hash", Some(index), "the record does not have the hash it states");
        }
        if let Some(why) = misformed(record) {
            report.fail("members", Some(index), why);
        }
        let before = self.producers.remove(record.producer_id());
        if let Some(why) = misplaced(before.as_ref(), record) {
            report.fail("sequence", Some(index), why);
        }
        let key = key_for(before.as_ref(), record);
        if let Some(why) = unsigned(record, &hash, key.as_ref()) {
            report.fail("signature", Some(index), why);
        }
        check_time(index, before.as_ref(), record, report);
        let now = Producer {
            epoch: record.epoch(),
            seq: record.seq(),
            hash: record.record_hash(),
            key,
            hlc: record.hlc(),
            wall_ns: record.wall_ns(),
            mono_ns: record.number("/time/mono_ns").unwrap_or_default(),
            boot_id: record.text("/time/boot_id").unwrap_or_default().to_owned(),
        };
        self.producers.insert(record.producer_id().to_owned(), now);
        self.check_objects(index, record, report);
        self.check_side(index, record, report);
        self.check_intent(index, record, report);
        self.completeness.check(index, record, report);
    }

    pub(super) fn finish(self, report: &mut Report) {
        for name in ["canonical", "record_hash", "members", "signature", "sequence", "time", "objects"] {
            report.pass(name);
        }
        report.pass_with("commitments", format!("{} opened, {} undisclosed", self.disclosed, report.undisclosed));
        report.unknown_outcomes = self.intents.into_values().map(|(index, _)| index).collect();
        report.unknown_outcomes.sort_unstable();
        let unknown = report.unknown_outcomes.len();
        report.pass_with("intents", format!("{unknown} without an effect (outcome unknown)"));
        self.completeness.finish(report);
    }

    /// Openings must add up to the record's root. Their absence is no failure: they may be withheld or erased.
    fn check_side(&mut self, index: u64, record: &Record, report: &mut Report) {
        if self.broken_side == Some(index / WIDTH) {
            return;
        }
        match self.reader.side_of(index, record) {
            Ok(None) => report.undisclosed += 1,
            Ok(Some(side)) => {
                // A record of which anything is sealed, withheld or erased is not disclosed.
                if side.is_open() {
                    self.disclosed += 1;
                } else {
                    report.undisclosed += 1;
                }
                if let Some(why) = unopened(&side, record) {
                    report.fail("commitments", Some(index), why);
                }
            }
            Err(error @ ReadError::Side { .. }) if self.reader.side_as_stored(index).is_ok() => {
                report.fail("commitments", Some(index), error);
            }
            Err(error) => {
                self.broken_side = Some(index / WIDTH);
                report.fail("commitments", Some(index), error);
            }
        }
    }

    /// What a decision was made from is pinned with the log, and is what its name says.
    fn check_objects(&mut self, index: u64, record: &Record, report: &mut Report) {
        for pointer in ["/decision/policy_set_digest", "/decision/schema_digest"] {
            let Some(digest) = record.text(pointer).filter(|digest| self.pinned.insert((*digest).to_owned())) else { continue };
            let found = Hash::parse(digest).map(|digest| self.reader.object(&digest));
            match found {
                Some(Ok(Some(_))) => {}
                Some(Ok(None)) | None => {
                    report.fail("objects", Some(index), format!("the pinned object {digest} is not with this copy"));
                }
                Some(Err(error)) => report.fail("objects", Some(index), error),
            }
        }
    }

    /// Every effect has an intent of the same act before it, and only one effect closes it.
    fn check_intent(&mut self, index: u64, record: &Record, report: &mut Report) {
        let act = (record.action().to_owned(), record.txn().map(str::to_owned));
        match record.record_type() {
            "intent" => {
                self.intents.insert(record.record_id().to_owned(), (index, act));
            }
            "effect" => match record.intent_id().and_then(|intent| self.intents.remove(intent)) {
                None => report.fail("intents", Some(index), "an effect without an open intent before it"),
                Some((_, intended)) if intended != act => {
                    report.fail("intents", Some(index), "an effect of another act than its intent's");
                }
                Some(_) => {}
            },
            _ => {}
        }
    }
}

/// Why the record does not follow the producer's previous one.
fn misplaced(before: Option<&Producer>, record: &Record) -> Option<String> {
    let (epoch, seq, hash) = match before {
        None => (1, 0, Hash::ZERO),
        Some(last) if record.epoch() == last.epoch => (last.epoch, last.seq.saturating_add(1), last.hash),
        Some(last) => (last.epoch.saturating_add(1), 0, last.hash),
    };
    if (record.epoch(), record.seq()) != (epoch, seq) {
        return Some(format!("epoch {} sequence {} where epoch {epoch} sequence {seq} is due", record.epoch(), record.seq()));
    }
    if record.prev_hash() != hash {
        return Some("prev_hash is not the hash of the producer's previous record".to_owned());
    }
    match (seq == 0, record.is_start()) {
        (true, false) => Some("an epoch that does not begin with its start record".to_owned()),
        (false, true) => Some("a start record inside an epoch".to_owned()),
        _ => None,
    }
}

/// The key the record must be signed with: its own statement at a start, else that of its epoch's start.
fn key_for(before: Option<&Producer>, record: &Record) -> Option<Value> {
    if record.is_start() {
        return record.ext("keys")?.get("record").cloned();
    }
    before.filter(|last| last.epoch == record.epoch())?.key.clone()
}

/// Why no producer signature of the record is good.
fn unsigned(record: &Record, hash: &Hash, key: Option<&Value>) -> Option<&'static str> {
    let Some(key) = key else { return Some("no key is stated for this epoch") };
    // A key goes by its thumbprint (RFC 7638), whatever the record says it is called.
    let kid = key.get("kid").and_then(Value::as_str).filter(|kid| names_key(kid, key));
    let sigs = record.value().get("sigs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let member = |sig: &Value, name: &str| sig.get(name).and_then(Value::as_str).map(str::to_owned);
    let good = sigs.iter().any(|sig| {
        member(sig, "role").as_deref() == Some("producer")
            && member(sig, "alg").as_deref() == Some("ed25519")
            && kid.is_some()
            && member(sig, "kid").as_deref() == kid
            && member(sig, "value").is_some_and(|value| verify_record_signature(key, hash, &value))
    });
    if good { None } else { Some("no good signature by the producer's key of this epoch") }
}

/// Whether `kid` is the RFC 7638 thumbprint of an Ed25519 key.
fn names_key(kid: &str, key: &Value) -> bool {
    let x = key.get("x").and_then(Value::as_str).and_then(|x| URL_SAFE_NO_PAD.decode(x).ok());
    x.is_some_and(|x| thumbprint(&x) == kid)
}

/// Why the openings are not those of the record.
fn unopened(side: &Side, record: &Record) -> Option<&'static str> {
    if side.root() != record.commit_root() {
        return Some("the side values do not add up to commit.root");
    }
    let count = record.value().pointer("/commit/count_padded").and_then(Value::as_u64);
    if count != u64::try_from(side.count()).ok() {
        return Some("commit.count_padded is not the number of leaves");
    }
    let stated = record.value().pointer("/commit/key_ids").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if side.key_ids().iter().any(|id| !stated.iter().any(|name| name.as_str() == Some(id.as_str()))) {
        return Some("a value is sealed under a key that commit.key_ids does not name");
    }
    let nothing = Hash::of(&[]).to_string();
    let bound = [
        ("/request/hash", "/call/arguments", Some(nothing.as_str())),
        ("/response/hash", "/response/body", Some(nothing.as_str())),
        ("/decision/input_hash", "/decision/input", None),
    ];
    let unbound = bound.into_iter().any(|(hash, path, nothing)| {
        let leaf = side.leaf(path).map(|leaf| leaf.to_string());
        record.text(hash) != leaf.as_deref().or(nothing)
    });
    if unbound {
        return Some("a hash in the record is not the leaf of the value it stands for");
    }
    let edges = record.chain().iter().enumerate().filter_map(|(at, node)| {
        let proof = side.value(&format!("/chain/{at}/edge"))?;
        Some((node.get("edge_proof")?.as_str()?.to_owned(), proof.get("jws")?.as_str()?.to_owned()))
    });
    let mut edges = edges;
    if edges.any(|(hash, jws)| Hash::of(&[jws.as_bytes()]).to_string() != hash) {
        return Some("an edge_proof is not the hash of the proof it stands for");
    }
    None
}

/// Clocks: what must not go backwards, and what may but is worth a note.
fn check_time(index: u64, before: Option<&Producer>, record: &Record, report: &mut Report) {
    let id_ms = uuid::Uuid::parse_str(record.record_id()).ok().filter(|id| id.get_version_num() == 7);
    let id_ms = id_ms.map(|id| u64::try_from(id.as_u128() >> 80).unwrap_or_default());
    if id_ms != Some(record.wall_ns() / 1_000_000) {
        report.fail("time", Some(index), "record_id is not a UUIDv7 of the record's time");
    }
    if let (Some(start), Some(end)) = (record.number("/time/start_ns"), record.number("/time/end_ns"))
        && start > end
    {
        report.fail("time", Some(index), "the effect ends before it begins");
    }
    let Some(last) = before else { return };
    if record.hlc() <= last.hlc {
        report.fail("time", Some(index), "the logical clock does not advance");
    }
    let same_boot = record.text("/time/boot_id") == Some(last.boot_id.as_str());
    if same_boot && record.number("/time/mono_ns").is_some_and(|mono| mono < last.mono_ns) {
        report.fail("time", Some(index), "the monotonic clock goes backwards within one boot");
    }
    if record.wall_ns() < last.wall_ns {
        report.note(format!("record {index}: the wall clock was set back by {} ns", last.wall_ns - record.wall_ns()));
    }
}
