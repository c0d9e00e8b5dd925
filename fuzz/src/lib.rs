//! The fuzz targets as plain functions, so that libFuzzer and the smoke runner share them.
//!
//! A new target is a function in a module of its own, a line in [`TARGETS`], a one-line file
//! in `fuzz_targets/` with its `[[bin]]` in the manifest, and at least one seed in
//! `seeds/NAME/`.

#![forbid(unsafe_code)]

mod aim;
mod caching;
mod chunked;
mod codings;
mod configuration;
mod credentials;
mod forwarding;
mod heads;
mod lists;
mod login;
mod proxy_protocol;
mod socks;

/// Something that takes any bytes and must not panic, hang or eat the memory.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its file in `fuzz_targets/` and of its folder in `seeds/`.
    pub name: &'static str,
    /// Runs it once.
    pub run: fn(&[u8]),
}

/// All targets, by name.
pub const TARGETS: &[Target] = &[
    Target { name: "authority", run: aim::authority },
    Target { name: "basic", run: credentials::basic },
    Target { name: "cache_rules", run: caching::rules },
    Target { name: "chunked", run: chunked::decode },
    Target { name: "coding_fields", run: codings::fields },
    Target { name: "config", run: configuration::read },
    Target { name: "digest", run: credentials::digest },
    Target { name: "domain_list", run: lists::read },
    Target { name: "forwarding", run: forwarding::fields },
    Target { name: "htpasswd", run: credentials::htpasswd },
    Target { name: "login", run: login::read },
    Target { name: "proxy_protocol", run: proxy_protocol::header },
    Target { name: "request_head", run: heads::request },
    Target { name: "response_head", run: heads::response },
    Target { name: "socks", run: socks::read },
    Target { name: "socks_udp", run: socks::udp },
    Target { name: "target", run: aim::target },
    Target { name: "unpack", run: codings::unpack },
];

/// Runs the target of this name once.
///
/// # Panics
/// There is none, or the target found something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no fuzz target `{name}`")).run)(data);
}
