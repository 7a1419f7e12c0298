//! Issuers that vouch for workloads: Kubernetes clusters, CI systems, clouds; and what an agent must pin to accept their tokens.
//!
//! Every claim is compared exactly, never by a pattern (N-JB-07). Names of repositories and accounts are reused, so the
//! identifiers that are not must be pinned beside them (KS-02, OF-01). It decides on claims that were verified elsewhere.

use crate::{
    agent::Credential,
    refusal::{Code, Refusal},
    spiffe::{SpiffeId, SpiffePattern},
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Most claims that one credential pins, and the longest value of one, in bytes.
const CLAIMS_LIMIT: usize = 16;
const VALUE_LIMIT: usize = 1_024;

/// What kind of issuer it is, and so what its tokens say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// GitHub Actions.
    Github,
    /// GitLab CI.
    Gitlab,
    /// A Kubernetes cluster: projected service-account tokens.
    Kubernetes,
    /// Any other OpenID Connect issuer.
    Oidc,
}

/// An issuer that the operator trusts to vouch for workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadIssuer {
    /// Its name in the configuration, by which credentials refer to it.
    pub name: String,
    pub kind: WorkloadKind,
    /// `iss` of its tokens, compared as it is.
    pub issuer: String,
    /// Names of the signature algorithms it may use.
    pub algorithms: Vec<String>,
    /// Longest time from `iat` to `exp`, in seconds.
    pub max_lifetime: i64,
    /// Longest time since `iat`, in seconds, if there is a limit besides `exp`.
    pub max_age: Option<i64>,
    /// Whether each token is good once, by its `jti`.
    pub single_use: bool,
    /// Claims that every credential must pin, besides those that its kind demands.
    pub required_claims: Vec<String>,
}

impl WorkloadKind {
    /// Claims that must be pinned, all of them, and claims of which one must be.
    fn pins(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Github => {
                (&["repository_id", "repository_owner_id"], &["ref", "environment", "workflow_ref", "job_workflow_ref"])
            }
            Self::Gitlab => (&["project_id", "namespace_id"], &["ref", "environment"]),
            Self::Kubernetes | Self::Oidc => (&[], &[]),
        }
    }

    /// Values that mark a run on code that is not merged, and so may be anyone's. They are refused unless the claim is pinned.
    fn unmerged(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Github => ("event_name", &["pull_request", "pull_request_target", "pull_request_review", "issue_comment"]),
            Self::Gitlab => ("pipeline_source", &["merge_request_event", "external_pull_request_event"]),
            Self::Kubernetes | Self::Oidc => ("", &[]),
        }
    }
}

impl WorkloadIssuer {
    /// Whether a credential names this issuer.
    pub fn is_named_by(&self, credential: &Credential) -> bool {
        match credential {
            Credential::Kubernetes { cluster, .. } => self.kind == WorkloadKind::Kubernetes && *cluster == self.name,
            Credential::Federated { issuer, .. } => self.kind != WorkloadKind::Kubernetes && *issuer == self.name,
            Credential::JwksUri { .. } | Credential::Spiffe { .. } | Credential::Certificate { .. } => false,
        }
    }

    /// Whether a credential pins enough to tell one workload from all others. SPEC: OF-01
    ///
    /// # Errors
    /// `request_malformed`, with the claims that are missing.
    pub fn check_pins(&self, claims: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let wrong = |reason: String| Err(Refusal::new(Code::RequestMalformed, reason));
        if claims.is_empty() || claims.len() > CLAIMS_LIMIT {
            return wrong(format!("pin 1 to {CLAIMS_LIMIT} claims of the tokens of `{}`", self.name));
        }
        for (claim, value) in claims {
            if value.is_empty() || value.len() > VALUE_LIMIT || value.contains('*') {
                return wrong(format!(
                    "the claim `{claim}` is compared exactly: pin a value of 1 to {VALUE_LIMIT} bytes without `*`"
                ));
            }
        }
        let (all, one) = self.kind.pins();
        let required = all.iter().copied().chain(self.required_claims.iter().map(String::as_str));
        let missing: Vec<&str> = required.filter(|claim| !claims.contains_key(*claim)).collect();
        if !missing.is_empty() {
            let missing = missing.join("`, `");
            return wrong(format!("tokens of `{}` must be pinned by `{missing}` too: names are reused", self.name));
        }
        if !one.is_empty() && !one.iter().any(|claim| claims.contains_key(*claim)) {
            let one = one.join("`, `");
            return wrong(format!("pin where in the repository the token comes from, by one of `{one}`"));
        }
        Ok(())
    }

