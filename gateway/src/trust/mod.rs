//! What clients must trust of us.
//!
//! In: the state directory. Out: the certificate authority of this host, made at first start and readable by root
//! alone. It signs for declared names only, and no client input decides one.

pub mod ca;
pub mod leaf;
