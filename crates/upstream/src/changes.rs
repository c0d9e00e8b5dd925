//! What an operator has changed of a group while it runs.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use config::{Server, ServerHost};

use crate::member::{authority, server_text};

/// A change of one server of a group. It holds until it is undone, until the process ends, or
/// until the group goes from the configuration; a reload that keeps the group keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It gets no new clients; those with its sticky cookie stay, and what runs is finished.
    Drain,
    /// It gets them again.
    Undrain,
    /// Its share is another one; 0: as [`Change::Drain`], in balance only.
    Weight(u32),
    /// One more server.
    Add {
        /// Its URL.
        url: String,
    },
    /// It is none of the group any more.
    Remove,
    /// It is as the configuration says; one that was added is gone.
    Reset,
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeError {
    /// No group has this name.
    NoUpstream,
    /// The group has no such server.
    NoServer,
    /// The URL is no server that a group could have; why.
    BadUrl(String),
    /// The group has it already.
    Exists,
    /// More than this cannot be remembered.
    TooMany,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUpstream => f.write_str("there is no upstream of this name"),
            Self::NoServer => f.write_str("the upstream has no such server"),
            Self::BadUrl(why) => write!(f, "not a server: {why}"),
            Self::Exists => f.write_str("the upstream has this server already"),
            Self::TooMany => f.write_str("too many changes of this upstream"),
        }
    }
}

impl std::error::Error for ChangeError {}

/// Changes of one group that are remembered.
const MAX_CHANGES: usize = 1000;

/// All changes of one group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    servers: Vec<(String, Altered)>,
    added: Vec<Server>,
}

/// How a server differs from the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Altered {
    pub(crate) draining: bool,
    pub(crate) weight: Option<u32>,
    pub(crate) removed: bool,
}

impl Changes {
    /// Servers that the configuration does not have.
    pub(crate) fn added(&self) -> impl Iterator<Item = &Server> {
        self.added.iter()
    }

    /// What holds for an address of a server: what was said of the server, and of the address.
    pub(crate) fn of(&self, text: &str, server: &Server, address: SocketAddr) -> Altered {
        let concerns = |name: &str| names(name, text, server) || name == address.to_string();
        let said = self.servers.iter().filter(|(name, _)| concerns(name));
        said.fold(Altered::default(), |all, (_, one)| Altered {
            draining: all.draining || one.draining,
            weight: one.weight.or(all.weight),
            removed: all.removed || one.removed,
        })
    }

    /// Makes a change. `known` tells whether the group has a server that is called so.
    pub(crate) fn make(
        &mut self,
        name: &str,
        change: Change,
        known: impl Fn(&str) -> bool,
    ) -> Result<(), ChangeError> {
        if let Change::Add { url } = change {
            let server = server_of(&url)?;
            let text = server_text(&server);
            // One that was removed comes back.
            let removed = self
                .servers
                .iter_mut()
                .find(|(name, said)| said.removed && names(name, &text, &server));
            if let Some((_, said)) = removed {
                said.removed = false;
                return Ok(());
            }
            if known(&text) {
                return Err(ChangeError::Exists);
            }
            self.room()?;
            self.added.push(server);
            return Ok(());
        }
        if !known(name) && !self.servers.iter().any(|(said, _)| said == name) {
            return Err(ChangeError::NoServer);
        }
        let is_added = |server: &Server| names(name, &server_text(server), server);
        if matches!(change, Change::Remove | Change::Reset) && self.added.iter().any(is_added) {
            self.added.retain(|server| !is_added(server));
            self.servers.retain(|(said, _)| said != name);
            return Ok(());
        }
        let at = match self.servers.iter().position(|(said, _)| said == name) {
            Some(at) => at,
            // There is nothing to undo.
            None if matches!(change, Change::Undrain | Change::Reset) => return Ok(()),
            None => {
                self.room()?;
                self.servers.push((name.to_owned(), Altered::default()));
                self.servers.len() - 1
            }
        };
        let altered = &mut self.servers[at].1;
        match change {
            Change::Drain => altered.draining = true,
            Change::Undrain => altered.draining = false,
            Change::Weight(weight) => altered.weight = Some(weight.min(1000)),
            Change::Remove => altered.removed = true,
            Change::Reset => *altered = Altered::default(),
            Change::Add { .. } => {}
        }
        self.servers.retain(|(_, altered)| *altered != Altered::default());
        Ok(())
    }