    /// Whether a token that matches may still be another's: of a person, or of a run on code of a stranger. SPEC: OF-02, N-OF-04
    ///
    /// # Errors
    /// `client_unauthenticated`.
    pub fn check_context(&self, pinned: &Credential, claims: &Map<String, Value>) -> Result<(), Refusal> {
        let (claim, values) = self.kind.unmerged();
        let pins = |name: &str| matches!(pinned, Credential::Federated { claims, .. } if claims.contains_key(name));
        // SPEC: N-JB-08: `azp` is in ID tokens, which a client got for a person. Some clouds write it for programs too.
        if claims.contains_key("azp") && !pins("azp") {
            return Err(other("it has `azp`, as a person's ID token has; an agent that accepts it pins `azp`"));
        }
        let named = pins(claim);
        match claims.get(claim).and_then(Value::as_str) {
            Some(value) if !named && values.contains(&value) => Err(other(&format!(
                "its `{claim}` is `{value}`, a run on code that is not merged; an agent that accepts it pins `{claim}`"
            ))),
            _ => Ok(()),
        }
    }
}

impl Credential {
    /// Whether an SVID with this SPIFFE ID is this credential. SPEC: SP-04
    pub fn is_spiffe_id(&self, shown: &SpiffeId) -> bool {
        matches!(self, Self::Spiffe { id } if SpiffePattern::parse(id).is_ok_and(|pattern| shown.is(&pattern)))
    }

    /// Whether verified claims are those of this credential.
    ///
    /// # Errors
    /// `client_unauthenticated`, with the claim that differs, and not what it should be.
    pub fn matches(&self, claims: &Map<String, Value>) -> Result<(), Refusal> {
        match self {
            Self::JwksUri { .. } => Err(other("the agent signs its assertions itself")),
            Self::Certificate { .. } => Err(other("the agent shows a certificate")),
            Self::Federated { claims: pinned, .. } => {
                let differing = pinned.iter().find(|(name, value)| !claims.get(*name).is_some_and(|claim| is(claim, value)));
                differing.map_or(Ok(()), |(name, _)| Err(other(&format!("its `{name}` is another"))))
            }
            Self::Kubernetes { namespace, service_account, uid, .. } => {
                let of_cluster = |path: &str| claims.get("kubernetes.io").and_then(|found| found.pointer(path)?.as_str());
                let subject = format!("{SERVICE_ACCOUNT}{namespace}:{service_account}");
                let checks = [
                    ("`sub`", claims.get("sub").and_then(Value::as_str), subject.as_str()),
                    ("namespace", of_cluster("/namespace"), namespace),
                    ("service account", of_cluster("/serviceaccount/name"), service_account),
                    ("service account UID", of_cluster("/serviceaccount/uid"), uid),
                ];
                let differing = checks.iter().find(|(_, found, pinned)| *found != Some(*pinned));
                differing.map_or(Ok(()), |(what, ..)| Err(other(&format!("its {what} is another"))))
            }
            Self::Spiffe { id } => {
                let pattern = SpiffePattern::parse(id)?;
                let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
                let matches = SpiffeId::parse(subject)?.is(&pattern);
                if matches { Ok(()) } else { Err(other("its SPIFFE ID is another")) }
            }
        }
    }
}

impl Credential {
    /// The text by which a token leads to an agent with this credential; nothing for a credential that names its agent itself.
    ///
    /// Several agents may have the same text. Whether one accepts a token is for [`Credential::matches`] to say. SPEC: JB-05
    pub fn found_by(&self) -> Option<String> {
        match self {
            Self::JwksUri { .. } | Self::Certificate { .. } => None,
            Self::Spiffe { id } => Some(format!("spiffe {id}")),
            Self::Kubernetes { cluster, namespace, service_account, .. } => {
                Some(account(cluster, &format!("{SERVICE_ACCOUNT}{namespace}:{service_account}")))
            }
            Self::Federated { issuer, claims } => {
                let telling = TELLING.iter().find_map(|name| claims.get_key_value(*name));
                let (name, value) = telling.or_else(|| claims.first_key_value())?;
                Some(claim_of(issuer, name, value))
            }
        }
    }
}

