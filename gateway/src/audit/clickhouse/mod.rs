//! The copy of the journal in ClickHouse.
//!
//! In: lines of the journal as they stand there, and a way to connect. Out: rows, at least once, and the schema that
//! takes them. It never changes or replaces a row, opens no connection by itself, and says "kept" only when the server
//! has said so.

mod fields;
mod block;
mod row;
mod checkpoint;
mod schema;
mod store;
mod copy;

pub use checkpoint::{Checkpoint, CheckpointError, Place};
pub use copy::{Answer, Copied, CopiedLines, QueryError};
pub use row::{Batch, Origin};
pub use schema::{MigrateError, Migrated, migrate};
pub use store::{Connect, Connecting, Login, Store, StoreError};
