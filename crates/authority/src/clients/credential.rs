//! What a client authenticated with: for the rules, which it may bound, and for the record, which names it.

use remit_ledger::record::AuthMethod;
use remit_model::{AssertionAudience, EdgeProof, UnixTime, WorkloadIssuer, json};
use remit_token::{PeerCertificate, assertion::ClientAssertion, svid::SvidCertificate, workload::WorkloadToken};
use serde_json::{Map, Value};

/// How a client proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// A client assertion by a key that is registered for the agent (RFC 7523).
    PrivateKeyJwt,
    /// A client assertion by a key that the agent publishes (RFC 7591 `jwks_uri`).
    JwksUri,
    /// A projected service-account token of a Kubernetes cluster.
    Kubernetes,
    /// A token of another issuer that vouches for workloads.
    Federated,
    /// A JWT-SVID.
    SpiffeJwt,
    /// An X.509-SVID.
    SpiffeX509,
    /// A certificate that is registered for the agent (RFC 8705 §2.2).
    Certificate,
}

impl Method {
    /// The name that records use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::JwksUri => "jwks_uri",
            Self::Kubernetes => "kubernetes",
            Self::Federated => "federated",
            Self::SpiffeJwt => "spiffe_jwt",
            Self::SpiffeX509 => "spiffe_x509",
            Self::Certificate => "self_signed_tls_client_auth",
        }
    }

    /// The same in the words of a record's `auth.method`.
    pub(crate) fn recorded(self) -> AuthMethod {
        match self {
            Self::SpiffeJwt | Self::SpiffeX509 => AuthMethod::SpiffeSvid,
            Self::Certificate => AuthMethod::ClientCertificate,
            Self::PrivateKeyJwt | Self::JwksUri | Self::Kubernetes | Self::Federated => AuthMethod::ClientAssertion,
        }
    }
}

/// A verified credential of a client.
#[derive(Clone, Debug)]
pub(crate) struct ClientCredential {
    pub(crate) method: Method,
    /// Who signed: the client itself, or the issuer that vouches for it.
    pub(crate) issuer: String,
    /// Of whom.
    pub(crate) subject: String,
    /// The name of the issuer or trust domain in the configuration; for an agent's own key there is none.
    pub(crate) trusted_as: Option<String>,
    /// SHA-256 of the credential as it was sent.
    pub(crate) hash: String,
    /// What is kept as the edge proof of a root: the credential, without its signature where it could be used again.
    pub(crate) kept: EdgeProof,
    /// Nothing that is issued for it lives longer. SPEC: KS-03, TX-05
    pub(crate) ends: Option<UnixTime>,
    /// The identifier that makes it good for one request, and until when that is remembered.
    pub(crate) once: Option<(String, UnixTime)>,
    pub(crate) audience: AssertionAudience,
    /// The public key that verified it, where no registration in the log states it.
    pub(crate) key: Option<Value>,
    /// What makes the key that signed this agent's own from now on, as long as nothing has. SPEC: CM-03
    pub(crate) claims: Vec<String>,
}

impl ClientCredential {
    /// What an agent's own client assertion proves.
    ///
    /// `remembered` is how long after its end the assertion could still be accepted, in seconds.
    pub(crate) fn own(method: Method, assertion: &ClientAssertion, remembered: i64, key: Option<Value>) -> Self {
        let once = format!("{} {}", assertion.client_id(), assertion.jti());
        Self {
            method,
            issuer: assertion.client_id().to_owned(),
            subject: assertion.client_id().to_owned(),
            trusted_as: None,
            hash: json::sha256_label(assertion.compact().as_bytes()),
            kept: EdgeProof::ClientAssertion(assertion.compact().to_owned()),
            ends: None,
            once: Some((once, assertion.expires().plus(remembered))),
            audience: assertion.audience(),
            key,
            claims: Vec::new(),
        }
    }

    /// What a token of a trusted issuer proves. A token that is good once is kept whole.
    pub(crate) fn vouched(
        method: Method,
        rules: &WorkloadIssuer,
        token: &WorkloadToken,
        compact: &str,
        kept: String,
        remembered: i64,
    ) -> Self {
        // SPEC: OF-02: once, whichever agent it was for.
        let once = token.jti().filter(|_| rules.single_use).map(|jti| format!("{} {jti}", rules.name));
        Self {
            once: once.map(|key| (key, token.expires().plus(remembered))),
            ..Self::borne(method, &rules.issuer, &rules.name, token, compact, kept)
        }
    }

    /// What a JWT-SVID of a trust domain proves.
    pub(crate) fn of_svid(domain: &str, svid: &WorkloadToken, compact: &str, kept: String) -> Self {
        Self::borne(Method::SpiffeJwt, domain, domain, svid, compact, kept)
    }

    /// What a certificate proves that is registered for the agent.
    pub(crate) fn of_certificate(client_id: &str, shown: &PeerCertificate, until: UnixTime) -> Self {
        Self::shown(Method::Certificate, (client_id, client_id), None, shown, until)
    }

    /// What an X.509-SVID of a trust domain proves.
    pub(crate) fn of_x509_svid(domain: &str, svid: &SvidCertificate, shown: &PeerCertificate) -> Self {
        Self::shown(Method::SpiffeX509, (domain, svid.id().as_str()), Some(domain), shown, svid.until())
    }

    fn shown(
        method: Method,
        (issuer, subject): (&str, &str),
        trusted_as: Option<&str>,
        shown: &PeerCertificate,
        until: UnixTime,
    ) -> Self {
        Self {
            method,
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            trusted_as: trusted_as.map(str::to_owned),
            hash: json::sha256_label(shown.der()),
            kept: EdgeProof::ClientCertificate(shown.to_text()),
            ends: Some(until),
            once: None,
            claims: Vec::new(),
            audience: AssertionAudience::Issuer,
            key: None,
        }
    }

    fn borne(method: Method, issuer: &str, trusted_as: &str, token: &WorkloadToken, compact: &str, kept: String) -> Self {
        Self {
            method,
            issuer: issuer.to_owned(),
            subject: token.subject().to_owned(),
            trusted_as: Some(trusted_as.to_owned()),
            hash: json::sha256_label(compact.as_bytes()),
            kept: EdgeProof::WorkloadToken(kept),
            ends: Some(token.expires()),
            once: None,
            audience: AssertionAudience::Issuer,
            key: token.key().cloned(),
            claims: Vec::new(),
        }
    }

    /// What the record of a request states in plain: the kind of credential and its hash, and what is unusual about it. The
    /// credential itself and its subject are committed values.
    pub(crate) fn facts(&self) -> Value {
        let mut facts = Map::new();
        facts.insert("kind".to_owned(), self.method.name().into());
        facts.insert("hash".to_owned(), self.hash.clone().into());
        if let Some(name) = &self.trusted_as {
            facts.insert("issuer".to_owned(), self.issuer.clone().into());
            facts.insert("trusted_as".to_owned(), name.clone().into());
        }
        if self.audience == AssertionAudience::TokenEndpoint {
            facts.insert("audience".to_owned(), "token_endpoint".into());
        }
        Value::Object(facts)
    }

    /// What the record commits to besides, for a credential whose key no registration states.
    pub(crate) fn committed(&self) -> Option<Value> {
        let key = self.key.as_ref()?;
        Some(serde_json::json!({"issuer": self.issuer, "subject": self.subject, "key": key}))
    }
}
