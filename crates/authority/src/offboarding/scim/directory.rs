//! Finding the people whom a provider provisioned.

use super::filter::Filter;
use crate::signin::provider::ProviderSettings;
use remit_model::{Human, Identity, Provisioned};
use remit_store::Snapshot;
use std::sync::Arc;

/// What is kept of a user whom this provider provisioned and did not delete.
///
/// INVARIANT: a provider sees and changes its own people alone, whatever id it sends.
pub(super) fn provisioned<'a>(provider: &ProviderSettings, human: &'a Human) -> Option<&'a Provisioned> {
    let identity = human.identity.as_ref().filter(|identity| identity.issuer == provider.issuer)?;
    identity.provisioned.as_deref().filter(|kept| !kept.deleted)
}

/// The account that a user of this `sub` has here, or will have.
pub(super) fn identity(provider: &ProviderSettings, subject: &str) -> Identity {
    Identity { issuer: provider.issuer.clone(), subject: subject.to_owned(), withdrawn: false, provisioned: None }
}

/// The user with an id.
pub(super) fn by_id<'a>(snapshot: &'a Snapshot, provider: &ProviderSettings, id: &str) -> Option<&'a Arc<Human>> {
    snapshot.human(id).filter(|human| provisioned(provider, human).is_some())
}

/// Those that a filter is about, or all, in the order of their ids.
pub(super) fn search(snapshot: &Snapshot, provider: &ProviderSettings, filter: Option<&Filter>) -> Vec<Arc<Human>> {
    let meant = |human: &&Arc<Human>| {
        let Some(kept) = provisioned(provider, human) else { return false };
        match filter {
            None => true,
            Some(Filter::UserName(name)) => same_name(&kept.user_name, name),
            Some(Filter::ExternalId(id)) => kept.external_id.as_ref() == Some(id),
            Some(Filter::Id(id)) => human.name == *id,
            Some(Filter::Active(active)) => kept.active == *active,
        }
    };
    let mut found: Vec<Arc<Human>> = snapshot.humans().filter(meant).cloned().collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Whether another user than `id` has this name. SPEC: RFC 7643 §4.1.1: it is unique, without regard to letter case.
pub(super) fn name_is_taken(snapshot: &Snapshot, provider: &ProviderSettings, name: &str, id: &str) -> bool {
    let taken = |human: &Arc<Human>| {
        human.name != id && provisioned(provider, human).is_some_and(|kept| same_name(&kept.user_name, name))
    };
    snapshot.humans().any(taken)
}

/// How many people of this provider are kept as provisioned, deleted ones included.
pub(super) fn count(snapshot: &Snapshot, provider: &ProviderSettings) -> usize {
    let kept = |human: &&Arc<Human>| {
        human.identity.as_ref().is_some_and(|identity| identity.issuer == provider.issuer && identity.provisioned.is_some())
    };
    snapshot.humans().filter(kept).count()
}

fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
