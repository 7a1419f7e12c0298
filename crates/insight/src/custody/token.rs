//! What the committed values of a token record say, and what must be true of them by themselves.

use super::{edge::Keys, error::CustodyError};
use remit_ledger::{Record, Side};
use remit_model::{Authority, Binding, Chain, Confirmation, Hop, Principal, PrincipalKind, UnixTime, confirmation::X5T, json};
use remit_token::{Actor, Restrictions, nested_act};
use serde::Deserialize;
use serde_json::Value;

/// What the committed values of a token record say.
pub(super) struct Opened {
    pub(super) chain: Chain,
    pub(super) claims: Claims,
    /// What it is bound to, in one text for a key or a certificate.
    pub(super) bound_to: Option<String>,
    /// What the token says of its own exchange.
    pub(super) restrictions: Restrictions,
    /// The authority of each hop, and of the token, as it was committed: what digests are over.
    shown: Vec<Value>,
    details: Value,
}

/// Whether a record says that the caller's token is bound to no key.
pub(super) fn states_unbound(record: &Record) -> bool {
    stated_binding(record) == Some(Binding::DangerBearer.as_str())
}

/// What a record says that the caller's token is bound to; where it says nothing, that is a key.
fn stated_binding(record: &Record) -> Option<&str> {
    record.chain().last().and_then(|party| party.pointer("/token/binding")).and_then(Value::as_str)
}

/// The key or certificate that the caller of a record proved.
pub(super) fn proved(record: &Record) -> Option<String> {
    confirmation(record.chain().last()?.get("cnf")?)
}

fn confirmation(cnf: &Value) -> Option<String> {
    Confirmation::from_value(cnf).map(|confirmation| confirmation.to_string())
}

/// A key and a certificate at once: it would not be clear which of them was proved.
fn names_both(cnf: &Value) -> bool {
    cnf.get("jkt").is_some() && cnf.get(X5T).is_some()
}

/// The claims of an issued token as the log keeps them.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: String,
    pub(super) jti: String,
    pub(super) exp: UnixTime,
    /// When the person at the root authenticated.
    #[serde(default)]
    pub(super) auth_time: Option<UnixTime>,
    txn: String,
    pub(super) aud: String,
    act: Option<Actor>,
    #[serde(default)]
    cnf: Value,
    #[serde(rename = "authorization_details")]
    pub(super) authority: Authority,
    #[serde(rename = "urn:remit:signed", default)]
    signed: Option<String>,
    #[serde(rename = "urn:remit:ancestors", default)]
    pub(super) ancestors: Vec<String>,
    pub(super) acr: Option<String>,
    #[serde(default, deserialize_with = "null_is_none")]
    pub(super) amr: Vec<String>,
}

fn null_is_none<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

/// A structure is written as an object; serde reads one from an array too.
fn objects(chain: &Value, claims: &Value) -> Result<(), CustodyError> {
    let hops = chain.get("hops").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let parts = |hop: &Value| ["delegator", "delegate", "edge"].iter().all(|part| hop.get(part).is_some_and(Value::is_object));
    let mut actors = std::iter::successors(claims.get("act").filter(|act| !act.is_null()), |act| act.get("act"));
    let whole = chain.is_object()
        && chain.get("root").is_some_and(Value::is_object)
        && hops.iter().all(parts)
        && claims.is_object()
        && actors.all(Value::is_object);
    if whole { Ok(()) } else { Err(CustodyError::NoObject) }
}

