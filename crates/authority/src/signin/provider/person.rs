//! Whom a provider's ID token makes of whom: the account of a person, made or brought up to date when they sign in.

use super::settings::{ProviderSettings, display_name};
use crate::{Server, http::error::Rejection, offboarding::end::accounts};
use remit_decide::facts;
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{Code, Fault, Human, HumanStatus, Identity, Managed, Passkeys, Principal, Refusal, ToolClass};
use remit_store::{Batch, Change, Precondition, Snapshot};
use remit_token::provider_id_token::ProviderIdToken;
use serde_json::json;

/// The person of an ID token, and what changes with their arrival.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) human: Human,
    /// What is new of them, in a word for the record; `None` when nothing is.
    change: Option<&'static str>,
}

/// # Errors
/// `human_disabled`; a fault when the local name is taken by another account.
pub(crate) fn arrive(snapshot: &Snapshot, provider: &ProviderSettings, token: &ProviderIdToken) -> Result<Arrival, Rejection> {
    let identity = provider.identity(token);
    let name = identity.local_name(&provider.name);
    let known = snapshot.human(&name);
    let entitlements = provider.entitlements(&token.all);
    let shown = display_name(&token.all);
    let Some(known) = known else {
        // The provider may have had another name here: who is disabled under it is disabled.
        if accounts(snapshot, &identity.issuer, &identity.subject).iter().any(|human| is_stopped(human)) {
            return Err(Refusal::new(Code::HumanDisabled, "the account of this person is disabled").into());
        }
        let display_name = shown.unwrap_or_else(|| name.clone());
        let human = Human {
            name,
            display_name,
            status: HumanStatus::Active,
            password_hash: None,
            entitlements,
            identity: Some(identity),
            ended_before: None,
            passkeys: Passkeys::default(),
            managed: Managed::default(),
        };
        return Ok(Arrival { human, change: Some("created") });
    };
    // INVARIANT: a local name belongs to one issuer and subject; the digest in it says so.
    if known.identity.as_ref().is_none_or(|held| (&held.issuer, &held.subject) != (&identity.issuer, &identity.subject)) {
        return Err(Fault::new(format!("the local name `{name}` is taken by another account")).into());
    }
    if is_stopped(known) {
        return Err(Refusal::new(Code::HumanDisabled, format!("the account of `{}` is disabled", known.subject())).into());
    }
    let display_name = shown.unwrap_or_else(|| known.display_name.clone());
    let change = match () {
        () if known.entitlements != entitlements => Some("entitlements"),
        () if known.display_name != display_name => Some("name"),
        () => None,
    };
    Ok(Arrival { human: Human { display_name, entitlements, ..Human::clone(known) }, change })
}

fn is_stopped(human: &Human) -> bool {
    human.status == HumanStatus::Disabled || human.identity.as_ref().is_some_and(Identity::is_deactivated)
}

impl Arrival {
    /// Adds the account and its record, if anything changes.
    pub(crate) fn enter(&self, server: &Server, provider: &ProviderSettings, batch: Batch, revision: u64) -> Batch {
        let Some(change) = self.change else { return batch };
        let human = &self.human;
        let person = Principal::human(&server.issuer, &human.name);
        let facts_of = json!({"change": change, "provider": provider.name, "entitlements_digest": human.entitlements.digest()});
        let record = Draft::new(server.tenant.clone(), ProducerKind::AuthzServer, RecordType::ConfigChange)
            .action("account.sign_in", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .chain(facts::parties([&person]))
            .ext("account", facts_of)
            .commit("/account/entitlements", human.entitlements.to_value());
        // What an administrator changed meanwhile must not be written over.
        batch.require(Precondition::Revision(revision)).change(Change::PutHuman(human.clone())).record(record)
    }
}
