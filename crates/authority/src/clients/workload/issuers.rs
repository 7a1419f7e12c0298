//! The trusted issuers and their keys: at a configured address, or where the issuer's discovery document says.
//!
//! Implements OpenID Connect Discovery 1.0 §4 by appending to the issuer; rules JB-01, KS-01, F-05, F-07.

use super::{WorkloadSource, token_file};
use crate::clients::key_sets::KeySets;
use axum::http::HeaderMap;
use remit_clock::Clock;
use remit_outbound::{Documents, Freshness, Limit, Outbound, Source};
use remit_token::KeySet;
use std::{fmt, sync::Arc};

/// Discovery documents rarely change.
const FRESHNESS: Freshness = Freshness { least: 60, most: 3_600, retry: 10, stale: 3_600, withdrawn: false };

/// The issuers that the operator trusts.
pub(crate) struct WorkloadIssuers {
    trusted: Vec<WorkloadSource>,
    discovery: Documents,
}

impl WorkloadIssuers {
    pub(crate) fn new(trusted: Vec<WorkloadSource>, outbound: &Outbound, clock: &Clock) -> Self {
        let discovery = Documents::new(outbound.clone(), clock.clone(), Source::Operator, Limit::METADATA, FRESHNESS);
        Self { trusted, discovery }
    }

    /// Whether no issuer is configured.
    pub(crate) fn is_empty(&self) -> bool {
        self.trusted.is_empty()
    }

    /// The issuer whose tokens say this `iss`, to the letter. SPEC: J-07, N-JB-06
    pub(crate) fn find(&self, iss: &str) -> Option<&WorkloadSource> {
        self.trusted.iter().find(|trusted| trusted.rules.issuer == iss)
    }

    /// The issuer's keys, fetched again if they do not have the `wanted` one.
    ///
    /// # Errors
    /// Why there are none, for the log.
    pub(crate) async fn keys(
        &self,
        issuer: &WorkloadSource,
        key_sets: &KeySets,
        wanted: impl Fn(&KeySet) -> bool,
    ) -> Result<Arc<KeySet>, String> {
        let headers = match &issuer.token_file {
            Some(file) => token_file::bearer(file)?,
            None => HeaderMap::new(),
        };
        let uri = match &issuer.jwks_uri {
            Some(uri) => uri.clone(),
            None => self.discovered(issuer, &headers).await?,
        };
        key_sets.find_with(&uri, Source::Operator, &headers, wanted).await.map_err(|error| error.to_string())
    }

    async fn discovered(&self, issuer: &WorkloadSource, headers: &HeaderMap) -> Result<String, String> {
        let iss = &issuer.rules.issuer;
        let url = format!("{}/.well-known/openid-configuration", iss.trim_end_matches('/'));
        let document = self.discovery.get_with(&url, headers).await.map_err(|error| error.to_string())?;
        if document.get("issuer").and_then(serde_json::Value::as_str) != Some(iss) {
            return Err(format!("{url} is about another issuer"));
        }
        let uri = document.get("jwks_uri").and_then(serde_json::Value::as_str);
        uri.map(str::to_owned).ok_or_else(|| format!("{url} names no `jwks_uri`"))
    }
}

impl fmt::Debug for WorkloadIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadIssuers").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}
