//! Which site answers to a server name.

use std::collections::HashMap;

use config::HostPattern;

/// The names of all sites of one listener.
#[derive(Debug, Default)]
pub(crate) struct SiteNames {
    exact: HashMap<String, usize>,
    /// Suffixes with their leading dot.
    wildcard: HashMap<String, usize>,
    fallback: usize,
}

impl SiteNames {
    /// Of two sites with the same name the first has it.
    pub(crate) fn new<'a>(sites: impl Iterator<Item = &'a [HostPattern]>) -> Self {
        let mut names = Self::default();
        let mut fallback = None;
        for (site, hosts) in sites.enumerate() {
            for host in hosts {
                match host {
                    HostPattern::Exact(name) => {
                        names.exact.entry(name.clone()).or_insert(site);
                    }
                    HostPattern::Wildcard(suffix) => {
                        names.wildcard.entry(suffix.clone()).or_insert(site);
                    }
                    HostPattern::Any | HostPattern::Address(_) => {
                        fallback.get_or_insert(site);
                    }
                }
            }
        }
        names.fallback = fallback.unwrap_or(0);
        names
    }

    /// Exact, else the wildcard with the longest suffix, else the site for any host, else the
    /// first. `name` is in lower case.
    pub(crate) fn choose(&self, name: Option<&str>) -> usize {
        let Some(name) = name else { return self.fallback };
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Some(&site) = self.exact.get(name) {
            return site;
        }
        // From the left the suffixes get shorter; at least one label stands before the dot.
        name.match_indices('.')
            .filter(|&(dot, _)| dot > 0)
            .find_map(|(dot, _)| self.wildcard.get(&name[dot..]).copied())
            .unwrap_or(self.fallback)
    }
}

/// Whether a name in a certificate covers `name`: equal, or a `*` for its first label
/// (RFC 9525 §6.3).
pub(crate) fn covers(presented: &str, name: &str) -> bool {
    match presented.strip_prefix("*.") {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => presented.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(name: &str) -> HostPattern {
        HostPattern::Exact(name.into())
    }

    fn wildcard(suffix: &str) -> HostPattern {
        HostPattern::Wildcard(suffix.into())
    }

    #[test]
    fn exact_then_longest_wildcard_then_any() {
        let sites = [
            vec![exact("a.example")],
            vec![wildcard(".example")],
            vec![wildcard(".sub.example"), exact("b.example")],
            vec![HostPattern::Any],
        ];
        let names = SiteNames::new(sites.iter().map(Vec::as_slice));
        for (name, site) in [
            (Some("a.example"), 0),
            (Some("a.example."), 0),
            (Some("c.example"), 1),
            (Some("x.a.example"), 1),
            (Some("b.example"), 2),
            (Some("x.sub.example"), 2),
            (Some("y.x.sub.example"), 2),
            (Some("sub.example"), 1),
            (Some("example"), 3),
            (Some("other"), 3),
            (None, 3),
        ] {
            assert_eq!(names.choose(name), site, "{name:?}");
        }
    }

    #[test]
    fn without_a_site_for_any_the_first_answers() {
        let sites = [vec![exact("a.example")], vec![exact("b.example")]];
        let names = SiteNames::new(sites.iter().map(Vec::as_slice));
        assert_eq!(names.choose(Some("c.example")), 0);
        assert_eq!(names.choose(None), 0);
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(covers("*.example.org", "a.Example.org"));
        assert!(!covers("*.example.org", "b.a.example.org"));
        assert!(!covers("*.example.org", "example.org"));
        assert!(covers("Example.org", "example.org"));
    }
}
