//! `ledger.witnesses`: whom every new head of the ledger is shown to, and how many of them must sign.

use crate::bounded_read;
use anyhow::{Context as _, Result, bail};
use remit_ledger::{
    cosign::WitnessKey,
    note::VerifyingKey,
    policy::{POLICY_LIMIT, Policy},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use url::Url;

/// The witnesses of the ledger's checkpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WitnessesSection {
    /// A C2SP tlog-policy file, whose witness lines have URLs; or a list of witnesses.
    pub(crate) policy: Witnesses,
    /// How many of the listed witnesses must sign; a policy file says so itself.
    pub(crate) quorum: Option<usize>,
    /// Longest wait for a witness, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub(crate) timeout_ms: u64,
    /// Seconds without a quorum until changes are refused.
    #[serde(default = "grace_s")]
    pub(crate) grace_s: u64,
    /// Do not start unless a quorum of witnesses says how far it has seen this log.
    #[serde(default)]
    pub(crate) required_at_start: bool,
}

/// Where the witnesses are named.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Witnesses {
    /// A C2SP tlog-policy file.
    File(PathBuf),
    /// The witnesses themselves.
    List(Vec<OneWitness>),
}

/// A witness and where to reach it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneWitness {
    /// Its verifier key, as `remit witness` prints it.
    pub(crate) vkey: String,
    /// The URL below which its `add-checkpoint` is.
    pub(crate) url: String,
}

fn timeout_ms() -> u64 {
    2_000
}

fn grace_s() -> u64 {
    60
}

impl WitnessesSection {
    /// What is wrong with the section, if anything; the log's key plays no part in that.
    pub(super) fn complaint(&self, base: &Path) -> Option<String> {
        if !(100..=30_000).contains(&self.timeout_ms) {
            return Some("ledger.witnesses.timeout_ms: must be 100 to 30000".to_owned());
        }
        if self.grace_s > 86_400 {
            return Some("ledger.witnesses.grace_s: must be at most 86400".to_owned());
        }
        let any_log = VerifyingKey::new("log", [0; 32]).ok()?;
        self.policy(base, &any_log).err().map(|error| format!("ledger.witnesses.policy: {error:#}"))
    }

    /// The witness policy of the section, for the log with this key.
    pub(crate) fn policy(&self, base: &Path, log: &VerifyingKey) -> Result<Policy> {
        let policy = match (&self.policy, self.quorum) {
            (Witnesses::File(_), Some(_)) => bail!("the file says the quorum; leave `quorum` out"),
            (Witnesses::File(file), None) => read(&base.join(file))?,
            (Witnesses::List(_), None) => bail!("say in `quorum` how many of the listed witnesses must sign"),
            (Witnesses::List(list), Some(quorum)) => {
                let key = |one: &OneWitness| Ok((WitnessKey::parse(one.vkey.trim())?, Some(one.url.clone())));
                let keys = list.iter().map(key).collect::<Result<Vec<_>>>()?;
                Policy::threshold(log.clone(), keys, quorum)
                    .with_context(|| format!("{quorum} of {} different witnesses (at most 63) cannot be", list.len()))?
            }
        };
        for witness in policy.witnesses() {
            let url = witness.url.as_deref().and_then(|url| Url::parse(url).ok());
            let fine = url.is_some_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.host().is_some()
                    && url.username().is_empty()
                    && url.query().is_none()
            });
            if !fine {
                bail!("witness {} needs an http or https URL", witness.key.name());
            }
        }
        Ok(policy)
    }
}

/// Reads a C2SP tlog-policy file.
pub(crate) fn read(file: &Path) -> Result<Policy> {
    Policy::parse(&bounded_read::read(file, POLICY_LIMIT)?).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_ledger::cosign::Cosigner;

    fn complaint(yaml: &str) -> Option<String> {
        let value: serde_json::Value = serde_json::from_str(yaml).unwrap();
        let section: WitnessesSection = serde_json::from_value(value).unwrap();
        section.complaint(Path::new("/nowhere"))
    }

    #[test]
    fn what_cannot_be_a_quorum_is_refused() {
        let one = Cosigner::from_seed("w.example", &[1; 32]).unwrap().public().to_string();
        let listed = |url: &str, quorum: &str| complaint(&format!(r#"{{"policy":[{{"vkey":"{one}","url":"{url}"}}]{quorum}}}"#));
        assert_eq!(listed("http://127.0.0.1:1", r#","quorum":1"#), None);
        for (url, quorum) in [
            ("http://127.0.0.1:1", ""),
            ("http://127.0.0.1:1", r#","quorum":2"#),
            ("ftp://127.0.0.1:1", r#","quorum":1"#),
            ("http://127.0.0.1:1", r#","quorum":1,"timeout_ms":1"#),
            ("http://127.0.0.1:1", r#","quorum":1,"grace_s":86401"#),
        ] {
            assert!(listed(url, quorum).is_some(), "{url} {quorum}");
        }
        assert!(complaint(r#"{"policy":[{"vkey":"nonsense","url":"http://127.0.0.1:1"}],"quorum":1}"#).is_some());
        assert!(complaint(r#"{"policy":"missing.policy"}"#).is_some());
        assert!(complaint(r#"{"policy":"missing.policy","quorum":1}"#).unwrap().contains("leave `quorum` out"));
    }
}
