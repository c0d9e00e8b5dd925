//! Families of the forward face as a gateway: users, exits, sessions, those who guess.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Kind};

/// What others count, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gateway {
    /// What each user has used through each exit. As many rows as whoever counts tells apart.
    pub usage: Vec<Usage>,
    /// How many exits of a pool are in a state: pool, state, number.
    pub exits: Vec<(String, &'static str, u64)>,
    /// Sessions that there are.
    pub sessions: u64,
    /// Bans that there are.
    pub bans: u64,
    /// Credentials that were wrong.
    pub auth_failures: u64,
    /// Those of them of which the answer was held back.
    pub auth_delayed: u64,
    /// Requests of clients that were not listened to.
    pub auth_refused: u64,
}

/// What one user has used through one exit since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// The set of the user.
    pub set: String,
    /// The user; empty: nobody in particular.
    pub user: String,
    /// The exit.
    pub exit: String,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// Requests and tunnels.
    pub requests: u64,
    /// What it cost, in millionths.
    pub cost: u64,
}

/// Received, sent, requests, cost.
type Sums = [u64; 4];

/// The four families for each kind of name: what they end in and what they say.
const SUMS: [(&str, &str); 4] = [
    ("received_bytes_total", "Bytes from clients, tunnels included"),
    ("sent_bytes_total", "Bytes to clients, tunnels included"),
    ("requests_total", "Requests and tunnels"),
    ("cost_total", "Cost by the prices of exits"),
];

pub(super) fn render(out: &mut Exposition, gateway: &Gateway) {
    let (mut users, mut exits) = (BTreeMap::new(), BTreeMap::new());
    for usage in &gateway.usage {
        add(users.entry((&*usage.set, &*usage.user)).or_default(), usage);
        add(exits.entry(&*usage.exit).or_default(), usage);
    }
    let users: Vec<_> = users
        .iter()
        .map(|((set, user), sums)| (vec![("set", *set), ("user", *user)], *sums))
        .collect();
    let exits: Vec<_> = exits.iter().map(|(exit, sums)| (vec![("exit", *exit)], *sums)).collect();
    sums(
        out,
        [
            "bifrons_user_received_bytes_total",
            "bifrons_user_sent_bytes_total",
            "bifrons_user_requests_total",
            "bifrons_user_cost_total",
        ],
        "of a user",
        &users,
    );
    sums(
        out,
        [
            "bifrons_exit_received_bytes_total",
            "bifrons_exit_sent_bytes_total",
            "bifrons_exit_requests_total",
            "bifrons_exit_cost_total",
        ],
        "through an exit",
        &exits,
    );
    out.family("bifrons_exits", Kind::Gauge, "Exits of a pool by state.");
    for (pool, state, number) in &gateway.exits {
        out.sample(&[("pool", pool), ("state", state)], *number);
    }
    out.family("bifrons_sessions", Kind::Gauge, "Sessions that clients have asked for.")
        .sample(&[], gateway.sessions);
    out.family("bifrons_bans", Kind::Gauge, "Bans of exits.").sample(&[], gateway.bans);
    for (name, help, value) in [
        ("bifrons_auth_failures_total", "Credentials that were wrong.", gateway.auth_failures),
        (
            "bifrons_auth_delayed_total",
            "Wrong credentials of which the answer was held back.",
            gateway.auth_delayed,
        ),
        (
            "bifrons_auth_refused_total",
            "Requests of clients not listened to after too many wrong credentials.",
            gateway.auth_refused,
        ),
    ] {
        out.family(name, Kind::Counter, help).sample(&[], value);
    }
}

fn add(sums: &mut Sums, usage: &Usage) {
    let numbers = [usage.received, usage.sent, usage.requests, usage.cost];
    sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum = sum.saturating_add(number));
}

fn sums(
    out: &mut Exposition,
    families: [&'static str; 4],
    of_whom: &str,
    all: &[(Vec<(&'static str, &str)>, Sums)],
) {
    for (at, (family, (ending, help))) in families.into_iter().zip(SUMS).enumerate() {
        debug_assert!(family.ends_with(ending));
        out.family(family, Kind::Counter, &format!("{help}, {of_whom}."));
        for (labels, sums) in all {
            match ending {
                // Both have six places behind the point.
                "cost_total" => out.seconds(labels, sums[at]),
                _ => out.sample(labels, sums[at]),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_exits_are_summed_up_apart() {
        let usage = |user: &str, exit: &str, received, cost| Usage {
            set: "staff".into(),
            user: user.into(),
            exit: exit.into(),
            received,
            sent: 2 * received,
            requests: 1,
            cost,
        };
        let gateway = Gateway {
            usage: vec![
                usage("al\"ice", "ca-1", 10, 2_500_000),
                usage("al\"ice", "us-1", 5, 0),
                usage("bob", "ca-1", 1, 1),
            ],
            exits: vec![("world".into(), "up", 2), ("world".into(), "banned", 1)],
            sessions: 3,
            bans: 4,
            auth_failures: 5,
            auth_delayed: 6,
            auth_refused: 7,
        };
        let mut out = Exposition::new();
        render(&mut out, &gateway);
        let text = out.finish();
        for line in [
            r#"bifrons_user_received_bytes_total{set="staff",user="al\"ice"} 15"#,
            r#"bifrons_user_sent_bytes_total{set="staff",user="bob"} 2"#,
            r#"bifrons_user_requests_total{set="staff",user="al\"ice"} 2"#,
            r#"bifrons_user_cost_total{set="staff",user="al\"ice"} 2.500000"#,
            r#"bifrons_exit_received_bytes_total{exit="ca-1"} 11"#,
            r#"bifrons_exit_cost_total{exit="ca-1"} 2.500001"#,
            r#"bifrons_exits{pool="world",state="banned"} 1"#,
            "bifrons_sessions 3",
            "bifrons_bans 4",
            "bifrons_auth_failures_total 5",
            "bifrons_auth_delayed_total 6",
            "bifrons_auth_refused_total 7",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
