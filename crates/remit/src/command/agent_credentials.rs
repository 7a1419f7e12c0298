//! How an agent authenticates besides a key that is registered here: the options of `remit agent add` and `update`.

use crate::bounded_read;
use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use remit_token::certificate;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Largest file of a certificate, in bytes.
const CERTIFICATE_LIMIT: usize = 64 << 10;

/// The options.
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// The agent signs with keys that it publishes at this URL (https, or loopback)
    #[arg(long, value_name = "URL")]
    pub(crate) jwks_uri: Option<String>,
    /// The agent shows this certificate (PEM or DER) on its connection: `self_signed_tls_client_auth`, RFC 8705 (repeatable)
    #[arg(long = "certificate", value_name = "FILE")]
    pub(crate) certificates: Vec<PathBuf>,
    /// The agent shows a JWT-SVID or an X.509-SVID with this SPIFFE ID, or one below it when it ends in `/*` (repeatable)
    #[arg(long = "spiffe-id", value_name = "ID")]
    pub(crate) spiffe_ids: Vec<String>,
    /// The agent shows a projected token of this Kubernetes service account (repeatable); `kubectl get serviceaccount -o yaml`
    /// says its UID
    #[arg(long, value_name = "CLUSTER/NAMESPACE/ACCOUNT/UID")]
    pub(crate) kubernetes: Vec<String>,
    /// The agent shows a token of this issuer with these claims
    #[arg(long, num_args = 2.., value_names = ["ISSUER", "CLAIM=VALUE"])]
    pub(crate) federated: Vec<String>,
    /// What the agent's client assertions may name as their audience besides the issuer: for clients that cannot be changed
    #[arg(long, value_enum, value_name = "AUDIENCE")]
    pub(crate) assertion_audience: Option<AudienceArg>,
}

/// What the audience of a client assertion may be.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum AudienceArg {
    /// The issuer alone
    Issuer,
    /// Also the URL of the token endpoint
    TokenEndpoint,
}

impl CredentialArgs {
    /// The credentials as the admin API takes them; empty when none is named.
    ///
    /// # Errors
    /// An option is not of its form.
    pub(crate) fn credentials(&self) -> Result<Vec<Value>> {
        let mut all: Vec<Value> = self.jwks_uri.iter().map(|uri| json!({"type": "jwks_uri", "uri": uri})).collect();
        for file in &self.certificates {
            all.push(json!({"type": "certificate", "thumbprint": thumbprint(file)?}));
        }
        all.extend(self.spiffe_ids.iter().map(|id| json!({"type": "spiffe", "id": id})));
        for account in &self.kubernetes {
            let parts: Vec<&str> = account.split('/').collect();
            let [cluster, namespace, name, uid] = parts.as_slice() else {
                bail!("`{account}` is not CLUSTER/NAMESPACE/ACCOUNT/UID");
            };
            all.push(json!({
                "type": "kubernetes", "cluster": cluster, "namespace": namespace, "service_account": name, "uid": uid,
            }));
        }
        if let Some((issuer, pinned)) = self.federated.split_first() {
            let mut claims = Map::new();
            for claim in pinned {
                let (name, value) = claim.split_once('=').with_context(|| format!("`{claim}` is not CLAIM=VALUE"))?;
                claims.insert(name.to_owned(), value.into());
            }
            all.push(json!({"type": "federated", "issuer": issuer, "claims": claims}));
        }
        Ok(all)
    }

    /// The audience as the admin API takes it.
    pub(crate) fn audience(&self) -> Option<&'static str> {
        self.assertion_audience.map(|audience| match audience {
            AudienceArg::Issuer => "issuer",
            AudienceArg::TokenEndpoint => "token_endpoint",
        })
    }
}

/// The `x5t#S256` of the only certificate in a file, or of the first where others lead to its authority.
fn thumbprint(file: &Path) -> Result<String> {
    let bytes = bounded_read::read(file, CERTIFICATE_LIMIT)?;
    let der = match CertificateDer::from_pem_slice(&bytes) {
        Ok(certificate) => certificate.to_vec(),
        Err(_) => bytes,
    };
    if certificate::validity(&der).is_none() {
        bail!("{} holds no certificate", file.display());
    }
    Ok(certificate::thumbprint(&der))
}

/// A credential as the admin API shows it, in words.
pub(crate) fn words(credential: &Value) -> String {
    let text = |name: &str| credential.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "jwks_uri" => format!("keys published at {}", text("uri")),
        "spiffe" => format!("an SVID of {}", text("id")),
        "certificate" => format!("the certificate {}", text("thumbprint")),
        "kubernetes" => format!(
            "tokens of the service account {}/{} (UID {}) of the cluster {}",
            text("namespace"),
            text("service_account"),
            text("uid"),
            text("cluster")
        ),
        "federated" => {
            let pinned = credential.get("claims").and_then(Value::as_object).into_iter().flatten();
            let pinned: Vec<String> =
                pinned.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
            format!("tokens of {} with {}", text("issuer"), pinned.join(", "))
        }
        other => other.to_owned(),
    }
}
