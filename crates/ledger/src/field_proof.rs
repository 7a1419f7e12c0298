//! One field of one record, and nothing else: its opening, the path to the record's `commit.root`, the record, and the
//! record's place in the log. SPEC: record.md §1.7, LG-24.

use crate::{
    dir::{ReadError, Reader},
    hash::Hash,
    policy::{Judgement, Policy},
    proof::{Proof, TlogProofError},
    record::{CanonicalWriter, Opening, Record, RecordError},
    tree::{self, ProofError},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use remit_model::json::{self, Limits, Numbers};
use serde_json::{Value, json};

/// The value of `schema` in a field proof.
pub const FIELD_PROOF: &str = "remit.field-proof.v1";
/// Longest file, in bytes: the largest value a record may bring, its record and a proof.
pub const FIELD_PROOF_LIMIT: usize = 16 << 20;
/// Most siblings: a record commits to at most 256 values.
const SIBLINGS: usize = 16;

/// A field proof as it stands in its file; nothing about it is trusted until [`FieldProof::verify`].
#[derive(Clone, Debug, PartialEq)]
pub struct FieldProof {
    /// The canonical record.
    pub entry: Vec<u8>,
    /// The committed value shown; `None` when only the record itself is.
    pub field: Option<Field>,
    /// The record's place in the log.
    pub proof: Proof,
}

/// One committed value, opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub path: String,
    /// Salt, type and value; always [`Opening::Open`].
    opening: Opening,
    /// Index of its leaf among `commit.count_padded`.
    pub position: u64,
    pub siblings: Vec<Hash>,
}

