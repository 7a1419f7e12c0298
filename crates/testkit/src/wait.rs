//! Waiting for what another thread or process does. A fixed pause is either too short on a busy machine or too long on
//! every other one; these look again until it holds, within a bound.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long something may take that happens at once on an idle machine.
pub const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Waits on this thread until something is there.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
#[expect(clippy::disallowed_methods, reason = "tests wait in real time")]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(PAUSE);
    }
}

/// Waits on this thread until something holds.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// Waits, while other tasks run, until something holds.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_async(what, async || holds()).await;
}

/// As [`eventually`], where looking takes a while itself.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
#[expect(clippy::disallowed_methods, reason = "tests wait in real time")]
pub async fn eventually_async(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_what_was_found() {
        let mut looked = 0;
        let found = wait_for("three looks", || {
            looked += 1;
            (looked == 3).then_some("found")
        });
        assert_eq!(found, "found");
    }
}
