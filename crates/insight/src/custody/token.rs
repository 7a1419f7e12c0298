//! What the committed values of a token record say, and what must be true of them by themselves.

use remit_ledger::{Record, Side};
use remit_model::{Authority, Chain, Hop, Principal, UnixTime, json};
use remit_token::{Actor, nested_act};
use serde::Deserialize;
use serde_json::Value;

/// What the committed values of a token record say.
pub(super) struct Opened {
    pub(super) chain: Chain,
    pub(super) claims: Claims,
    pub(super) jkt: Option<String>,
    /// The authority of each hop, and of the token, as it was committed: what digests are over.
    shown: Vec<Value>,
    details: Value,
}

/// The claims of an issued token as the log keeps them.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: String,
    pub(super) jti: String,
    pub(super) exp: UnixTime,
    txn: String,
    pub(super) aud: String,
    act: Option<Actor>,
    #[serde(default)]
    cnf: Value,
    #[serde(rename = "authorization_details")]
    pub(super) authority: Authority,
    #[serde(rename = "urn:remit:ancestors", default)]
    pub(super) ancestors: Vec<String>,
}

impl Opened {
    /// `None` when the values are withheld or erased.
    pub(super) fn read(side: &Side) -> Result<Option<Self>, String> {
        let (Some(chain), Some(claims)) = (side.value("/delegation/chain"), side.value("/token/access")) else {
            return Ok(None);
        };
        let shown = chain.get("hops").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let shown = shown.iter().map(|hop| hop.get("authority").cloned().unwrap_or_default()).collect();
        let details = claims.get("authorization_details").cloned().unwrap_or_default();
        let chain = serde_json::from_value(chain).map_err(|error| format!("the chain cannot be read: {error}"))?;
        let claims: Claims =
            serde_json::from_value(claims).map_err(|error| format!("the token's claims cannot be read: {error}"))?;
        let jkt = claims.cnf.get("jkt").and_then(Value::as_str).map(str::to_owned);
        Ok(Some(Self { chain, claims, jkt, shown, details }))
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
    pub(super) fn agrees_with(&self, record: &Record, jti_hash: &str, side: &Side) -> Result<(), String> {
        let same = hash(&self.claims.jti) == jti_hash
            && record.txn() == Some(self.chain.id.as_str())
            && self.claims.txn == self.chain.id
            && record.text("/ext/token/authority_digest") == Some(json::digest(&self.details).as_str());
        if !same {
            return Err("the committed token or chain is not the one the record states".to_owned());
        }
        let fact = |name: &str| record.ext("token")?.get(name);
        let other_end = fact("expires").is_some_and(|end| end.as_i64() != Some(self.claims.exp.0));
        if other_end || fact("audience").is_some_and(|aud| aud.as_str() != Some(self.claims.aud.as_str())) {
            return Err("the record states another end or audience than the committed token".to_owned());
        }
        self.parties_agree(record, side)
    }

    fn parties_agree(&self, record: &Record, side: &Side) -> Result<(), String> {
        let parties: Vec<&Principal> =
            std::iter::once(&self.chain.root).chain(self.chain.hops.iter().map(|hop| &hop.delegate)).collect();
        if record.chain().len() != parties.len() {
            return Err("the record's chain has not the parties of the committed chain".to_owned());
        }
        for (at, party) in parties.into_iter().enumerate() {
            let stated = side.value(&format!("/chain/{at}/subject"));
            if stated.is_some_and(|stated| stated != serde_json::json!({"iss": party.iss, "sub": party.sub})) {
                return Err(format!("party {at} of the record's chain is not that of the committed chain"));
            }
        }
        for (at, (node, hop)) in record.chain().iter().skip(1).zip(&self.chain.hops).enumerate() {
            let stated = node.get("edge_proof").and_then(Value::as_str);
            if stated.is_some_and(|stated| stated != hash(hop.edge.jws())) {
                return Err(format!("the edge_proof of party {} is not the committed chain's", at + 1));
            }
        }
        let shown = record.chain().last().and_then(|party| party.pointer("/cnf/jkt")).and_then(Value::as_str);
        if shown.is_some() && shown != self.jkt.as_deref() {
            return Err("the record states another key than the committed token".to_owned());
        }
        Ok(())
    }

    /// SPEC: DC-02, DC-03, DC-07, DC-09.
    pub(super) fn says_what_its_chain_says(&self) -> Result<(), String> {
        if self.claims.sub != self.chain.root.sub || self.claims.act != nested_act(&self.chain) {
            return Err("`sub` or `act` of the token do not say what the chain says".to_owned());
        }
        if self.jkt.is_none() {
            return Err("the token is bound to no key".to_owned());
        }
        let Some(last) = self.chain.hops.last() else { return Ok(()) };
        if self.jkt.as_deref() != Some(last.jkt.as_str()) {
            return Err("the token is bound to another key than its holder's".to_owned());
        }
        if self.claims.exp > last.expires {
            return Err(format!("the token ends at {}, its delegation at {}", self.claims.exp, last.expires));
        }
        self.claims.authority.within(&last.authority).map_err(|wider| format!("wider than its delegation: {wider}"))
    }

    /// SPEC: DC-07.
    pub(super) fn narrows(&self, parent: &Self) -> Result<(), String> {
        if self.claims.exp > parent.claims.exp {
            return Err(format!("it ends at {}, its parent token at {}", self.claims.exp, parent.claims.exp));
        }
        if self.claims.ancestors.get(1..) != Some(parent.claims.ancestors.as_slice()) {
            return Err("the tokens above it are not those above its parent token".to_owned());
        }
        self.claims.authority.within(&parent.claims.authority).map_err(|wider| format!("wider than its parent token: {wider}"))
    }

    /// What a hop hands on is a part of the very token it was handed on from, not only of the hop before. SPEC: DC-07.
    pub(super) fn covers(&self, hop: &Hop) -> Result<(), String> {
        if hop.expires > self.claims.exp {
            return Err(format!("the delegation ends at {}, its parent token at {}", hop.expires, self.claims.exp));
        }
        hop.authority.within(&self.claims.authority).map_err(|wider| format!("delegated wider than the parent token: {wider}"))
    }
}

pub(super) fn hash(jti: &str) -> String {
    json::sha256_label(jti.as_bytes())
}
