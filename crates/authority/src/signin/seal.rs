//! Values that travel through a browser and that only this server can read or make.
//!
//! An authorization request that waits for a person costs no memory: it lives, encrypted, in the page that the browser shows. It
//! is bound to the browser's cookie, so it is the anti-CSRF token as well, and it expires. SPEC: AZ-11, AZ-14, RFC 8452
//! (AES-256-GCM-SIV, which survives a repeated nonce).

use crate::http::error::Rejection;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_clock::Entropy;
use remit_model::{Code, Fault, Refusal, UnixTime};
use remit_store::Store;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;

/// Largest value that is sealed, in bytes: as text, and posted back in a form, it stays within the limit of a form.
pub(crate) const VALUE_LIMIT: usize = 32 * 1024;

/// What a sealed value is for; one kind cannot be used as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A request that waits for its person to sign in.
    SignIn,
    /// What a consent page showed.
    Consent,
    /// A request whose person gave the right password and needs a passkey as well.
    SecondFactor,
    /// A page on which a person changes their passkeys.
    Passkeys,
    /// A link with which a person adds a passkey.
    PasskeyLink,
    /// A browser in which a person signed in before.
    KnownBrowser,
    /// A sign-in that waits for its identity provider.
    Provider,
    /// What a client registered, until a person lets it in.
    Registration,
    /// An authorization request that was pushed.
    Pushed,
}

/// Seals and opens under one key.
pub(crate) struct Seal {
    key: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Content<T> {
    value: T,
    expires: UnixTime,
}

impl Seal {
    /// Under a key of the store, so that a page outlives a restart and is good at every replica.
    pub(crate) fn of(store: &Store) -> Self {
        Self::new(store.keyed_hash("sign-in pages", b"v1"))
    }

    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// # Errors
    /// `request_too_large`; a fault when the library fails.
    pub(crate) fn seal(
        &self,
        purpose: Purpose,
        browser: &[u8],
        value: impl Serialize,
        expires: UnixTime,
        entropy: &Entropy,
    ) -> Result<String, Rejection> {
        let mut content = serde_json::to_vec(&Content { value, expires }).map_err(Fault::new)?;
        if content.len() > VALUE_LIMIT {
            return Err(Refusal::new(
                Code::RequestTooLarge,
                format!(
                    "the request takes {} bytes to show, more than {VALUE_LIMIT}; ask for fewer grants, or for shorter ones",
                    content.len()
                ),
            )
            .into());
        }
        let nonce: [u8; NONCE_LEN] = entropy.bytes();
        self.cipher()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.associated(browser)), &mut content)
            .map_err(Fault::new)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &content].concat()))
    }

    /// The value, if it was sealed here for this purpose and this browser and has not expired.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: Purpose, browser: &[u8], text: &str, now: UnixTime) -> Option<T> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.cipher().ok()?.open_in_place(nonce, Aad::from(purpose.associated(browser)), &mut sealed).ok()?;
        let content: Content<T> = serde_json::from_slice(opened).ok()?;
        (content.expires > now).then_some(content.value)
    }

    fn cipher(&self) -> Result<LessSafeKey, Fault> {
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &self.key).map_err(Fault::new)?))
    }
}

impl Purpose {
    fn associated(self, browser: &[u8]) -> Vec<u8> {
        let label: &[u8] = match self {
            Self::SignIn => b"remit sign-in v1\0",
            Self::Consent => b"remit consent v1\0",
            Self::SecondFactor => b"remit second factor v1\0",
            Self::Passkeys => b"remit passkeys v1\0",
            Self::PasskeyLink => b"remit passkey link v1\0",
            Self::KnownBrowser => b"remit known browser v1\0",
            Self::Provider => b"remit provider sign-in v1\0",
            Self::Registration => b"remit registration v1\0",
            Self::Pushed => b"remit pushed request v1\0",
        };
        [label, browser].concat()
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    #[test]
    fn a_sealed_value_opens_for_its_purpose_browser_and_time_alone() {
        let (seal, entropy) = (Seal::new([7; 32]), Entropy::seeded(1));
        let text = seal.seal(Purpose::SignIn, b"alice", "value", NOW.plus(10), &entropy).unwrap();
        let open = |seal: &Seal, purpose, browser: &[u8], text: &str, now| seal.open::<String>(purpose, browser, text, now);
        assert_eq!(open(&seal, Purpose::SignIn, b"alice", &text, NOW).as_deref(), Some("value"));
        assert_eq!(open(&seal, Purpose::SignIn, b"alice", &text, NOW.plus(9)).as_deref(), Some("value"));
        assert_eq!(open(&seal, Purpose::SignIn, b"alice", &text, NOW.plus(10)), None, "expired");
        assert_eq!(open(&seal, Purpose::Consent, b"alice", &text, NOW), None, "another purpose");
        assert_eq!(open(&seal, Purpose::SignIn, b"bob", &text, NOW), None, "another browser");
        assert_eq!(open(&Seal::new([8; 32]), Purpose::SignIn, b"alice", &text, NOW), None, "another key");
        assert_eq!(seal.open::<u32>(Purpose::SignIn, b"alice", &text, NOW), None, "another type");
        assert!(!text.contains("value"));
        for at in 0..text.len() {
            let mut spoilt = text.clone().into_bytes();
            spoilt[at] = if spoilt[at] == b'A' { b'B' } else { b'A' };
            let spoilt = String::from_utf8(spoilt).unwrap();
            assert!(open(&seal, Purpose::SignIn, b"alice", &spoilt, NOW).is_none(), "{at}");
        }
        let cut: String = text.chars().take(text.len() - 4).collect();
        for bad in ["", "A", "AAAAAAAAAAAAAAAA", "?", &cut] {
            assert_eq!(open(&seal, Purpose::SignIn, b"alice", bad, NOW), None, "{bad}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_with_the_limit_and_the_rest_fits_a_form() {
        let (seal, entropy) = (Seal::new([7; 32]), Entropy::seeded(1));
        let room = VALUE_LIMIT - r#"{"value":"","expires":1800000000}"#.len();
        let sealed = |length: usize| seal.seal(Purpose::SignIn, b"", "x".repeat(length), NOW, &entropy);
        assert!(sealed(room).unwrap().len() + 4_096 < crate::http::form::BYTES_LIMIT);
        match sealed(room + 1) {
            Err(Rejection::Refusal(refusal)) => {
                assert_eq!(refusal.code, Code::RequestTooLarge);
                assert!(refusal.reason.contains("32768") && refusal.reason.contains("fewer grants"), "{}", refusal.reason);
            }
            other => panic!("{other:?}"),
        }
    }
}
