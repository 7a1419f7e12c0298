//! Local passwords: hashing and checking them.
//!
//! Implements X-11: Argon2id off the async threads, and one cost for known and unknown names.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use remit_clock::Entropy;
use remit_model::{Fault, Human, HumanStatus};
use std::fmt;
use tokio::sync::Semaphore;

/// Password hashes computed at once: each takes 19 MiB.
const AT_ONCE: usize = 4;

/// The Argon2id PHC string of a password, with the parameters OWASP recommends. Takes tens of milliseconds.
///
/// # Errors
/// Only when the library fails.
pub fn hash_password(password: &str, entropy: &Entropy) -> Result<String, Fault> {
    let salt: [u8; 16] = entropy.bytes();
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt).map_err(Fault::new)?;
    Ok(hash.to_string())
}

/// Checks passwords, a few at a time.
pub(crate) struct Passwords {
    slots: Semaphore,
    /// The hash of no person's password, verified for unknown names so that they take as long. SPEC: X-11
    nobody: Option<String>,
}

impl Passwords {
    pub(crate) fn new(entropy: &Entropy) -> Self {
        Self { slots: Semaphore::new(AT_ONCE), nobody: hash_password(&entropy.token(16), entropy).ok() }
    }

    pub(crate) async fn check(&self, human: Option<&Human>, password: String) -> Result<bool, Fault> {
        let known = human.filter(|human| human.status == HumanStatus::Active).and_then(|human| human.password_hash.clone());
        let real = known.is_some();
        let Some(hash) = known.or_else(|| self.nobody.clone()) else { return Ok(false) };
        let _slot = self.slots.acquire().await.map_err(Fault::new)?;
        let matches = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        })
        .await
        .map_err(Fault::new)?;
        Ok(matches && real)
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}
