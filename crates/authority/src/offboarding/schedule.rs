//! Whom to ask about, and when: what this process remembers of the people whose providers can be asked.
//!
//! Pure: the time is a parameter, in milliseconds of a clock that only runs. Only people with something handed out that can still
//! act are asked about, each at a moment of its own within the interval, so that neither a sign-in of everyone at nine nor a start
//! makes everyone due at once.

use remit_model::UnixTime;
use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Mutex as AsyncMutex;

/// Most sessions at the provider that are remembered of one person; one more forgets the oldest.
pub(crate) const SESSIONS: usize = 16;
/// A provider that does not answer is tried again after so long at first, then after twice that, and so on.
const FIRST_RETRY_MS: u64 = 1_000;
/// And at most after so long.
const LAST_RETRY_MS: u64 = 30_000;
/// For so long the answer to the one question that tries such a provider is waited for: two requests of five seconds.
const TRIAL_MS: u64 = 11_000;
/// After so many intervals in which a provider confirmed others, and neither confirmed nor refused a person, it does not vouch
/// for that person any more.
const UNCONFIRMED_INTERVALS: u64 = 10;
/// Of an interval, in percent: the next question begins no sooner, and no later. What is left is for the answer.
const SOONEST: u64 = 60;
const LATEST: u64 = 90;

/// The people who are asked about.
#[derive(Default)]
pub(crate) struct Schedule {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    people: HashMap<Arc<str>, Watched>,
    due: BTreeSet<(u64, Arc<str>)>,
    /// By issuer and `sid`.
    sessions: HashMap<(String, String), Arc<str>>,
    /// By issuer: providers that do not answer.
    troubles: HashMap<String, Trouble>,
    /// By issuer: when the last question began that confirmed someone.
    confirms: HashMap<String, u64>,
    /// Issuers that people were to be asked about at, and that no provider has that is configured.
    unconfigured: HashSet<String>,
}

struct Watched {
    person: Person,
    /// Until then something that they handed out can act.
    acts_until: UnixTime,
    /// When the last question began that was answered well, or the sign-in.
    confirmed_ms: u64,
    /// Since when something of theirs can act without a break: before that no one had to be asked.
    acting_ms: u64,
    /// Questions in a row that brought neither a yes nor a no.
    failures: u32,
    due: Option<u64>,
    /// They were due, and the question about them has not ended.
    under_way: bool,
    one_at_a_time: Arc<AsyncMutex<()>>,
}

/// What a sign-in makes known of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// Of the provider.
    pub(crate) issuer: String,
    /// Sessions at the provider, the newest last.
    pub(crate) sids: Vec<String>,
    pub(crate) every_ms: u64,
    /// Whether there is anything to ask with.
    pub(crate) can_be_asked: bool,
    /// From then on nothing of it matters any more.
    pub(crate) ends: UnixTime,
}

#[derive(Clone, Debug, Default)]
struct Trouble {
    failures: u32,
    until_ms: u64,
    /// With whom the provider is being tried.
    trial: Option<Arc<str>>,
    /// About whom it was last silent: someone else is the next trial.
    last: Option<Arc<str>>,
}

/// What a provider's answer means that neither confirms nor refuses one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// It is the first of them.
    New,
    Again,
    /// It confirmed others all the time: it does not vouch for this person any more.
    NoLongerVouched,
}

impl Schedule {
    /// Takes in a sign-in at `now_ms`. What the person handed out before can still act.
    pub(crate) fn signed_in(&self, name: &str, person: Person, now_ms: u64, spread: u64) {
        self.with(|memory| {
            let before = memory.take(name);
            let (acts_until, one_at_a_time) =
                before.map_or_else(|| (UnixTime(i64::MIN), Arc::default()), |known| (known.acts_until, known.one_at_a_time));
            let key: Arc<str> = Arc::from(name);
            let sessions = person.sids.iter().map(|sid| ((person.issuer.clone(), sid.clone()), Arc::clone(&key)));
            memory.sessions.extend(sessions);
            let asked = person.can_be_asked && acts_until.0 > i64::MIN;
            let due = next(&person, now_ms, spread);
            memory.people.insert(
                Arc::clone(&key),
                Watched {
                    person,
                    acts_until,
                    confirmed_ms: now_ms,
                    acting_ms: now_ms,
                    failures: 0,
                    due: None,
                    under_way: false,
                    one_at_a_time,
                },
            );
            if asked {
                memory.set_due(&key, due);
            }
        });
    }

