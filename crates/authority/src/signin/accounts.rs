//! Local accounts: bringing the store in line with the accounts that the configuration lists.
//!
//! Pure: it reads a snapshot and adds to a batch. It reads no file and checks no password.

use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{Human, HumanStatus, Identity, Managed, Passkeys, Principal, ToolClass, UnixTime};
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

/// Adds what makes the store's accounts those of `listed`, with one record when anything changes, and one more for each account
/// that is disabled or enabled: the verifiers hold uses against it, as against the records of the commands. An account that is not
/// listed any more is disabled, so that what it handed out stops and its name is not given to another person. Accounts that
/// are managed with commands stay as they are, unless they are listed: then the configuration manages them.
///
/// People of an identity provider are not listed: they come and go with the provider, by its issuer in `providers`. Those of
/// a provider that is not configured any more are disabled; if it is configured again, what they had handed out stays dead.
#[must_use]
pub fn sync(
    batch: Batch,
    snapshot: &Snapshot,
    issuer: &str,
    listed: Vec<Human>,
    providers: &BTreeSet<String>,
    now: UnixTime,
) -> Batch {
    let names: BTreeSet<String> = listed.iter().map(|human| human.name.clone()).collect();
    let disabled = snapshot.humans().filter_map(|human| {
        let known = human.identity.as_ref().is_some_and(|identity| providers.contains(&identity.issuer));
        match (&human.identity, human.status) {
            _ if names.contains(&human.name) => None,
            (None, HumanStatus::Active) if human.managed == Managed::Configuration => {
                Some(ended(Human { status: HumanStatus::Disabled, ..Human::clone(human) }, now))
            }
            (Some(_), HumanStatus::Active) if !known => Some(withdrawn(human, true, now)),
            (Some(Identity { withdrawn: true, .. }), _) if known => Some(withdrawn(human, false, now)),
            _ => None,
        }
    });
    let disabled: Vec<Human> = disabled.collect();
    // What has ended, and which passkeys people enrolled, is for the store to know, not for the configuration.
    let kept = |human: Human| match snapshot.human(&human.name) {
        Some(known) => {
            let passkeys = Passkeys { demanded: human.passkeys.demanded, ..known.passkeys.clone() };
            let human = Human { ended_before: known.ended_before, passkeys, ..human };
            let disabled = (known.status, human.status) == (HumanStatus::Active, HumanStatus::Disabled);
            if disabled { ended(human, now) } else { human }
        }
        None => human,
    };
    let changed = listed.into_iter().map(kept).filter(|human| snapshot.human(&human.name).map(Arc::as_ref) != Some(human));
    let changes: Vec<Human> = changed.chain(disabled).collect();
    if changes.is_empty() {
        return batch;
    }
    let draft = Draft::new(batch.tenant.clone(), ProducerKind::AuthzServer, RecordType::ConfigChange)
        .outcome(OutcomeStatus::Success, EffectConfirmed::Observed);
    let record = draft.clone().action("accounts.load", ToolClass::Admin);
    let batch = batch.record(record.ext("config", json!({"accounts_changed": changes.len()})));
    changes.into_iter().fold(batch, |batch, human| {
        let stands = standing(&draft, snapshot, issuer, &human);
        stands.into_iter().fold(batch, Batch::record).change(Change::PutHuman(human))
    })
}

/// The record that the account was disabled or enabled, if it was. Its plain part names no person.
fn standing(draft: &Draft, snapshot: &Snapshot, issuer: &str, human: &Human) -> Option<Draft> {
    let before = snapshot.human(&human.name)?;
    let action = match (before.status, human.status) {
        (HumanStatus::Active, HumanStatus::Disabled) => "account.disable",
        (HumanStatus::Disabled, HumanStatus::Active) => "account.enable",
        (HumanStatus::Active, HumanStatus::Active) | (HumanStatus::Disabled, HumanStatus::Disabled) => return None,
    };
    let record = draft.clone().action(action, ToolClass::Admin).owner(Principal::local(issuer, human.subject()));
    let moved = human.ended_before.filter(|end| before.ended_before < Some(*end));
    Some(match moved {
        Some(end) => record.ext("sign_in", json!({"ended_before": end, "cause": "disabled"})),
        None => record,
    })
}

/// The account once whatever it signed in for has ended. A second later, so that what began in this very second has ended, too.
fn ended(human: Human, now: UnixTime) -> Human {
    Human { ended_before: human.ended_before.max(Some(now.plus(1))), ..human }
}

