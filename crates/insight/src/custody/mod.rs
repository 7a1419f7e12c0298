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
mod report;
mod root;
mod signature;
mod standing;
mod token;

pub use report::{Broken, CustodyReport};

use crate::{
    replay::decided_at,
    side_values::{opened, written},
};
use edge::{Keys, Link};
use error::CustodyError;
use remit_ledger::{Reader, Record, Side, dir::ReadError};
use remit_model::{Binding, Chain, EdgeProof, Hop, PrincipalKind, UnixTime, chain::HARD_DEPTH};
use serde_json::Value;
use signature::Signatures;
use standing::Standing;
use std::collections::{HashMap, HashSet};
use token::{Opened, hash, proved, states_unbound};

/// Re-checks the custody of every authority in the log.
pub fn custody(reader: &Reader) -> CustodyReport {
    let mut custody = Custody {
        reader,
        keys: Keys::default(),
        tokens: HashMap::new(),
        chains: HashSet::new(),
        exchanged: HashSet::new(),
        proofs: HashSet::new(),
        standing: Standing::default(),
        signatures: Signatures::default(),
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
    report: CustodyReport,
}

/// A token as an earlier record states it.
struct Issued {
    index: u64,
    txn: Option<String>,
    /// Pseudonyms of the chain, root first.
    parties: Vec<String>,
    /// What it is bound to, in one text for a key or a certificate.
    bound_to: Option<String>,
    /// The issuer's key that signed it. Older builds did not say.
    key: Option<String>,
    /// The record says that it is bound to no key.
    unbound: bool,
    /// When it was issued, as its record says: the sign-in it rests on was not later.
    made: Option<UnixTime>,
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
        let side = opened(self.reader, index, record)?;
        let read = side.as_ref().map(Opened::read).transpose()?.flatten();
        let outcome = if let (Some(token), Some(side)) = (&read, &side) {
            self.check(record, &jti_hash, token, side)
        } else {
            self.report.undisclosed += 1;
            Ok(())
        };
        let issued = Issued {
            index,
            txn: record.txn().map(str::to_owned),
            parties: parties(record),
            key: fact("kid"),
            bound_to: read.as_ref().and_then(|token| token.bound_to.clone()).or_else(|| proved(record)),
            unbound: states_unbound(record),
            made: record.ext("token").and_then(|facts| facts.get("issued")?.as_i64()).map(UnixTime),
            opened: read,
        };
        if let Some(earlier) = self.tokens.insert(jti_hash, issued) {
            return Err(CustodyError::IssuedBefore(earlier.index));
        }
        outcome
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
        let above = token.claims.ancestors.iter().map(|jti| hash(jti));
        let keys = self.signers(record.text("/ext/token/kid"), Some(token));
        self.standing.in_force(above.chain([token.chain.id.clone()]).chain(keys), written(record))?;
        self.still_signed_in(&parties(record), token.signed_in(), written(record))?;
        let known = self.known_hops(token, parent)?;
        match token.chain.hops.get(known..).unwrap_or_default() {
            [] if token.chain.hops.is_empty() => self.root_agent(record, token, side),
            [] => Ok(()),
            [hop] if hop.jti == token.claims.jti => {
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
                self.root_signature(token, hop)?;
                Ok(())
            }
            _ => Err(CustodyError::UnknownHops),
        }
    }

    /// The signature that a new hop states. Only a person at the root has a passkey here.
    fn root_signature(&mut self, token: &Opened, hop: &Hop) -> Result<(), CustodyError> {
        let Some(digest) = hop.signed.as_deref() else { return Ok(()) };
        if token.chain.hops.len() != 1 {
            return Err(CustodyError::NotSigned);
        }
        let shown = token.shown().cloned().unwrap_or_else(|| hop.authority.to_value());
        if self.signatures.root(digest, hop, &shown)? {
            self.report.signed_roots += 1;
        } else {
            self.report.note("what the person signed at the root is not with this copy");
        }
        Ok(())
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
        if let Some(note) = proved.note {
            self.report.note(note);
        }
        self.report.roots += 1;
        Ok(())
    }

    /// A gateway's decision is about a token that was issued before, to this very chain.
    fn used(&mut self, record: &Record) -> Result<(), CustodyError> {
        if record.text("/producer/kind") != Some("gateway") {
            return Ok(());
        }
        let let_through = matches!(record.text("/decision/result"), Some("allow" | "mask"));
        let presented = record.chain().iter().rev().find_map(|party| party.pointer("/token/jti_hash")?.as_str());
        let Some(jti_hash) = presented else {
            return if let_through || record.record_type() != "decision" {
                Err(CustodyError::UseWithoutToken)
            } else {
                Ok(()) // Refused before anyone was recognised.
            };
        };
        self.report.uses += 1;
        let issued = self.tokens.get(jti_hash).ok_or(CustodyError::UnissuedToken)?;
        if issued.txn.as_deref() != record.txn() || issued.parties != parties(record) {
            return Err(CustodyError::OtherUser(issued.index));
        }
        let proved = proved(record);
        let bearer = issued.unbound && states_unbound(record);
        if proved.is_none() && let_through && !bearer {
            return Err(CustodyError::UseWithoutProof);
        }
        if proved.is_some() && proved != issued.bound_to {
            return Err(CustodyError::OtherKeyProved);
        }
        let Some(decided) = decided_at(record).filter(|_| let_through) else { return Ok(()) };
        if bearer
            && issued.opened.as_ref().is_some_and(|token| !self.keys.is(Binding::DangerBearer, token.chain.holder(), decided))
        {
            return Err(CustodyError::NotBearer);
        }
        if issued.opened.as_ref().is_some_and(|token| decided > token.claims.exp.plus(SKEW_SECS)) {
            return Err(CustodyError::Expired);
        }
        let above = issued.opened.iter().flat_map(|token| &token.claims.ancestors).map(|jti| hash(jti));
        let keys = self.signers(issued.key.as_deref(), issued.opened.as_ref());
        self.standing.in_force(above.chain([jti_hash.to_owned()]).chain(issued.txn.clone()).chain(keys), decided)?;
        let since = issued.opened.as_ref().map_or(issued.made, Opened::signed_in);
        self.still_signed_in(&issued.parties, since, decided)
    }

    /// Whether the sign-in of the person at the root, if it is a person's, had not been ended.
    fn still_signed_in(&self, parties: &[String], since: Option<UnixTime>, now: UnixTime) -> Result<(), CustodyError> {
        match (parties.first(), since) {
            (Some(root), Some(since)) => self.standing.signed_in(root, since, now),
            _ => Ok(()),
        }
    }

    /// The issuer's keys that signed a token and those it descends from, as revocations name them.
    fn signers(&self, own: Option<&str>, token: Option<&Opened>) -> Vec<String> {
        let above = token.into_iter().flat_map(|token| &token.claims.ancestors);
        let above = above.filter_map(|jti| self.tokens.get(&hash(jti))?.key.as_deref());
        own.into_iter().chain(above).map(standing::key).collect()
    }
}

/// How much later than its token's end a call may have been let through.
const SKEW_SECS: i64 = 60;

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

fn parties(record: &Record) -> Vec<String> {
    let subject = |party: &Value| party.get("subject_ref").and_then(Value::as_str).unwrap_or_default().to_owned();
    record.chain().iter().map(subject).collect()
}