impl WorkloadIssuer {
    /// Each text by which a token of this issuer may lead to an agent: see [`Credential::found_by`].
    pub fn leads(&self, claims: &Map<String, Value>) -> Vec<String> {
        if self.kind == WorkloadKind::Kubernetes {
            let subject = claims.get("sub").and_then(Value::as_str);
            return subject.map(|subject| account(&self.name, subject)).into_iter().collect();
        }
        let texts = claims.iter().filter_map(|(name, value)| Some((name, as_text(value)?)));
        texts.filter(|(_, text)| text.len() <= VALUE_LIMIT).map(|(name, text)| claim_of(&self.name, name, &text)).collect()
    }
}

impl SpiffeId {
    /// Each text by which this ID may lead to an agent: its own, and the patterns that it lies below.
    pub fn leads(&self) -> Vec<String> {
        let text = self.as_str();
        let path = "spiffe://".len().saturating_add(self.trust_domain().len());
        let slashes = text.match_indices('/').map(|(at, _)| at).filter(|at| *at > path);
        let above = slashes.filter_map(|at| Some(format!("spiffe {}/*", text.get(..at)?)));
        std::iter::once(format!("spiffe {text}")).chain(above).collect()
    }
}

/// What `sub` of a service-account token begins with.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// The claims that tell workloads of one issuer apart best, the best first.
const TELLING: [&str; 3] = ["sub", "repository_id", "project_id"];

fn account(cluster: &str, subject: &str) -> String {
    format!("kubernetes {cluster} {subject}")
}

fn claim_of(issuer: &str, name: &str, value: &str) -> String {
    format!("federated {issuer} {name}={value}")
}