    /// Whether one more can be remembered.
    fn room(&self) -> Result<(), ChangeError> {
        let full = self.servers.len() + self.added.len() >= MAX_CHANGES;
        if full { Err(ChangeError::TooMany) } else { Ok(()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.added.is_empty()
    }
}

/// Whether an operator means this server: by its URL, or by its host and port.
pub(crate) fn names(name: &str, text: &str, server: &Server) -> bool {
    let port = match &server.host {
        ServerHost::Address(ip) => SocketAddr::new(*ip, server.port).to_string(),
        ServerHost::Name(host) => format!("{host}:{}", server.port),
        ServerHost::Srv(host) => host.clone(),
    };
    name.trim_end_matches('/') == text || name == authority(server) || name == port
}

/// A server by its URL, as the configuration would read it.
fn server_of(url: &str) -> Result<Server, ChangeError> {
    let text = format!(
        "upstream \"added\" {{ server {} }}\n\
         site \"http://127.0.0.1:0\" {{ to upstream=\"added\" }}",
        config::quote(url)
    );
    let bad = |why: String| ChangeError::BadUrl(why);
    let config =
        config::parse("url", &text, Path::new("")).map_err(|errors| bad(errors.to_string()))?;
    let server =
        config.upstreams.into_iter().next().and_then(|group| group.servers.into_iter().next());
    server.ok_or_else(|| bad("no server".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_and_undone() {
        let mut changes = Changes::default();
        let server = server_of("http://app.example:8080").unwrap();
        let text = server_text(&server);
        let address = "192.0.2.1:8080".parse().unwrap();
        let known =
            |name: &str| names(name, &server_text(&server), &server) || name == "192.0.2.1:8080";
        assert_eq!(changes.make("other", Change::Drain, known), Err(ChangeError::NoServer));
        for (name, change, expected) in [
            ("http://app.example:8080/", Change::Drain, (true, None, false)),
            ("app.example:8080", Change::Weight(5), (true, Some(5), false)),
            ("http://app.example:8080/", Change::Undrain, (false, Some(5), false)),
            ("app.example:8080", Change::Reset, (false, None, false)),
            ("192.0.2.1:8080", Change::Remove, (false, None, true)),
        ] {
            changes.make(name, change, known).unwrap();
            let is = changes.of(&text, &server, address);
            assert_eq!((is.draining, is.weight, is.removed), expected, "{name}");
        }
        let other = changes.of(&text, &server, "192.0.2.2:8080".parse().unwrap());
        assert!(!other.removed, "only the address that was named");
        changes.make("192.0.2.1:8080", Change::Reset, known).unwrap();
        assert!(changes.is_empty());
    }

    #[test]
    fn servers_are_added_once_and_taken_away() {
        let mut changes = Changes::default();
        let add = |url: &str| Change::Add { url: url.to_owned() };
        changes.make("", add("http://192.0.2.9:80"), |_| false).unwrap();
        assert_eq!(changes.added().count(), 1);
        assert_eq!(changes.make("", add("http://192.0.2.9"), |_| true), Err(ChangeError::Exists));
        assert!(matches!(changes.make("", add("ftp://x"), |_| false), Err(ChangeError::BadUrl(_))));
        assert!(matches!(
            changes.make("", add("http://x\" }; evil"), |_| false),
            Err(ChangeError::BadUrl(_))
        ));
        changes.make("192.0.2.9:80", Change::Drain, |_| true).unwrap();
        changes.make("192.0.2.9:80", Change::Remove, |_| true).unwrap();
        assert!(changes.is_empty());
    }

    #[test]
    fn what_is_full_can_be_undone() {
        let mut changes = Changes::default();
        for number in 0..MAX_CHANGES {
            changes.make(&number.to_string(), Change::Drain, |_| true).unwrap();
        }
        let more = changes.make("more", Change::Drain, |_| true);
        assert_eq!(more, Err(ChangeError::TooMany));
        let url = "http://192.0.2.9".to_owned();
        assert_eq!(changes.make("", Change::Add { url }, |_| false), more);
        changes.make("7", Change::Weight(3), |_| true).unwrap();
        changes.make("more", Change::Undrain, |_| true).unwrap();
        changes.make("8", Change::Undrain, |_| true).unwrap();
        changes.make("more", Change::Drain, |_| true).unwrap();
    }

    #[test]
    fn a_removed_server_can_be_added_again() {
        let mut changes = Changes::default();
        changes.make("http://192.0.2.9", Change::Remove, |_| true).unwrap();
        let url = "http://192.0.2.9".to_owned();
        changes.make("", Change::Add { url }, |_| true).unwrap();
        assert_eq!(changes.added().count(), 0);
        let server = server_of("http://192.0.2.9").unwrap();
        let is = changes.of("http://192.0.2.9", &server, "192.0.2.9:80".parse().unwrap());
        assert!(!is.removed);
    }
}
