//! The audit: what happened, written so that nobody changes it quietly.
//!
//! In: events of all other steps, their texts masked. Out: the journal on local disk, its seals, readers, the verdict
//! of `verify`, and rows for the copy in ClickHouse. It knows no protocol's bytes, masks nothing, decides nothing, and never answers "written"
//! before the write.

pub(crate) mod hex;
pub mod time;
pub mod kept;
pub mod event;
pub mod guard;
pub mod journal;
pub mod verify;
pub mod clickhouse;
pub mod feed;

pub use event::Event;
pub use guard::SessionGuard;
pub use journal::{Durability, Journal, JournalError, Layout, Opening, Reader, Sealer, Seq};
pub use kept::{Kept, KeptInput};
pub use time::Timestamp;
