//! Devices that wait for a person to decide elsewhere.
//!
//! Implements the server's side of RFC 8628 §3.3 to §3.5; rules DG-01, DG-02. The memory is per process, as sessions are: after
//! a restart a device starts again. It decides nothing: the person does, on the consent page.

use crate::{grants::requested::RequestedAuthority, http::origin::network};
use remit_clock::Entropy;
use remit_model::{AgentId, Code, Refusal, UnixTime, json};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// Most devices that wait at once, and most from one network.
const MEMORY: usize = 4_096;
const FROM_ONE_NETWORK: usize = 16;
/// Seconds for which a device waits. SPEC: DG-02 (short codes expire fast)
pub(crate) const LIFETIME: i64 = 600;
/// Seconds between two polls, and how much longer after one that came too soon. SPEC: DG-01
pub(crate) const INTERVAL: i64 = 5;
/// Letters without vowels, so that no word comes about: RFC 8628 §6.1. Eight of them have 34 bits.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const USER_CODE: usize = 8;

/// The SHA-256 of a device code.
pub(crate) type DeviceId = [u8; 32];

/// What a device asks for.
#[derive(Clone, Debug)]
pub(crate) struct DeviceRequest {
    pub(crate) client: AgentId,
    pub(crate) asked: RequestedAuthority,
    /// The PKCE challenge of the code that its approval gives.
    pub(crate) challenge: String,
    pub(crate) from: Option<IpAddr>,
}

/// The device that a consent page decides about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    /// As the device shows it.
    pub(crate) user_code: String,
    /// The address that it asked from.
    pub(crate) from: Option<IpAddr>,
}

/// The devices that wait.
#[derive(Default)]
pub(crate) struct Devices {
    waiting: Mutex<HashMap<DeviceId, Waiting>>,
}

struct Waiting {
    user_code: String,
    request: DeviceRequest,
    expires: UnixTime,
    interval: i64,
    next_poll: UnixTime,
    answer: Option<Answer>,
}

enum Answer {
    /// The authorization code of the approval.
    Code(String),
    Refused,
}

impl Devices {
    /// Takes in a request, and says the user code.
    ///
    /// # Errors
    /// `rate_limited` when too many wait, from this network or at all.
    pub(crate) fn begin(
        &self,
        device_code: &str,
        request: DeviceRequest,
        entropy: &Entropy,
        now: UnixTime,
    ) -> Result<String, Refusal> {
        let from = request.from.map(network);
        self.with(|waiting| {
            waiting.retain(|_, one| one.expires > now);
            let near = waiting.values().filter(|one| one.request.from.map(network) == from).count();
            if waiting.len() >= MEMORY || near >= FROM_ONE_NETWORK {
                return Err(Refusal::new(Code::RateLimited, "too many devices wait for a person; try again later"));
            }
            let taken = |code: &str| waiting.values().any(|one| one.user_code == code);
            let code = std::iter::repeat_with(|| user_code(entropy)).find(|code| !taken(code)).unwrap_or_default();
            let one = Waiting {
                user_code: code.clone(),
                request,
                expires: now.plus(LIFETIME),
                interval: INTERVAL,
                next_poll: now,
                answer: None,
            };
            waiting.insert(id(device_code), one);
            Ok(code)
        })
    }