    /// Something that the person handed out can act until then.
    pub(crate) fn handed_out(&self, name: &str, until: UnixTime, now_ms: u64, spread: u64) {
        self.with(|memory| {
            let Some((key, watched)) = memory.people.get_key_value(name) else { return };
            let (key, due) = (Arc::clone(key), watched.due);
            let first = next(&watched.person, watched.confirmed_ms, spread).max(now_ms);
            let asked = watched.person.can_be_asked;
            if let Some(watched) = memory.people.get_mut(name) {
                watched.acts_until = watched.acts_until.max(until);
                if due.is_none() && !watched.under_way {
                    watched.acting_ms = now_ms;
                }
            }
            if due.is_none() && asked {
                memory.set_due(&key, first);
            }
        });
    }

    /// As [`Schedule::handed_out`] for what a start finds: the first question comes within one interval.
    pub(crate) fn found(&self, name: &str, until: UnixTime, now_ms: u64, spread: u64) {
        self.handed_out(name, until, now_ms, spread);
        self.with(|memory| {
            let Some((key, watched)) = memory.people.get_key_value(name) else { return };
            let at = now_ms.saturating_add(watched.person.every_ms.saturating_mul(LATEST) / 100 * (spread % 1_000) / 1_000);
            if watched.due.is_some() {
                let key = Arc::clone(key);
                memory.set_due(&key, at);
            }
        });
    }

    /// The person's sign-ins ended, or they are gone: no question is put about them any more.
    pub(crate) fn forget(&self, name: &str) {
        self.with(|memory| drop(memory.take(name)));
    }

    /// Forgets the people of whose sign-in nothing matters any more.
    pub(crate) fn forget_ended(&self, now: UnixTime) {
        self.with(|memory| {
            let ended = |watched: &Watched| watched.person.ends <= now;
            let gone: Vec<Arc<str>> =
                memory.people.iter().filter(|(_, watched)| ended(watched)).map(|(name, _)| Arc::clone(name)).collect();
            for name in gone {
                memory.take(&name);
            }
        });
    }

    /// Keeps those of whom this is true.
    pub(crate) fn keep(&self, known: impl Fn(&str) -> bool) {
        self.with(|memory| {
            let gone: Vec<Arc<str>> = memory.people.keys().filter(|name| !known(name)).cloned().collect();
            for name in gone {
                memory.take(&name);
            }
        });
    }

    /// Whose session at the provider this is.
    pub(crate) fn of_session(&self, issuer: &str, sid: &str) -> Option<String> {
        let key = (issuer.to_owned(), sid.to_owned());
        self.with(|memory| memory.sessions.get(&key).map(|name| name.as_ref().to_owned()))
    }

    /// The sessions at the provider that are remembered of a person.
    pub(crate) fn sessions_of(&self, name: &str) -> Vec<String> {
        self.with(|memory| memory.people.get(name).map(|watched| watched.person.sids.clone()).unwrap_or_default())
    }

    /// Held by a question about this person, and by a sign-in that changes what is asked with.
    pub(crate) fn one_at_a_time(&self, name: &str) -> Option<Arc<AsyncMutex<()>>> {
        self.with(|memory| memory.people.get(name).map(|watched| Arc::clone(&watched.one_at_a_time)))
    }

    /// How many milliseconds ago the last question began that was answered well, and the person's interval; `None` of who cannot
    /// be asked about.
    pub(crate) fn confirmed(&self, name: &str, now_ms: u64) -> Option<(u64, u64)> {
        self.with(|memory| {
            let watched = memory.people.get(name).filter(|watched| watched.person.can_be_asked)?;
            Some((now_ms.saturating_sub(watched.confirmed_ms), watched.person.every_ms))
        })
    }

