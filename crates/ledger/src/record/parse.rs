//! Reading a record back: strict, canonical, and with every mandatory member in its place.

use super::{ENTRY_LIMIT, SCHEMA, rfc3339::rfc3339_ns};
use crate::hash::Hash;
use remit_model::json::{self, Limits, Numbers};
use serde_json::Value;

/// A parsed record: the exact value that was sealed, and typed access to what every record has.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    value: Value,
    epoch: u64,
    seq: u64,
    wall_ns: u64,
    hlc: (u64, u64),
    prev_hash: Hash,
    hash: Hash,
    commit_root: Hash,
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("not strict JSON: {0}")]
    Json(String),
    #[error("not in canonical form (RFC 8785)")]
    NotCanonical,
    #[error("schema is not `{SCHEMA}`")]
    Schema,
    #[error("`{0}` is missing or of the wrong form")]
    Member(&'static str),
}

impl Record {
    /// Parses an entry of the log. Accepts only canonical bytes of the known schema with every mandatory member.
    ///
    /// # Errors
    /// [`RecordError::Json`], [`RecordError::NotCanonical`], [`RecordError::Schema`]; [`RecordError::Member`] with its path.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let limits = Limits { bytes: ENTRY_LIMIT, depth: 32, members: 16_384, numbers: Numbers::Doubles };
        let value = json::parse(bytes, &limits).map_err(|refusal| RecordError::Json(refusal.to_string()))?;
        if json::canonical(&value) != bytes {
            return Err(RecordError::NotCanonical);
        }
        if value.get("schema").and_then(Value::as_str) != Some(SCHEMA) {
            return Err(RecordError::Schema);
        }
        if let Some(missing) = MANDATORY_TEXT.iter().find(|pointer| !value.pointer(pointer).is_some_and(Value::is_string)) {
            return Err(RecordError::Member(missing));
        }
        if let Some(missing) = MANDATORY_LISTS.iter().find(|pointer| !value.pointer(pointer).is_some_and(Value::is_array)) {
            return Err(RecordError::Member(missing));
        }
        Self::typed(value)
    }

    fn typed(value: Value) -> Result<Self, RecordError> {
        let text = |pointer: &'static str| value.pointer(pointer).and_then(Value::as_str).ok_or(RecordError::Member(pointer));
        let number = |pointer: &'static str| text(pointer).and_then(|text| decimal(text).ok_or(RecordError::Member(pointer)));
        let hash = |pointer: &'static str| text(pointer).and_then(|text| Hash::parse(text).ok_or(RecordError::Member(pointer)));
        let chain = value.get("chain").and_then(Value::as_array).map_or(0, Vec::len);
        let depth = value.get("chain_depth").and_then(Value::as_u64);
        if chain == 0 || chain > super::CHAIN_LIMIT || depth != u64::try_from(chain).ok() {
            return Err(RecordError::Member("/chain_depth"));
        }
        let wall_ns = number("/time/wall_ns")?;
        if text("/time/wall")? != rfc3339_ns(wall_ns) {
            return Err(RecordError::Member("/time/wall"));
        }
        number("/time/mono_ns")?;
        number("/time/error_bound_ns")?;
        let hlc = parse_hlc(text("/time/hlc")?).ok_or(RecordError::Member("/time/hlc"))?;
        Ok(Self {
            epoch: number("/producer/epoch")?,
            seq: number("/seq")?,
            wall_ns,
            hlc,
            prev_hash: hash("/prev_hash")?,
            hash: hash("/record_hash")?,
            commit_root: hash("/commit/root")?,
            value,
        })
    }

    /// The whole record as JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The string at a JSON Pointer, `None` when absent or not a string.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer).and_then(Value::as_str)
    }

    /// The decimal string at a JSON Pointer as a number.
    pub fn number(&self, pointer: &str) -> Option<u64> {
        self.text(pointer).and_then(decimal)
    }

    /// The record's UUIDv7.
    pub fn record_id(&self) -> &str {
        self.text("/record_id").unwrap_or_default()
    }

    /// As spelled in the record: `decision`, `intent`, …
    pub fn record_type(&self) -> &str {
        self.text("/record_type").unwrap_or_default()
    }

    /// The tenant that the record belongs to.
    pub fn tenant(&self) -> &str {
        self.text("/tenant_id").unwrap_or_default()
    }

    /// The URI of the writer.
    pub fn producer_id(&self) -> &str {
        self.text("/producer/id").unwrap_or_default()
    }

    /// The action's name.
    pub fn action(&self) -> &str {
        self.text("/action/name").unwrap_or_default()
    }

    /// As spelled in the record: `success`, `denied`, `unknown`, …
    pub fn outcome(&self) -> &str {
        self.text("/outcome/status").unwrap_or_default()
    }

    /// The `record_id` of the intent that this record completes.
    pub fn intent_id(&self) -> Option<&str> {
        self.text("/intent_id")
    }

    /// The id of the delegation chain.
    pub fn txn(&self) -> Option<&str> {
        self.text("/txn")
    }

    /// What was decided, as the record has it.
    pub fn decision(&self) -> Option<&Value> {
        self.value.get("decision")
    }

    /// The chain's nodes, origin first.
    pub fn chain(&self) -> &[Value] {
        self.value.get("chain").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The plain fact `ext.<name>`.
    pub fn ext(&self, name: &str) -> Option<&Value> {
        self.value.get("ext")?.get(name)
    }

    /// The writer's epoch: one more for each start.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The place in the epoch, from 0.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The wall clock's time, in nanoseconds since 1970. It is worth [`Record::error_bound_ns`].
    pub fn wall_ns(&self) -> u64 {
        self.wall_ns
    }

    /// Half-width of the interval around [`Record::wall_ns`] that the true time lies in, in nanoseconds; `None` when unknown.
    pub fn error_bound_ns(&self) -> Option<u64> {
        self.number("/time/error_bound_ns").filter(|bound| *bound < u64::MAX)
    }

    /// Hybrid logical clock: (milliseconds, counter).
    pub fn hlc(&self) -> (u64, u64) {
        self.hlc
    }

    /// The hash of the writer's record before this one.
    pub fn prev_hash(&self) -> Hash {
        self.prev_hash
    }

    /// The hash as stated; [`Record::recomputed_hash`] is the hash as it is.
    pub fn record_hash(&self) -> Hash {
        self.hash
    }

    /// The root over the salted hashes of the side values.
    pub fn commit_root(&self) -> Hash {
        self.commit_root
    }

    /// SHA-256 over the canonical record without `record_hash`, `sigs` and `log`.
    pub fn recomputed_hash(&self) -> Hash {
        let mut value = self.value.clone();
        if let Value::Object(members) = &mut value {
            for outside in ["record_hash", "sigs", "log"] {
                members.shift_remove(outside);
            }
        }
        Hash::of(&[&json::canonical(&value)])
    }

    /// Whether this is the record that opens an epoch and publishes its keys.
    pub fn is_start(&self) -> bool {
        self.record_type() == "log_control" && self.action() == "start"
    }
}

