//! Configuration: KDL text in, checked plain data out, or every error at once.

pub mod model;
pub use model::*;