    /// At most `room` people who are due now, and by how much the longest unconfirmed of all who are due is over their interval.
    /// They are not due again before an answer.
    pub(crate) fn take_due(&self, now_ms: u64, now: UnixTime, room: usize, spread: u64) -> (Vec<String>, u64) {
        self.with(|memory| {
            let (mut taken, mut late) = (Vec::new(), 0);
            while let Some((due, name)) = memory.due.first().filter(|(due, _)| *due <= now_ms).cloned() {
                let Some(watched) = memory.people.get(&name) else {
                    memory.due.remove(&(due, name));
                    continue;
                };
                if watched.person.ends <= now {
                    memory.take(&name);
                    continue;
                }
                // Nothing of theirs can act: they are asked about again once they hand something out.
                if watched.acts_until <= now {
                    memory.not_due(&name);
                    continue;
                }
                late = late.max(now_ms.saturating_sub(watched.latest()));
                if taken.len() >= room {
                    break;
                }
                let issuer = watched.person.issuer.clone();
                let name = match memory.troubles.get(&issuer) {
                    None => name,
                    // Each at its own moment after the next trial.
                    Some(trouble) if trouble.until_ms > now_ms => {
                        let again = trouble.until_ms.saturating_add(spread.wrapping_add(due) % FIRST_RETRY_MS);
                        memory.set_due(&name, again);
                        continue;
                    }
                    // One question tries the provider; the others wait for what comes of it.
                    Some(_) => memory.trial(&issuer, name, now_ms, now),
                };
                memory.not_due(&name);
                if let Some(watched) = memory.people.get_mut(&name) {
                    watched.under_way = true;
                }
                taken.push(name.as_ref().to_owned());
            }
            (taken, late)
        })
    }

    /// The provider, which is now asked in this interval, answered that the person may act. Whether it had been in trouble.
    pub(crate) fn answered(&self, name: &str, began_ms: u64, every_ms: u64, spread: u64) -> bool {
        self.with(|memory| {
            let Some((key, _)) = memory.people.get_key_value(name) else { return false };
            let key = Arc::clone(key);
            let Some(watched) = memory.people.get_mut(name) else { return false };
            watched.person.every_ms = every_ms;
            watched.confirmed_ms = watched.confirmed_ms.max(began_ms);
            watched.failures = 0;
            let (due, issuer) = (next(&watched.person, began_ms, spread), watched.person.issuer.clone());
            memory.set_due(&key, due);
            memory.unconfigured.remove(&issuer);
            let trouble = memory.troubles.remove(&issuer).is_some();
            let last = memory.confirms.entry(issuer).or_default();
            *last = (*last).max(began_ms);
            trouble
        })
    }

    /// The provider with this issuer is not in trouble; whether it had been.
    pub(crate) fn well(&self, issuer: &str) -> bool {
        self.with(|memory| memory.troubles.remove(issuer).is_some())
    }

    /// The provider did not answer the question. Whether that is new. Only the question that tries a provider makes the others wait
    /// longer: a person whose questions fail again and again holds no one else up.
    pub(crate) fn unanswered(&self, name: &str, now_ms: u64, spread: u64) -> bool {
        self.with(|memory| {
            let Some((key, wait)) = memory.failed(name) else { return false };
            let Some(watched) = memory.people.get(name) else { return false };
            let (issuer, every_ms) = (watched.person.issuer.clone(), watched.person.every_ms);
            let trouble = memory.troubles.entry(issuer).or_default();
            let first = trouble.failures == 0;
            if first || trouble.trial.as_ref() == Some(&key) {
                let wait = (FIRST_RETRY_MS << trouble.failures.min(5)).min(LAST_RETRY_MS).min(every_ms);
                trouble.failures = trouble.failures.saturating_add(1);
                trouble.until_ms = now_ms.saturating_add(wait);
                trouble.trial = None;
                trouble.last = Some(Arc::clone(&key));
            }
            let again = trouble.until_ms.max(now_ms.saturating_add(wait)).saturating_add(spread % 100);
            memory.set_due(&key, again);
            first
        })
    }

