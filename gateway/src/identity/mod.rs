//! Who speaks: from the cgroup that the kernel noted to a workload with a stable name.
//!
//! In: a connection's cgroup path and its attachment. Out: a `Workload`. Names come from levels of the path that root
//! made, first match from the top; the executable, the user and the process are attribution, since any process of a
//! cgroup can be another.

mod discovery;
mod path;
pub mod token;
mod workload;

pub use discovery::Discovery;
pub use path::container;
pub use token::{Keys, TokenError, Verified, verify};
pub use workload::Workload;
