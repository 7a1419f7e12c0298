//! What a request asks for, and the most it can get: the same reading and the same narrowing for every grant.
//!
//! Implements RFC 8707 `resource`, RFC 9396 `authorization_details`, `scope` as their shorthand, and our
//! `requested_lifetime`; rules TK-08, TX-04, TX-05, DC-07. Of a `scope` the part is granted that is within what may be given,
//! and the answer names that part (RFC 6749 §3.3). `authorization_details` say exactly what is needed: asking for more than
//! may be given is refused with the code of the dimension that widens. Comparing is left to the model's algebra.
//!
//! `scope` names actions only, so it says nothing about arguments, fields or limits: those come from the parent. What is
//! asked for by `scope` cannot be delegated. A `scope` that names no action asks for none: only a request without `scope`
//! and `authorization_details` asks for what there is.
//! `authorization_details` says everything, so a dimension it leaves out is asked for without a limit.

use crate::http::form::Form;
use remit_model::{
    Agent, AgentId, Authority, Code, Refusal, Server, UnixTime,
    authority::{ActionSet, GRANT_LIMIT, Holder, WEIGHT_LIMIT},
    display,
    json::{self, Limits, Numbers},
    token_bounds,
};
use remit_token::{MayAct, Restrictions};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use url::Url;

/// Longest `scope` value. SPEC: X-10
const SCOPE_LIMIT: usize = token_bounds::SCOPE.size();
const DETAILS_LIMITS: Limits = Limits { bytes: 32 * 1024, depth: 12, members: 2048, numbers: Numbers::ExactDoubles };

/// Scopes of OpenID Connect Core §5.4 and §11 that clients send by habit. Remit has nothing to give for them, and a consent
/// comes with a refresh token anyway, so they are ignored; the `scope` of the answer says what was granted. SPEC: AZ-07, RT-07
const IGNORED: [&str; 5] = ["profile", "email", "address", "phone", "offline_access"];

/// What a request asks for, read and understood but not yet allowed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RequestedAuthority {
    details: Option<Authority>,
    /// What `scope` names; nothing where it names `openid` alone.
    scope: Option<Authority>,
    pub(crate) openid: bool,
    pub(crate) targets: Vec<String>,
    /// `requested_lifetime`: seconds the result should live.
    pub(crate) lifetime: Option<i64>,
    pub(crate) purpose: Option<String>,
    /// `single_use`: the token can be exchanged once.
    #[serde(default)]
    pub(crate) single_use: bool,
}

/// What a token is for: its one audience. SPEC: TK-08
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Server(Arc<Server>),
    /// This authorization server: a token that only says who its holder is.
    Issuer(String),
    /// A registered agent's endpoint: a token to be shown to that agent and exchanged by it.
    Endpoint(Endpoint),
}

/// Where an agent is called by others.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) uri: String,
    /// The agent; none where rows of older builds give several agents one endpoint.
    pub(crate) agent: Option<AgentId>,
    /// Whether a token for it can be exchanged once only.
    pub(crate) single_use: bool,
}

impl Target {
    pub(crate) fn uri(&self) -> &str {
        match self {
            Self::Server(server) => &server.location,
            Self::Issuer(uri) | Self::Endpoint(Endpoint { uri, .. }) => uri,
        }
    }

    /// What the token says of its own exchange: one that is shown to an agent is exchanged by that agent alone. SPEC: RFC 8693 §4.4
    pub(crate) fn restrictions(&self, issuer: &str) -> Restrictions {
        let Self::Endpoint(Endpoint { agent, single_use, .. }) = self else { return Restrictions::default() };
        let may_act = agent.as_ref().map(|agent| MayAct { iss: Some(issuer.to_owned()), sub: agent.subject() });
        Restrictions { may_act, single_use: *single_use }
    }

    pub(crate) fn server(&self) -> Option<&Server> {
        match self {
            Self::Server(server) => Some(server),
            Self::Issuer(_) | Self::Endpoint(_) => None,
        }
    }
}

