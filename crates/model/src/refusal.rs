//! The two kinds of "no": a refusal is decided, explained and recorded; a fault is internal and only logged.
//!
//! A [`Refusal`] is protocol or policy saying no: it has a stable code, a reason a person can act on, and it is
//! recorded. A [`Fault`] is us breaking: it is logged with an id and never explained to the caller.

use crate::authentication::StepUp;
use serde::{Serialize, Serializer};
use std::fmt;

/// A stable, documented reason for saying no. `docs/refusals.md` has one row for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    // Requests we cannot read.
    RequestMalformed,
    RequestTooLarge,
    JsonDuplicateMember,
    JsonTooDeep,
    NameMalformed,
    MethodNotAllowed,
    MediaTypeUnsupported,
    HostNotAllowed,
    OriginNotAllowed,
    RateLimited,
    NotFound,
    // Who is calling.
    ClientUnauthenticated,
    ClientUnknown,
    ClientNotAllowed,
    AssertionReplayed,
    CredentialsInvalid,
    TokenMissing,
    TokenMalformed,
    TokenSignatureInvalid,
    TokenExpired,
    TokenNotYetValid,
    TokenRevoked,
    TokenTypeWrong,
    TokenAudienceWrong,
    TokenIssuerUnknown,
    DpopProofMissing,
    DpopProofInvalid,
    DpopProofReplayed,
    DpopNonceRequired,
    DpopKeyMismatch,
    CertificateMissing,
    CertificateMismatch,
    AgentQuarantined,
    AgentRetired,
    HumanDisabled,
    HumanUnknown,
    SignInEnded,
    SignInTooWeak,
    ProviderUnreachable,
    ProviderAnswerInvalid,
    PasskeyInvalid,
    PasskeyRequired,
    // OAuth grants.
    GrantTypeUnsupported,
    GrantInvalid,
    RedirectUriMismatch,
    PkceRequired,
    PkceMismatch,
    ConsentDenied,
    AuthorizationPending,
    SlowDown,
    DeviceCodeExpired,
    LoginRequired,
    ScopeUnknown,
    ResourceUnknown,
    AuthorizationDetailsInvalid,
    // Delegation.
    DelegationNotAllowed,
    DelegateNotNamed,
    ChainTooDeep,
    ChainCycle,
    ChainSpliced,
    ActorTokenInvalid,
    SubjectTokenUsed,
    EdgeProofInvalid,
    DelegationUnsigned,
    WidensScope,
    WidensArgument,
    WidensField,
    WidensLifetime,
    WidensLimit,
    WidensDelegation,
    WidensResource,
    AuthorityEmpty,
    ConstraintUnknown,
    // The call.
    ToolNotGranted,
    ArgumentNotGranted,
    BearerNotAllowed,
    ArgumentMalformed,
    GrantExpired,
    LimitExhausted,
    PolicyDenied,
    PolicyError,
    PolicyUnavailable,
    StepUpRequired,
    HeaderBodyMismatch,
    ProtocolVersionUnsupported,
    ProtocolMetaMissing,
    RpcMethodUnknown,
    SessionUnknown,
    SessionForeign,
    UpstreamUnavailable,
    UpstreamMalformed,
    CaptureFailed,
    ServerUnknown,
    // Ourselves.
    LedgerUnavailable,
    LedgerFull,
    SideStoreUnavailable,
    WitnessQuorumLost,
    ClockDisrupted,
    ClockUnknown,
    LegalHold,
    AdminUnauthenticated,
    ConfigInvalid,
    Internal,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: &'static [Self] = &[
        Self::RequestMalformed,
        Self::RequestTooLarge,
        Self::JsonDuplicateMember,
        Self::JsonTooDeep,
        Self::NameMalformed,
        Self::MethodNotAllowed,
        Self::MediaTypeUnsupported,
        Self::HostNotAllowed,
        Self::OriginNotAllowed,
        Self::RateLimited,
        Self::NotFound,
        Self::ClientUnauthenticated,
        Self::ClientUnknown,
        Self::ClientNotAllowed,
        Self::AssertionReplayed,
        Self::CredentialsInvalid,
        Self::TokenMissing,
        Self::TokenMalformed,
        Self::TokenSignatureInvalid,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenRevoked,
        Self::TokenTypeWrong,
        Self::TokenAudienceWrong,
        Self::TokenIssuerUnknown,
        Self::DpopProofMissing,
        Self::DpopProofInvalid,
        Self::DpopProofReplayed,
        Self::DpopNonceRequired,
        Self::DpopKeyMismatch,
        Self::CertificateMissing,
        Self::CertificateMismatch,
        Self::AgentQuarantined,
        Self::AgentRetired,
        Self::HumanDisabled,
        Self::HumanUnknown,
        Self::SignInEnded,
        Self::SignInTooWeak,
        Self::ProviderUnreachable,
        Self::ProviderAnswerInvalid,
        Self::PasskeyInvalid,
        Self::PasskeyRequired,
        Self::GrantTypeUnsupported,
        Self::GrantInvalid,
        Self::RedirectUriMismatch,
        Self::PkceRequired,
        Self::PkceMismatch,
        Self::ConsentDenied,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::DeviceCodeExpired,
        Self::LoginRequired,
        Self::ScopeUnknown,
        Self::ResourceUnknown,
        Self::AuthorizationDetailsInvalid,
        Self::DelegationNotAllowed,
        Self::DelegateNotNamed,
        Self::ChainTooDeep,
        Self::ChainCycle,
        Self::ChainSpliced,
        Self::ActorTokenInvalid,
        Self::SubjectTokenUsed,
        Self::EdgeProofInvalid,
        Self::DelegationUnsigned,
        Self::WidensScope,
        Self::WidensArgument,
        Self::WidensField,
        Self::WidensLifetime,
        Self::WidensLimit,
        Self::WidensDelegation,
        Self::WidensResource,
        Self::AuthorityEmpty,
        Self::ConstraintUnknown,
        Self::ToolNotGranted,
        Self::ArgumentNotGranted,
        Self::BearerNotAllowed,
        Self::ArgumentMalformed,
        Self::GrantExpired,
        Self::LimitExhausted,
        Self::PolicyDenied,
        Self::PolicyError,
        Self::PolicyUnavailable,
        Self::StepUpRequired,
        Self::HeaderBodyMismatch,
        Self::ProtocolVersionUnsupported,
        Self::ProtocolMetaMissing,
        Self::RpcMethodUnknown,
        Self::SessionUnknown,
        Self::SessionForeign,
        Self::UpstreamUnavailable,
        Self::UpstreamMalformed,
        Self::CaptureFailed,
        Self::ServerUnknown,
        Self::LedgerUnavailable,
        Self::LedgerFull,
        Self::SideStoreUnavailable,
        Self::WitnessQuorumLost,
        Self::ClockDisrupted,
        Self::ClockUnknown,
        Self::LegalHold,
        Self::AdminUnauthenticated,
        Self::ConfigInvalid,
        Self::Internal,
    ];

    /// The stable spelling that clients and records see: snake case of the variant's name.
    #[expect(clippy::too_many_lines, reason = "a table with one line for each code")]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestMalformed => "request_malformed",
            Self::RequestTooLarge => "request_too_large",
            Self::JsonDuplicateMember => "json_duplicate_member",
            Self::JsonTooDeep => "json_too_deep",
            Self::NameMalformed => "name_malformed",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::MediaTypeUnsupported => "media_type_unsupported",
            Self::HostNotAllowed => "host_not_allowed",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::RateLimited => "rate_limited",
            Self::NotFound => "not_found",
            Self::ClientUnauthenticated => "client_unauthenticated",
            Self::ClientUnknown => "client_unknown",
            Self::ClientNotAllowed => "client_not_allowed",
            Self::AssertionReplayed => "assertion_replayed",
            Self::CredentialsInvalid => "credentials_invalid",
            Self::TokenMissing => "token_missing",
            Self::TokenMalformed => "token_malformed",
            Self::TokenSignatureInvalid => "token_signature_invalid",
            Self::TokenExpired => "token_expired",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::TokenRevoked => "token_revoked",
            Self::TokenTypeWrong => "token_type_wrong",
            Self::TokenAudienceWrong => "token_audience_wrong",
            Self::TokenIssuerUnknown => "token_issuer_unknown",
            Self::DpopProofMissing => "dpop_proof_missing",
            Self::DpopProofInvalid => "dpop_proof_invalid",
            Self::DpopProofReplayed => "dpop_proof_replayed",
            Self::DpopNonceRequired => "dpop_nonce_required",
            Self::DpopKeyMismatch => "dpop_key_mismatch",
            Self::CertificateMissing => "certificate_missing",
            Self::CertificateMismatch => "certificate_mismatch",
            Self::AgentQuarantined => "agent_quarantined",
            Self::AgentRetired => "agent_retired",
            Self::HumanDisabled => "human_disabled",
            Self::HumanUnknown => "human_unknown",
            Self::SignInEnded => "sign_in_ended",
            Self::SignInTooWeak => "sign_in_too_weak",
            Self::ProviderUnreachable => "provider_unreachable",
            Self::ProviderAnswerInvalid => "provider_answer_invalid",
            Self::PasskeyInvalid => "passkey_invalid",
            Self::PasskeyRequired => "passkey_required",
            Self::GrantTypeUnsupported => "grant_type_unsupported",
            Self::GrantInvalid => "grant_invalid",
            Self::RedirectUriMismatch => "redirect_uri_mismatch",
            Self::PkceRequired => "pkce_required",
            Self::PkceMismatch => "pkce_mismatch",
            Self::ConsentDenied => "consent_denied",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::DeviceCodeExpired => "device_code_expired",
            Self::LoginRequired => "login_required",
            Self::ScopeUnknown => "scope_unknown",
            Self::ResourceUnknown => "resource_unknown",
            Self::AuthorizationDetailsInvalid => "authorization_details_invalid",
            Self::DelegationNotAllowed => "delegation_not_allowed",
            Self::DelegateNotNamed => "delegate_not_named",
            Self::ChainTooDeep => "chain_too_deep",
            Self::ChainCycle => "chain_cycle",
            Self::ChainSpliced => "chain_spliced",
            Self::ActorTokenInvalid => "actor_token_invalid",
            Self::SubjectTokenUsed => "subject_token_used",
            Self::EdgeProofInvalid => "edge_proof_invalid",
            Self::DelegationUnsigned => "delegation_unsigned",
            Self::WidensScope => "widens_scope",
            Self::WidensArgument => "widens_argument",
            Self::WidensField => "widens_field",
            Self::WidensLifetime => "widens_lifetime",
            Self::WidensLimit => "widens_limit",
            Self::WidensDelegation => "widens_delegation",
            Self::WidensResource => "widens_resource",
            Self::AuthorityEmpty => "authority_empty",
            Self::ConstraintUnknown => "constraint_unknown",
            Self::ToolNotGranted => "tool_not_granted",
            Self::ArgumentNotGranted => "argument_not_granted",
            Self::BearerNotAllowed => "bearer_not_allowed",
            Self::ArgumentMalformed => "argument_malformed",
            Self::GrantExpired => "grant_expired",
            Self::LimitExhausted => "limit_exhausted",
            Self::PolicyDenied => "policy_denied",
            Self::PolicyError => "policy_error",
            Self::PolicyUnavailable => "policy_unavailable",
            Self::StepUpRequired => "step_up_required",
            Self::HeaderBodyMismatch => "header_body_mismatch",
            Self::ProtocolVersionUnsupported => "protocol_version_unsupported",
            Self::ProtocolMetaMissing => "protocol_meta_missing",
            Self::RpcMethodUnknown => "rpc_method_unknown",
            Self::SessionUnknown => "session_unknown",
            Self::SessionForeign => "session_foreign",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::CaptureFailed => "capture_failed",
            Self::ServerUnknown => "server_unknown",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::LedgerFull => "ledger_full",
            Self::SideStoreUnavailable => "side_store_unavailable",
            Self::WitnessQuorumLost => "witness_quorum_lost",
            Self::ClockDisrupted => "clock_disrupted",
            Self::ClockUnknown => "clock_unknown",
            Self::LegalHold => "legal_hold",
            Self::AdminUnauthenticated => "admin_unauthenticated",
            Self::ConfigInvalid => "config_invalid",
            Self::Internal => "internal",
        }
    }

    /// Whether the refusal is about a token that was presented: what it is, says or is bound to.
    pub fn is_about_a_token(self) -> bool {
        matches!(
            self,
            Self::TokenMalformed
                | Self::TokenSignatureInvalid
                | Self::TokenExpired
                | Self::TokenNotYetValid
                | Self::TokenRevoked
                | Self::TokenTypeWrong
                | Self::TokenAudienceWrong
                | Self::TokenIssuerUnknown
                | Self::ChainSpliced
        )
    }

    /// Whether it says that nothing can be recorded or changed now, for any caller.
    pub fn is_outage(self) -> bool {
        matches!(
            self,
            Self::LedgerUnavailable
                | Self::LedgerFull
                | Self::SideStoreUnavailable
                | Self::WitnessQuorumLost
                | Self::ClockDisrupted
                | Self::ClockUnknown
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// A reasoned "no". The reason is for people and may name what would have been enough; it never carries a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub reason: String,
    /// After how many seconds it is worth trying again, where that is known.
    pub retry_after_s: Option<u32>,
    /// The sign-in that would be enough, where that is known.
    pub step_up: Option<Box<StepUp>>,
}

impl Refusal {
    /// A refusal with its stable code and a reason that a person can act on.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), retry_after_s: None, step_up: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

impl std::error::Error for Refusal {}

/// We broke. `context` goes to the log with an id; the caller sees only the id.
#[derive(Debug)]
pub struct Fault {
    pub context: String,
}

impl Fault {
    /// A fault with the text for the log. Callers never see it.
    pub fn new(context: impl fmt::Display) -> Self {
        Self { context: context.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::Code;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_listed_once_and_spelled_as_its_name() {
        let spelled: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(spelled.len(), Code::ALL.len());
        for code in Code::ALL {
            let variant = format!("{code:?}");
            let snake: String = variant
                .char_indices()
                .flat_map(|(at, c)| {
                    let lower = c.to_ascii_lowercase();
                    if c.is_ascii_uppercase() && at > 0 { vec!['_', lower] } else { vec![lower] }
                })
                .collect();
            assert_eq!(snake, code.as_str());
        }
    }
}