/// The account without its provider, or with it again: then nothing counts that was handed out before.
fn withdrawn(human: &Human, withdrawn: bool, now: UnixTime) -> Human {
    let deactivated = human.identity.as_ref().is_some_and(Identity::is_deactivated);
    let status = if withdrawn || deactivated { HumanStatus::Disabled } else { HumanStatus::Active };
    let identity = human.identity.clone().map(|identity| Identity { withdrawn, ..identity });
    ended(Human { status, identity, ..human.clone() }, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_model::{Authority, TenantId};
    use remit_store::Store;

    const ISSUER: &str = "https://auth.example";

    fn human(name: &str, managed: Managed) -> Human {
        Human { managed, ..remit_testkit::human(name, Authority::none()) }
    }

    #[tokio::test]
    async fn the_configuration_leaves_accounts_of_commands_alone_until_it_lists_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(remit_testkit::store_config(dir.path(), remit_testkit::clock())).unwrap();
        let put =
            [human("listed", Managed::Configuration), human("gone", Managed::Configuration), human("made", Managed::Command)];
        let batch = Batch::new(TenantId::main());
        store.apply(put.into_iter().map(Change::PutHuman).fold(batch, Batch::change)).await.unwrap();
        let load = async |listed: Vec<Human>| {
            store
                .apply(sync(
                    Batch::new(TenantId::main()),
                    &store.snapshot(),
                    ISSUER,
                    listed,
                    &BTreeSet::new(),
                    remit_testkit::NOW,
                ))
                .await
                .unwrap();
            let world = store.snapshot();
            ["listed", "gone", "made"].map(|name| (world.human(name).unwrap().status, world.human(name).unwrap().managed))
        };
        let (active, disabled) = (HumanStatus::Active, HumanStatus::Disabled);
        let (file, command) = (Managed::Configuration, Managed::Command);
        let listed = human("listed", file);
        assert_eq!(load(vec![listed.clone()]).await, [(active, file), (disabled, file), (active, command)]);
        assert_eq!(load(vec![listed, human("made", file)]).await, [(active, file), (disabled, file), (active, file)]);
    }

    #[tokio::test]
    async fn people_of_a_provider_go_with_it_and_come_back_without_what_they_had_handed_out() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(remit_testkit::store_config(dir.path(), remit_testkit::clock())).unwrap();
        let identity =
            |withdrawn| Identity { issuer: "https://id.example".into(), subject: "1".into(), withdrawn, provisioned: None };
        let person = Human { identity: Some(identity(false)), ..human("corp-1", Managed::Configuration) };
        store.apply(Batch::new(TenantId::main()).change(Change::PutHuman(person))).await.unwrap();
        let now = remit_testkit::NOW;
        let load = async |providers: &[&str], at: UnixTime| {
            let providers = providers.iter().map(|issuer| (*issuer).to_owned()).collect();
            store.apply(sync(Batch::new(TenantId::main()), &store.snapshot(), ISSUER, Vec::new(), &providers, at)).await.unwrap();
            let person = store.snapshot().human("corp-1").cloned().unwrap();
            (person.status, person.ended_before, person.identity.clone().unwrap().withdrawn)
        };
        assert_eq!(load(&["https://id.example"], now).await, (HumanStatus::Active, None, false));
        assert_eq!(load(&["https://other.example"], now).await, (HumanStatus::Disabled, Some(now.plus(1)), true));
        assert_eq!(load(&[], now.plus(50)).await, (HumanStatus::Disabled, Some(now.plus(1)), true), "once");
        let again = (HumanStatus::Active, Some(now.plus(101)), false);
        assert_eq!(load(&["https://id.example"], now.plus(100)).await, again);
        // Who was disabled otherwise stays so.
        let person =
            Human { identity: Some(identity(false)), status: HumanStatus::Disabled, ..human("corp-1", Managed::Configuration) };
        store.apply(Batch::new(TenantId::main()).change(Change::PutHuman(person))).await.unwrap();
        assert_eq!(load(&["https://id.example"], now.plus(200)).await.0, HumanStatus::Disabled);
    }

    /// SPEC: DC-13
    #[tokio::test]
    async fn dc_13_who_is_disabled_or_enabled_by_the_configuration_stands_in_the_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(remit_testkit::store_config(dir.path(), remit_testkit::clock())).unwrap();
        let disabled = |name: &str| Human { status: HumanStatus::Disabled, ..human(name, Managed::Configuration) };
        let put = [human("alice", Managed::Configuration), Human { managed: Managed::Command, ..disabled("bob") }];
        store.apply(put.into_iter().map(Change::PutHuman).fold(Batch::new(TenantId::main()), Batch::change)).await.unwrap();
        let now = remit_testkit::NOW;
        let load = async |listed: Vec<Human>, at: UnixTime| {
            let from = store.len();
            let batch = sync(Batch::new(TenantId::main()), &store.snapshot(), ISSUER, listed, &BTreeSet::new(), at);
            store.apply(batch).await.unwrap();
            let records = store.records(from, 10).await.unwrap();
            let records: Vec<serde_json::Value> =
                records.iter().map(|record| serde_json::from_slice(&record.bytes).unwrap()).collect();
            // Each record has an owner: that of the load is the server itself.
            let told = records.iter().map(|record| -> (String, bool, Option<i64>) {
                let action = record["action"]["name"].as_str().unwrap().to_owned();
                let of_a_person = record["owner_ref"] != records[0]["owner_ref"];
                (action, of_a_person, record["ext"]["sign_in"]["ended_before"].as_i64())
            });
            told.collect::<Vec<_>>()
        };
        let loaded = ("accounts.load".to_owned(), false, None);
        let (file, stopped, back) = (Managed::Configuration, "account.disable".to_owned(), "account.enable".to_owned());
        let both = || vec![human("alice", file), human("bob", file)];
        assert_eq!(load(both(), now).await, [loaded.clone(), (back.clone(), true, None)], "whom a command had disabled");
        assert_eq!(load(both(), now).await, [], "nothing changed");
        let end = |at: UnixTime| (stopped.clone(), true, Some(at.0 + 1));
        assert_eq!(load(vec![disabled("alice"), human("bob", file)], now).await, [loaded.clone(), end(now)], "by its entry");
        assert_eq!(load(vec![human("alice", file)], now.plus(9)).await.len(), 3, "one comes back, one is listed no more");
        let world = store.snapshot();
        let ends = ["alice", "bob"].map(|name| (world.human(name).unwrap().status, world.human(name).unwrap().ended_before));
        assert_eq!(ends, [(HumanStatus::Active, Some(now.plus(1))), (HumanStatus::Disabled, Some(now.plus(10)))]);
    }
}