/// Why there is no proof, or why it proves nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FieldProofError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("`{0}` is neither a member of the record nor among the values this copy has beside it")]
    Absent(String),
    #[error("`{0}` is sealed, and a key it needs is not at hand: withheld, or destroyed by an erasure")]
    Sealed(String),
    #[error("the value at `{0}` was destroyed or withheld; only its hash is left")]
    Closed(String),
    #[error("the values beside the record are not those it commits to")]
    Foreign,
    #[error("malformed field proof: {0}")]
    Malformed(&'static str),
    #[error("the record: {0}")]
    Record(#[from] RecordError),
    #[error("the record does not have the hash it states")]
    Hash,
    #[error("the field is not among what the record commits to: {0}")]
    Commitment(ProofError),
    #[error(transparent)]
    Log(#[from] TlogProofError),
}

impl FieldProof {
    /// Proves the field at `path` of record `index`. A path to a plain member of the record proves the record alone.
    ///
    /// # Errors
    /// [`FieldProofError::Absent`], [`FieldProofError::Sealed`], [`FieldProofError::Closed`], [`FieldProofError::Foreign`];
    /// [`FieldProofError::Read`].
    pub fn of(reader: &Reader, index: u64, path: &str) -> Result<Self, FieldProofError> {
        let record = reader.record(index)?;
        let field = match reader.side_of(index, &record)? {
            Some(side) if side.fields.contains_key(path) => {
                if side.root() != record.commit_root() {
                    return Err(FieldProofError::Foreign);
                }
                let opening = match side.fields.get(path) {
                    Some(opening @ Opening::Open { .. }) => opening.clone(),
                    Some(Opening::Sealed { .. }) => return Err(FieldProofError::Sealed(path.to_owned())),
                    _ => return Err(FieldProofError::Closed(path.to_owned())),
                };
                let position = side.fields.keys().take_while(|other| *other != path).count() as u64;
                let siblings = tree::prove_inclusion(&side.leaves(), position).map_err(FieldProofError::Commitment)?;
                Some(Field { path: path.to_owned(), opening, position, siblings })
            }
            _ if json::pointer::get(record.value(), path).is_some() => None,
            _ => return Err(FieldProofError::Absent(path.to_owned())),
        };
        Ok(Self { entry: reader.entry(index)?, field, proof: Proof::of(reader, index)? })
    }

    /// The file: canonical JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        CanonicalWriter::object(&mut bytes, |file| {
            file.text("entry", &STANDARD.encode(&self.entry));
            if let Some(field) = &self.field {
                file.within("field", |shown| field.opening.write(shown, Some(&field.path)));
                file.put("position", field.position);
            }
            file.text("proof", &String::from_utf8_lossy(&self.proof.to_bytes()));
            file.text("schema", FIELD_PROOF);
            file.some("siblings", self.field.as_ref().map(|field| &field.siblings));
        });
        bytes
    }

    /// Reads a file: the members of [`FieldProof::to_bytes`] and no other.
    ///
    /// # Errors
    /// [`FieldProofError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FieldProofError> {
        let malformed = FieldProofError::Malformed;
        let limits = Limits { bytes: FIELD_PROOF_LIMIT, depth: 64, members: 1 << 20, numbers: Numbers::Doubles };
        let value = json::parse(bytes, &limits).map_err(|_| malformed("not strict JSON"))?;
        let Value::Object(mut file) = value else { return Err(malformed("not an object")) };
        if file.remove("schema") != Some(json!(FIELD_PROOF)) {
            return Err(malformed("`schema` is not `remit.field-proof.v1`"));
        }
        let entry = file.remove("entry").and_then(|entry| STANDARD.decode(entry.as_str()?).ok());
        let entry = entry.ok_or(malformed("`entry` is not base64"))?;
        let proof = file.remove("proof").ok_or(malformed("no `proof`"))?;
        let proof = Proof::parse(proof.as_str().ok_or(malformed("`proof` is not a string"))?.as_bytes())?;
        let field = match file.remove("field") {
            None => None,
            Some(field) => Some(field_of(field, file.remove("position").as_ref(), file.remove("siblings"))?),
        };
        if !file.is_empty() {
            return Err(malformed("unknown members"));
        }
        Ok(Self { entry, field, proof })
    }

    /// Checks the record's place in a log of the policy, its hash, and the field under its `commit.root`. Gives back the
    /// record and what was judged of the checkpoint.
    ///
    /// # Errors
    /// What does not hold.
    pub fn verify(&self, policy: &Policy) -> Result<(Record, Judgement), FieldProofError> {
        let judgement = self.proof.verify(&self.entry, policy)?;
        let record = Record::parse(&self.entry)?;
        if record.recomputed_hash() != record.record_hash() {
            return Err(FieldProofError::Hash);
        }
        if let Some(field) = &self.field {
            let count = record.value().pointer("/commit/count_padded").and_then(Value::as_u64).unwrap_or_default();
            let leaf = field.opening.leaf(&field.path);
            tree::verify_inclusion(&leaf, field.position, count, &field.siblings, &record.commit_root())
                .map_err(FieldProofError::Commitment)?;
        }
        Ok((record, judgement))
    }
}

impl Field {
    /// The value, as it was before it was committed to.
    pub fn value(&self) -> Option<Value> {
        self.opening.value()
    }
}

fn field_of(field: Value, position: Option<&Value>, siblings: Option<Value>) -> Result<Field, FieldProofError> {
    let malformed = FieldProofError::Malformed;
    let Value::Object(mut members) = field else { return Err(malformed("`field` is not an object")) };
    let Some(Value::String(path)) = members.remove("path") else { return Err(malformed("`field` has no `path`")) };
    let opening = Opening::from_value(Value::Object(members)).filter(|opening| matches!(opening, Opening::Open { .. }));
    let opening = opening.ok_or(malformed("`field` is not {path, salt, type, value}"))?;
    let position = position.and_then(Value::as_u64).ok_or(malformed("`position` is not a number"))?;
    let siblings: Vec<Hash> =
        siblings.and_then(|list| serde_json::from_value(list).ok()).ok_or(malformed("`siblings` is not a list of hashes"))?;
    if siblings.len() > SIBLINGS {
        return Err(malformed("too many siblings"));
    }
    Ok(Field { path, opening, position, siblings })
}