    /// The request with this user code, however it is spelled, unless it is decided.
    pub(crate) fn find(&self, typed: &str, now: UnixTime) -> Option<(Device, DeviceRequest)> {
        let typed: String = typed.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase()).collect();
        self.with(|waiting| {
            let mut found = waiting.iter().filter(|(_, one)| one.expires > now && one.answer.is_none());
            let (id, one) = found.find(|(_, one)| one.user_code == typed)?;
            let device = Device { id: *id, user_code: shown(&one.user_code), from: one.request.from };
            Some((device, one.request.clone()))
        })
    }

    /// The person agreed: the device gets this code.
    pub(crate) fn approve(&self, device: &Device, code: String) {
        self.answer(device, Answer::Code(code));
    }

    /// The person refused, or could not agree.
    pub(crate) fn refuse(&self, device: &Device) {
        self.answer(device, Answer::Refused);
    }

    fn answer(&self, device: &Device, answer: Answer) {
        self.with(|waiting| {
            if let Some(one) = waiting.get_mut(&device.id).filter(|one| one.answer.is_none()) {
                one.answer = Some(answer);
            }
        });
    }

    /// The authorization code of an approved device, until [`Devices::end`].
    ///
    /// # Errors
    /// `authorization_pending`, `slow_down`, `consent_denied`, `device_code_expired`; `grant_invalid` for a device code that is
    /// not known, or another client's. SPEC: DG-01, N-DG-02, N-DG-03
    pub(crate) fn poll(&self, device_code: &str, client: &AgentId, now: UnixTime) -> Result<String, Refusal> {
        let id = id(device_code);
        self.with(|waiting| {
            let unknown = || Refusal::new(Code::GrantInvalid, "the device code is not known; start again");
            let one = waiting.get_mut(&id).filter(|one| one.request.client == *client).ok_or_else(unknown)?;
            if one.expires <= now {
                waiting.remove(&id);
                let reason = format!("no person decided within {LIFETIME} seconds; start again");
                return Err(Refusal::new(Code::DeviceCodeExpired, reason));
            }
            if now < one.next_poll {
                one.interval += INTERVAL;
                one.next_poll = now.plus(one.interval);
                let reason = format!("ask at most every {} seconds", one.interval);
                return Err(Refusal::new(Code::SlowDown, reason));
            }
            one.next_poll = now.plus(one.interval);
            match &one.answer {
                None => Err(Refusal::new(Code::AuthorizationPending, "the person has not decided yet")),
                Some(Answer::Code(code)) => Ok(code.clone()),
                Some(Answer::Refused) => {
                    waiting.remove(&id);
                    Err(Refusal::new(Code::ConsentDenied, "the person refused"))
                }
            }
        })
    }

    /// The device has its token.
    pub(crate) fn end(&self, device_code: &str) {
        self.with(|waiting| waiting.remove(&id(device_code)));
    }

    fn with<T>(&self, run: impl FnOnce(&mut HashMap<DeviceId, Waiting>) -> T) -> T {
        // A panic while holding the lock cannot leave half a change: each change is one map operation.
        run(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// As people read it: `BCDF-GHJK`.
pub(crate) fn shown(user_code: &str) -> String {
    let (first, second) = user_code.split_at_checked(USER_CODE / 2).unwrap_or((user_code, ""));
    format!("{first}-{second}")
}

fn id(device_code: &str) -> DeviceId {
    json::sha256(device_code.as_bytes())
}

fn user_code(entropy: &Entropy) -> String {
    let mut code = String::new();
    while code.len() < USER_CODE {
        let bytes: [u8; 32] = entropy.bytes();
        // 240 is the largest multiple of 20 in a byte: each letter is as likely as any other.
        let letters = bytes.iter().filter(|byte| **byte < 240).filter_map(|byte| LETTERS.get(usize::from(byte % 20)));
        code.extend(letters.take(USER_CODE - code.len()).map(|letter| char::from(*letter)));
    }
    code
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn request(from: &str) -> DeviceRequest {
        DeviceRequest {
            client: AgentId::parse("planner").unwrap(),
            asked: RequestedAuthority::default(),
            challenge: String::new(),
            from: from.parse().ok(),
        }
    }

    #[test]
    fn the_memory_of_devices_is_bounded_by_network_and_in_number() {
        let (devices, entropy) = (Devices::default(), Entropy::seeded(1));
        let begin = |n: usize, from: &str, now| devices.begin(&format!("d{n}"), request(from), &entropy, now);
        for n in 0..FROM_ONE_NETWORK {
            begin(n, "192.0.2.1", NOW).unwrap();
        }
        assert_eq!(begin(99, "192.0.2.1", NOW).unwrap_err().code, Code::RateLimited);
        begin(99, "192.0.2.2", NOW).unwrap();
        let mut n = 100;
        while begin(n, &format!("10.{}.{}.1", n / 256, n % 256), NOW).is_ok() {
            n += 1;
        }
        assert_eq!(devices.with(|waiting| waiting.len()), MEMORY);
        begin(n, "192.0.2.1", NOW.plus(LIFETIME)).unwrap();
        assert_eq!(devices.with(|waiting| waiting.len()), 1, "those that expired make room");
    }

    #[test]
    fn a_user_code_is_found_however_it_is_typed_and_only_until_it_is_decided() {
        let (devices, entropy) = (Devices::default(), Entropy::seeded(2));
        let code = devices.begin("d", request("192.0.2.1"), &entropy, NOW).unwrap();
        assert!(code.len() == USER_CODE && code.bytes().all(|b| LETTERS.contains(&b)), "{code}");
        for typed in [code.clone(), shown(&code), code.to_lowercase(), format!(" {} ", shown(&code).replace('-', " "))] {
            assert!(devices.find(&typed, NOW).is_some(), "{typed}");
        }
        let short: String = code.chars().skip(1).collect();
        for typed in ["", &short, &format!("{code}X"), "BCDFGHJK"] {
            assert!(typed == code || devices.find(typed, NOW).is_none(), "{typed}");
        }
        assert!(devices.find(&code, NOW.plus(LIFETIME)).is_none());
        let (device, _) = devices.find(&code, NOW).unwrap();
        devices.refuse(&device);
        devices.approve(&device, "late".to_owned());
        assert!(devices.find(&code, NOW).is_none());
        let client = AgentId::parse("planner").unwrap();
        assert_eq!(devices.poll("d", &client, NOW).unwrap_err().code, Code::ConsentDenied, "the first answer counts");
    }
}
