//! Step 5: who may do what.
//!
//! In: a [`Request`], made of a principal that identity has established and of questions that a protocol engine has built
//! with [`vocabulary`]. Out: a [`Decision`] with the policies that made it, and the only permits there are. Cedar lives
//! here and nowhere else. It must never know a protocol, do I/O beyond reading policy files, or allow what it could not
//! evaluate.

pub mod request;
pub mod principal;
pub mod vocabulary;
mod schema;
pub mod fault;
pub mod load;
mod check;
mod reads;
mod slice;
mod translate;
mod cache;
mod evaluate;
mod terms;
pub mod decision;
pub mod permit;
pub mod record;
pub mod recorded;
mod ask;
mod page;
pub mod table;
pub mod explain;
pub mod reach;

pub use decision::{Answer, ConnectDecision, Decision, Denial, Held, Hold, Mode, Verdict, Vote};
pub use evaluate::PolicySnapshot;
pub use explain::explain;
pub use fault::Fault;
pub use load::{KnownIds, Source, check};
pub use page::markdown;
pub use permit::{Change, CommitPermit, ConnectPermit, Epoch, RequestPermit, WouldBe};
pub use principal::{Principal, WorkloadFacts};
pub use reach::Whereabouts;
pub use recorded::{Again, Doubt, NotDecidable, Scene};
pub use request::{Moment, Question, Request, Session};
pub use table::run_tables;
pub use terms::{Hours, Terms};
