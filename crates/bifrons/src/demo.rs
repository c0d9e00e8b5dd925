//! A tour with real requests.

use std::process::ExitCode;

use crate::args::Demo;

pub(crate) fn run(_options: &Demo) -> Result<ExitCode, miette::Report> {
    Ok(ExitCode::FAILURE)
}
