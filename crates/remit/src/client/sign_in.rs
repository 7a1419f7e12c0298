//! The refresh token of a person's sign-in, kept in a file that several processes of one agent share.
//!
//! A refresh token is used once: the server answers with its successor. A process therefore holds a lock on a file beside
//! the token from before it reads the token until its successor is written.

use crate::keys;
use anyhow::{Context as _, Result, bail};
use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest wait for another process that is refreshing.
const LOCK_WAIT: Duration = Duration::from_secs(90);
/// How often the lock is tried.
const LOCK_EVERY: Duration = Duration::from_millis(50);

/// Where one agent keeps a person's sign-in at one server.
#[derive(Clone, Debug)]
pub(crate) struct SignIn {
    pub(crate) resource: String,
    file: PathBuf,
}

/// No person has signed in, or the sign-in has ended.
#[derive(Debug)]
pub(crate) struct SignInNeeded;

impl fmt::Display for SignInNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no person has signed in, or the sign-in has ended; `remit login` starts a new one")
    }
}

impl std::error::Error for SignInNeeded {}

impl SignIn {
    /// The sign-in for `server` that is kept beside the agent's key.
    pub(crate) fn beside(key_file: &Path, server: &str, resource: &str) -> Self {
        Self { resource: resource.to_owned(), file: key_file.with_extension(format!("{server}.refresh")) }
    }

    /// Whether a sign-in is kept; only the server knows whether it still holds.
    pub(crate) fn exists(&self) -> bool {
        self.file.exists()
    }

    /// The kept refresh token.
    ///
    /// # Errors
    /// [`SignInNeeded`] when there is none; otherwise the file cannot be read, or others can read it.
    pub(crate) fn read(&self, _lock: &SignInLock) -> Result<String> {
        if !self.exists() {
            return Err(SignInNeeded.into());
        }
        keys::read_secret(&self.file)
    }

    /// Keeps a refresh token in a file that its owner alone can read.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn keep(&self, token: &str, _lock: &SignInLock) -> Result<()> {
        let fresh = self.file.with_extension("new");
        let _ = fs::remove_file(&fresh);
        keys::write_private(&fresh, token.as_bytes())?;
        // CRASH: a reader finds the old token or the new one, never half of one.
        fs::rename(&fresh, &self.file).with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// Forgets the kept token, which the server no longer accepts.
    pub(crate) fn forget(&self, _lock: &SignInLock) {
        let _ = fs::remove_file(&self.file);
    }

    /// Waits until no other process uses the sign-in.
    ///
    /// # Errors
    /// The lock file cannot be written, or another process holds it for too long.
    pub(crate) async fn lock(&self) -> Result<SignInLock> {
        let path = self.file.with_extension("refresh.lock");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        for _ in 0..LOCK_WAIT.as_millis() / LOCK_EVERY.as_millis() {
            match file.try_lock() {
                Ok(()) => return Ok(SignInLock { _file: file }),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_EVERY).await,
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
            }
        }
        bail!("another process has held {} for {} seconds", path.display(), LOCK_WAIT.as_secs())
    }
}

/// Held while the sign-in is read and renewed; dropping it lets the next process go on.
#[derive(Debug)]
pub(crate) struct SignInLock {
    _file: File,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn sign_in(dir: &Path) -> SignIn {
        SignIn::beside(&dir.join("planner.pem"), "helpdesk", "https://gw.example/mcp/helpdesk")
    }

    #[tokio::test]
    async fn a_second_holder_waits_until_the_first_is_done_and_reads_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (sign_in(dir.path()), sign_in(dir.path()));
        let lock = one.lock().await.unwrap();
        one.keep("first", &lock).unwrap();
        let waiting = tokio::spawn(async move {
            let lock = two.lock().await.unwrap();
            two.read(&lock).unwrap()
        });
        // PAUSE: the other looks at the lock meanwhile.
        tokio::time::sleep(3 * LOCK_EVERY).await;
        assert!(!waiting.is_finished(), "the lock is held");
        one.keep("second", &lock).unwrap();
        drop(lock);
        assert_eq!(waiting.await.unwrap(), "second");
    }

    #[tokio::test]
    async fn a_process_killed_while_it_wrote_leaves_the_last_token_and_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let sign_in = sign_in(dir.path());
        let lock = sign_in.lock().await.unwrap();
        sign_in.keep("first", &lock).unwrap();
        // What a process leaves that is killed between writing the successor and putting it in place.
        fs::write(sign_in.file.with_extension("new"), "hal").unwrap();
        drop(lock);
        let lock = sign_in.lock().await.unwrap();
        assert_eq!(sign_in.read(&lock).unwrap(), "first");
        sign_in.keep("second", &lock).unwrap();
        assert_eq!(sign_in.read(&lock).unwrap(), "second");
    }

    #[tokio::test]
    async fn sign_ins_at_two_servers_do_not_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let other = SignIn::beside(&dir.path().join("planner.pem"), "files", "https://gw.example/mcp/files");
        let (one, two) = (sign_in(dir.path()).lock().await.unwrap(), other.lock().await.unwrap());
        other.keep("token", &two).unwrap();
        assert!(!sign_in(dir.path()).exists());
        drop(one);
    }

    #[tokio::test]
    async fn a_token_that_others_can_read_and_a_lock_that_cannot_be_written_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let sign_in = sign_in(dir.path());
        let lock = sign_in.lock().await.unwrap();
        sign_in.keep("token", &lock).unwrap();
        fs::set_permissions(&sign_in.file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(sign_in.read(&lock).unwrap_err().to_string().contains("chmod"));
        let nowhere = SignIn::beside(&dir.path().join("missing/planner.pem"), "helpdesk", "https://gw.example/mcp/helpdesk");
        assert!(nowhere.lock().await.unwrap_err().to_string().contains("cannot write"));
    }

    #[tokio::test]
    async fn the_file_is_its_owners_alone_and_a_missing_one_asks_for_a_sign_in() {
        let dir = tempfile::tempdir().unwrap();
        let sign_in = sign_in(dir.path());
        let lock = sign_in.lock().await.unwrap();
        assert!(sign_in.read(&lock).unwrap_err().is::<SignInNeeded>());
        sign_in.keep("token", &lock).unwrap();
        assert_eq!(fs::metadata(&sign_in.file).unwrap().permissions().mode() & 0o777, 0o600);
        sign_in.forget(&lock);
        assert!(sign_in.read(&lock).unwrap_err().is::<SignInNeeded>());
    }
}