impl Opened {
    /// `None` when the values are withheld or erased.
    pub(super) fn read(side: &Side) -> Result<Option<Self>, CustodyError> {
        let (Some(chain), Some(claims)) = (side.value("/delegation/chain"), side.value("/token/access")) else {
            return Ok(None);
        };
        objects(&chain, &claims)?;
        let shown = chain.get("hops").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let shown = shown.iter().map(|hop| hop.get("authority").cloned().unwrap_or_default()).collect();
        let both = chain.get("hops").and_then(Value::as_array).is_some_and(|hops| hops.iter().any(names_both));
        let details = claims.get("authorization_details").cloned().unwrap_or_default();
        let restrictions = claims.as_object().map(Restrictions::read).transpose().map_err(CustodyError::Restrictions)?;
        let restrictions = restrictions.unwrap_or_default();
        let chain: Chain = serde_json::from_value(chain).map_err(CustodyError::Chain)?;
        let claims: Claims = serde_json::from_value(claims).map_err(CustodyError::Claims)?;
        if names_both(&claims.cnf) || both {
            return Err(CustodyError::BoundTwice);
        }
        let bound_to = confirmation(&claims.cnf);
        Ok(Some(Self { chain, claims, bound_to, restrictions, shown, details }))
    }

    /// When the sign-in was that the token rests on. Where the token does not say, it was before any end of the person's sign-ins.
    pub(super) fn signed_in(&self) -> UnixTime {
        self.claims.auth_time.unwrap_or(UnixTime(i64::MIN))
    }

    /// Whether this token was made by the chain's last hop, as opposed to narrowed or refreshed later.
    pub(super) fn is_new_hop(&self) -> bool {
        self.chain.hops.last().is_some_and(|hop| hop.jti == self.claims.jti)
    }

    /// The authority of the last hop, as it was committed.
    pub(super) fn shown(&self) -> Option<&Value> {
        self.shown.last()
    }

    /// The plain facts of the record are those of the committed token and chain: a reader who sees only the record is not
    /// told of other parties, ends or keys than were signed for.
    pub(super) fn agrees_with(&self, record: &Record, jti_hash: &str, side: &Side) -> Result<(), CustodyError> {
        let same = hash(&self.claims.jti) == jti_hash
            && record.txn() == Some(self.chain.id.as_str())
            && self.claims.txn == self.chain.id
            && record.text("/ext/token/authority_digest") == Some(json::digest(&self.details).as_str());
        if !same {
            return Err(CustodyError::NotAsStated);
        }
        let fact = |name: &str| record.ext("token")?.get(name);
        let other_end = fact("expires").is_some_and(|end| end.as_i64() != Some(self.claims.exp.0));
        let parent = self.claims.ancestors.first().map(|jti| hash(jti));
        if fact("parent_jti_hash").is_some_and(|stated| stated.as_str() != parent.as_deref()) {
            return Err(CustodyError::OtherParentStated);
        }
        if other_end || fact("audience").is_some_and(|aud| aud.as_str() != Some(self.claims.aud.as_str())) {
            return Err(CustodyError::OtherEndStated);
        }
        self.parties_agree(record, side)
    }

    fn parties_agree(&self, record: &Record, side: &Side) -> Result<(), CustodyError> {
        let parties: Vec<&Principal> =
            std::iter::once(&self.chain.root).chain(self.chain.hops.iter().map(|hop| &hop.delegate)).collect();
        if record.chain().len() != parties.len() {
            return Err(CustodyError::PartyCount);
        }
        for (at, party) in parties.into_iter().enumerate() {
            let stated = side.value(&format!("/chain/{at}/subject"));
            if stated.is_some_and(|stated| stated != serde_json::json!({"iss": party.iss, "sub": party.sub})) {
                return Err(CustodyError::OtherParty(at));
            }
        }
        for (at, (node, hop)) in record.chain().iter().skip(1).zip(&self.chain.hops).enumerate() {
            let stated = node.get("edge_proof").and_then(Value::as_str);
            if stated.is_some_and(|stated| stated != hash(hop.edge.jws())) {
                return Err(CustodyError::OtherProof(at + 1));
            }
        }
        let shown = proved(record);
        if shown.is_some() && shown != self.bound_to {
            return Err(CustodyError::OtherKeyStated);
        }
        Ok(())
    }

