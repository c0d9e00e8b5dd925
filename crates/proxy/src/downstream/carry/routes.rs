//! Where a tunnel goes, by the name that its client asks for.

use std::collections::HashMap;

use config::HostPattern;

/// The ways out of one tunnel listener. Each is an index into [`config::Config::upstreams`].
#[derive(Debug)]
pub struct Routes {
    /// By name; the number is the place in the file.
    exact: HashMap<Box<str>, Way>,
    /// By what stands behind the `*`, with its dot.
    wildcard: HashMap<Box<str>, Way>,
    /// `*`.
    any: Option<Way>,
    /// For whoever asks for no name, or for one that nobody has.
    default: Option<usize>,
}

/// Of several ways, the first in the file is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    place: usize,
    upstream: usize,
}

impl Routes {
    pub(crate) fn build(tunnel: &config::Tunnel) -> Self {
        let (mut exact, mut wildcard, mut any) = (HashMap::new(), HashMap::new(), None);
        for (place, route) in tunnel.names.iter().enumerate() {
            let way = Way { place, upstream: route.upstream };
            for host in &route.hosts {
                match host {
                    HostPattern::Exact(name) => {
                        exact.entry(name.as_str().into()).or_insert(way);
                    }
                    HostPattern::Wildcard(suffix) => {
                        wildcard.entry(suffix.as_str().into()).or_insert(way);
                    }
                    HostPattern::Any => {
                        any.get_or_insert(way);
                    }
                    // No client asks for an address (RFC 6066 §3).
                    HostPattern::Address(_) => {}
                }
            }
        }
        Self { exact, wildcard, any, default: tunnel.upstream }
    }

    /// Whether the client has to be listened to before it is known where to go.
    pub(crate) fn need_name(&self) -> bool {
        !self.exact.is_empty() || !self.wildcard.is_empty() || self.any.is_some()
    }

    /// The way of whoever speaks no TLS.
    pub(crate) fn default(&self) -> Option<usize> {
        self.default
    }

    /// The way of whoever speaks TLS and asks for this name (in lower case): the first in the
    /// file that fits, else the default.
    pub(crate) fn choose(&self, name: Option<&str>) -> Option<usize> {
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = name.into_iter().flat_map(|name| {
            // At least one label stands before the dot.
            let dots = name.match_indices('.').filter(|(at, _)| *at > 0);
            dots.filter_map(|(at, _)| self.wildcard.get(&name[at..]))
        });
        let first = exact.into_iter().chain(wildcard).chain(&self.any).min();
        first.map(|way| way.upstream).or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use config::TunnelRoute;

    use super::*;

    fn routes(names: &[&[HostPattern]], default: Option<usize>) -> Routes {
        let route = |(upstream, hosts): (usize, &&[HostPattern])| TunnelRoute {
            hosts: hosts.to_vec(),
            upstream,
        };
        let second = Duration::from_secs(1);
        Routes::build(&config::Tunnel {
            name: "t".to_owned(),
            listen: "127.0.0.1:1".parse().unwrap(),
            tls: None,
            names: names.iter().enumerate().map(route).collect(),
            upstream: default,
            clients: Vec::new(),
            proxy_protocol: Vec::new(),
            limits: config::Limits {
                head_bytes: 0,
                fields: 0,
                body: config::ByteLimit::Unlimited,
                min_rate: None,
                min_rate_grace: second,
                connections_per_client: None,
                requests_per_connection: 0,
                streams: 0,
            },
            timeouts: config::Timeouts {
                header: second,
                idle: second,
                tunnel_idle: second,
                connect: second,
                response: second,
            },
            span: (0, 0).into(),
        })
    }

    #[test]
    fn the_first_that_fits() {
        let exact = |name: &str| HostPattern::Exact(name.to_owned());
        let wildcard = |name: &str| HostPattern::Wildcard(name.to_owned());
        let some = routes(
            &[
                &[exact("a.example"), exact("b.example")],
                &[wildcard(".example")],
                &[exact("c.example"), wildcard(".sub.example")],
                &[wildcard(".other")],
            ],
            Some(9),
        );
        for (name, upstream) in [
            (Some("a.example"), 0),
            (Some("b.example."), 0),
            (Some("c.example"), 1),
            (Some("x.sub.example"), 1),
            (Some("example"), 9),
            (Some(".other"), 9),
            (Some("x.y.other"), 3),
            (Some("a.example.org"), 9),
            (None, 9),
        ] {
            assert_eq!(some.choose(name), Some(upstream), "{name:?}");
        }
        assert!(some.need_name());
        let any = routes(&[&[exact("a.example")], &[HostPattern::Any]], None);
        assert_eq!(any.choose(Some("a.example")), Some(0));
        assert_eq!(any.choose(Some("b.example")), Some(1));
        assert_eq!(any.choose(None), Some(1));
        assert_eq!(any.default(), None);
        let none = routes(&[&[exact("a.example")]], None);
        assert_eq!(none.choose(Some("b.example")), None);
        assert_eq!(none.choose(None), None);
        let only_default = routes(&[], Some(4));
        assert!(!only_default.need_name());
        assert_eq!(only_default.choose(None), Some(4));
    }
}