impl RequestedAuthority {
    /// Reads the parameters that every grant shares.
    pub(crate) fn read(form: &Form, servers: &[Arc<Server>]) -> Result<Self, Refusal> {
        let mut asked =
            Self { purpose: purpose(form)?, lifetime: lifetime(form)?, single_use: single_use(form)?, ..Self::default() };
        if let Some(text) = form.one("authorization_details") {
            let value = json::parse(text.as_bytes(), &DETAILS_LIMITS)
                .map_err(|refusal| Refusal::new(Code::AuthorizationDetailsInvalid, refusal.reason))?;
            asked.details = Some(Authority::parse(&value)?);
        }
        if let Some(scope) = form.one("scope") {
            asked.read_scope(scope, servers)?;
        }
        asked.fits()?;
        let resources = form.all("resource").map(canonical);
        for target in resources.chain(form.all("audience").map(|name| audience(name, servers))) {
            let target = without_slash(target?, servers);
            if !asked.targets.contains(&target) {
                asked.targets.push(target);
            }
        }
        Ok(asked)
    }

    /// SPEC: AZ-07 (unknown scope is refused). RFC 6749 §3.3: tokens separated by one space.
    fn read_scope(&mut self, scope: &str, servers: &[Arc<Server>]) -> Result<(), Refusal> {
        if scope.len() > SCOPE_LIMIT {
            return Err(Refusal::new(Code::RequestTooLarge, format!("`scope` exceeds {SCOPE_LIMIT} bytes")));
        }
        let mut rest = Vec::new();
        for token in scope.split(' ').filter(|token| !token.is_empty()) {
            match token {
                "openid" => self.openid = true,
                ignored if IGNORED.contains(&ignored) => {}
                token if token.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') => rest.push(token),
                _ => return Err(Refusal::new(Code::ScopeUnknown, "`scope` holds a character that no scope may have")),
            }
        }
        let servers: Vec<&Server> = servers.iter().map(AsRef::as_ref).collect();
        self.scope = Some(Authority::from_scope(&rest.join(" "), &servers)?);
        Ok(())
    }

    /// An authority has a limit of size. What does not fit would be left out in silence, and the nonce of a sign-in would then
    /// commit to less than was asked for.
    fn fits(&self) -> Result<(), Refusal> {
        let all = self.named();
        if [&self.details, &self.scope].into_iter().flatten().all(|part| part.within(&all).is_ok()) {
            return Ok(());
        }
        let reason = format!(
            "`authorization_details` and `scope` together name more than one request can: at most {GRANT_LIMIT} grants with \
             {WEIGHT_LIMIT} names, values and fields altogether; ask for less, or in two requests"
        );
        Err(Refusal::new(Code::AuthorizationDetailsInvalid, reason))
    }

    /// Whether the request has neither `scope` nor `authorization_details`, and so asks for what there is.
    pub(crate) fn nothing_named(&self) -> bool {
        self.details.is_none() && self.scope.is_none()
    }

    /// Whether `scope` or `authorization_details` is given and names no authority: only `openid`, say.
    pub(crate) fn names_none(&self) -> bool {
        !self.nothing_named() && self.named().is_none()
    }

    /// The same request, with `scope` reduced to what `most` holds at the resource that is asked for. `authorization_details`
    /// stay as they are. `within` says in words whose limit `most` is, and what could be done about it.
    /// SPEC: RFC 6749 §3.3, N-CC-03
    ///
    /// # Errors
    /// `authority_empty` when nothing else is asked for and nothing of it is left.
    pub(crate) fn reduced_to(self, most: &Authority, within: &str) -> Result<Self, Refusal> {
        let Some(scope) = &self.scope else { return Ok(self) };
        let held = most.meet(scope);
        let scope = match self.targets.as_slice() {
            [one] => held.at_location(one),
            _ => held,
        };
        // Naming none is enough where the resource is this issuer, which the token then only names the agent to.
        let anything = self.details.is_some() || (self.names_none() && !self.targets.is_empty());
        if scope.is_none() && !anything {
            return Err(Refusal::new(Code::AuthorityEmpty, format!("nothing that `scope` names is within {within}")));
        }
        Ok(Self { scope: Some(scope), ..self })
    }

