//! Issuers that are trusted to say who a person is, and their keys.
//!
//! Implements JB-01 to JB-03, TX-02 and F-05: an issuer is known by its exact identifier, and trusted for the kinds of token that
//! its record names. Keys are fetched from the configured address, kept for as long as they may be used, and fetched again for a
//! signature that none of them made. What a token's person may hand over here is decided in `grants/foreign`.

use remit_clock::Clock;
use remit_model::{AgentId, Code, Refusal, UnixTime};
use remit_outbound::{Documents, Freshness, Limit, Outbound, OutboundError, Source};
use remit_token::{
    KeySet, Skew,
    foreign::{self, Expect, ForeignToken, Kind},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How long the keys of an issuer are used.
const FRESHNESS: Freshness = Freshness { least: 60, most: 600, retry: 10, stale: 0, withdrawn: false };

/// What is known of one issuer. SPEC: JB-01
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// Its identifier, compared exactly.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// The kinds of token that it is trusted for.
    pub kinds: BTreeSet<Kind>,
    /// Algorithms of its signatures; none for all that are verified here.
    pub algorithms: Vec<String>,
    /// Audiences of its tokens that mean this server, besides our issuer identifier.
    pub audiences: Vec<String>,
    /// Longest life of its tokens, in seconds.
    pub lifetime: i64,
    /// How long ago they may have been issued, in seconds.
    pub age: i64,
    /// Its clients that are agents here.
    pub clients: BTreeMap<String, AgentId>,
    /// Its people, by `sub`, with the name of their account here.
    pub people: BTreeMap<String, String>,
    /// The identity provider of this name is the same issuer, and its people have the accounts that their sign-in made.
    pub provider: Option<String>,
    /// Its scopes, with the scopes here that each of them stands for.
    pub scopes: BTreeMap<String, String>,
    /// Whether each of its access tokens is exchanged once only.
    pub single_use: bool,
}

/// Another authorization server that redeems our assertions. SPEC: IJ-05
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionAudience {
    /// Its issuer identifier.
    pub issuer: String,
    /// Agents that get assertions for it, with their client ids there.
    pub clients: BTreeMap<AgentId, String>,
    /// Resources behind it.
    pub resources: BTreeSet<String>,
    /// Scopes there that an assertion may name.
    pub scopes: BTreeSet<String>,
    /// Whether it understands `act`. SPEC: IJ-08
    pub act: bool,
}

/// Every trusted issuer, with the keys that were fetched.
#[derive(Debug)]
pub(crate) struct TrustedIssuers {
    documents: Documents,
    issuers: Vec<TrustedIssuer>,
}

impl TrustedIssuers {
    pub(crate) fn new(issuers: Vec<TrustedIssuer>, outbound: Outbound, clock: Clock) -> Self {
        Self { documents: Documents::new(outbound, clock, Source::Operator, Limit::KEYS, FRESHNESS), issuers }
    }

    /// Whether some issuer is trusted for tokens of this kind.
    pub(crate) fn accept(&self, kind: Kind) -> bool {
        self.issuers.iter().any(|issuer| issuer.kinds.contains(&kind))
    }

    /// Whether an access token says that it comes from another issuer than us, where some are trusted. Nothing of it is
    /// verified. `ours` is our issuer identifier.
    pub(crate) fn may_have_made(&self, compact: &str, ours: &str) -> bool {
        self.accept(Kind::AccessToken) && foreign::issuer(compact).is_ok_and(|issuer| issuer != ours)
    }

    /// Verifies a token. `ours` is our issuer identifier.
    ///
    /// # Errors
    /// As [`foreign::verify`]; `token_issuer_unknown` also for an issuer that is not trusted for this kind;
    /// `provider_unreachable` when its keys cannot be fetched.
    pub(crate) async fn verify(
        &self,
        compact: &str,
        kind: Kind,
        ours: &str,
        now: UnixTime,
        skew: Skew,
    ) -> Result<(ForeignToken, &TrustedIssuer), Refusal> {
        let issuer = foreign::issuer(compact)?;
        let unknown =
            || Refusal::new(Code::TokenIssuerUnknown, "the token comes from an issuer that is not trusted for this here");
        let trusted = self.find(&issuer, kind).ok_or_else(unknown)?;
        let more = if kind == Kind::IdJag { &[][..] } else { trusted.audiences.as_slice() };
        let audiences: Vec<String> = std::iter::once(ours.to_owned()).chain(more.iter().cloned()).collect();
        let expect = Expect {
            kind,
            issuer: &trusted.issuer,
            audiences: &audiences,
            algorithms: &trusted.algorithms,
            lifetime: trusted.lifetime,
            age: trusted.age,
        };
        let held = self.documents.get(&trusted.jwks_uri).await.map_err(|error| unreachable(&error))?;
        match foreign::verify(compact, &keys(&held)?, &expect, now, skew) {
            // The keys may have been rotated. SPEC: F-05
            Err(refusal) if refusal.code == Code::TokenSignatureInvalid => {
                let fetched = self.documents.refresh(&trusted.jwks_uri).await.map_err(|error| unreachable(&error))?;
                if Arc::ptr_eq(&held, &fetched) {
                    return Err(refusal);
                }
                foreign::verify(compact, &keys(&fetched)?, &expect, now, skew).map(|token| (token, trusted))
            }
            verified => verified.map(|token| (token, trusted)),
        }
    }

    fn find(&self, issuer: &str, kind: Kind) -> Option<&TrustedIssuer> {
        self.issuers.iter().find(|trusted| trusted.issuer == issuer && trusted.kinds.contains(&kind))
    }
}

fn keys(jwks: &Value) -> Result<KeySet, Refusal> {
    let unusable =
        |refusal: Refusal| Refusal::new(Code::ProviderUnreachable, format!("its keys cannot be read: {}", refusal.reason));
    KeySet::from_jwks(jwks).map_err(unusable)
}

fn unreachable(error: &OutboundError) -> Refusal {
    tracing::warn!(%error, "the keys of a trusted issuer cannot be fetched");
    Refusal::new(Code::ProviderUnreachable, "the keys of the token's issuer cannot be fetched now")
}
