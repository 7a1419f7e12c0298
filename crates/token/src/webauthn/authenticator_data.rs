//! What the authenticator itself says and signs. SPEC: Web Authentication §6.1.

use super::expect::{RelyingParty, invalid};
use remit_model::{Refusal, json::sha256};

/// SHA-256 of the relying party ID, flags, counter: what is always there.
const HEAD: usize = 37;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// Authenticator data whose site and flags are right.
#[derive(Clone, Copy, Debug)]
pub(super) struct AuthenticatorData<'a> {
    pub(super) counter: u32,
    /// Whether the passkey can be copied to other devices.
    pub(super) synced: bool,
    pub(super) attested: bool,
    pub(super) extended: bool,
    pub(super) rest: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// Reads it, and requires this site, a person who was present and verified, and flags that fit each other.
    ///
    /// # Errors
    /// `passkey_invalid`.
    pub(super) fn read(bytes: &'a [u8], party: &RelyingParty) -> Result<Self, Refusal> {
        let short = || invalid("the authenticator data of the passkey is cut short");
        let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or_else(short)?;
        let (site, tail) = head.split_first_chunk::<32>().ok_or_else(short)?;
        let [flags, counter @ ..] = tail else { return Err(short()) };
        if *site != sha256(party.id().as_bytes()) {
            return Err(invalid(format!("the passkey is of another site than `{}`", party.id())));
        }
        let has = |flag: u8| flags & flag != 0;
        if !has(USER_PRESENT) {
            return Err(invalid("the authenticator does not say that a person was present"));
        }
        if !has(USER_VERIFIED) {
            return Err(invalid("the authenticator did not verify the person: use its PIN, fingerprint or face"));
        }
        if has(BACKED_UP) && !has(BACKUP_ELIGIBLE) {
            return Err(invalid("the authenticator says that a passkey was backed up which cannot be"));
        }
        let counter: [u8; 4] = counter.try_into().map_err(|_| short())?;
        Ok(Self {
            counter: u32::from_be_bytes(counter),
            synced: has(BACKUP_ELIGIBLE),
            attested: has(ATTESTED),
            extended: has(EXTENSIONS),
            rest,
        })
    }
}
