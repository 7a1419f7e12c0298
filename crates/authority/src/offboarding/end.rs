//! Ending what a person handed out, because their identity provider says so: one batch with its record.
//!
//! SPEC: DC-13. From the commit on, whatever rests on an authentication of the person before it is refused, for good.

use crate::{
    Server,
    grants::attempt::Once,
    http::{error::Rejection, origin::RequestOrigin},
    tokens::{issue, record},
};
use remit_decide::facts;
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{Human, Principal, ToolClass, UnixTime};
use remit_store::{Batch, Change, Snapshot};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How the provider let us know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// A logout token came. OpenID Connect Back-Channel Logout 1.0.
    BackchannelLogout,
    /// The provider was asked, and refused.
    ProviderRefused,
    /// The account was deactivated or deleted through SCIM. RFC 7644.
    Scim,
    /// A security event came through the Shared Signals Framework. RFC 8417, CAEP 1.0.
    SecurityEvent,
}

impl Means {
    /// The word for it in a record.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BackchannelLogout => "backchannel_logout",
            Self::ProviderRefused => "provider_refused",
            Self::Scim => "scim",
            Self::SecurityEvent => "security_event",
        }
    }
}

/// Why a person's sign-ins end.
#[derive(Clone, Debug)]
pub(crate) struct Cause<'a> {
    /// The provider's name here.
    pub(crate) provider: &'a str,
    pub(crate) means: Means,
    /// The id of the event, such as a `jti`; the record has its digest.
    pub(crate) event: Option<&'a str>,
    /// What else the record says: plain words, neither names nor secrets.
    pub(crate) facts: Map<String, Value>,
    /// Where the event arrived, when it did by a request.
    pub(crate) origin: Option<&'a RequestOrigin>,
}

impl<'a> Cause<'a> {
    pub(crate) fn new(provider: &'a str, means: Means) -> Self {
        Self { provider, means, event: None, facts: Map::new(), origin: None }
    }
}

/// What ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The local names of whose sign-ins ended; none when the provider's person never came here.
    pub(crate) people: Vec<String>,
    /// Whatever they signed in for before this time is dead.
    pub(crate) before: UnixTime,
    /// The ids of the records, one for each person, or one that says that the person is not known.
    pub(crate) records: Vec<String>,
}

/// The accounts of a provider's person: one for each name that the provider had here while the person signed in.
pub(crate) fn accounts(snapshot: &Snapshot, issuer: &str, subject: &str) -> Vec<Arc<Human>> {
    let same = |human: &&Arc<Human>| {
        human.identity.as_ref().is_some_and(|identity| identity.issuer == issuer && identity.subject == subject)
    };
    snapshot.humans().filter(same).cloned().collect()
}

/// Ends everything that these people handed out, in one batch with a record for each, and uses up `once` with it. A person who is not
/// known is no error: it is recorded.
///
/// # Errors
/// What of `once` was used before, and outages, as refusals; anything else that the store says, as a fault.
pub(crate) async fn end_people(
    server: &Server,
    people: &[Arc<Human>],
    cause: &Cause<'_>,
    once: &[Once],
) -> Result<Ended, Rejection> {
    // A second later, so that what began in this very second has ended, too.
    let before = server.now().plus(1);
    let mut batch = Batch::new(server.tenant.clone());
    for human in people {
        batch = batch
            .change(Change::EndHuman { name: human.name.clone(), before })
            .change(Change::DropProviderSession { human: human.name.clone() })
            .record(entry(server, cause, Some((human, before))));
    }
    if people.is_empty() {
        batch = batch.record(entry(server, cause, None));
    }
    let applied = issue::commit(server, once, None, batch).await?;
    let names: Vec<String> = people.iter().map(|human| human.name.clone()).collect();
    for name in &names {
        server.asking.forget(name);
    }
    tracing::info!(provider = cause.provider, cause = cause.means.as_str(), people = names.len(), "sign-ins ended");
    Ok(Ended { people: names, before, records: applied.receipts.into_iter().map(|receipt| receipt.record_id).collect() })
}

/// Adds to a batch what ends the sign-ins of these people, with a record for each: for a change that belongs to one commit with it.
pub(crate) fn with_ends(server: &Server, batch: Batch, people: &[Arc<Human>], cause: &Cause<'_>, before: UnixTime) -> Batch {
    people.iter().fold(batch, |batch, human| {
        batch
            .change(Change::EndHuman { name: human.name.clone(), before })
            .change(Change::DropProviderSession { human: human.name.clone() })
            .record(entry(server, cause, Some((human, before))))
    })
}

/// The record. Its plain part names no person. The verifiers hold later uses against `ext.sign_in.ended_before`, of the person
/// whose pseudonym is `owner_ref`.
fn entry(server: &Server, cause: &Cause<'_>, ended: Option<(&Human, UnixTime)>) -> Draft {
    let mut plain = cause.facts.clone();
    plain.insert("provider".to_owned(), json!(cause.provider));
    plain.insert("cause".to_owned(), json!(cause.means.as_str()));
    if let Some(event) = cause.event {
        plain.insert("event".to_owned(), json!(record::hash(event)));
    }
    let mut draft = Draft::new(server.tenant.clone(), ProducerKind::AuthzServer, RecordType::ConfigChange)
        .action("account.end_sign_ins", ToolClass::Admin)
        .outcome(OutcomeStatus::Success, EffectConfirmed::Observed);
    match ended {
        Some((human, before)) => {
            plain.insert("ended_before".to_owned(), json!(before));
            let person = Principal::human(&server.issuer, &human.name);
            draft = draft.chain(facts::parties([&person])).owner(person);
        }
        None => {
            plain.insert("person".to_owned(), json!("unknown"));
        }
    }
    if let Some(origin) = cause.origin {
        origin.note(&mut draft);
    }
    draft.ext("sign_in", Value::Object(plain))
}
