//! What validation found of the policy files, kept beside the database: a start with unchanged policies neither parses
//! nor validates them.
//!
//! Decisions rely on it, so it is believed only under a MAC that this server's pepper makes, and only by the very program
//! that wrote it. Anything else about the file means that every policy is validated, as if there were none. An old file
//! is as true as a new one: it speaks of texts by their digest.

use remit_ledger::dir::read_file;
use remit_policy::{Bundle, Known};
use remit_store::{KeyedHash, Secret, keyed_hash};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

const NAME: &str = "policies.known";
const PURPOSE: &str = "known policies";
/// Largest such file, in bytes; one of a hundred thousand policies has a tenth of it.
const LIMIT: u64 = 256 << 20;

/// Reads and writes the file of one data folder.
#[derive(Debug)]
pub(crate) struct PolicyCache {
    file: PathBuf,
    pepper: Secret,
    /// Digest of the running program; without one nothing is believed.
    program: String,
}

impl PolicyCache {
    pub(crate) fn new(data_dir: &Path, pepper: Secret, program: &str) -> Self {
        Self { file: data_dir.join(NAME), pepper, program: program.to_owned() }
    }

    /// What is known; nothing, when the file is not there or is not as this program wrote it.
    pub(crate) fn read(&self) -> Known {
        match self.bytes() {
            Ok(bytes) => self.open(&bytes).unwrap_or_else(|| {
                tracing::info!("{} is not this program's: every policy is validated", self.file.display());
                Known::default()
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "cannot read {}: every policy is validated", self.file.display());
                }
                Known::default()
            }
        }
    }

    /// Keeps what is known of this bundle. Failing costs the next start some time and nothing else.
    pub(crate) fn write(&self, bundle: &Bundle) {
        let body = bundle.to_known().to_bytes();
        if let Err(error) = self.replace(&[&self.mac(&body)[..], &body].concat()) {
            tracing::warn!(%error, "cannot write {}", self.file.display());
        }
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let limit = usize::try_from(LIMIT).unwrap_or(usize::MAX);
        read_file(&self.file, limit)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&self, bytes: &[u8]) -> Option<Known> {
        let (mac, body) = bytes.split_first_chunk::<32>()?;
        let differ = mac.iter().zip(self.mac(body)).fold(0, |differ, (a, b)| differ | (a ^ b));
        if differ != 0 || !self.program.starts_with("sha-256:") {
            return None;
        }
        Known::from_bytes(body)
    }

    fn mac(&self, body: &[u8]) -> KeyedHash {
        keyed_hash(&self.pepper, PURPOSE, &[self.program.as_bytes(), b"\0", body].concat())
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.file.with_extension("tmp");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(&temporary, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "sha-256:00";

    fn keeper(dir: &Path, pepper: u8, program: &str) -> PolicyCache {
        PolicyCache::new(dir, Secret::new([pepper; 32]), program)
    }

    fn files() -> Vec<(String, String)> {
        vec![("a.cedar".to_owned(), "permit (principal, action, resource);".to_owned())]
    }

    /// How many files had to be validated with what this keeper believes.
    fn checked(keeper: &PolicyCache) -> usize {
        Bundle::parse_knowing(&files(), &keeper.read()).unwrap().checked()
    }

    #[test]
    fn what_was_written_is_believed_by_the_same_program_and_secret_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ours = keeper(dir.path(), 1, PROGRAM);
        assert_eq!(checked(&ours), 1, "there is no file yet");
        ours.write(&Bundle::parse(&files()).unwrap());
        assert_eq!(checked(&ours), 0);
        assert_eq!(checked(&keeper(dir.path(), 2, PROGRAM)), 1, "another secret");
        assert_eq!(checked(&keeper(dir.path(), 1, "sha-256:01")), 1, "another program");
    }

    #[test]
    fn a_program_that_does_not_know_itself_believes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let nameless = keeper(dir.path(), 1, "unknown");
        nameless.write(&Bundle::parse(&files()).unwrap());
        assert_eq!(checked(&nameless), 1);
    }

    #[test]
    fn a_file_that_was_touched_anywhere_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let ours = keeper(dir.path(), 1, PROGRAM);
        ours.write(&Bundle::parse(&files()).unwrap());
        let whole = fs::read(&ours.file).unwrap();
        for at in 0..whole.len() {
            let mut touched = whole.clone();
            touched[at] ^= 1;
            assert!(ours.open(&touched).is_none(), "byte {at}");
        }
        for length in [0, 1, 31, 32, whole.len() - 1] {
            assert!(ours.open(&whole[..length]).is_none(), "cut to {length}");
        }
        assert!(ours.open(&[&whole[..], b" "].concat()).is_none(), "a byte more");
        fs::write(&ours.file, b"{}").unwrap();
        assert_eq!(checked(&ours), 1);
        fs::remove_file(&ours.file).unwrap();
        fs::create_dir(&ours.file).unwrap();
        assert_eq!(checked(&ours), 1, "a folder in its place");
        ours.write(&Bundle::parse(&files()).unwrap());
        assert_eq!(checked(&ours), 1, "which it does not replace either");
    }

    #[test]
    fn a_mac_for_another_purpose_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let ours = keeper(dir.path(), 1, PROGRAM);
        let body = Bundle::parse(&files()).unwrap().to_known().to_bytes();
        let message = [PROGRAM.as_bytes(), b"\0", &body].concat();
        for purpose in ["code", "refresh", ""] {
            let mac = keyed_hash(&ours.pepper, purpose, &message);
            assert!(ours.open(&[&mac[..], &body].concat()).is_none(), "{purpose}");
        }
    }
}
