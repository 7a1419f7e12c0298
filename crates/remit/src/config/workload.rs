//! `workload_issuers` and `spiffe`: who vouches for workloads.

use remit_authority::{BundleSource, TrustDomain, WorkloadSource, WorkloadTrust};
use remit_model::{ServerId, WorkloadIssuer, WorkloadKind, spiffe};
use remit_token::Algorithm;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use url::{Host, Url};

/// An issuer whose tokens prove a workload: a Kubernetes cluster, a CI system, a cloud.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WorkloadIssuerSection {
    /// What kind of issuer it is: `github`, `gitlab`, `kubernetes` or `oidc` (any other).
    pub(crate) preset: Preset,
    /// `iss` of its tokens, to the letter. GitHub's and GitLab's public ones need not be named.
    pub(crate) issuer: Option<String>,
    /// URL of its keys; without it the issuer's discovery document names it.
    pub(crate) jwks_uri: Option<String>,
    /// Signature algorithms it may use.
    pub(crate) algorithms: Vec<String>,
    /// Longest life of its tokens in seconds, at most 86400; 3600 by default, and for GitHub 21600.
    pub(crate) max_lifetime_s: Option<u32>,
    /// Longest time in seconds since a token was issued; 600 by default, and for Kubernetes no limit.
    pub(crate) max_age_s: Option<u32>,
    /// Whether each token is good for one request; the default, except for Kubernetes.
    pub(crate) single_use: Option<bool>,
    /// Claims that an agent must pin besides those that the preset demands.
    pub(crate) required_claims: Vec<String>,
    /// Kubernetes: base URL of the API server that is asked about each token (`TokenReview`).
    pub(crate) token_review: Option<String>,
    /// File with a bearer token for the issuer's endpoints, read anew for each request.
    pub(crate) token_file: Option<PathBuf>,
}

/// What kind of issuer it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preset {
    Github,
    Gitlab,
    Kubernetes,
    #[default]
    Oidc,
}

/// SPIFFE trust domains.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SpiffeSection {
    /// The trust domains whose JWT-SVIDs are accepted, by name; each is verified with its own bundle alone.
    pub(crate) trust_domains: BTreeMap<String, TrustDomainSection>,
}

/// A trust domain: exactly one of `bundle_url` and `bundle_file`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrustDomainSection {
    /// Its bundle endpoint, with a certificate of the Web PKI (`https_web`) or of `outbound.ca_file`.
    pub(crate) bundle_url: Option<String>,
    /// A file with its bundle that another program keeps current.
    pub(crate) bundle_file: Option<PathBuf>,
    /// Longest time in seconds that a JWT-SVID may have left, at most 3600.
    pub(crate) max_lifetime_s: u32,
    /// How long in seconds the last good bundle is used while it cannot be refreshed, at most 604800.
    pub(crate) max_stale_s: u32,
}

impl Default for TrustDomainSection {
    fn default() -> Self {
        Self { bundle_url: None, bundle_file: None, max_lifetime_s: 300, max_stale_s: 86_400 }
    }
}

impl Preset {
    fn kind(self) -> WorkloadKind {
        match self {
            Self::Github => WorkloadKind::Github,
            Self::Gitlab => WorkloadKind::Gitlab,
            Self::Kubernetes => WorkloadKind::Kubernetes,
            Self::Oidc => WorkloadKind::Oidc,
        }
    }

    fn usual_issuer(self) -> Option<&'static str> {
        match self {
            Self::Github => Some("https://token.actions.githubusercontent.com"),
            Self::Gitlab => Some("https://gitlab.com"),
            Self::Kubernetes | Self::Oidc => None,
        }
    }
}

impl WorkloadIssuerSection {
    fn iss(&self) -> Option<&str> {
        self.issuer.as_deref().or_else(|| self.preset.usual_issuer())
    }

