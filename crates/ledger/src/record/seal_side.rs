//! The keys of side values: which belongs to which value, and what a copy shows with those at hand.

use super::{
    Draft, Opening, SIDE_LIMIT, Side, SideError,
    commit::malformed,
    envelope::{self, Subjects},
    error::SealError,
    identity::Identity,
};
use crate::vault::{
    BoxError, KEYS_LIMIT, Key, KeyId, Keyring, Subject,
    field::{KeySet, Place},
};
use remit_model::{
    Fault, display,
    json::{self, Limits, Numbers},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// Gives the key of a subject, making one when there is none yet. The key must be durable before the record is.
pub type KeySource<'a> = dyn FnMut(&Subject) -> Result<Key, Fault> + 'a;

/// The keys of one record's values.
pub(super) struct Plan {
    subjects: BTreeMap<String, Rc<KeySet>>,
    /// Keys of every value that is not one party's name; `None` when it is about more than a value may be sealed for.
    shared: Option<Rc<KeySet>>,
}

impl Plan {
    /// Whose keys seal what: a party's name its own; everything else the origin's, the accountable human's, and those of
    /// everyone the data is about.
    pub(super) fn of(draft: &Draft, identity: &Identity, keys: &mut KeySource<'_>) -> Result<Self, SealError> {
        let Subjects { parties, owner, data } = envelope::subjects(draft, identity);
        let mut find = |subject: &Subject| keys(subject).map_err(|fault| SealError::Key { fault });
        let mut subjects = BTreeMap::new();
        let mut shared: BTreeMap<KeyId, Key> = BTreeMap::new();
        for (index, party) in parties.iter().enumerate() {
            let key = find(party)?;
            if index == 0 {
                shared.insert(key.id.clone(), key.clone());
            }
            subjects.insert(format!("/chain/{index}/subject"), key);
        }
        if let Some(owner) = owner {
            let key = find(&owner)?;
            shared.insert(key.id.clone(), key.clone());
            subjects.insert("/owner".to_owned(), key);
        }
        // INVARIANT: nothing is sealed under fewer keys than it is about, or erasing someone would leave it readable.
        let fits = data.len() + shared.len() <= KEYS_LIMIT;
        if fits {
            for subject in &data {
                let key = find(subject)?;
                shared.insert(key.id.clone(), key);
            }
        }
        let shared: Option<Vec<Key>> = fits.then(|| shared.into_values().collect());
        let ready = |keys| KeySet::new(keys).map(Rc::new).map_err(|fault| SealError::Key { fault });
        let shared = shared.map(ready).transpose()?;
        let alone = |key: Key| match &shared {
            Some(shared) if shared.is_only(&key) => Ok(shared.clone()),
            _ => ready(vec![key]),
        };
        let subjects = subjects.into_iter().map(|(path, key)| alone(key).map(|keys| (path, keys)));
        Ok(Self { subjects: subjects.collect::<Result<_, _>>()?, shared })
    }

    pub(super) fn keys(&self, path: &str) -> Option<&KeySet> {
        self.subjects.get(path).or(self.shared.as_ref()).map(Rc::as_ref)
    }
}

impl Side {
    /// Opens what the keys at hand open; the rest stays sealed.
    ///
    /// # Errors
    /// A value whose keys are all at hand does not open, or is not what the leaf commits to.
    pub fn open(&mut self, record_id: &str, keys: &Keyring) -> Result<(), SideError> {
        for (path, opening) in &mut self.fields {
            let Opening::Sealed { leaf, sealed } = opening else { continue };
            let Some(secrets) = sealed.keys.iter().map(|id| keys.key(id)).collect::<Option<Vec<_>>>() else { continue };
            let place = Place { record_id, path, leaf };
            let plain = sealed.open(&secrets, &place).map_err(|why: BoxError| at(path, &why.to_string()))?;
            let limits = Limits { bytes: 2 * SIDE_LIMIT, depth: 64, members: 1 << 20, numbers: Numbers::Doubles };
            let value = json::parse(&plain, &limits).map_err(|_| at(path, "what was sealed is not JSON"))?;
            let opened = Opening::from_value(value).filter(|opened| matches!(opened, Opening::Open { .. }));
            let opened = opened.ok_or_else(|| at(path, "what was sealed is not {salt, type, value}"))?;
            if opened.leaf(path) != *leaf {
                return Err(at(path, "what was sealed is not what the leaf commits to"));
            }
            *opening = opened;
        }
        Ok(())
    }

    /// The names of the keys the values are sealed under, each once, sorted.
    pub fn key_ids(&self) -> BTreeSet<&KeyId> {
        let sealed = self.fields.values().filter_map(|opening| match opening {
            Opening::Sealed { sealed, .. } => Some(&sealed.keys),
            Opening::Open { .. } | Opening::Closed { .. } => None,
        });
        sealed.flatten().collect()
    }

    /// Leaves nothing but the leaves: every proof holds, no value can be read again.
    pub fn close(&mut self) {
        for (path, opening) in &mut self.fields {
            *opening = Opening::Closed { leaf: opening.leaf(path) };
        }
    }

    /// Whether every value can be read.
    pub fn is_open(&self) -> bool {
        self.fields.values().all(|opening| matches!(opening, Opening::Open { .. }))
    }

    /// Whether no value can ever be read again from this copy, with whatever keys.
    pub fn is_closed(&self) -> bool {
        self.fields.values().all(|opening| matches!(opening, Opening::Closed { .. }))
    }
}

fn at(path: &str, why: &str) -> SideError {
    malformed(&format!("`{}` {why}", display::excerpt(path, 256)))
}