    /// What is asked for by name, allowed or not; `None` for a request that asks for what there is.
    pub(crate) fn by_name(&self) -> Option<Authority> {
        (!self.nothing_named()).then(|| self.named())
    }

    /// Everything that is asked for by name, allowed or not.
    fn named(&self) -> Authority {
        Authority::from_grants([&self.details, &self.scope].into_iter().flatten().flat_map(|part| part.grants().to_vec()))
    }

    /// The authority asked for under `parent`, which is the holder's, or why it asks for too much.
    /// SPEC: TX-04, DC-07, N-TX-01, N-DC-10
    pub(crate) fn under(&self, parent: &Authority, target: &Target, holder: Holder) -> Result<Authority, Refusal> {
        let parent = match target {
            Target::Server(server) => here(parent, server, holder)?,
            Target::Issuer(_) => return self.nothing_to_hand(),
            Target::Endpoint(_) => parent.clone(),
        };
        if self.nothing_named() {
            return some(parent, holder);
        }
        let mut grants = Vec::new();
        if let Some(details) = &self.details {
            let details = located(details, target)?;
            details.within_held(&parent, holder)?;
            grants.extend(details.grants().iter().cloned());
        }
        if let Some(scope) = &self.scope {
            let scope = located(scope, target)?;
            actions_within(&scope, &parent, holder)?;
            grants.extend(parent.meet(&scope).grants().iter().cloned());
        }
        some(Authority::from_grants(grants), holder)
    }

    /// The part of `most` that was asked for: what a consent page offers. Here the person decides, so the page may
    /// show less than was asked (AZ-07), and the token response says what was granted.
    pub(crate) fn offered(&self, most: &Authority) -> Authority {
        let mut grants = Vec::new();
        if self.nothing_named() {
            grants.extend(most.grants().iter().cloned());
        }
        for part in [&self.details, &self.scope].into_iter().flatten() {
            grants.extend(most.meet(part).grants().iter().cloned());
        }
        let all = Authority::from_grants(grants);
        if self.targets.is_empty() {
            return all;
        }
        let here = self.targets.iter().flat_map(|target| all.at_location(target).grants().to_vec());
        Authority::from_grants(here)
    }

    fn nothing_to_hand(&self) -> Result<Authority, Refusal> {
        if self.named().is_none() {
            Ok(Authority::none())
        } else {
            Err(Refusal::new(Code::WidensResource, "a token for the authorization server itself carries no authority"))
        }
    }

    /// When the result ends: as asked, never after `parent_end`. SPEC: TX-05, N-TX-08, N-DC-11
    pub(crate) fn end(&self, now: UnixTime, most: i64, parent_end: Option<UnixTime>) -> Result<UnixTime, Refusal> {
        let Some(parent_end) = parent_end else {
            return Ok(now.plus(self.lifetime.unwrap_or(most).min(most)));
        };
        if let Some(asked) = self.lifetime.map(|seconds| now.plus(seconds)).filter(|asked| *asked > parent_end) {
            return Err(lasts_longer(asked, parent_end));
        }
        let grants = self.details.as_ref().map(Authority::grants).unwrap_or_default();
        if let Some(asked) = grants.iter().filter_map(remit_model::Grant::not_after).find(|asked| *asked > parent_end) {
            return Err(lasts_longer(asked, parent_end));
        }
        Ok(now.plus(self.lifetime.unwrap_or(most).min(most)).min(parent_end))
    }

    /// The one audience of the token. `held` is what it may be taken from, `inherited` the parent token's audience.
    /// SPEC: TK-08, AZ-06
    pub(crate) fn target(&self, world: &Targets<'_>, held: &Authority, inherited: Option<&str>) -> Result<Target, Refusal> {
        self.target_of(world, held, inherited, self.openid)
    }

