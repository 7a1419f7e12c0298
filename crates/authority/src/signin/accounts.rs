//! Local accounts: bringing the store in line with the accounts that the configuration lists.
//!
//! Pure: it reads a snapshot and adds to a batch. It reads no file and checks no password.

use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{Human, HumanStatus, Passkeys, ToolClass};
use remit_store::{Batch, Change, Snapshot};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};

/// Parts `listed` into the accounts that a running server may take over, and the positions in `listed`, from 0, of those that
/// were erased: an earlier configuration of this process listed them (`before`), and the snapshot has no such account.
#[must_use]
pub fn without_erased(snapshot: &Snapshot, listed: Vec<Human>, before: &BTreeSet<String>) -> (Vec<Human>, Vec<usize>) {
    let erased = |human: &Human| before.contains(&human.name) && snapshot.human(&human.name).is_none();
    let positions = listed.iter().enumerate().filter(|(_, human)| erased(human)).map(|(at, _)| at).collect();
    (listed.into_iter().filter(|human| !erased(human)).collect(), positions)
}

/// Adds what makes the store's accounts those of `listed`, with one record when anything changes. An account that is not
/// listed any more is disabled, so that what it handed out stops and its name is not given to another person.
#[must_use]
pub fn sync(batch: Batch, snapshot: &Snapshot, listed: Vec<Human>) -> Batch {
    let names: BTreeSet<String> = listed.iter().map(|human| human.name.clone()).collect();
    let gone = snapshot.humans().filter(|human| human.status == HumanStatus::Active && !names.contains(&human.name));
    let disabled: Vec<Human> = gone.map(|human| Human { status: HumanStatus::Disabled, ..Human::clone(human) }).collect();
    // What has ended, and which passkeys people enrolled, is for the store to know, not for the configuration.
    let kept = |human: Human| match snapshot.human(&human.name) {
        Some(known) => {
            let passkeys = Passkeys { demanded: human.passkeys.demanded, ..known.passkeys.clone() };
            Human { ended_before: known.ended_before, passkeys, ..human }
        }
        None => human,
    };
    let changed = listed.into_iter().map(kept).filter(|human| snapshot.human(&human.name).map(Arc::as_ref) != Some(human));
    let changes: Vec<Change> = changed.chain(disabled).map(Change::PutHuman).collect();
    if changes.is_empty() {
        return batch;
    }
    let record = Draft::new(batch.tenant.clone(), ProducerKind::AuthzServer, RecordType::ConfigChange)
        .action("accounts.load", ToolClass::Admin)
        .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
        .ext("config", json!({"accounts_changed": changes.len()}));
    changes.into_iter().fold(batch, Batch::change).record(record)
}
