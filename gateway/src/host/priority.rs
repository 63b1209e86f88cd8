//! How much of the processors is ours where there is too little for all.
//!
//! In: nothing. Out: a priority above that of runtimes, so that one that connects without a pause does not keep the engine
//! from answering the others, nor an operator from closing a gate. Call it while there is one thread: on Linux priorities
//! belong to threads, and new ones inherit them (setpriority(2)).

/// As auditd(8) has it, whose configuration calls it `priority_boost = 4`.
const NICE: i32 = -4;

/// Takes it; without CAP_SYS_NICE it stays what it was, which costs time and no guarantee.
pub fn raise() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "no higher priority");
    }
}