    /// As [`RequestedAuthority::target`], where `openid` was asked for earlier.
    pub(crate) fn target_of(
        &self,
        world: &Targets<'_>,
        held: &Authority,
        inherited: Option<&str>,
        openid: bool,
    ) -> Result<Target, Refusal> {
        let target = match self.targets.as_slice() {
            [one] => world.find(one),
            [] if self.nothing_named() => world.default_for(held, inherited, openid),
            [] => world.default_for(&self.named(), inherited, openid),
            several => self.one_of(several, world, held),
        }?;
        match target {
            Target::Endpoint(endpoint) => Ok(Target::Endpoint(Endpoint { single_use: self.single_use, ..endpoint })),
            _ if self.single_use => Err(Refusal::new(
                Code::RequestMalformed,
                "`single_use` is for a token that another agent exchanges; name its endpoint with `resource`",
            )),
            target => Ok(target),
        }
    }

    /// The one of several resources that the request is about: the only one at which it asks for something by name. Each of
    /// them has to be within what is held. SPEC: TK-08, TX-04
    fn one_of(&self, several: &[String], world: &Targets<'_>, held: &Authority) -> Result<Target, Refusal> {
        let named = self.named();
        let mut asked = Vec::new();
        for uri in several {
            let target = world.find(uri)?;
            if held.at_location(target.uri()).is_none() {
                let reason = format!("nothing that is held is for {}, which the request names too", target.uri());
                return Err(Refusal::new(Code::WidensResource, reason));
            }
            if !named.at_location(target.uri()).is_none() {
                asked.push(target);
            }
        }
        match asked.pop() {
            Some(target) if asked.is_empty() => Ok(target),
            _ => Err(Refusal::new(
                Code::ResourceUnknown,
                "a token is for one resource; name one with `resource`, or ask by `scope` for something at one of them",
            )),
        }
    }
}

/// Every resource a token may be for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) servers: &'a [Arc<Server>],
    pub(crate) snapshot: &'a remit_store::Snapshot,
}

impl Targets<'_> {
    pub(crate) fn find(&self, uri: &str) -> Result<Target, Refusal> {
        if let Some(server) = self.servers.iter().find(|server| server.location == uri) {
            return Ok(Target::Server(Arc::clone(server)));
        }
        if uri == self.issuer {
            return Ok(Target::Issuer(uri.to_owned()));
        }
        if self.snapshot.is_endpoint(uri) {
            let agent = match self.snapshot.called_at(uri) {
                [one] => Some(one.clone()),
                _ => None,
            };
            return Ok(Target::Endpoint(Endpoint { uri: uri.to_owned(), agent, single_use: false }));
        }
        Err(Refusal::new(Code::ResourceUnknown, "`resource` names nothing that is registered here"))
    }

    fn default_for(&self, held: &Authority, inherited: Option<&str>, openid: bool) -> Result<Target, Refusal> {
        if let Some(server) = inherited.and_then(|uri| self.servers.iter().find(|server| server.location == uri)) {
            return Ok(Target::Server(Arc::clone(server)));
        }
        if held.is_none() && openid {
            return Ok(Target::Issuer(self.issuer.to_owned()));
        }
        let mut reached = self.servers.iter().filter(|server| !held.at_location(&server.location).is_none());
        match (reached.next(), reached.next()) {
            (Some(server), None) => Ok(Target::Server(Arc::clone(server))),
            _ => Err(Refusal::new(Code::ResourceUnknown, "name the server that the token is for with `resource`")),
        }
    }
}

/// Where an agent is called by other agents, if it is: its registered label `endpoint`, an absolute URI.
pub(crate) fn endpoint(agent: &Agent) -> Option<&str> {
    agent.labels.get("endpoint").map(String::as_str)
}

/// What the parent holds at the server that is asked for. SPEC: N-TX-03
fn here(parent: &Authority, server: &Server, holder: Holder) -> Result<Authority, Refusal> {
    let here = parent.at_location(&server.location);
    if here.is_none() && !parent.is_none() {
        return Err(Refusal::new(Code::WidensResource, format!("{} at {}", holder.holds_nothing(), server.location)));
    }
    Ok(here)
}

