//! Who may use the admin API, and how its acts are recorded.

use crate::{Console, error::No};
use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath},
    http::request::Parts,
};
use http::header;
use remit_ledger::record::{
    Auth, AuthMethod, DecisionFacts, DecisionResult, Draft, EffectConfirmed, Http, OutcomeStatus, Party, PartyKind, ProducerKind,
    Protocol, RecordType,
};
use remit_model::{Code, Refusal, ToolClass};
use remit_store::Batch;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use subtle::ConstantTimeEq as _;

/// The action of a record of a request without the credential.
const AUTHENTICATE: &str = "admin.authenticate";

/// Proof that the request carried the admin credential; a handler that takes it cannot be reached without.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    http: Option<Http>,
    src_ip: Option<IpAddr>,
}

impl FromRequestParts<Arc<Console>> for Admin {
    type Rejection = No;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, No> {
        let route = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
        let http = Http { method: parts.method.to_string(), route, ..Http::default() };
        let src_ip = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let credential =
            given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        // SPEC: X-11: the digests have one length, so the comparison takes one time.
        if credential.is_some_and(|(_, token)| bool::from(Console::digest(token.trim()).ct_eq(&console.admin_digest))) {
            return Ok(Self { http: Some(http), src_ip });
        }
        let refusal = Refusal::new(
            Code::AdminUnauthenticated,
            "send the admin credential that `remit init` wrote as `Authorization: Bearer …`",
        );
        if !console.store.records_refusal(AUTHENTICATE, refusal.code, src_ip) {
            return Err(refusal.into());
        }
        let mut draft =
            draft(console, RecordType::Decision, AUTHENTICATE, Party::new(PartyKind::Service, &console.issuer, "admin:unknown"));
        draft.http = Some(http);
        draft.src_ip = src_ip;
        draft.decision = Some(DecisionFacts::refused(&refusal));
        draft.outcome.status = OutcomeStatus::Denied;
        let record = record(console, Batch::new(console.tenant.clone()).note().record(draft)).await?;
        Err(No::Refused { refusal, record: Some(record) })
    }
}

impl Admin {
    /// The operator in a record of several requests that were admitted before; none of them alone is its source.
    pub(crate) fn several() -> Self {
        Self { http: None, src_ip: None }
    }

    /// The record of a change the operator made.
    pub(crate) fn change(self, console: &Console, action: &str) -> Draft {
        let mut party = Party::new(PartyKind::Service, &console.issuer, "admin:bootstrap");
        party.auth = Auth { method: AuthMethod::ApiKey, ..Auth::default() };
        let mut draft =
            draft(console, RecordType::ConfigChange, action, party).outcome(OutcomeStatus::Success, EffectConfirmed::Observed);
        draft.http = self.http;
        draft.src_ip = self.src_ip;
        draft.decision = Some(DecisionFacts::new(DecisionResult::Allow));
        draft
    }

    /// The record that the operator read the ledger.
    pub(crate) fn read(self, console: &Console, action: &str) -> Draft {
        let mut draft = self.change(console, action).outcome(OutcomeStatus::Success, EffectConfirmed::None);
        draft.record_type = RecordType::LogAccess;
        draft.action.class = ToolClass::Read;
        draft
    }
}

fn draft(console: &Console, kind: RecordType, action: &str, party: Party) -> Draft {
    Draft::new(console.tenant.clone(), ProducerKind::AuthzServer, kind)
        .action(action, ToolClass::Admin)
        .protocol(Protocol::Http)
        .chain(vec![party])
}

/// Commits a batch and returns the id of its record.
pub(crate) async fn record(console: &Console, batch: Batch) -> Result<String, No> {
    let applied = console.store.apply(batch).await?;
    Ok(applied.receipts.first().map(|receipt| receipt.record_id.clone()).unwrap_or_default())
}
