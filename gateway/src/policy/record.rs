//! A decision as the journal has it, whatever the protocol.
//!
//! In: a decision, and its input as it may be kept. Out: the part of an event that says who decided what, and why. It
//! keeps no word of a request beside what the input holds already.

use super::{Decision, PolicySnapshot, WouldBe};
use crate::audit::KeptInput;
use crate::audit::event::{Decision as Recorded, Verdict};

impl PolicySnapshot {
    /// A decision of these policies.
    #[must_use]
    pub fn recorded(&self, decision: &Decision, input: KeptInput) -> Recorded {
        let (verdict, policies, message) = match decision {
            Decision::Allow(permit) => match permit.would_be() {
                None => (Verdict::Allow, permit.policies(), None),
                Some(WouldBe::Denied(denial)) => {
                    (Verdict::WouldDeny, denial.policies().to_vec(), Some(denial.to_string()))
                }
                Some(WouldBe::Held(held)) => {
                    (Verdict::WouldHold, held.policies().to_vec(), Some(held.messages().join("; ")))
                }
            },
            Decision::Hold(hold) => {
                (Verdict::Hold, hold.held().policies().to_vec(), Some(hold.held().messages().join("; ")))
            }
            Decision::Deny(denial) => (Verdict::Deny, denial.policies().to_vec(), Some(denial.to_string())),
        };
        Recorded { verdict, policies, message, ..self.recorded_refusal(input) }
    }

    /// A refusal by none of them.
    #[must_use]
    pub fn recorded_refusal(&self, input: KeptInput) -> Recorded {
        Recorded {
            verdict: Verdict::Deny,
            policies: Vec::new(),
            policy_set: self.name(),
            epoch: self.epoch().counter(),
            message: None,
            ticket: None,
            grants: Vec::new(),
            input,
        }
    }
}