/// The authority at the target. What names another resource is refused, not dropped.
fn located(asked: &Authority, target: &Target) -> Result<Authority, Refusal> {
    let Target::Server(server) = target else { return Ok(asked.clone()) };
    let elsewhere = |grant: &remit_model::Grant| {
        grant.locations().is_some_and(|locations| locations.iter().any(|location| *location != server.location))
    };
    if asked.grants().iter().any(elsewhere) {
        return Err(Refusal::new(
            Code::WidensResource,
            format!("the token is for {} only, but the request names another resource too", server.location),
        ));
    }
    Ok(asked.at_location(&server.location))
}

/// SPEC: N-TX-02 (a wildcard is only within a wildcard)
fn actions_within(asked: &Authority, parent: &Authority, holder: Holder) -> Result<(), Refusal> {
    for grant in asked.grants() {
        for location in grant.locations().into_iter().flatten() {
            let held = parent.actions_at(location);
            let beyond = match (grant.actions(), &held) {
                (_, ActionSet::Any) => None,
                (ActionSet::Any, ActionSet::Named(_)) => Some("every action"),
                (ActionSet::Named(asked), held) => asked.iter().map(String::as_str).find(|action| !held.contains(action)),
            };
            if let Some(beyond) = beyond {
                return Err(Refusal::new(Code::WidensScope, format!("asks for {beyond} at {location}, {}", holder.lacks_it())));
            }
        }
    }
    Ok(())
}

fn some(authority: Authority, holder: Holder) -> Result<Authority, Refusal> {
    if authority.is_none() {
        let reason = format!("nothing of what was requested can be granted: {}", holder.holds_nothing());
        return Err(Refusal::new(Code::AuthorityEmpty, reason));
    }
    Ok(authority)
}

fn lasts_longer(asked: UnixTime, parent_end: UnixTime) -> Refusal {
    Refusal::new(Code::WidensLifetime, format!("asks to last until {asked}, after its parent's end {parent_end}"))
}

/// SPEC: C-02, AZ-06, N-AZ-06
pub(crate) fn canonical(uri: &str) -> Result<String, Refusal> {
    let unknown = |reason: &str| Refusal::new(Code::ResourceUnknown, reason);
    let parsed = Url::parse(uri).map_err(|_| unknown("`resource` must be an absolute URI"))?;
    if uri.contains('#') {
        return Err(unknown("`resource` must have no fragment"));
    }
    let text = parsed.as_str();
    Ok(if parsed.path() == "/" && parsed.query().is_none() { text.trim_end_matches('/').to_owned() } else { text.to_owned() })
}

/// A server's location, where the client wrote a slash behind it. RFC 8707 §2 and RFC 9728 §1.2 leave clients to choose.
fn without_slash(target: String, servers: &[Arc<Server>]) -> String {
    let is_server = |uri: &str| servers.iter().any(|server| server.location == uri);
    match target.strip_suffix('/') {
        Some(short) if !is_server(&target) && is_server(short) => short.to_owned(),
        _ => target,
    }
}

/// A resource by its address, or a server by its name here: RFC 8693 §2.1 takes logical names for `audience`.
fn audience(name: &str, servers: &[Arc<Server>]) -> Result<String, Refusal> {
    let server = servers.iter().find(|server| server.id.as_str() == name);
    server.map_or_else(|| canonical(name), |server| Ok(server.location.clone()))
}

fn single_use(form: &Form) -> Result<bool, Refusal> {
    match form.one("single_use") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Refusal::new(Code::RequestMalformed, "`single_use` must be `true` or `false`")),
    }
}

fn lifetime(form: &Form) -> Result<Option<i64>, Refusal> {
    let Some(text) = form.one("requested_lifetime") else { return Ok(None) };
    match text.parse::<u32>() {
        Ok(seconds) if seconds > 0 => Ok(Some(i64::from(seconds))),
        _ => Err(Refusal::new(Code::RequestMalformed, "`requested_lifetime` must be a whole number of seconds above zero")),
    }
}

fn purpose(form: &Form) -> Result<Option<String>, Refusal> {
    let Some(text) = form.one("purpose") else { return Ok(None) };
    display::check("`purpose`", text, display::TEXT_LIMIT)?;
    Ok(Some(text.to_owned()))
}
