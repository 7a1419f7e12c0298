//! The chain of custody, re-checked from the log alone. SPEC: DC-01 to DC-10, record.md §1.11.
//!
//! For every token and delegation record: the token says what the chain says, the chain continues the parent token's
//! chain by at most one hop, authority and lifetime only shrink, and the new hop is signed by the delegator's own key.
//! For every decision of a gateway: it was made for a token that an earlier record issued, to the same chain.
//!
//! Keys come from the log: the issuer's from the latest start record, agents' from their latest registration, proof keys
//! from the tokens they were bound to. What a token carried is in committed values; without them a record counts as
//! undisclosed and only its plain facts are compared. What was revoked, or rests on a sign-in that was ended, is neither used
//! nor handed on from then on.
//! docs/custody-format.md says all of it for those who write their own verifier.

mod edge;
mod error;
mod foreign;
mod pinned;
mod report;
mod root;
mod sign_in;
mod signature;
mod standing;
mod token;
mod uses;

pub use pinned::{OutsideKey, PINNED_LIMIT, PinnedKeys};
pub use report::{Broken, CustodyReport, RootProof};

use crate::side_values::{opened, written};
use edge::{Keys, Link};
use error::CustodyError;
use pinned::OutsideKeys;
use remit_ledger::{Reader, Record, Side, dir::ReadError};
use remit_model::{Chain, EdgeProof, Hop, PrincipalKind, UnixTime, chain::HARD_DEPTH};
use serde_json::Value;
use sign_in::Stated;
use signature::Signatures;
use standing::Standing;
use std::collections::{HashMap, HashSet};
use token::{Opened, hash, proved, states_unbound};

/// Re-checks the custody of every authority in the log.
pub fn custody(reader: &Reader) -> CustodyReport {
    custody_with(reader, None)
}

/// The same, and the keys of other issuers have to be among `pinned`, where there are such.
pub fn custody_with(reader: &Reader, pinned: Option<&PinnedKeys>) -> CustodyReport {
    let mut custody = Custody {
        reader,
        keys: Keys::default(),
        tokens: HashMap::new(),
        chains: HashSet::new(),
        exchanged: HashSet::new(),
        proofs: HashSet::new(),
        standing: Standing::default(),
        signatures: Signatures::default(),
        outside: OutsideKeys::new(pinned),
        report: CustodyReport::default(),
    };
    for index in 0..reader.len() {
        match reader.record(index) {
            Ok(record) => custody.visit(index, &record),
            Err(error @ ReadError::Record { .. }) => custody.report.fail(index, error.to_string()),
            Err(error) => {
                // A bundle is missing: a forged size must not keep us busy with what is not there.
                custody.report.fail(index, error.to_string());
                break;
            }
        }
    }
    custody.report.keys = custody.outside.report();
    custody.report
}

struct Custody<'r> {
    reader: &'r Reader,
    keys: Keys,
    /// By the hash of their `jti`.
    tokens: HashMap<String, Issued>,
    /// Ids of the chains seen.
    chains: HashSet<String>,
    /// `jti` of the tokens that others came from and that were for one exchange.
    exchanged: HashSet<String>,
    /// What the signatures seen so far were made over: each proves one act.
    proofs: HashSet<String>,
    standing: Standing,
    signatures: Signatures,
    outside: OutsideKeys<'r>,
    report: CustodyReport,
}

/// A token as an earlier record states it.
struct Issued {
    index: u64,
    txn: Option<String>,
    /// Pseudonyms of the chain, root first.
    parties: Vec<Option<String>>,
    /// What it is bound to, in one text for a key or a certificate.
    bound_to: Option<String>,
    /// The issuer's key that signed it. Older builds did not say.
    key: Option<String>,
    /// The record says that it is bound to no key.
    unbound: bool,
    /// When it was issued, as its record says: the sign-in it rests on was not later.
    made: Option<UnixTime>,
    /// When it ends, by the token or, where that is not with this copy, by its record. Older builds did not say.
    ends: Option<UnixTime>,
    /// The hash of the `jti` of the token that it comes from, from the same place.
    parent: Option<String>,
    /// `None` when the committed values are not with this copy.
    opened: Option<Opened>,
}

