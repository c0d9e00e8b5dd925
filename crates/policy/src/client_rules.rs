//! Rules about the addresses of clients.

use std::collections::BTreeSet;
use std::net::IpAddr;

use config::{ClientRule, Verdict};
use ipnet::IpNet;

use crate::nets::canonical_net;

/// Rules of which the first that matches decides, compiled: addresses from one start to the
/// next are all judged alike, so a look-up is a binary search however many rules there are.
///
/// Addresses and networks are compared in canonical form: `::ffff:192.0.2.1` is `192.0.2.1`.
#[derive(Debug, Clone)]
pub struct ClientRules {
    v4: Box<[(u32, bool)]>,
    v6: Box<[(u128, bool)]>,
    /// What becomes of whom no rule matches.
    others: bool,
}

impl ClientRules {
    /// From [`config::Gate::clients`]. Whom none matches is refused if any of them is an
    /// `allow`, else let in.
    #[must_use]
    pub fn build(rules: &[ClientRule]) -> Self {
        let others = rules.iter().all(|rule| rule.verdict == Verdict::Deny);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for rule in rules {
            let allowed = rule.verdict == Verdict::Allow;
            match canonical_net(rule.net) {
                IpNet::V4(net) => {
                    let ends = (u32::from(net.network()), u32::from(net.broadcast()));
                    v4.push(Span { low: ends.0.into(), high: ends.1.into(), allowed });
                }
                IpNet::V6(net) => {
                    let ends = (u128::from(net.network()), u128::from(net.broadcast()));
                    v6.push(Span { low: ends.0, high: ends.1, allowed });
                }
            }
        }
        let narrow = |(start, allowed)| u32::try_from(start).ok().map(|start| (start, allowed));
        Self {
            v4: flatten(&v4, others).into_iter().filter_map(narrow).collect(),
            v6: flatten(&v6, others).into_boxed_slice(),
            others,
        }
    }

    /// Whether this client is let in.
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        match client.to_canonical() {
            IpAddr::V4(address) => find(&self.v4, u32::from(address)),
            IpAddr::V6(address) => find(&self.v6, u128::from(address)),
        }
        .unwrap_or(self.others)
    }
}

/// One rule as addresses from `low` to `high`.
struct Span {
    low: u128,
    high: u128,
    allowed: bool,
}

/// Where the verdict changes, and to what.
fn flatten(spans: &[Span], others: bool) -> Vec<(u128, bool)> {
    // Beginnings and ends of rules in the order of addresses.
    let mut edges: Vec<(u128, bool, usize)> = Vec::with_capacity(2 * spans.len());
    for (index, span) in spans.iter().enumerate() {
        edges.push((span.low, true, index));
        edges.extend(span.high.checked_add(1).map(|end| (end, false, index)));
    }
    edges.sort_unstable();
    let mut active = BTreeSet::new();
    let mut starts: Vec<(u128, bool)> = Vec::new();
    for group in edges.chunk_by(|a, b| a.0 == b.0) {
        for &(_, begins, index) in group {
            if begins {
                active.insert(index);
            } else {
                active.remove(&index);
            }
        }
        // The first rule that matches is the one with the lowest index.
        let verdict = active.first().map_or(others, |&index| spans[index].allowed);
        if starts.last().map_or(others, |last| last.1) != verdict {
            starts.push((group[0].0, verdict));
        }
    }
    starts
}

fn find<T: Ord + Copy>(starts: &[(T, bool)], address: T) -> Option<bool> {
    let after = starts.partition_point(|(start, _)| *start <= address);
    after.checked_sub(1).map(|index| starts[index].1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(text: &[&str]) -> Vec<ClientRule> {
        let rule = |text: &&str| {
            let (verdict, net) = text.split_once(' ').unwrap();
            let verdict = if verdict == "allow" { Verdict::Allow } else { Verdict::Deny };
            ClientRule { verdict, net: net.parse().unwrap() }
        };
        text.iter().map(rule).collect()
    }

    fn admits(text: &[&str], client: &str) -> bool {
        ClientRules::build(&rules(text)).admits(client.parse().unwrap())
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let nested = ["deny 10.1.0.0/16", "allow 10.0.0.0/8"];
        assert!(admits(&nested, "10.0.255.255") && admits(&nested, "10.2.0.0"));
        assert!(!admits(&nested, "10.1.0.0") && !admits(&nested, "10.1.255.255"));
        assert!(!admits(&nested, "11.0.0.0") && !admits(&nested, "2001:db8::1"));
        let hidden = ["allow 10.0.0.0/8", "deny 10.1.0.0/16"];
        assert!(admits(&hidden, "10.1.2.3"));
        let everybody = ["deny 0.0.0.0/0", "allow ::/0"];
        assert!(!admits(&everybody, "255.255.255.255") && admits(&everybody, "ffff::1"));
    }

    #[test]
    fn whom_no_rule_matches_is_refused_where_somebody_is_allowed() {
        assert!(admits(&[], "192.0.2.1"));
        assert!(admits(&["deny 10.0.0.0/8"], "192.0.2.1"));
        assert!(!admits(&["deny 10.0.0.0/8"], "10.0.0.1"));
        // Also where the allowed ones are of the other family.
        assert!(!admits(&["allow 2001:db8::/32"], "192.0.2.1"));
        assert!(admits(&["allow 2001:db8::/32"], "2001:db8::9"));
    }

    #[test]
    fn mapped_forms_are_the_same_address() {
        assert!(!admits(&["deny 127.0.0.0/8"], "::ffff:127.0.0.1"));
        assert!(!admits(&["deny ::ffff:127.0.0.0/104"], "127.0.0.1"));
    }

    proptest! {
        #[test]
        fn equals_asking_each_rule_in_turn(
            text in prop::collection::vec((any::<bool>(), 0u32..64, 24u8..=32, any::<bool>()), 0..12),
            probes in prop::collection::vec((0u32..20_000, any::<bool>()), 1..20),
        ) {
            let address = |number: u32, v6: bool| -> IpAddr {
                match v6 {
                    true => IpAddr::V6((u128::from(u32::MAX - number)).into()),
                    false => IpAddr::V4(number.into()),
                }
            };
            let rules: Vec<_> = text.iter().map(|&(allow, number, length, v6)| ClientRule {
                verdict: if allow { Verdict::Allow } else { Verdict::Deny },
                net: IpNet::new(
                    address(number * 37, v6),
                    if v6 { length + 96 } else { length },
                ).unwrap(),
            }).collect();
            let compiled = ClientRules::build(&rules);
            let edges = rules.iter().flat_map(|rule| [rule.net.network(), rule.net.broadcast()]);
            for probe in probes.iter().map(|&(number, v6)| address(number, v6)).chain(edges) {
                let first = rules.iter().find(|rule| rule.net.contains(&probe));
                let expected = first.map_or(
                    rules.iter().all(|rule| rule.verdict == Verdict::Deny),
                    |rule| rule.verdict == Verdict::Allow,
                );
                prop_assert_eq!(compiled.admits(probe), expected, "{} {:?}", probe, rules);
            }
        }
    }
}
