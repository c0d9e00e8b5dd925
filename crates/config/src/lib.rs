//! Configuration: KDL text in, checked plain data out, or every error at once.
//!
//! [`parse`] reads the text ([KDL 2](https://kdl.dev)), holds every node against the table
//! [`DIRECTIVES`], and makes a [`Config`] in which no string is left to interpret. What needs
//! the machine (files that are there, names that resolve, addresses that can be bound) is not
//! checked here: values that can still be refused carry their [`Span`], and [`Errors::new`]
//! prints a later refusal in the same way.

#![forbid(unsafe_code)]

mod amount;
mod build;
mod cache;
mod calendar;
mod content;
pub mod diff;
mod dns;
mod error;
mod exits;
mod fault;
mod fields;
mod forward;
mod gate;
mod kind;
mod labels;
mod listeners;
pub mod model;
mod names;
mod parents;
mod paths;
mod places;
mod rates;
mod reference;
mod report;
mod route;
mod rules;
mod servers;
mod settings;
pub mod show;
mod site;
mod sources;
mod suggest;
mod syntax;
mod table;
mod targets;
mod tunnel;
mod typed;
mod upstream;
mod users;
mod walk;
mod words;

use std::path::Path;

pub use error::ConfigError;
pub use kind::Kind;
pub use model::*;
pub use parents::parent;
pub use reference::reference;
pub use report::Errors;
pub use servers::Traffic;
pub use syntax::quote;
pub use table::{Count, DIRECTIVES, Directive, Parameter, Place, Since};

/// Reads and checks a configuration.
///
/// `name` is what error messages call it, usually the path of the file. `base` is the folder
/// that relative paths of other files start from, usually the folder of the file; with an
/// empty path they stay relative to the process.
///
/// # Errors
/// Everything that is wrong. Only where the text is not KDL, what it says is not looked at.
pub fn parse(name: &str, text: &str, base: &Path) -> Result<Config, Errors> {
    check(text, base).map_err(|errors| Errors::new(name, text, errors))
}

fn check(text: &str, base: &Path) -> Result<Config, Vec<ConfigError>> {
    let (nodes, mut errors) = syntax::read(text);
    if !errors.is_empty() {
        return Err(errors);
    }
    let items = walk::walk(&nodes, Place::Top, base, &mut errors);
    let config = build::config(&items, &mut errors);
    if errors.is_empty() { Ok(config) } else { Err(errors) }
}

#[cfg(test)]
mod properties;