impl Custody<'_> {
    fn visit(&mut self, index: u64, record: &Record) {
        let outcome = match record.record_type() {
            "log_control" => self.keys.learn_issuer(record),
            "config_change" => (self.keys.learn_issuer(record))
                .and_then(|()| self.keys.learn_agent(record, written(record)))
                .and_then(|()| self.passkey(index, record)),
            "approval" => self.approval(index, record),
            "token" | "delegation" => self.issued(index, record),
            "decision" | "intent" | "effect" => self.used(record),
            _ => Ok(()),
        };
        if let Err(why) = outcome {
            self.report.fail(index, why.to_string());
        }
        self.standing.learn(index, record, written(record));
    }

    fn passkey(&mut self, index: u64, record: &Record) -> Result<(), CustodyError> {
        if record.ext("passkey").is_none() {
            return Ok(());
        }
        let side = opened(self.reader, index, record)?;
        self.signatures.learn(record, side.as_ref())
    }

    /// An approval, if it says that the person signed it.
    fn approval(&mut self, index: u64, record: &Record) -> Result<(), CustodyError> {
        let Some(digest) = record.text("/ext/token/root_signature") else { return Ok(()) };
        let side = opened(self.reader, index, record)?;
        self.signatures.approved(digest, side.as_ref())
    }

    /// A record that issued a token. Records of the same types that issued none (a revocation) are passed over.
    fn issued(&mut self, index: u64, record: &Record) -> Result<(), CustodyError> {
        let fact = |name: &str| record.ext("token")?.get(name)?.as_str().map(str::to_owned);
        let Some(jti_hash) = fact("jti_hash") else { return Ok(()) };
        if fact("authority_digest").is_none() {
            return Ok(());
        }
        self.report.tokens += 1;
        self.chains.extend(record.txn().map(str::to_owned));
        self.report.chains = self.chains.len();
        self.standing.begin(index, record);
        let side = opened(self.reader, index, record)?;
        let read = side.as_ref().map(Opened::read).transpose()?.flatten();
        let issued = Issued::of(index, record, read);
        let outcome = if let (Some(token), Some(side)) = (&issued.opened, &side) {
            let key = self.sign_in_key(record);
            self.check(record, &jti_hash, token, side).and(key)
        } else {
            self.report.undisclosed += 1;
            self.stated(record, &issued)
        };
        if let Some(earlier) = self.tokens.insert(jti_hash, issued) {
            return Err(CustodyError::IssuedBefore(earlier.index));
        }
        outcome
    }

    /// What the plain facts of a record say of a token that is not with this copy.
    fn stated(&mut self, record: &Record, issued: &Issued) -> Result<(), CustodyError> {
        let at = written(record);
        if let Some(parent) = &issued.parent {
            let parent = self.tokens.get(parent).ok_or(CustodyError::NoParent)?;
            if parent.txn != issued.txn {
                return Err(CustodyError::OtherChain);
            }
            if let (Some(token), Some(parent)) = (issued.ends, parent.ends)
                && token > parent
            {
                return Err(CustodyError::OutlivesParent { token, parent });
            }
        }
        self.standing.person(first_party(&issued.parties), issued.txn.as_deref(), at)?;
        self.standing.in_force(self.rests_on(issued), at)?;
        if Stated::read(record)?.is_some() {
            self.report.root(RootProof::NotChecked);
        }
        self.sign_in_key(record)
    }

    /// The provider's key that a record states stands in plain: it is known whatever is withheld.
    fn sign_in_key(&mut self, record: &Record) -> Result<(), CustodyError> {
        let Some(stated) = Stated::read(record)? else { return Ok(()) };
        self.outside.meet(&stated.issuer, &stated.key)
    }

    fn check(&mut self, record: &Record, jti_hash: &str, token: &Opened, side: &Side) -> Result<(), CustodyError> {
        token.agrees_with(record, jti_hash, side)?;
        token.says_what_its_chain_says()?;
        token.is_bound_as_stated(record, &self.keys, written(record))?;
        well_formed(&token.chain)?;
        let parent = match token.claims.ancestors.first() {
            None => None,
            Some(jti) => {
                let parent = self.tokens.get(&hash(jti));
                Some(parent.ok_or(CustodyError::NoParent)?)
            }
        };
        if let Some(parent) = parent.and_then(|parent| parent.opened.as_ref()) {
            token.narrows(parent)?;
            if parent.restrictions.single_use && !self.exchanged.insert(parent.claims.jti.clone()) {
                return Err(CustodyError::ExchangedTwice);
            }
        }
        let above: Vec<String> = token.claims.ancestors.iter().map(|jti| hash(jti)).collect();
        let keys = self.signers(record.text("/ext/token/kid"), &above);
        self.standing.in_force(above.into_iter().chain([token.chain.id.clone()]).chain(keys), written(record))?;
        self.standing.agents(token.chain.parties(), written(record))?;
        self.standing.person(first_party(&parties(record)), record.txn(), written(record))?;
        self.still_signed_in(&parties(record), Some(token.signed_in()), written(record))?;
        let known = self.known_hops(token, parent)?;
        let consented = matches!(token.chain.hops.as_slice(), [hop] if matches!(hop.edge, EdgeProof::IdToken(_)));
        if Stated::read(record)?.is_some() && !(consented && parent.is_none() && known == 0) {
            return Err(CustodyError::RootEvidence);
        }
        match token.chain.hops.get(known..).unwrap_or_default() {
            [] if token.chain.hops.is_empty() => self.root_agent(record, token, side),
            [] => Ok(()),
            [hop] if hop.jti == token.claims.jti => self.new_hop(record, side, token, hop),
            _ => Err(CustodyError::UnknownHops),
        }
    }

    /// The hop that this record's token made: its delegator's own signature.
    fn new_hop(&mut self, record: &Record, side: &Side, token: &Opened, hop: &Hop) -> Result<(), CustodyError> {
        let parent = token.claims.ancestors.first().and_then(|jti| self.tokens.get(&hash(jti)));
        if let Some(parent) = parent.and_then(|parent| parent.opened.as_ref()) {
            parent.covers(hop)?;
        }
        let link = Link {
            hop,
            issuer: &token.chain.root.iss,
            parent_jti: token.claims.ancestors.first().map(String::as_str),
            delegator: parent.and_then(|parent| parent.bound_to.as_deref()),
            parent_audience: parent.and_then(|parent| parent.opened.as_ref()).map(|parent| parent.claims.aud.as_str()),
            subject_token_hash: record.text("/ext/token/subject_token_hash"),
            at: written(record),
            shown: token.shown(),
            subject: side.value("/token/subject"),
        };
        speaks_for_a_person(token, hop, parent.is_none())?;
        let proved = match &hop.edge {
            EdgeProof::ForeignToken(jws) => foreign::verify(&link, jws)?,
            _ => edge::verify(&link, &self.keys)?,
        };
        let first = once(&mut self.proofs, hop.edge.jws());
        if proved.once {
            first?;
        }
        if let Some(holder) = &proved.holder {
            once(&mut self.proofs, holder)?;
        }
        self.report.hop(&hop.edge, proved.note);
        if let (EdgeProof::ForeignToken(jws), Some(subject)) = (&hop.edge, side.value("/token/subject")) {
            self.outside.meet(&foreign::issuer_of(jws)?, subject.get("jwk").unwrap_or(&Value::Null))?;
        }
        let signed = self.root_signature(token, hop)?;
        self.person(record, side, token, hop, signed)
    }

    /// By what a new first hop of a person is proved, besides this server's own ID token.
    fn person(&mut self, record: &Record, side: &Side, token: &Opened, hop: &Hop, signed: bool) -> Result<(), CustodyError> {
        if hop.delegator.kind() != PrincipalKind::Human {
            return Ok(());
        }
        let proof = match Stated::read(record)? {
            None => {
                sign_in::unstated(side)?;
                let foreign = matches!(hop.edge, EdgeProof::ForeignToken(_));
                if foreign { Some(RootProof::Issuer) } else { (!signed).then_some(RootProof::Server) }
            }
            Some(stated) => Some(match stated.verify(side, token, hop, written(record))? {
                None => RootProof::NotChecked,
                Some(proved) => {
                    if let Some(jws) = &proved.once {
                        once(&mut self.proofs, jws)?;
                    }
                    RootProof::from(proved.kind)
                }
            }),
        };
        if let Some(proof) = proof {
            self.report.root(proof);
        }
        Ok(())
    }

    /// The signature that a new hop states, and whether it was checked. Only a person at the root has a passkey here.
    fn root_signature(&mut self, token: &Opened, hop: &Hop) -> Result<bool, CustodyError> {
        let Some(digest) = hop.signed.as_deref() else { return Ok(false) };
        if token.chain.hops.len() != 1 {
            return Err(CustodyError::NotSigned);
        }
        let shown = token.shown().cloned().unwrap_or_else(|| hop.authority.to_value());
        if self.signatures.root(digest, hop, &shown)? {
            self.report.signed_roots += 1;
            return Ok(true);
        }
        self.report.note("what the person signed at the root is not with this copy");
        Ok(false)
    }

    /// How many of the token's hops an earlier record already delegated, exactly as they stand.
    fn known_hops(&self, token: &Opened, parent: Option<&Issued>) -> Result<usize, CustodyError> {
        let hops = &token.chain.hops;
        if let Some(parent) = parent {
            if parent.txn.as_deref() != Some(token.chain.id.as_str()) {
                return Err(CustodyError::OtherChain);
            }
            let Some(parent) = &parent.opened else {
                // Without the parent's values, all but the newest hop must be taken as they are.
                return Ok(hops.len().saturating_sub(usize::from(token.is_new_hop())));
            };
            let before = &parent.chain.hops;
            if hops.get(..before.len()) != Some(before.as_slice()) || parent.chain.root != token.chain.root {
                return Err(CustodyError::NotContinued);
            }
            return Ok(before.len());
        }
        // No parent: the first token of a chain, or a later one for a delegation that was made before (a refresh).
        let Some(last) = hops.last().filter(|_| !token.is_new_hop()) else { return Ok(0) };
        let made = self.tokens.get(&hash(&last.jti)).ok_or(CustodyError::NoDelegation)?;
        match &made.opened {
            Some(made) if made.chain != token.chain => Err(CustodyError::NotDelegated),
            _ => Ok(hops.len()),
        }
    }

    /// An agent on its own account proved itself.
    fn root_agent(&mut self, record: &Record, token: &Opened, side: &Side) -> Result<(), CustodyError> {
        let root = &token.chain.root;
        if root.kind() == PrincipalKind::Human {
            return Err(CustodyError::PersonAlone);
        }
        if !token.claims.ancestors.is_empty() {
            return Ok(()); // A narrower copy of a token whose root was checked before.
        }
        let proved = root::verify(record, side, root, token.bound_to.as_deref(), &self.keys, written(record))?;
        if proved.once {
            once(&mut self.proofs, proved.edge.jws())?;
        }
        let signed = matches!(proved.edge, EdgeProof::WorkloadToken(_)) && proved.once;
        let stated = side.value("/token/credential").and_then(|stated| stated.get("key").cloned()).filter(|_| signed);
        if let (Some(key), Some(issuer)) = (stated, record.text("/ext/token/credential/trusted_as")) {
            self.outside.meet(issuer, &key)?;
        }
        if let Some(note) = proved.note {
            self.report.note(note);
        }
        self.report.roots += 1;
        Ok(())
    }
}