    /// The provider answered, and neither confirmed nor refused the person: no one else is concerned.
    pub(crate) fn undecided(&self, name: &str, now_ms: u64, spread: u64) -> Undecided {
        self.with(|memory| {
            let Some((key, wait)) = memory.failed(name) else { return Undecided::Again };
            memory.set_due(&key, now_ms.saturating_add(wait).saturating_add(spread % 100));
            let Some(watched) = memory.people.get(name) else { return Undecided::Again };
            if let Some(trouble) = memory.troubles.get_mut(&watched.person.issuer) {
                // It says nothing of the provider: the next one tries.
                if trouble.trial.as_ref() == Some(&key) {
                    (trouble.trial, trouble.until_ms, trouble.last) = (None, now_ms, Some(key));
                }
            }
            let (every_ms, since_ms) = (watched.person.every_ms, watched.confirmed_ms.max(watched.acting_ms));
            let others = memory.confirms.get(&watched.person.issuer).is_some_and(|at| now_ms.saturating_sub(*at) <= every_ms);
            match watched.failures {
                _ if others && now_ms.saturating_sub(since_ms) >= every_ms.saturating_mul(UNCONFIRMED_INTERVALS) => {
                    Undecided::NoLongerVouched
                }
                1 => Undecided::New,
                _ => Undecided::Again,
            }
        })
    }

    /// No provider with the person's issuer is configured, so that their account is disabled; they are looked at again after an
    /// interval. Whether that is new.
    pub(crate) fn unconfigured(&self, name: &str, now_ms: u64) -> bool {
        self.with(|memory| {
            let Some((key, _)) = memory.people.get_key_value(name) else { return false };
            let key = Arc::clone(key);
            let Some(watched) = memory.people.get_mut(name) else { return false };
            watched.acting_ms = now_ms;
            let (issuer, every_ms) = (watched.person.issuer.clone(), watched.person.every_ms);
            memory.set_due(&key, now_ms.saturating_add(every_ms));
            memory.unconfigured.insert(issuer)
        })
    }

    /// The answer could not be put into force: the question is put again in a moment.
    pub(crate) fn again(&self, name: &str, now_ms: u64) {
        self.with(|memory| {
            if let Some((key, _)) = memory.people.get_key_value(name) {
                let key = Arc::clone(key);
                memory.set_due(&key, now_ms.saturating_add(FIRST_RETRY_MS));
            }
        });
    }

    /// There is nothing left to ask with.
    pub(crate) fn silent(&self, name: &str) {
        self.with(|memory| {
            if let Some(watched) = memory.people.get_mut(name) {
                watched.person.can_be_asked = false;
                watched.under_way = false;
                if let (Some(due), Some((key, _))) = (watched.due.take(), memory.people.get_key_value(name)) {
                    memory.due.remove(&(due, Arc::clone(key)));
                }
            }
        });
    }

