//! How a person authenticated. SPEC: DC-15, RFC 9068 §2.2.1, OpenID Connect Core §2.

use crate::time::UnixTime;
use serde::{Deserialize, Serialize};

/// The authentication that everything a person hands over rests on. A chain copies it and never refreshes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// `auth_time`: when the person authenticated.
    #[serde(rename = "auth_time")]
    pub time: UnixTime,
    /// `acr`: the authentication context class that was reached, in the words of who authenticated the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// `amr`: the methods used (RFC 8176). What older builds stored was a password.
    #[serde(default = "password")]
    pub amr: Vec<String>,
}

impl Authentication {
    /// A person who typed the password of a local account.
    pub fn password(time: UnixTime) -> Self {
        Self { time, acr: None, amr: password() }
    }
}

/// How a person would have to authenticate for what was refused. SPEC: RFC 9470 §3
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepUp {
    /// Authentication context classes of which one would be enough; empty where the class does not matter.
    pub acr_values: Vec<String>,
    /// For at most how many seconds the person may have been signed in.
    pub max_age: Option<u32>,
}

fn password() -> Vec<String> {
    vec!["pwd".to_owned()]
}