/// A sign-in speaks for the person at the root of a chain: an agent delegates by its own key alone.
fn speaks_for_a_person(token: &Opened, hop: &Hop, first: bool) -> Result<(), CustodyError> {
    let signed_in = matches!(hop.edge, EdgeProof::IdToken(_) | EdgeProof::ForeignToken(_));
    let at_root = first && token.chain.hops.len() == 1 && hop.delegator.kind() == PrincipalKind::Human;
    if signed_in && !at_root { Err(CustodyError::RootEvidence) } else { Ok(()) }
}

/// Takes note of a proof. What was signed counts, not the signature, which another may be made of (J-12).
fn once(proofs: &mut HashSet<String>, jws: &str) -> Result<(), CustodyError> {
    let signed = jws.rsplit_once('.').map_or(jws, |(signed, _)| signed);
    if proofs.insert(signed.to_owned()) { Ok(()) } else { Err(CustodyError::UsedTwice) }
}

/// Links, cycles, depth, narrowing and lifetimes of the whole chain, by building it again.
fn well_formed(chain: &Chain) -> Result<(), CustodyError> {
    let empty = Chain::new(chain.id.clone(), chain.root.clone());
    let built = chain.hops.iter().try_fold(empty, |built, hop| built.extend(hop.clone(), HARD_DEPTH));
    built.map(|_| ()).map_err(CustodyError::Malformed)
}