    fn with<T>(&self, run: impl FnOnce(&mut Memory) -> T) -> T {
        run(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Memory {
    fn set_due(&mut self, name: &Arc<str>, at_ms: u64) {
        let Some(watched) = self.people.get_mut(name) else { return };
        watched.under_way = false;
        if let Some(before) = watched.due.replace(at_ms) {
            self.due.remove(&(before, Arc::clone(name)));
        }
        self.due.insert((at_ms, Arc::clone(name)));
    }

    fn not_due(&mut self, name: &Arc<str>) {
        if let Some(due) = self.people.get_mut(name).and_then(|watched| watched.due.take()) {
            self.due.remove(&(due, Arc::clone(name)));
        }
    }

    /// With whom the provider is tried now: `first`, who is due, or, if it was last silent about them, the next of its people. It
    /// counts as being tried from now on.
    fn trial(&mut self, issuer: &str, first: Arc<str>, now_ms: u64, now: UnixTime) -> Arc<str> {
        let Some(trouble) = self.troubles.get_mut(issuer) else { return first };
        trouble.until_ms = now_ms.saturating_add(TRIAL_MS);
        let mut chosen = Arc::clone(&first);
        if trouble.last.as_ref() == Some(&first) {
            let can =
                |watched: &Watched| watched.person.issuer == issuer && watched.acts_until > now && watched.person.ends > now;
            let other =
                self.due.iter().map(|(_, name)| name).find(|name| **name != first && self.people.get(*name).is_some_and(can));
            if let Some(other) = other {
                chosen = Arc::clone(other);
            }
        }
        trouble.trial = Some(Arc::clone(&chosen));
        if chosen != first {
            self.set_due(&first, now_ms.saturating_add(TRIAL_MS));
        }
        chosen
    }

    /// Counts a question without a yes or a no; after how long, in milliseconds, the next one about this person comes.
    fn failed(&mut self, name: &str) -> Option<(Arc<str>, u64)> {
        let (key, _) = self.people.get_key_value(name)?;
        let key = Arc::clone(key);
        let watched = self.people.get_mut(name)?;
        let wait = (FIRST_RETRY_MS << watched.failures.min(5)).min(LAST_RETRY_MS).min(watched.person.every_ms);
        watched.failures = watched.failures.saturating_add(1);
        Some((key, wait))
    }

    fn take(&mut self, name: &str) -> Option<Watched> {
        let (key, watched) = self.people.remove_entry(name)?;
        if let Some(due) = watched.due {
            self.due.remove(&(due, Arc::clone(&key)));
        }
        for sid in &watched.person.sids {
            // Another person may have come to it since.
            if let Entry::Occupied(session) = self.sessions.entry((watched.person.issuer.clone(), sid.clone()))
                && *session.get() == key
            {
                session.remove();
            }
        }
        Some(watched)
    }
}

impl Watched {
    /// When the question has to begin at the latest that keeps the interval.
    fn latest(&self) -> u64 {
        self.confirmed_ms.max(self.acting_ms).saturating_add(self.person.every_ms)
    }
}

/// When the next question begins, if the last began at `began_ms`.
fn next(person: &Person, began_ms: u64, spread: u64) -> u64 {
    let percent = SOONEST.saturating_add(spread % (LATEST - SOONEST + 1));
    began_ms.saturating_add(person.every_ms.saturating_mul(percent) / 100)
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn person(provider: &str, sid: &str) -> Person {
        Person {
            issuer: format!("https://{provider}"),
            sids: vec![sid.into()],
            every_ms: 60_000,
            can_be_asked: true,
            ends: NOW.plus(86_400),
        }
    }

    fn acting(count: u64) -> Schedule {
        let schedule = Schedule::default();
        for n in 0..count {
            schedule.signed_in(&n.to_string(), person("corp", &format!("s{n}")), 0, n);
            schedule.handed_out(&n.to_string(), NOW.plus(3_600), 0, n.wrapping_mul(7_919));
        }
        schedule
    }

    #[test]
    fn who_handed_nothing_out_is_not_asked_about_and_who_did_is_within_the_interval() {
        let schedule = Schedule::default();
        schedule.signed_in("alice", person("corp", "a"), 0, 5);
        assert!(schedule.take_due(1_000_000, NOW, 10, 0).0.is_empty());
        schedule.handed_out("alice", NOW.plus(100), 1_000_000, 5);
        assert_eq!(schedule.take_due(1_000_000, NOW, 10, 0).0, ["alice"], "the sign-in is long ago");
        assert!(schedule.take_due(1_000_000, NOW, 10, 0).0.is_empty(), "one question at a time");
        schedule.answered("alice", 1_000_000, 60_000, 5);
        assert!(schedule.take_due(1_035_999, NOW, 10, 0).0.is_empty());
        assert_eq!(schedule.take_due(1_054_000, NOW, 10, 0).0, ["alice"]);
        schedule.answered("alice", 1_054_000, 60_000, 5);
        assert!(schedule.take_due(1_200_000, NOW.plus(100), 10, 0).0.is_empty(), "what was handed out has ended");
        schedule.handed_out("alice", NOW.plus(500), 1_200_000, 5);
        assert_eq!(schedule.take_due(1_200_000, NOW.plus(100), 10, 0).0, ["alice"]);
    }

    #[test]
    fn a_hundred_thousand_people_who_sign_in_at_once_are_spread_over_the_interval() {
        let schedule = acting(100_000);
        let mut most = 0;
        let mut all = 0;
        for second in 0..60 {
            let (due, _) = schedule.take_due(second * 1_000, NOW, usize::MAX, 0);
            most = most.max(due.len());
            all += due.len();
        }
        assert_eq!(all, 100_000, "everyone within one interval");
        assert!(most < 100_000 / 15, "{most} in one second");
    }

    #[test]
    fn a_start_spreads_them_over_one_interval() {
        let schedule = Schedule::default();
        for n in 0..10_000_u64 {
            schedule.signed_in(&n.to_string(), person("corp", &format!("s{n}")), 0, n);
            schedule.found(&n.to_string(), NOW.plus(3_600), 0, n.wrapping_mul(7_919));
        }
        let counts: Vec<usize> = (0..=54).map(|second| schedule.take_due(second * 1_000, NOW, usize::MAX, 0).0.len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 10_000);
        assert!(counts.iter().all(|count| *count < 400), "{counts:?}");
    }

    #[test]
    fn a_provider_that_does_not_answer_is_tried_by_one_question_at_a_time() {
        let schedule = acting(1_000);
        let (due, _) = schedule.take_due(54_000, NOW, 1, 0);
        assert!(schedule.unanswered(&due[0], 54_000, 0), "that is news");
        assert!(schedule.take_due(54_500, NOW, usize::MAX, 0).0.is_empty(), "the others wait");
        let (due, _) = schedule.take_due(57_000, NOW, usize::MAX, 0);
        assert_eq!(due.len(), 1, "one tries");
        assert!(!schedule.unanswered(&due[0], 57_000, 0));
        let (due, _) = schedule.take_due(62_000, NOW, usize::MAX, 0);
        assert_eq!(due.len(), 1);
        assert!(schedule.answered(&due[0], 62_000, 60_000, 0), "it had been in trouble");
        assert!(schedule.take_due(80_000, NOW, usize::MAX, 0).0.len() > 900, "all are asked about again");
    }

    #[test]
    fn a_session_at_the_provider_leads_to_its_person_until_they_are_forgotten() {
        let schedule = Schedule::default();
        schedule.signed_in("alice", person("corp", "a"), 0, 0);
        schedule.signed_in("bob", person("other", "a"), 0, 0);
        assert_eq!(schedule.of_session("https://corp", "a").as_deref(), Some("alice"));
        assert_eq!(schedule.of_session("https://other", "a").as_deref(), Some("bob"));
        assert_eq!(schedule.of_session("https://corp", "b"), None);
        schedule.forget("alice");
        assert_eq!(schedule.of_session("https://corp", "a"), None);
        schedule.keep(|name| name != "bob");
        assert_eq!(schedule.of_session("https://other", "a"), None);
        schedule.signed_in("carol", person("corp", "c"), 0, 0);
        schedule.forget_ended(NOW);
        assert_eq!(schedule.of_session("https://corp", "c").as_deref(), Some("carol"));
        schedule.forget_ended(NOW.plus(86_400));
        assert_eq!(schedule.of_session("https://corp", "c"), None);
    }

    /// Who is asked about within so many seconds from `from_ms` on; `failing` fails each time as `fail` says, the others are answered.
    fn run(schedule: &Schedule, from_ms: u64, seconds: u64, failing: &str, fail: impl Fn(&str, u64)) -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        for tenth in 0..seconds * 10 {
            let now_ms = from_ms + tenth * 100;
            let (due, late) = schedule.take_due(now_ms, NOW, usize::MAX, tenth.wrapping_mul(7_919));
            assert!(late == 0 || due.iter().any(|name| name == failing) || asked.contains_key(failing), "{late} at {now_ms}");
            for name in due {
                *asked.entry(name.clone()).or_default() += 1;
                if name == failing {
                    fail(&name, now_ms);
                } else {
                    schedule.answered(&name, now_ms, 60_000, tenth.wrapping_mul(104_729));
                }
            }
        }
        asked
    }

    #[test]
    fn one_person_about_whom_a_provider_says_nothing_holds_up_nobody_else() {
        for silent in [false, true] {
            let schedule = acting(50);
            let asked = run(&schedule, 0, 300, "7", |name, now_ms| {
                if silent {
                    schedule.unanswered(name, now_ms, 0);
                } else {
                    schedule.undecided(name, now_ms, 0);
                }
            });
            assert_eq!(asked.len(), 50);
            assert!(asked["7"] > 5 && asked["7"] < 25, "their own growing wait: {}", asked["7"]);
            for n in (0..50).filter(|n| *n != 7) {
                let (age_ms, _) = schedule.confirmed(&n.to_string(), 300_000).unwrap();
                assert!(age_ms <= 60_000 && asked[&n.to_string()] >= 5, "{n}: {age_ms}, {asked:?}");
            }
        }
    }

    #[test]
    fn the_person_about_whom_a_provider_was_last_silent_does_not_try_it_again() {
        let schedule = acting(2);
        let (due, _) = schedule.take_due(54_000, NOW, 1, 0);
        let failed = &due[0];
        assert!(schedule.unanswered(failed, 54_000, 0));
        schedule.again(failed, 40_000);
        let (due, _) = schedule.take_due(55_500, NOW, usize::MAX, 0);
        assert!(due.len() == 1 && due[0] != *failed, "{due:?}");
        // Neither who asks of their own accord nor a late answer makes the others wait longer.
        for _ in 0..10 {
            assert!(!schedule.unanswered(failed, 55_600, 0));
        }
        let other = &due[0];
        assert!(!schedule.unanswered(other, 55_700, 0));
        assert!(schedule.take_due(57_699, NOW, usize::MAX, 0).0.is_empty());
        let mut tried = Vec::new();
        for at in 57_700..60_000 {
            tried.extend(schedule.take_due(at, NOW, usize::MAX, 0).0);
        }
        assert!(tried.iter().eq([failed]), "after the second failure, and it is the turn of the first: {tried:?}");
    }

    #[test]
    fn who_waits_for_a_provider_in_trouble_is_late_after_the_interval() {
        let schedule = acting(3);
        let mut latest = 0;
        for at in (36_000..180_000).step_by(50) {
            let (due, late) = schedule.take_due(at, NOW, usize::MAX, 0);
            assert!(late == 0 || at > 60_000, "{late} at {at}");
            latest = latest.max(late);
            for name in due {
                schedule.unanswered(&name, at, 0);
            }
        }
        assert!(latest > 60_000, "{latest}");
    }

    #[test]
    fn a_provider_that_confirms_others_and_not_this_one_for_ten_intervals_no_longer_vouches() {
        for (others, expected) in [(true, Undecided::NoLongerVouched), (false, Undecided::Again)] {
            let schedule = acting(2);
            assert_eq!(schedule.undecided("0", 50_000, 0), Undecided::New);
            for at in (60_000..600_000).step_by(30_000) {
                if others {
                    schedule.answered("1", at, 60_000, 0);
                }
                assert_eq!(schedule.undecided("0", at, 0), Undecided::Again, "at {at}");
            }
            assert_eq!(schedule.undecided("0", 600_000, 0), expected);
            schedule.answered("0", 601_000, 60_000, 0);
            assert_eq!(schedule.undecided("0", 602_000, 0), Undecided::New, "one yes begins it anew");
        }
    }

    #[test]
    fn a_session_that_two_people_name_is_the_later_ones_also_when_the_first_is_forgotten() {
        let schedule = Schedule::default();
        schedule.signed_in("alice", person("corp", "a"), 0, 0);
        schedule.signed_in("bob", person("corp", "a"), 0, 0);
        schedule.forget("alice");
        assert_eq!(schedule.of_session("https://corp", "a").as_deref(), Some("bob"));
        schedule.forget("bob");
        assert_eq!(schedule.of_session("https://corp", "a"), None);
    }
}