/// A claim is text; some issuers write numbers and truth values instead.
fn as_text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number.as_i64().map(|number| number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn is(claim: &Value, pinned: &str) -> bool {
    as_text(claim).is_some_and(|text| text == pinned)
}

fn other(reason: &str) -> Refusal {
    Refusal::new(Code::ClientUnauthenticated, format!("the agent does not accept this token: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn issuer(kind: WorkloadKind, required: &[&str]) -> WorkloadIssuer {
        WorkloadIssuer {
            name: "ci".to_owned(),
            kind,
            issuer: "https://ci.example".to_owned(),
            algorithms: vec!["RS256".to_owned()],
            max_lifetime: 3_600,
            max_age: Some(600),
            single_use: true,
            required_claims: required.iter().map(|claim| (*claim).to_owned()).collect(),
        }
    }

    fn pins(claims: &[(&str, &str)]) -> BTreeMap<String, String> {
        claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn of_01_each_preset_demands_identifiers_that_are_never_reused_and_a_place() {
        let github = issuer(WorkloadKind::Github, &[]);
        let ids = [("repository_id", "1"), ("repository_owner_id", "2")];
        github.check_pins(&pins(&[ids[0], ids[1], ("ref", "refs/heads/main")])).unwrap();
        github.check_pins(&pins(&[ids[0], ids[1], ("environment", "prod")])).unwrap();
        for bad in [
            pins(&[]),
            pins(&[("repository", "org/app"), ("ref", "refs/heads/main")]),
            pins(&[ids[0], ("ref", "refs/heads/main")]),
            pins(&ids),
            pins(&[ids[0], ids[1], ("ref", "refs/heads/*")]),
            pins(&[ids[0], ("repository_owner_id", "*"), ("ref", "refs/heads/main")]),
            pins(&[ids[0], ids[1], ("ref", "")]),
        ] {
            assert_eq!(github.check_pins(&bad).unwrap_err().code, Code::RequestMalformed, "{bad:?}");
        }
        let gitlab = issuer(WorkloadKind::Gitlab, &[]);
        gitlab.check_pins(&pins(&[("project_id", "1"), ("namespace_id", "2"), ("ref", "main")])).unwrap();
        gitlab.check_pins(&pins(&[("project_path", "g/a"), ("ref", "main")])).unwrap_err();
        let cloud = issuer(WorkloadKind::Oidc, &["tid"]);
        cloud.check_pins(&pins(&[("tid", "t"), ("sub", "s")])).unwrap();
        cloud.check_pins(&pins(&[("sub", "s")])).unwrap_err();
    }

    #[test]
    fn ks_02_a_service_account_is_matched_with_its_uid() {
        let credential = Credential::Kubernetes {
            cluster: "prod".to_owned(),
            namespace: "ci".to_owned(),
            service_account: "bot".to_owned(),
            uid: "u-1".to_owned(),
        };
        let token = |sub: &str, namespace: &str, name: &str, uid: &str| {
            let claims =
                json!({"sub": sub, "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}});
            claims.as_object().unwrap().clone()
        };
        let sub = "system:serviceaccount:ci:bot";
        credential.matches(&token(sub, "ci", "bot", "u-1")).unwrap();
        for wrong in [
            token(sub, "ci", "bot", "u-2"),
            token("system:serviceaccount:other:bot", "ci", "bot", "u-1"),
            token(sub, "other", "bot", "u-1"),
            token(sub, "ci", "bot2", "u-1"),
            json!({"sub": sub}).as_object().unwrap().clone(),
            json!({"sub": sub, "kubernetes.io": {"namespace": "ci"}}).as_object().unwrap().clone(),
        ] {
            assert_eq!(credential.matches(&wrong).unwrap_err().code, Code::ClientUnauthenticated, "{wrong:?}");
        }
    }

    /// SPEC: JB-05
    #[test]
    fn whatever_matches_is_found() {
        let leads = |kind: WorkloadKind, claims: Value| issuer(kind, &[]).leads(claims.as_object().unwrap());
        let pod = Credential::Kubernetes {
            cluster: "ci".to_owned(),
            namespace: "bots".to_owned(),
            service_account: "planner".to_owned(),
            uid: "u".to_owned(),
        };
        let of_pod = |sub: &str| leads(WorkloadKind::Kubernetes, json!({"sub": sub}));
        assert_eq!(of_pod("system:serviceaccount:bots:planner"), [pod.found_by().unwrap()]);
        assert_ne!(of_pod("system:serviceaccount:bots:planner2"), [pod.found_by().unwrap()]);
        assert_eq!(leads(WorkloadKind::Kubernetes, json!({"sub": 1})), [""; 0]);

        let run = |claims: &[(&str, &str)]| Credential::Federated { issuer: "ci".to_owned(), claims: pins(claims) };
        let token = json!({"sub": "s", "n": 7, "yes": true, "repository_id": "7", "ref": "main", "aud": ["x"]});
        let found = leads(WorkloadKind::Github, token);
        for pinned in
            [&[("n", "7")][..], &[("yes", "true")], &[("ref", "main"), ("repository_id", "7")], &[("sub", "s"), ("n", "7")]]
        {
            assert!(found.contains(&run(pinned).found_by().unwrap()), "{pinned:?}");
        }
        assert_eq!(run(&[("environment", "prod"), ("repository_id", "7")]).found_by().unwrap(), "federated ci repository_id=7");
        assert!(!found.contains(&run(&[("aud", "x")]).found_by().unwrap()));

        let below = |id: &str| SpiffeId::parse(id).unwrap().leads();
        let pattern = |id: &str| Credential::Spiffe { id: id.to_owned() }.found_by().unwrap();
        for id in ["spiffe://td/ns/a/b", "spiffe://td/ns/a/*", "spiffe://td/ns/*"] {
            assert!(below("spiffe://td/ns/a/b").contains(&pattern(id)), "{id}");
        }
        for id in ["spiffe://td/ns/a/b/*", "spiffe://td/ns/a", "spiffe://td/*", "spiffe://td2/ns/a/*", "spiffe://td/n/*"] {
            assert!(!below("spiffe://td/ns/a/b").contains(&pattern(id)), "{id}");
        }
        assert_eq!(Credential::JwksUri { uri: "https://a.example".to_owned() }.found_by(), None);
    }

    #[test]
    fn n_jb_07_claims_are_compared_exactly() {
        let credential =
            Credential::Federated { issuer: "ci".to_owned(), claims: pins(&[("sub", "repo:org/app:ref:main"), ("n", "7")]) };
        let claims = |sub: Value, n: Value| json!({"sub": sub, "n": n}).as_object().unwrap().clone();
        credential.matches(&claims(json!("repo:org/app:ref:main"), json!("7"))).unwrap();
        credential.matches(&claims(json!("repo:org/app:ref:main"), json!(7))).unwrap();
        for sub in ["repo:org/app-evil:ref:main", "repo:org/app:ref:main2", "REPO:org/app:ref:main", " repo:org/app:ref:main", ""]
        {
            credential.matches(&claims(json!(sub), json!("7"))).unwrap_err();
        }
        for sub in [json!(["repo:org/app:ref:main"]), json!(null), json!({"a": 1})] {
            credential.matches(&claims(sub, json!("7"))).unwrap_err();
        }
        credential.matches(&claims(json!("repo:org/app:ref:main"), json!(7.5))).unwrap_err();
    }
}
