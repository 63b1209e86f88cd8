//! Waiting for facts. In: a look at something. Out: what the look found, or a panic that says what never came. The one
//! file of the tests that sleeps, and only between two looks.

use std::time::{Duration, Instant};

/// How long most facts may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks until there is something.
pub fn for_some<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    for_some_within(PATIENCE, what, look)
}

/// Looks until it is so.
pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    for_some(what, || look().then_some(()));
}

/// The same with another deadline, for what the product does at intervals.
pub fn for_some_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came within {patience:?}: {what}");
        std::thread::sleep(BETWEEN_LOOKS);
    }
}
