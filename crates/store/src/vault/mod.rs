//! The vault: one key for each subject, in a database of its own (`keys.db`), so that forgetting a person is destroying
//! thirty-two bytes however much was recorded.
//!
//! Keys are wrapped by a key derived from `vault.seed`, which is not in the data directory. A key is durable before the
//! first record that uses it commits. A destroyed key is overwritten (`secure_delete`) and leaves its name behind.

mod file;
pub(crate) mod rows;

pub(crate) use file::KeyStatus;
pub use file::keyring;

use crate::{
    config::{Config, StoreError},
    world::snapshot::Snapshot,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use file::File;
use remit_clock::Entropy;
use remit_ledger::{
    Keyring,
    record::Pepper,
    vault::{Key, KeyId, Subject, SubjectKey},
};
use remit_model::{
    Fault,
    id::{AgentId, PrincipalKind},
    time::UnixTime,
};
use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keys remembered at most; beyond it everything is forgotten and read again.
const REMEMBERED: usize = 65_536;

/// The pseudonym that all unverified principals share, so that a flood of invented names makes no keys.
const STRANGERS: &str = "strangers";

/// Subject keys: made, remembered, destroyed. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Vault(Arc<Inner>);

struct Inner {
    path: PathBuf,
    pepper: Pepper,
    tenant: String,
    producer: String,
    entropy: Entropy,
    state: Mutex<State>,
}

struct State {
    file: File,
    by_ref: HashMap<String, Key>,
    by_id: HashMap<KeyId, SubjectKey>,
    /// Made since the last commit, not yet durable.
    fresh: Vec<(String, Key)>,
    /// Why the file cannot be used.
    failure: Option<String>,
}

impl Vault {
    /// Opens or makes the key file. `bound` is the vault the database was used with before.
    pub(crate) fn open(config: &Config, bound: Option<&str>) -> Result<Self, StoreError> {
        let path = config.data_dir.join(file::NAME);
        let file = File::open(&path, config.vault.expose(), bound, &config.entropy)?;
        Ok(Self(Arc::new(Inner {
            path,
            pepper: Pepper::new(config.pepper.expose()),
            tenant: config.tenant.as_str().to_owned(),
            producer: config.producer_id.clone(),
            entropy: config.entropy.clone(),
            state: Mutex::new(State { file, by_ref: HashMap::new(), by_id: HashMap::new(), fresh: Vec::new(), failure: None }),
        })))
    }

    /// Names this vault; the database remembers it.
    pub(crate) fn id(&self) -> String {
        self.state().file.id.clone()
    }

    /// The pseudonyms, in one cache for all who ask.
    pub(crate) fn pepper(&self) -> &Pepper {
        &self.0.pepper
    }

    /// The pseudonym of a subject, as records carry it.
    pub(crate) fn reference(&self, subject: &Subject) -> String {
        self.0.pepper.reference_of(&self.0.tenant, subject)
    }

    /// The key that seals what is about a subject, made now when there is none.
    pub(crate) fn key(&self, subject: &Subject, snapshot: &Snapshot) -> Result<Key, Fault> {
        let reference = if self.is_known(subject, snapshot) { self.reference(subject) } else { STRANGERS.to_owned() };
        let mut state = self.state();
        if let Some(key) = state.by_ref.get(&reference) {
            return Ok(key.clone());
        }
        let key = match state.file.live(&reference) {
            Ok(Some(key)) => key,
            Ok(None) => {
                let key = Key { id: KeyId::new(self.0.entropy.bytes()), secret: SubjectKey::new(self.0.entropy.bytes()) };
                state.fresh.push((reference.clone(), key.clone()));
                key
            }
            Err(error) => return Err(Fault::new(state.fail(&error.to_string()))),
        };
        state.remember(reference, &key);
        Ok(key)
    }

    /// Makes new keys durable; call it before the records that use them commit.
    pub(crate) fn flush(&self, now: UnixTime) -> Result<(), String> {
        let mut state = self.state();
        if state.fresh.is_empty() {
            return Ok(());
        }
        let fresh = std::mem::take(&mut state.fresh);
        let result = state.file.add(&fresh, now, &self.0.entropy);
        result.map_err(|error| {
            // CRASH: they may or may not be in the file; nothing was sealed with them that will be read.
            state.forget_cache();
            state.fail(&error.to_string())
        })
    }

    /// Drops keys that were made for records that did not come to be.
    pub(crate) fn discard(&self) {
        let mut state = self.state();
        if !state.fresh.is_empty() {
            state.fresh.clear();
            state.forget_cache();
        }
    }

    /// Why keys cannot be used now; looks at the file again each time.
    pub(crate) fn failure(&self) -> Option<String> {
        let mut state = self.state();
        state.failure = state.file.missing(&self.0.path).then(|| format!("{} is gone", self.0.path.display()));
        state.failure.clone()
    }

    pub(crate) fn status(&self, reference: &str) -> Result<KeyStatus, StoreError> {
        self.state().file.status(reference)
    }

    /// Destroys keys for good; those already gone are no error. Durable when it returns.
    pub(crate) fn destroy(&self, ids: &[KeyId], now: UnixTime) -> Result<(), StoreError> {
        let mut state = self.state();
        state.file.destroy(ids, now)?;
        state.fresh.retain(|(_, key)| !ids.contains(&key.id));
        state.forget_cache();
        self.0.pepper.forget();
        Ok(())
    }

    /// Whose these keys are, by pseudonym.
    pub(crate) fn owners<'a>(&self, ids: impl IntoIterator<Item = &'a KeyId>) -> Result<Vec<String>, StoreError> {
        let state = self.state();
        ids.into_iter().filter_map(|id| state.file.owner(id).transpose()).collect()
    }

    /// Every key there is, or those of some subjects.
    pub(crate) fn disclosed(&self, references: Option<&[String]>) -> Result<Vec<Key>, StoreError> {
        let state = self.state();
        match references {
            None => state.file.all(),
            Some(references) => references.iter().filter_map(|reference| state.file.live(reference).transpose()).collect(),
        }
    }

    /// The keys as a reader uses them.
    pub(crate) fn keyring(&self) -> Keyring {
        let vault = self.clone();
        Keyring::from_fn(move |id| vault.secret(id))
    }

    fn secret(&self, id: &KeyId) -> Option<SubjectKey> {
        let mut state = self.state();
        if let Some(secret) = state.by_id.get(id) {
            return Some(secret.clone());
        }
        let secret = state.file.secret(id).ok().flatten()?;
        state.make_room();
        state.by_id.insert(id.clone(), secret.clone());
        Some(secret)
    }

    /// Whether the subject gets a key of its own.
    fn is_known(&self, subject: &Subject, snapshot: &Snapshot) -> bool {
        match subject {
            Subject::Data { .. } => true,
            Subject::Principal { sub, .. } => match (PrincipalKind::Human.name_in(sub), AgentId::from_subject(sub)) {
                (Some(name), _) => snapshot.has_human(name),
                (None, Ok(id)) => snapshot.has_agent(&id),
                (None, Err(_)) => *sub == self.0.producer || sub == "admin:bootstrap",
            },
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key as a disclosure file holds it.
pub(crate) fn encoded(secret: &SubjectKey) -> String {
    URL_SAFE_NO_PAD.encode(secret.expose())
}

impl State {
    fn remember(&mut self, reference: String, key: &Key) {
        self.make_room();
        self.by_id.insert(key.id.clone(), key.secret.clone());
        self.by_ref.insert(reference, key.clone());
    }

    fn make_room(&mut self) {
        // Keys that are not durable yet are only known here.
        if self.by_id.len() >= REMEMBERED && self.fresh.is_empty() {
            self.forget_cache();
        }
    }

    fn forget_cache(&mut self) {
        self.by_ref.clear();
        self.by_id.clear();
        for (reference, key) in &self.fresh {
            self.by_ref.insert(reference.clone(), key.clone());
            self.by_id.insert(key.id.clone(), key.secret.clone());
        }
    }

    fn fail(&mut self, why: &str) -> String {
        self.failure = Some(why.to_owned());
        why.to_owned()
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("path", &self.0.path).finish_non_exhaustive()
    }
}
