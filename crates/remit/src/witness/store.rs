//! What a witness keeps: its key, and for each log the longest head it has cosigned. One folder, one process.

use crate::keys;
use anyhow::{Context as _, Result, bail};
use remit_clock::Ambient;
use remit_ledger::{
    Checkpoint, Hash,
    cosign::Cosigner,
    note::{NOTE_LIMIT, VerifyingKey},
    witness::{Refused, Request, judge},
};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// The witness's whole state. Judging and storing happen under one `&mut`, so they are atomic.
#[derive(Debug)]
pub(super) struct Heads {
    dir: PathBuf,
    cosigner: Cosigner,
    logs: Vec<VerifyingKey>,
    /// By origin: the head, and the note it came in with our cosignature.
    held: HashMap<String, (Checkpoint, Vec<u8>)>,
    /// Held until the process ends: two writers could each cosign another history.
    _lock: File,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The signature line to answer with; what it says is on disk.
    Cosigned(String),
    Refused(Refused),
}

impl Heads {
    /// Opens or begins the folder of a witness.
    pub(super) fn open(dir: &Path, name: Option<&str>, logs: Vec<VerifyingKey>, ambient: &Ambient) -> Result<Self> {
        keys::private_folder(dir)?;
        let lock = lock(dir)?;
        let cosigner = cosigner(dir, name, ambient)?;
        let mut held = HashMap::new();
        for log in &logs {
            let file = dir.join(file_name(log.name()));
            match fs::read(&file) {
                Ok(note) if note.len() <= NOTE_LIMIT * 2 => {
                    // A head we cannot read is not "no head": going on would forget what was seen.
                    let head = open_by_any(&note, &logs, log.name());
                    let head = head.with_context(|| format!("{} cannot be trusted", file.display()))?;
                    held.insert(log.name().to_owned(), (head, note));
                }
                Ok(_) => bail!("{} is too long", file.display()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
            }
        }
        Ok(Self { dir: dir.to_owned(), cosigner, logs, held, _lock: lock })
    }

    pub(super) fn vkey(&self) -> String {
        self.cosigner.public().to_string()
    }

    /// The note held for a log, by the SHA-256 of its origin.
    pub(super) fn note(&self, origin_hash: &str) -> Option<Vec<u8>> {
        let held = self.held.iter().find(|(origin, _)| Hash::of(&[origin.as_bytes()]).hex() == origin_hash);
        held.map(|(_, (_, note))| note.clone())
    }

    /// Judges a request and, if it is granted, makes the new head durable before it is cosigned. SPEC: LG-21.
    pub(super) fn add(&mut self, request: &Request, now: u64) -> Result<Outcome> {
        let judged = judge(request, &self.logs, |origin| self.held.get(origin).map(|(head, _)| head.clone()));
        let head = match judged {
            Ok(head) => head,
            Err(refused) => return Ok(Outcome::Refused(refused)),
        };
        let line = self.cosigner.cosign(&head.to_text(), now).to_string();
        if self.held.get(&head.origin).is_none_or(|(known, _)| *known != head) {
            // The log's signature and ours: evidence by itself, whatever becomes of the log.
            let note = [bare(&request.note, &self.logs)?.as_bytes(), line.as_bytes()].concat();
            // INVARIANT: the head is durable before its cosignature leaves, so that no restart cosigns another history.
            replace(&self.dir, &file_name(&head.origin), &note)?;
            // CRASH: the head is held and the answer is not given. A log that asks again learns its size and goes on from there.
            self.held.insert(head.origin.clone(), (head, note));
        }
        Ok(Outcome::Cosigned(line))
    }
}

/// The note with the log's own signature alone: a stranger's lines are not ours to keep.
fn bare(note: &[u8], logs: &[VerifyingKey]) -> Result<String> {
    let note = remit_ledger::note::Note::parse(note)?;
    let own = note.signatures.iter().find(|line| logs.iter().any(|log| line.name == log.name() && line.id == log.id()));
    Ok(format!("{}\n{}", note.text, own.context("the log's signature is gone")?))
}

/// A head signed by one of the keys of its log: while a log changes its key it has two.
fn open_by_any(note: &[u8], logs: &[VerifyingKey], origin: &str) -> Result<Checkpoint> {
    let mut refused = anyhow::anyhow!("no key of this log is known");
    for log in logs.iter().filter(|log| log.name() == origin) {
        match Checkpoint::open(note, log) {
            Ok(head) => return Ok(head),
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

fn file_name(origin: &str) -> String {
    format!("{}.checkpoint", Hash::of(&[origin.as_bytes()]).hex())
}

/// The witness's key, made at the first start. Its name never changes: a cosignature under another would be another witness's.
fn cosigner(dir: &Path, name: Option<&str>, ambient: &Ambient) -> Result<Cosigner> {
    let (seed_file, name_file) = (dir.join("witness.seed"), dir.join("witness.name"));
    if !seed_file.exists() {
        let stem = ambient.entropy.token(6).replace(['-', '_'], "0").to_lowercase();
        let fresh = name.map_or_else(|| format!("remit-witness/{stem}"), str::to_owned);
        let seed: [u8; 32] = ambient.entropy.bytes();
        // A name that cannot name a key must not be left behind.
        Cosigner::from_seed(&fresh, &seed).map_err(|fault| anyhow::anyhow!("--name {fresh}: {fault}"))?;
        if !name_file.exists() {
            keys::write_private(&name_file, fresh.as_bytes())?;
        }
        keys::write_private(&seed_file, keys::hex(&seed).as_bytes())?;
    }
    let known = keys::read_secret(&name_file)?;
    if let Some(name) = name.filter(|name| *name != known) {
        bail!("this witness is called `{known}`, not `{name}`; a new name needs a new folder and key");
    }
    Cosigner::from_seed(&known, &keys::read_seed(&seed_file)?).map_err(|fault| anyhow::anyhow!("{fault}"))
}

/// Replaces a file so that after a crash it is the old or the new one, and the new one once this returns.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let (temporary, target) = (dir.join(format!("{name}.tmp")), dir.join(name));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &target)?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", target.display()))
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another witness runs in {}", dir.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_ledger::{
        cosign::WitnessKey,
        note::{Note, SigningKey},
        tree,
    };

    fn log() -> SigningKey {
        SigningKey::from_seed("log.example", &[7; 32]).unwrap()
    }

    fn leaves(count: u8) -> Vec<Hash> {
        (0..count).map(|n| tree::leaf_hash(&[n])).collect()
    }

    fn request(old: u64, leaves: &[Hash]) -> Request {
        let head = Checkpoint { origin: "log.example".into(), size: leaves.len() as u64, root: tree::root(leaves) };
        let proof = if old == 0 { Vec::new() } else { tree::prove_consistency(leaves, old).unwrap_or_default() };
        Request { old, proof, note: log().sign(&head.to_text()).unwrap() }
    }

    fn open(dir: &Path) -> Result<Heads> {
        Heads::open(dir, Some("w.example"), vec![log().public().clone()], &Ambient::system())
    }

    #[test]
    fn lg_21_what_was_cosigned_is_remembered_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut heads = open(dir.path()).unwrap();
        let key = WitnessKey::parse(&heads.vkey()).unwrap();
        let Outcome::Cosigned(line) = heads.add(&request(0, &leaves(5)), 1_800_000_000).unwrap() else { panic!() };
        let hash = Hash::of(&[b"log.example"]).hex();
        let note = heads.note(&hash).unwrap();
        assert!(note.ends_with(line.as_bytes()));
        assert_eq!(key.cosigned(&Note::parse(&note).unwrap()).unwrap().unwrap().at, 1_800_000_000);
        assert!(open(dir.path()).is_err(), "one process at a time");
        drop(heads);
        let mut heads = open(dir.path()).unwrap();
        assert_eq!(WitnessKey::parse(&heads.vkey()).unwrap(), key, "the same key");
        assert_eq!(heads.note(&hash), Some(note));
        let refused = |heads: &mut Heads, request: &Request| match heads.add(request, 1_800_000_001).unwrap() {
            Outcome::Refused(refused) => refused.status(),
            Outcome::Cosigned(_) => 200,
        };
        assert_eq!(refused(&mut heads, &request(0, &leaves(9))), 409);
        assert_eq!(refused(&mut heads, &request(0, &leaves(3))), 409, "N-LG-03");
        let mut fork = leaves(9);
        fork[2] = Hash::ZERO;
        assert_eq!(refused(&mut heads, &request(5, &fork)), 422);
        assert_eq!(refused(&mut heads, &request(5, &leaves(9))), 200);
        assert_eq!(heads.note("00"), None);
    }

    #[test]
    fn a_log_that_changes_its_key_stays_one_log() {
        let dir = tempfile::tempdir().unwrap();
        let newer = SigningKey::from_seed("log.example", &[8; 32]).unwrap();
        let both = || vec![log().public().clone(), newer.public().clone()];
        let mut heads = Heads::open(dir.path(), Some("w.example"), both(), &Ambient::system()).unwrap();
        heads.add(&request(0, &leaves(5)), 1_800_000_000).unwrap();
        let under = |key: &SigningKey, leaves: &[Hash]| {
            let asked = request(5, leaves);
            let text = Note::parse(&asked.note).unwrap().text;
            Request { note: key.sign(&text).unwrap(), ..asked }
        };
        let mut fork = leaves(9);
        fork[2] = Hash::ZERO;
        // The new key must extend what the old one signed, and the folder opens under both.
        assert!(matches!(heads.add(&under(&newer, &fork), 1_800_000_001).unwrap(), Outcome::Refused(Refused::Inconsistent)));
        assert!(matches!(heads.add(&under(&newer, &leaves(9)), 1_800_000_001).unwrap(), Outcome::Cosigned(_)));
        drop(heads);
        let heads = Heads::open(dir.path(), Some("w.example"), both(), &Ambient::system()).unwrap();
        assert_eq!(heads.held["log.example"].0.size, 9);
    }

    #[test]
    fn a_damaged_or_foreign_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut heads = open(dir.path()).unwrap();
        heads.add(&request(0, &leaves(5)), 1_800_000_000).unwrap();
        drop(heads);
        assert!(Heads::open(dir.path(), Some("other.example"), vec![], &Ambient::system()).is_err(), "another name");
        let file = dir.path().join(file_name("log.example"));
        let note = fs::read(&file).unwrap();
        for damage in [&b""[..], &note[1..], &note[..note.len() / 2]] {
            fs::write(&file, damage).unwrap();
            assert!(open(dir.path()).is_err(), "a head that cannot be read is not no head");
        }
        fs::write(&file, &note).unwrap();
        assert!(open(dir.path()).is_ok());
    }
}
