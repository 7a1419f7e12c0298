//! What a person consented to, as codes and refresh tokens carry it, and the part of it that one token is for.

use crate::grants::{
    request::TokenRequest,
    requested::{RequestedAuthority, Target, Targets},
};
use remit_model::{Authority, Chain, Code, Refusal, UnixTime, authority::Holder};
use serde::{Deserialize, Serialize};

/// What a code stands for: the consent, exactly as it was shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Consented {
    pub(crate) redirect_uri: String,
    pub(crate) challenge: String,
    pub(crate) dpop_jkt: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) openid: bool,
    pub(crate) targets: Vec<String>,
    pub(crate) user: String,
    pub(crate) auth_time: UnixTime,
    pub(crate) authority: Authority,
    pub(crate) until: UnixTime,
    pub(crate) digest: String,
    pub(crate) purpose: Option<String>,
}

/// What a refresh token stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Renewable {
    pub(crate) chain: Chain,
    pub(crate) targets: Vec<String>,
    pub(crate) openid: bool,
    pub(crate) auth_time: UnixTime,
    pub(crate) until: UnixTime,
    pub(crate) purpose: Option<String>,
    /// When the token before this one was rotated; none of a family's first.
    #[serde(default)]
    pub(crate) renewed: Option<UnixTime>,
}

/// The one resource of a token, and the part of the consent that is for it. SPEC: TK-08, N-RT-04
pub(crate) fn pick(
    request: &TokenRequest<'_>,
    asked: &RequestedAuthority,
    targets: &[String],
    consented: &Authority,
    openid: bool,
) -> Result<(Target, Authority), Refusal> {
    if let Some(beyond) = asked.targets.iter().find(|target| !targets.is_empty() && !targets.contains(target)) {
        return Err(Refusal::new(Code::WidensResource, format!("{beyond} is not among the resources that were agreed to")));
    }
    let world = Targets { issuer: &request.server.issuer, servers: &request.server.servers, snapshot: &request.snapshot };
    let only = if asked.targets.is_empty() && targets.len() == 1 { targets.first() } else { None };
    let target = match only {
        Some(only) => world.find(only)?,
        None => asked.target_of(&world, consented, None, openid)?,
    };
    let authority = match (&target, asked.nothing_named()) {
        // Only who the person is was asked for.
        (_, true) if consented.is_none() => Authority::none(),
        _ => asked.under(consented, &target, Holder::Consent)?,
    };
    Ok((target, authority))
}
