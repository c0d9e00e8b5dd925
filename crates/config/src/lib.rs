//! Configuration: KDL text in, checked plain data out, or every error at once.

mod error;
pub mod model;

pub use error::ConfigError;
pub use model::*;
