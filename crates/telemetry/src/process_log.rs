//! The log of the process itself: what happens to it, not to single requests.
//!
//! It goes to the standard error, for a person to read. Whoever writes to it keeps secrets
//! out: types that hold one have a `Debug` that does not show it.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// The environment variable that overrules the level: `debug`, or `info,proxy=trace`.
pub const FILTER_VARIABLE: &str = "BIFRONS_LOG";

/// Why there is no log.
#[derive(Debug)]
pub enum ProcessLogError {
    /// [`FILTER_VARIABLE`] holds something that is no filter.
    Filter {
        /// What it holds.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody has set up a log already.
    AlreadySet,
}

impl std::fmt::Display for ProcessLogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Filter { value, reason } => {
                write!(f, "{FILTER_VARIABLE}={value:?} is not a log filter: {reason}")
            }
            Self::AlreadySet => f.write_str("the process's log is set up already"),
        }
    }
}

impl std::error::Error for ProcessLogError {}

/// Sets up the log for the whole process, at `level` unless [`FILTER_VARIABLE`] says
/// otherwise. In colour where the standard error is a terminal and `NO_COLOR` is not set.
///
/// # Errors
/// The variable cannot be read as a filter, or a log was set up before.
pub fn init_tracing(level: Level) -> Result<(), ProcessLogError> {
    let colour = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter(std::env::var_os(FILTER_VARIABLE), level)?)
        .with_writer(io::stderr)
        .with_ansi(colour)
        .finish()
        .try_init()
        .map_err(|_| ProcessLogError::AlreadySet)
}

fn filter(
    variable: Option<std::ffi::OsString>,
    level: Level,
) -> Result<EnvFilter, ProcessLogError> {
    let value = variable.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
    if value.trim().is_empty() {
        return Ok(EnvFilter::default().add_directive(level.into()));
    }
    EnvFilter::builder()
        .parse(&value)
        .map_err(|error| ProcessLogError::Filter { reason: error.to_string(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_overrules_the_level() {
        let of = |variable: Option<&str>| {
            filter(variable.map(Into::into), Level::INFO).unwrap().to_string()
        };
        assert_eq!(of(None), "info");
        assert_eq!(of(Some(" ")), "info");
        assert_eq!(of(Some("debug")), "debug");
        let both = of(Some("warn,proxy=trace"));
        assert!(both.contains("warn") && both.contains("proxy=trace"), "{both}");
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = filter(Some("proxy=loud".into()), Level::INFO).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("BIFRONS_LOG=\"proxy=loud\" is not a log filter: "), "{text}");
    }

    #[test]
    fn only_once() {
        init_tracing(Level::ERROR).unwrap();
        assert!(matches!(init_tracing(Level::ERROR), Err(ProcessLogError::AlreadySet)));
    }
}
