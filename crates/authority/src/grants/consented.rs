//! What a person consented to, as codes and refresh tokens carry it, and the part of it that one token is for.

use crate::{
    grants::{
        outcome::IssuedFrom,
        request::TokenRequest,
        requested::{RequestedAuthority, Target, Targets},
    },
    signin::provider::evidence::Kept,
};
use remit_model::{
    Agent, Authentication, Authority, Chain, Code, Hop, Refusal, Registration, UnixTime, authority::Holder, criterion, json,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

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
    #[serde(flatten)]
    pub(crate) authentication: Authentication,
    pub(crate) authority: Authority,
    pub(crate) until: UnixTime,
    pub(crate) digest: String,
    pub(crate) purpose: Option<String>,
    /// The digest of the consent document that the person's passkey signed, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signed: Option<String>,
    /// What an identity provider signed of the sign-in that the consent rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sign_in: Option<Kept>,
    /// What a client that registered itself was when the person consented: see [`fingerprint`].
    #[serde(default)]
    pub(crate) client: Option<String>,
}

/// What a refresh token stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Renewable {
    pub(crate) chain: Chain,
    pub(crate) targets: Vec<String>,
    pub(crate) openid: bool,
    #[serde(flatten)]
    pub(crate) authentication: Authentication,
    pub(crate) until: UnixTime,
    pub(crate) purpose: Option<String>,
    /// When the token before this one was rotated; none of a family's first.
    #[serde(default)]
    pub(crate) renewed: Option<UnixTime>,
    /// When this refresh token was issued. What older builds stored counts as older than any revocation. SPEC: RV-05
    #[serde(default)]
    pub(crate) issued: Option<UnixTime>,
    /// As [`Consented::client`].
    #[serde(default)]
    pub(crate) client: Option<String>,
}

impl Renewable {
    /// What a token is issued from that comes of this refresh token. SPEC: RV-05
    pub(crate) fn source(&self, bound_to: Option<&str>) -> IssuedFrom {
        let hops = &self.chain.hops;
        let agents = hops.iter().map(|hop| hop.delegate.sub.as_str());
        let keys: Vec<String> =
            hops.iter().filter_map(Hop::confirmation).map(|one| one.to_string()).chain(bound_to.map(str::to_owned)).collect();
        let keys = keys.iter().map(String::as_str);
        let nothing = Authority::none();
        let authority = hops.last().map_or(&nothing, |hop| &hop.authority);
        IssuedFrom { criteria: criterion::of(agents, keys, None, authority), issued: self.issued.unwrap_or(UnixTime(i64::MIN)) }
    }
}

/// What a person was shown of a client that registered itself: a digest of its name, where it is called back, and its keys.
/// None of an agent that an administrator registered, who answers for it. SPEC: AZ-10, CM-07
pub(crate) fn fingerprint(agent: &Agent) -> Option<String> {
    let shown = json!([agent.display_name, agent.redirect_uris, agent.keys, agent.client.credentials]);
    (agent.client.registration != Registration::Administrator).then(|| json::digest(&shown))
}

/// Checks that the client is still what the person consented to. SPEC: AZ-10, N-AZ-11
///
/// # Errors
/// `grant_invalid`.
pub(crate) fn same_client(request: &TokenRequest<'_>, consented: Option<&str>) -> Result<(), Refusal> {
    if consented.is_some_and(|shown| fingerprint(&request.client.agent).as_deref() != Some(shown)) {
        let reason = "the program has described itself anew since the person consented; the person must consent again";
        return Err(Refusal::new(Code::GrantInvalid, reason));
    }
    Ok(())
}

/// The one resource of a token, and the part of the consent that is for it. A consent to `openid` covers userinfo,
/// which is at this issuer: it may be asked for by `resource`, or by a `scope` that names nothing else.
/// SPEC: TK-08, N-RT-04, UI-01
pub(crate) fn pick(
    request: &TokenRequest<'_>,
    asked: &RequestedAuthority,
    targets: &[String],
    consented: &Authority,
    openid: bool,
) -> Result<(Target, Authority), Refusal> {
    let issuer = &request.server.issuer;
    let agreed = |target: &String| targets.is_empty() || targets.contains(target) || (openid && target == issuer);
    if let Some(beyond) = asked.targets.iter().find(|target| !agreed(target)) {
        return Err(Refusal::new(Code::WidensResource, format!("{beyond} is not among the resources that were agreed to")));
    }
    let identity = asked.names_none() || (asked.nothing_named() && consented.is_none());
    let world = Targets { issuer, servers: &request.server.servers, snapshot: &request.snapshot };
    // Clients that refresh ask for all that they asked the person for, which is often more than was agreed to: they get what was.
    // SPEC: RFC 6749 §3.3, RT-03
    let asked = &if identity {
        asked.clone()
    } else {
        asked.clone().reduced_to(consented, "what was agreed to; a new sign-in can ask for more")?
    };
    let target = match (asked.targets.as_slice(), targets) {
        ([], _) if identity && openid => Target::Issuer(issuer.clone()),
        ([], [only]) => world.find(only)?,
        _ => asked.target_of(&world, consented, None, openid)?,
    };
    let authority = match (&target, asked.nothing_named()) {
        // Only who the person is was asked for.
        (_, true) if consented.is_none() => Authority::none(),
        _ => asked.under(consented, &target, Holder::Consent)?,
    };
    Ok((target, authority))
}
