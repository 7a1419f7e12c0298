//! Sealing: from a draft to signed canonical bytes, each in its place in the producer's sequence.

use super::{
    Draft, ENTRY_LIMIT, Pepper, Record, RecordKey, RecordType, SIDE_LIMIT, Side, Turn,
    envelope::{self, Names, Place},
    error::SealError,
    identity::{Identity, Position},
    seal_side::{KeySource, Plan},
    values::Values,
};
use crate::{hash::Hash, tree};
use remit_model::Moment;
use std::borrow::Borrow;

/// Gives drafts their place and signature. One per producer; it is the only holder of the producer's sequence.
#[derive(Debug)]
pub struct Sealer {
    identity: Identity,
    names: Names,
    key: RecordKey,
    pepper: Pepper,
    at: Position,
}

/// A record as it enters the log.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub record_id: String,
    pub record_type: RecordType,
    /// The entry: canonical JSON of the whole record, signatures included.
    pub bytes: Vec<u8>,
    pub record_hash: Hash,
    /// RFC 6962 leaf hash of `bytes`.
    pub leaf_hash: Hash,
    /// Openings of the committed values; store them beside the record, in the same transaction.
    pub side: Side,
}

impl Sealer {
    /// Begins the epoch after that of `last`, the producer's latest record (`None` on the very first start).
    pub fn new(identity: Identity, key: RecordKey, pepper: Pepper, last: Option<&Record>) -> Self {
        let at = match last {
            None => Position { epoch: 1, seq: 0, prev_hash: Hash::ZERO, hlc: (0, 0) },
            Some(record) => {
                Position { epoch: record.epoch().saturating_add(1), seq: 0, prev_hash: record.record_hash(), hlc: record.hlc() }
            }
        };
        Self { names: Names::of(&identity), identity, key, pepper, at }
    }

    /// Where the sequence stands; [`Sealer::rewind`] goes back to it.
    pub fn position(&self) -> Position {
        self.at.clone()
    }

    /// Forgets everything sealed since `position` was taken; nothing of it may have become durable.
    pub fn rewind(&mut self, position: Position) {
        self.at = position;
    }

    /// What records state about their writer.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The key that signs records.
    pub fn key(&self) -> &RecordKey {
        &self.key
    }

    /// The key of the pseudonyms.
    pub fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    /// Turns the draft into signed bytes and advances the sequence, leaving the side values open.
    ///
    /// `entropy` fills a buffer with random bytes: the record id's random part, salts and decoys come from it.
    ///
    /// # Errors
    /// Any [`SealError`] but [`SealError::Key`]. The sequence stays where it was.
    pub fn seal(&mut self, draft: impl Borrow<Draft>, now: &Moment, entropy: impl FnMut(&mut [u8])) -> Result<Sealed, SealError> {
        self.seal_under(draft.borrow(), &Turn::of(draft.borrow()), now, entropy, None)
    }

    /// The same with every side value encrypted under the keys of its subjects, which `keys` gives.
    ///
    /// # Errors
    /// Also [`SealError::Key`] when a key is not to be had.
    pub fn seal_for(
        &mut self,
        draft: impl Borrow<Draft>,
        now: &Moment,
        entropy: impl FnMut(&mut [u8]),
        keys: &mut KeySource<'_>,
    ) -> Result<Sealed, SealError> {
        self.seal_under(draft.borrow(), &Turn::of(draft.borrow()), now, entropy, Some(keys))
    }

    /// The same with what the writer of the log adds.
    ///
    /// # Errors
    /// Those of [`Sealer::seal_for`].
    pub fn seal_in_turn(
        &mut self,
        draft: &Draft,
        turn: &Turn,
        now: &Moment,
        entropy: impl FnMut(&mut [u8]),
        keys: &mut KeySource<'_>,
    ) -> Result<Sealed, SealError> {
        self.seal_under(draft, turn, now, entropy, Some(keys))
    }

    fn seal_under(
        &mut self,
        draft: &Draft,
        turn: &Turn,
        now: &Moment,
        mut entropy: impl FnMut(&mut [u8]),
        keys: Option<&mut KeySource<'_>>,
    ) -> Result<Sealed, SealError> {
        if self.at.seq == 0 && !(draft.record_type == RecordType::LogControl && draft.action.name == "start") {
            return Err(SealError::NotStarted);
        }
        let record_type = draft.record_type;
        let hlc = tick(self.at.hlc, now.wall_ns / 1_000_000);
        let record_id = uuid_v7(now.wall_ns / 1_000_000, &mut entropy);
        let values = Values::commit(envelope::committed(draft, &self.identity), &mut entropy)?;
        if values.length() > SIDE_LIMIT {
            return Err(SealError::SideTooLarge { bytes: values.length() });
        }
        let side = match keys {
            Some(keys) => values.seal(&record_id, &Plan::of(draft, &self.identity, keys)?, &mut entropy)?,
            None => values.open(),
        };
        let Self { identity, names, pepper, at, .. } = self;
        let place = Place { identity, names, pepper, at, turn, hlc, now, record_id: &record_id };
        let body = envelope::build(draft, &place, &side)?;
        let record_hash = Hash::of(&[body.bytes()]);
        let bytes = body.signed(&record_hash, self.key.kid(), &self.key.sign(&record_hash));
        if bytes.len() > ENTRY_LIMIT {
            return Err(SealError::TooLarge { bytes: bytes.len() });
        }
        self.at.seq = self.at.seq.saturating_add(1);
        self.at.prev_hash = record_hash;
        self.at.hlc = hlc;
        let leaf_hash = tree::leaf_hash(&bytes);
        Ok(Sealed { record_id, record_type, bytes, record_hash, leaf_hash, side })
    }
}

/// The hybrid logical clock's rule: never backwards, whatever the wall clock does.
fn tick(last: (u64, u64), wall_ms: u64) -> (u64, u64) {
    if wall_ms > last.0 { (wall_ms, 0) } else { (last.0, last.1.saturating_add(1)) }
}

/// RFC 9562 §5.7, from the moment and entropy handed in.
fn uuid_v7(wall_ms: u64, entropy: &mut impl FnMut(&mut [u8])) -> String {
    let mut random = [0; 10];
    entropy(&mut random);
    uuid::Builder::from_unix_timestamp_millis(wall_ms, &random).into_uuid().hyphenated().to_string()
}
