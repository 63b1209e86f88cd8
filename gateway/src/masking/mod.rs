//! Step 7: what is hidden, from whom, and what stands in its place.
//!
//! In: bytes that come from a server, or that are about to be kept; a plan that says which of them are labelled. Out:
//! the same bytes with masks. It knows no protocol: where a cell or a field begins is its caller's matter. Nothing
//! behind this step (client, journal, recording, log) may see what it hides, and what it cannot mask it refuses.

pub mod class;
pub mod detect;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod plan;
pub mod stream;
pub mod terminal;
pub mod masked;
pub mod file;
pub mod rules;

use std::sync::Arc;

use class::Classes;
use detect::Detectors;
use file::FieldLabel;

/// Everything that masks need to know: what a checked `masking.toml` gives, or the shipped defaults.
#[derive(Clone, Debug)]
pub struct Masking {
    /// The data classes.
    pub classes: Classes,
    /// What finds values wherever they stand.
    pub detectors: Arc<Detectors>,
    /// Labels on fields of objects.
    pub fields: Vec<Arc<FieldLabel>>,
    /// Whether NULL stays NULL in a masked column; otherwise it looks like any value.
    pub keep_null: bool,
}

impl Default for Masking {
    fn default() -> Self {
        let classes = Classes::default();
        let detectors = Arc::new(Detectors::shipped(&classes));
        Self { classes, detectors, fields: Vec::new(), keep_null: true }
    }
}
