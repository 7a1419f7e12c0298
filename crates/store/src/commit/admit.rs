//! Admission: which batches of a group are committed, and what they write. Pure: it sees the world, the facts and the batches,
//! and asks nothing else but to seal what it admits.
//!
//! The batches are weighed one after the other, as if each were committed before the next. A refused one leaves nothing.

use super::{
    outage::Outage,
    weighing::{Base, Private, Weighing},
};
use crate::{
    batch::{ApplyError, Batch, Change, Necessity, Precondition},
    db::group::{Facts, Needs, PrivateRow, RecordRow, WriteSet},
    world::snapshot::Snapshot,
};
use remit_model::time::UnixTime;

/// What surrounds a group.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) now: UnixTime,
    /// Why no action may be recorded, if there is a reason.
    pub(crate) outage: Option<Outage>,
}

/// What a batch's rows and records become under the keys of those they are about.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) private: Vec<PrivateRow>,
    pub(crate) records: Vec<RecordRow>,
}

/// An admitted group: one verdict for each batch, everything that is written, and the world afterwards.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) writes: WriteSet,
    pub(crate) snapshot: Snapshot,
}

/// The revision after the batch and how many records it wrote, or why it was refused.
pub(crate) type Verdict = Result<(u64, usize), ApplyError>;

/// Decides a group. `seal` is asked for each batch that passed, with the world as the batch leaves it; what it refuses is
/// refused.
pub(crate) fn admit<'a>(
    snapshot: &Snapshot,
    facts: Facts,
    batches: &'a [Batch],
    around: &Surroundings,
    mut seal: impl FnMut(&Snapshot, &'a Batch, &[Private<'a>]) -> Result<Sealed, ApplyError>,
) -> Admitted {
    let mut base = Base { snapshot: snapshot.clone(), facts };
    let (mut verdicts, mut writes) = (Vec::with_capacity(batches.len()), WriteSet::default());
    for batch in batches {
        // INVARIANT: a refused batch changes neither the world nor the facts that later batches of the group see.
        let weighed = weigh(&base, batch, around).and_then(|weighing| {
            let sealed = seal(weighing.snapshot(), batch, &weighing.private)?;
            Ok((weighing.finish(), sealed))
        });
        verdicts.push(weighed.map(|(outcome, sealed)| {
            let count = sealed.records.len();
            merge(&mut writes, base.take(outcome), sealed);
            (base.snapshot.revision(), count)
        }));
    }
    Admitted { verdicts, writes, snapshot: base.snapshot }
}

/// What has to be read before these batches can be admitted. Identifiers that are new in all likelihood are read only when
/// `exact`: otherwise the database refuses the write of one that is not, and the group is decided again.
pub(crate) fn needs(batches: &[Batch], exact: bool) -> Needs<'_> {
    let mut needs = Needs::default();
    for batch in batches {
        for need in &batch.require {
            match need {
                Precondition::Unused(code) => drop(needs.codes.insert(code)),
                Precondition::RefreshCurrent(hash) => drop(needs.refresh.insert(hash)),
                Precondition::Budget(budget) => drop(needs.budgets.insert(&budget.key)),
                Precondition::Once { kind, key, .. } if exact => drop(needs.once.insert((*kind, key))),
                _ => {}
            }
        }
        for change in &batch.changes {
            match change {
                Change::UseCode { code, .. } | Change::FailCode(code) => drop(needs.codes.insert(code)),
                Change::RotateRefresh { old, new } => {
                    needs.refresh.insert(old);
                    if exact {
                        needs.refresh.insert(&new.hash);
                    }
                }
                Change::Spend { key, .. } => drop(needs.budgets.insert(key)),
                Change::Erase(erasing) => drop(needs.subjects.insert(&erasing.subject_ref)),
                Change::PutCode(code) if exact => drop(needs.codes.insert(&code.hash)),
                Change::PutRefresh(refresh) if exact => {
                    needs.refresh.insert(&refresh.hash);
                    needs.families.insert(&refresh.family);
                }
                Change::IssueToken(token) if exact => drop(needs.tokens.insert(&token.jti)),
                _ => {}
            }
        }
    }
    needs
}

/// Whether a verdict may be another one once identifiers were read: a batch was refused that has identifiers which were taken
/// for new, and one that is not new refuses it first, for its own reason.
pub(crate) fn guessed(batches: &[Batch], verdicts: &[Verdict]) -> bool {
    let refused = batches
        .iter()
        .zip(verdicts)
        .filter(|(_, verdict)| matches!(verdict, Err(ApplyError::Conflict(_) | ApplyError::Invalid(_))));
    let mut refused = refused.map(|(batch, _)| batch);
    refused.any(|batch| {
        let once = batch.require.iter().any(|need| matches!(need, Precondition::Once { .. }));
        let new = |change: &Change| {
            matches!(change, Change::PutCode(_) | Change::PutRefresh(_) | Change::RotateRefresh { .. } | Change::IssueToken(_))
        };
        once || batch.changes.iter().any(new)
    })
}

/// Whether a batch has to be the only one of its group.
pub(crate) fn goes_alone(batch: &Batch) -> bool {
    batch.changes.iter().any(|change| matches!(change, Change::Erase(_)))
}

/// Whether the batch may be tried at all: no action during an outage, and a note holds records alone.
pub(crate) fn permitted(batch: &Batch, outage: Option<&Outage>) -> Result<(), ApplyError> {
    match (batch.necessity, outage) {
        (Necessity::Act, Some(outage)) => Err(ApplyError::Unavailable(outage.clone())),
        (Necessity::Act, None) => Ok(()),
        (Necessity::Note, _) if batch.require.is_empty() && batch.changes.is_empty() => Ok(()),
        (Necessity::Note, _) => Err(ApplyError::Invalid("a note changes nothing".to_owned())),
    }
}

fn weigh<'b, 'a>(base: &'b Base, batch: &'a Batch, around: &Surroundings) -> Result<Weighing<'b, 'a>, ApplyError> {
    let tenant = base.snapshot.tenant();
    if batch.tenant != *tenant {
        return Err(ApplyError::Invalid(format!("this store belongs to tenant `{tenant}`")));
    }
    permitted(batch, around.outage.as_ref())?;
    let mut weighing = Weighing::new(base, around.now);
    for need in &batch.require {
        if !weighing.holds(need)? {
            return Err(ApplyError::Conflict(need.clone()));
        }
    }
    for change in &batch.changes {
        weighing.change(change)?;
    }
    Ok(weighing)
}

/// Adds what one batch writes to what its group writes.
fn merge(writes: &mut WriteSet, batch: WriteSet, sealed: Sealed) {
    writes.once.extend(batch.once);
    writes.budgets.extend(batch.budgets);
    writes.private.extend(sealed.private);
    writes.used_codes.extend(batch.used_codes);
    for (code, times) in batch.failed_codes {
        let known = writes.failed_codes.entry(code).or_default();
        *known = known.saturating_add(times);
    }
    writes.rotated.extend(batch.rotated);
    writes.revoked_families.extend(batch.revoked_families);
    writes.world.extend(batch.world);
    writes.forgotten.extend(batch.forgotten);
    writes.erasures.extend(batch.erasures);
    writes.finished.extend(batch.finished);
    writes.objects.extend(batch.objects);
    if let Some((revision, min_revision)) = batch.head {
        let known = writes.head.map_or(0, |(_, known)| known);
        writes.head = Some((revision, known.max(min_revision)));
    }
    writes.records.extend(sealed.records);
}

#[cfg(test)]
#[path = "admit_tests.rs"]
mod tests;
