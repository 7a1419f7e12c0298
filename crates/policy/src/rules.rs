//! Policies in parsed form, as many as are in use: read again when one is needed that is not held.
//!
//! Reading one that is held takes no lock. What is held never changes a decision, only what it costs.

use crate::{decision::RuleEffect, unanswerable::Unanswerable};
use arc_swap::ArcSwapOption;
use cedar_policy::Policy;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Most policies held in parsed form.
const MOST: usize = 16_384;

/// One policy with what a decision says about it.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) effect: RuleEffect,
    pub(crate) digest: String,
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) policy: Policy,
    /// Asked for since the last sweep looked.
    used: AtomicBool,
}

impl Rule {
    pub(crate) fn new(
        id: String,
        effect: RuleEffect,
        digest: String,
        file: String,
        line: usize,
        annotations: BTreeMap<String, String>,
        policy: Policy,
    ) -> Self {
        Self { id, effect, digest, file, line, annotations, policy, used: AtomicBool::new(false) }
    }
}

/// A place for each policy of a bundle, by number.
#[derive(Debug)]
pub(crate) struct Rules {
    slots: Vec<ArcSwapOption<Rule>>,
    held: AtomicUsize,
    most: usize,
    /// Where the last sweep stopped.
    hand: Mutex<usize>,
}

impl Rules {
    pub(crate) fn new(count: usize) -> Self {
        Self::holding(count, MOST)
    }

    fn holding(count: usize, most: usize) -> Self {
        let slots = (0..count).map(|_| ArcSwapOption::empty()).collect();
        Self { slots, held: AtomicUsize::new(0), most, hand: Mutex::new(0) }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The policy with this number, held already or from `read`.
    pub(crate) fn get(&self, number: u32, read: impl FnOnce() -> Result<Rule, Unanswerable>) -> Result<Arc<Rule>, Unanswerable> {
        let slot = usize::try_from(number).ok().and_then(|number| self.slots.get(number));
        let slot = slot.ok_or(Unanswerable::NoPolicy(number))?;
        if let Some(rule) = slot.load_full() {
            if !rule.used.load(Ordering::Relaxed) {
                rule.used.store(true, Ordering::Relaxed);
            }
            return Ok(rule);
        }
        let rule = Arc::new(read()?);
        if slot.swap(Some(Arc::clone(&rule))).is_none() && self.held.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.sweep();
        }
        Ok(rule)
    }

    /// Drops policies that were not used since the last sweep, until a quarter of the room is free.
    fn sweep(&self) {
        // One thread sweeps at a time; the others do not wait for it.
        let Ok(mut hand) = self.hand.try_lock() else { return };
        let enough = self.most / 4 * 3;
        // Twice around: the first may only find that everything was used.
        for _ in 0..self.slots.len().saturating_mul(2) {
            if self.held.load(Ordering::Relaxed) <= enough {
                return;
            }
            *hand = if *hand + 1 < self.slots.len() { *hand + 1 } else { 0 };
            let Some(slot) = self.slots.get(*hand) else { return };
            let idle = slot.load().as_ref().is_some_and(|rule| !rule.used.swap(false, Ordering::Relaxed));
            if idle && slot.swap(None).is_some() {
                self.held.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn rule(number: u32) -> Rule {
        let policy = Policy::parse(None, "permit (principal, action, resource);").unwrap();
        Rule::new(number.to_string(), RuleEffect::Permit, String::new(), String::new(), 1, BTreeMap::new(), policy)
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let (rules, read) = (Rules::holding(100, 8), Cell::new(0));
        let get = |number: u32| {
            rules.get(number, || {
                read.set(read.get() + 1);
                Ok(rule(number))
            })
        };
        for number in 1..100 {
            assert_eq!(get(number).unwrap().id, number.to_string());
            assert_eq!(get(0).unwrap().id, "0");
            assert!(rules.held.load(Ordering::Relaxed) <= 9);
        }
        assert_eq!(read.get(), 100, "number 0 was always in use, so it was read once");
        assert_eq!(get(1).unwrap().id, "1", "what was let go is read again");
        assert_eq!(read.get(), 101);
    }

    #[test]
    fn what_cannot_be_read_is_not_held() {
        let rules = Rules::new(1);
        assert!(rules.get(0, || Err(Unanswerable::NoPolicy(0))).is_err());
        assert!(rules.get(0, || Ok(rule(0))).is_ok());
        assert!(rules.get(1, || Ok(rule(1))).is_err(), "beyond the end");
    }
}
