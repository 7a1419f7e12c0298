//! Identity assertion JWT authorization grants, as we issue them. SPEC: IJ-03,
//! draft-ietf-oauth-identity-assertion-authz-grant-04 §3; `typ: oauth-id-jag+jwt`.
//!
//! Another authorization server redeems one for an access token of its own. Those that others issue are read in
//! [`crate::foreign`].

use crate::{actor::Actor, jws::sign_jws, key::PrivateKey};
use remit_model::{Authentication, Fault, UnixTime};
use serde::Serialize;

/// The value of `typ`.
pub const TYP: &str = "oauth-id-jag+jwt";
/// Its type in a token exchange.
pub const TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// What an assertion says.
#[derive(Clone, Debug, Serialize)]
pub struct Claims<'a> {
    pub iss: &'a str,
    /// The person.
    pub sub: &'a str,
    /// The issuer identifier of the authorization server that redeems it.
    pub aud: &'a str,
    /// The client as that server knows it.
    pub client_id: &'a str,
    pub jti: &'a str,
    pub iat: UnixTime,
    pub exp: UnixTime,
    /// Space separated.
    pub scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<&'a str>,
    /// How the person signed in.
    #[serde(flatten)]
    pub authentication: Option<&'a Authentication>,
    pub cnf: Confirmation<'a>,
    /// The agent, where the other server is known to understand it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
}

/// The key that redeems it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Confirmation<'a> {
    /// Its RFC 7638 thumbprint.
    pub jkt: &'a str,
}

/// Signs an assertion.
///
/// # Errors
/// Only when the library fails.
pub fn mint(key: &PrivateKey, claims: &Claims<'_>) -> Result<String, Fault> {
    sign_jws(TYP, key, None, claims)
}