/// Mandatory members that are strings in every record. SPEC: record.md §1.11, column Req = M.
const MANDATORY_TEXT: &[&str] = &[
    "/record_id",
    "/record_type",
    "/tenant_id",
    "/env",
    "/producer/id",
    "/producer/kind",
    "/producer/version",
    "/producer/build_digest",
    "/producer/epoch",
    "/seq",
    "/prev_hash",
    "/chain_uid",
    "/time/wall",
    "/time/wall_ns",
    "/time/error_bound_ns",
    "/time/clock_status",
    "/time/source",
    "/time/mono_ns",
    "/time/boot_id",
    "/time/hlc",
    "/chain/0/kind",
    "/chain/0/subject_ref",
    "/chain/0/issuer",
    "/chain/0/auth/method",
    "/chain/0/grant/id",
    "/chain/0/grant/type",
    "/owner_ref",
    "/protocol",
    "/action/name",
    "/action/class",
    "/request/hash",
    "/response/hash",
    "/human_in_loop",
    "/outcome/status",
    "/outcome/effect_confirmed",
    "/commit/root",
    "/record_hash",
    "/sigs/0/kid",
    "/sigs/0/alg",
    "/sigs/0/role",
    "/sigs/0/value",
    "/retention/class",
    "/retention/not_before_delete",
];

const MANDATORY_LISTS: &[&str] = &["/chain", "/resource", "/sigs"];

/// A decimal u64 as the record writes it: digits only, no sign, no leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|digit| digit.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

fn parse_hlc(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split('.');
    let (millis, counter, _node) = (decimal(parts.next()?)?, decimal(parts.next()?)?, parts.next()?);
    parts.next().is_none().then_some((millis, counter))
}