    /// What the section says, for the server and for the admin API.
    pub(crate) fn rules(&self, name: &str) -> WorkloadIssuer {
        let cluster = self.preset == Preset::Kubernetes;
        let lifetime = if self.preset == Preset::Github { 21_600 } else { 3_600 };
        let usual = || vec!["RS256".to_owned(), "ES256".to_owned()];
        WorkloadIssuer {
            name: name.to_owned(),
            kind: self.preset.kind(),
            issuer: self.iss().unwrap_or_default().to_owned(),
            algorithms: if self.algorithms.is_empty() { usual() } else { self.algorithms.clone() },
            max_lifetime: self.max_lifetime_s.unwrap_or(lifetime).into(),
            max_age: self.max_age_s.or((!cluster).then_some(600)).map(i64::from),
            single_use: self.single_use.unwrap_or(!cluster),
            required_claims: self.required_claims.clone(),
        }
    }
}

/// What the operator trusts, with files as seen from `base`.
pub(crate) fn trust(issuers: &BTreeMap<String, WorkloadIssuerSection>, spiffe: &SpiffeSection, base: &Path) -> WorkloadTrust {
    let issuers = issuers.iter().map(|(name, section)| WorkloadSource {
        rules: section.rules(name),
        jwks_uri: section.jwks_uri.clone(),
        token_review: section.token_review.clone(),
        token_file: section.token_file.as_ref().map(|file| base.join(file)),
    });
    let domains = spiffe.trust_domains.iter().filter_map(|(name, section)| {
        let bundle = match (&section.bundle_url, &section.bundle_file) {
            (Some(url), _) => BundleSource::Url(url.clone()),
            (None, file) => BundleSource::File(base.join(file.as_ref()?)),
        };
        let (max_lifetime, max_stale) = (section.max_lifetime_s.into(), section.max_stale_s.into());
        Some(TrustDomain { name: name.clone(), bundle, max_lifetime, max_stale })
    });
    WorkloadTrust { issuers: issuers.collect(), domains: domains.collect() }
}

/// What is wrong with the issuers, each with its name.
pub(crate) fn issuer_problems(issuers: &BTreeMap<String, WorkloadIssuerSection>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (name, section) in issuers {
        let mut wrong = |reason: String| problems.push((name.clone(), format!("workload_issuers.{name}{reason}")));
        if let Err(refusal) = ServerId::parse(name) {
            wrong(format!(": {}", refusal.reason));
        }
        match section.iss() {
            None => wrong(".issuer: name the `iss` of its tokens".to_owned()),
            // An issuer is compared, and fetched from only where nothing else says where its keys are.
            Some(iss) if section.jwks_uri.is_none() => {
                if let Err(reason) = fetchable(iss) {
                    wrong(format!(".issuer: {reason}; or give `jwks_uri`"));
                }
            }
            Some(_) => {}
        }
        if issuers.iter().any(|(other, section)| other < name && section.iss() == issuers.get(name).and_then(|one| one.iss())) {
            wrong(".issuer: another one of `workload_issuers` has the same `iss`".to_owned());
        }
        for (key, url) in [("jwks_uri", &section.jwks_uri), ("token_review", &section.token_review)] {
            if let Some(Err(reason)) = url.as_deref().map(fetchable) {
                wrong(format!(".{key}: {reason}"));
            }
        }
        if section.token_review.is_some() && section.preset != Preset::Kubernetes {
            wrong(".token_review: only a `kubernetes` issuer reviews tokens".to_owned());
        }
        if let Some(unknown) = section.algorithms.iter().find(|name| !Algorithm::ACCEPTED.contains(&name.as_str())) {
            wrong(format!(".algorithms: `{unknown}` is not one of {}", Algorithm::ACCEPTED.join(", ")));
        }
        if section.max_lifetime_s.is_some_and(|seconds| !(60..=86_400).contains(&seconds)) {
            wrong(".max_lifetime_s: must be 60 to 86400".to_owned());
        }
        if section.max_age_s.is_some_and(|seconds| !(10..=86_400).contains(&seconds)) {
            wrong(".max_age_s: must be 10 to 86400".to_owned());
        }
    }
    problems
}