fn first_party(parties: &[Option<String>]) -> Option<&String> {
    parties.first().and_then(Option::as_ref)
}

/// The pseudonyms of the parties. One that is missing is no empty one.
fn parties(record: &Record) -> Vec<Option<String>> {
    let subject = |party: &Value| party.get("subject_ref").and_then(Value::as_str).map(str::to_owned);
    record.chain().iter().map(subject).collect()
}

impl Issued {
    fn of(index: u64, record: &Record, opened: Option<Opened>) -> Self {
        let moment = |name: &str| record.ext("token").and_then(|facts| facts.get(name)?.as_i64()).map(UnixTime);
        let above = opened.as_ref().map(|token| token.claims.ancestors.first().map(|jti| hash(jti)));
        Self {
            index,
            txn: record.txn().map(str::to_owned),
            parties: parties(record),
            key: record.text("/ext/token/kid").map(str::to_owned),
            bound_to: opened.as_ref().and_then(|token| token.bound_to.clone()).or_else(|| proved(record)),
            unbound: states_unbound(record),
            made: moment("issued"),
            ends: opened.as_ref().map(|token| token.claims.exp).or_else(|| moment("expires")),
            parent: above.unwrap_or_else(|| record.text("/ext/token/parent_jti_hash").map(str::to_owned)),
            opened,
        }
    }
}