    /// SPEC: DC-02, DC-03, DC-07, DC-09.
    pub(super) fn says_what_its_chain_says(&self) -> Result<(), CustodyError> {
        if self.claims.sub != self.chain.root.sub || self.claims.act != nested_act(&self.chain) {
            return Err(CustodyError::Actors);
        }
        if self.claims.signed.as_deref() != self.chain.root_signature() {
            return Err(CustodyError::SignedDiffers);
        }
        let Some(last) = self.chain.hops.last() else { return Ok(()) };
        if self.bound_to != last.confirmation().map(|confirmation| confirmation.to_string()) {
            return Err(CustodyError::OtherHolder);
        }
        if self.claims.exp > last.expires {
            return Err(CustodyError::OutlivesDelegation { token: self.claims.exp, delegation: last.expires });
        }
        self.claims
            .authority
            .within(&last.authority)
            .map_err(|wider| CustodyError::Wider { bound: "wider than its delegation", wider })
    }

    /// A token is bound to a key, unless its record and the registration of its holder say that it is not; then no agent handed it
    /// on, and none can. SPEC: TX-06.
    pub(super) fn is_bound_as_stated(&self, record: &Record, keys: &Keys, at: UnixTime) -> Result<(), CustodyError> {
        let certificate = self.bound_to.as_deref().is_some_and(|bound_to| Confirmation::parse(bound_to).x5t().is_some());
        match (&self.bound_to, states_unbound(record)) {
            (Some(_), true) => return Err(CustodyError::StatedUnbound),
            (Some(_), false) if certificate != (stated_binding(record) == Some(Binding::Mtls.as_str())) => {
                return Err(CustodyError::OtherBinding);
            }
            // SPEC: RFC 8705 §3
            (Some(_), false) if certificate && !keys.is(Binding::Mtls, self.chain.holder(), at) => {
                return Err(CustodyError::NotMtls);
            }
            (Some(_), false) => return Ok(()),
            (None, false) => return Err(CustodyError::Unbound),
            (None, true) => {}
        }
        if !keys.is(Binding::DangerBearer, self.chain.holder(), at) {
            return Err(CustodyError::NotBearer);
        }
        let by_agent = match self.chain.hops.as_slice() {
            [] => false,
            [_] => self.chain.root.kind() != PrincipalKind::Human,
            _ => true,
        };
        let further = self.claims.authority.depth() > 0 || self.chain.hops.iter().any(|hop| hop.authority.depth() > 0);
        if by_agent || further || !self.claims.ancestors.is_empty() {
            return Err(CustodyError::BearerHandedOn);
        }
        Ok(())
    }

    /// SPEC: DC-07.
    pub(super) fn narrows(&self, parent: &Self) -> Result<(), CustodyError> {
        if self.claims.exp > parent.claims.exp {
            return Err(CustodyError::OutlivesParent { token: self.claims.exp, parent: parent.claims.exp });
        }
        if self.claims.ancestors.get(1..) != Some(parent.claims.ancestors.as_slice()) {
            return Err(CustodyError::OtherAncestors);
        }
        self.claims
            .authority
            .within(&parent.claims.authority)
            .map_err(|wider| CustodyError::Wider { bound: "wider than its parent token", wider })
    }

    /// What a hop hands on is a part of the very token it was handed on from, not only of the hop before. SPEC: DC-07.
    pub(super) fn covers(&self, hop: &Hop) -> Result<(), CustodyError> {
        // SPEC: DC-05 (4)
        if !self.restrictions.admits(&hop.delegate, &self.chain.root.iss) {
            return Err(CustodyError::NotAdmitted);
        }
        if hop.expires > self.claims.exp {
            return Err(CustodyError::DelegationOutlivesParent { delegation: hop.expires, parent: self.claims.exp });
        }
        hop.authority
            .within(&self.claims.authority)
            .map_err(|wider| CustodyError::Wider { bound: "delegated wider than the parent token", wider })
    }
}

pub(super) fn hash(jti: &str) -> String {
    json::sha256_label(jti.as_bytes())
}