/// What is wrong with the trust domains, each with its name.
pub(crate) fn domain_problems(section: &SpiffeSection) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (name, domain) in &section.trust_domains {
        let mut wrong = |reason: String| problems.push((name.clone(), format!("spiffe.trust_domains.{name}{reason}")));
        if let Err(refusal) = spiffe::trust_domain(name) {
            wrong(format!(": {}", refusal.reason));
        }
        if domain.bundle_url.is_some() == domain.bundle_file.is_some() {
            wrong(": give exactly one of `bundle_url` and `bundle_file`".to_owned());
        }
        if let Some(Err(reason)) = domain.bundle_url.as_deref().map(fetchable) {
            wrong(format!(".bundle_url: {reason}"));
        }
        if !(30..=3_600).contains(&domain.max_lifetime_s) {
            wrong(".max_lifetime_s: must be 30 to 3600".to_owned());
        }
        if !(60..=604_800).contains(&domain.max_stale_s) {
            wrong(".max_stale_s: must be 60 to 604800".to_owned());
        }
    }
    problems
}

/// https, or http on loopback; an operator may name a private address.
fn fetchable(url: &str) -> Result<(), String> {
    let parsed = Url::parse(url).ok().filter(|url| url.username().is_empty() && url.password().is_none());
    let fine = parsed.is_some_and(|url| {
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        url.scheme() == "https" || (url.scheme() == "http" && loopback)
    });
    if fine { Ok(()) } else { Err(format!("`{url}` is not an https URL")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn issuers(value: serde_json::Value) -> BTreeMap<String, WorkloadIssuerSection> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn presets_know_what_is_usual() {
        let all = issuers(json!({
            "gh": {"preset": "github"}, "gl": {"preset": "gitlab"},
            "prod": {"preset": "kubernetes", "issuer": "https://k8s.example"},
        }));
        assert_eq!(issuer_problems(&all), []);
        let rules = |name: &str| all[name].rules(name);
        assert_eq!(rules("gh").issuer, "https://token.actions.githubusercontent.com");
        assert_eq!((rules("gh").single_use, rules("gh").max_age), (true, Some(600)));
        assert_eq!((rules("prod").single_use, rules("prod").max_age, rules("prod").max_lifetime), (false, None, 3_600));
    }

    #[test]
    fn every_mistake_is_named() {
        for (section, word) in [
            (json!({"preset": "oidc"}), "name the `iss`"),
            (json!({"issuer": "http://ci.example"}), "https"),
            (json!({"issuer": "x", "jwks_uri": "http://ci.example/k"}), "jwks_uri"),
            (json!({"issuer": "https://ci.example", "token_review": "https://ci.example"}), "token_review"),
            (json!({"issuer": "https://ci.example", "algorithms": ["none"]}), "`none`"),
            (json!({"issuer": "https://ci.example", "algorithms": ["HS256"]}), "`HS256`"),
            (json!({"issuer": "https://ci.example", "max_lifetime_s": 100_000}), "86400"),
            (json!({"issuer": "https://ci.example", "max_age_s": 0}), "max_age_s"),
        ] {
            let problems = issuer_problems(&issuers(json!({"ci": section})));
            assert!(problems.len() == 1 && problems[0].1.contains(word), "{word}: {problems:?}");
        }
        let twice = issuers(json!({"a": {"issuer": "https://ci.example"}, "b": {"issuer": "https://ci.example"}}));
        assert_eq!(issuer_problems(&twice).len(), 1);
        for (domain, word) in [
            (json!({"example.org": {}}), "exactly one"),
            (json!({"example.org": {"bundle_url": "https://b.example", "bundle_file": "b.json"}}), "exactly one"),
            (json!({"Example.org": {"bundle_file": "b.json"}}), "lower-case"),
            (json!({"example.org": {"bundle_url": "http://b.example"}}), "https"),
            (json!({"example.org": {"bundle_file": "b.json", "max_lifetime_s": 7_200}}), "max_lifetime_s"),
            (json!({"example.org": {"bundle_file": "b.json", "max_stale_s": 1}}), "max_stale_s"),
        ] {
            let problems = domain_problems(&serde_json::from_value(json!({"trust_domains": domain})).unwrap());
            assert!(problems.len() == 1 && problems[0].1.contains(word), "{word}: {problems:?}");
        }
    }
}
