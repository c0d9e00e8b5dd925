//! What a listener opens, and with what.

use std::net::IpAddr;
use std::path::Path;

use config::{CertificateFiles, ConfigError, Intercept, Spanned};
use message::Host;
use policy::{Patterns, RuleSources};
use tls::{Authority, ClientTls, Roots};

use super::Inside;
use crate::forward::host_ref;

/// Protocols that are spoken to servers.
const TOWARD: &[&[u8]] = &[b"http/1.1"];
/// Protocols that are spoken to clients, in our order of preference.
const INSIDE: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What a listener opens, and with what.
#[derive(Debug)]
pub(crate) struct Interception {
    pub(super) authority: Authority,
    pub(super) toward: ClientTls,
    /// `None`: all.
    hosts: Option<Patterns>,
    except: Patterns,
}

impl Interception {
    /// Reads the authority and all that is named. `state` is the state folder.
    ///
    /// # Errors
    /// All that is missing or wrong.
    pub(crate) fn build(
        config: &Intercept,
        http2: bool,
        state: Option<&Path>,
        sources: &mut RuleSources,
    ) -> Result<Self, Vec<ConfigError>> {
        let inside = if http2 { INSIDE } else { &INSIDE[1..] };
        let authority = authority_files(config, state)
            .map_err(|error| vec![error])
            .and_then(|files| Authority::load(&files, inside, config.certificates as usize));
        let toward = Roots::system()
            .and(&config.trust)
            .and_then(|roots| ClientTls::verifying(&roots, TOWARD).map_err(|error| vec![error]));
        let hosts = match config.hosts.is_empty() {
            true => Ok(None),
            false => Patterns::build(&config.hosts, config.span, sources).map(Some),
        };
        let except = Patterns::build(&config.except, config.span, sources);
        match (authority, toward, hosts, except) {
            (Ok(authority), Ok(toward), Ok(hosts), Ok(except)) => {
                Ok(Self { authority, toward, hosts, except })
            }
            (authority, toward, hosts, except) => {
                let errors = [authority.err(), toward.err(), hosts.err(), except.err()];
                Err(errors.into_iter().flatten().flatten().collect())
            }
        }
    }

    /// Whether TLS to this target may be opened, as far as can be said before it is there.
    pub(super) fn may_cover(&self, host: &Host<'_>) -> bool {
        match host {
            Host::Name(_) => self.takes(host, None),
            // Perhaps the client asks for a name.
            Host::Address(address) => !self.except.match_target(host_ref(host), Some(*address)),
        }
    }

    /// Whether TLS is opened. `server` is what was connected to for it.
    pub(super) fn covers(&self, inside: &Inside, server: Option<IpAddr>) -> bool {
        let address = inside.address.or(server);
        self.takes(&inside.host, address) && self.authority.may_sign(&inside.certified())
    }

    fn takes(&self, host: &Host<'_>, address: Option<IpAddr>) -> bool {
        let host = host_ref(host);
        let wanted = self.hosts.as_ref().is_none_or(|hosts| match address {
            Some(_) => hosts.match_target(host, address),
            // Nobody knows yet where a name leads.
            None => hosts.may_match(host),
        });
        wanted && !self.except.match_target(host, address)
    }
}

/// The files of the authority: those that are named, or those of the state folder.
///
/// # Errors
/// There is neither.
pub(crate) fn authority_files(
    config: &Intercept,
    state: Option<&Path>,
) -> Result<CertificateFiles, ConfigError> {
    if let Some(files) = &config.authority {
        return Ok(files.clone());
    }
    let state = state.ok_or_else(|| {
        ConfigError::at(config.span, "there is no authority to sign with", "needs one")
            .help("name one with `ca`, or a `state` folder for `bifrons ca init` to put one into")
    })?;
    let at = |name| Spanned { value: state.join(name), span: config.span };
    Ok(CertificateFiles {
        cert: at(tls::authority::CERTIFICATE_FILE),
        key: at(tls::authority::KEY_FILE),
    })
}
