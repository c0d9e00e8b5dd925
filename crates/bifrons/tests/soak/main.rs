//! The gateway under churn: tunnels, SOCKS and plain requests of users with quotas and sessions,
//! through parents that die and come back. In the end the process holds what it held before.
//!
//! It takes [`SHORT`]; `BIFRONS_SOAK_SECONDS` (or `cargo xtask soak`) makes it longer.

mod churn;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use churn::{Tally, Tunnel};
use support::{Held, Running, http, write};
use world::World;

/// Time of the churn.
const SHORT: Duration = Duration::from_secs(10);
/// What is done once before the memory is measured: the first of everything needs some.
const WARM_UP: Duration = Duration::from_secs(3);
/// Resident memory may grow by this, KiB: a leak of a hundred bytes for each request of an hour is
/// more, and how pages lie in a heap is not the same twice.
const GROWTH: u64 = 4 << 10;
/// Pipes that each of the two cores keeps, and the two ends of each.
const PIPES_KEPT: usize = 2 * 2 * 32;
/// What the runtimes of two cores hold open.
const LATE_SOCKETS: usize = 2;
const LATE_FILES: usize = 6;
/// Longer than anything here takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that a user may have at a time: more than those that its clients have just closed.
const CONNECTIONS: usize = 32;
/// Connections that may leave by the exit `home` at a time.
const HOME: usize = 2 * CONNECTIONS;

#[test]
fn after_the_churn_all_is_as_before() {
    let length = std::env::var("BIFRONS_SOAK_SECONDS").ok();
    let length = length.map_or(SHORT, |text| Duration::from_secs(text.parse().expect("seconds")));
    let mut world = World::start();
    let file = write("soak.kdl", &configuration(&world));
    let (mut server, address) = Running::server(&["run", file.path(), "--threads", "2"]);
    let admin = server.wait_for(|line| line.rsplit_once("admin on ")?.1.parse().ok());
    let gateway = Gateway { server, address, admin };
    let fresh = gateway.server.held();

    world.churn(address, WARM_UP);
    // Its cores may not all have been there yet when it said that it serves.
    let (sockets, files) = (fresh.sockets + LATE_SOCKETS, fresh.files + LATE_FILES);
    gateway.rest(&mut world, &Held { sockets, files, ..fresh });
    let warm = gateway.server.held();
    let tally = world.churn(address, length);
    println!("{tally:?}");
    tally.assert_worth_it(length);
    gateway.rest(&mut world, &warm);
    eventually("the memory to be given back", || {
        let now = gateway.server.held().resident_kib;
        if now <= warm.resident_kib + GROWTH {
            Ok(())
        } else {
            Err(format!("{now} KiB, {} KiB after the warm-up", warm.resident_kib))
        }
    });
    println!("fresh {fresh:?}\nwarm  {warm:?}\nend   {:?}", gateway.server.held());
    gateway.assert_permits_are_back(&world);
    gateway.rest(&mut world, &warm);
    // Nothing is under way that it would wait for.
    let asked = Instant::now();
    assert_eq!(gateway.server.terminate(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(20), "something was still under way");
}

/// Two parents of their own, a chain through two more, and this machine.
fn configuration(world: &World) -> String {
    let users: String = (0..churn::USERS)
        .map(|number| {
            // Half of them are paced: their bytes go another way.
            let pace = if number % 2 == 0 { "bandwidth=\"1GiB/s\"" } else { "" };
            format!(
                "    user \"u{number}\" password=\"p\" connections={CONNECTIONS} \
                 quota=\"1TiB/day\" requests=\"100000/s\" {pace}\n"
            )
        })
        .collect();
    let [one, two, near, far] = world.parents();
    format!(
        "state \"state\"
access-log \"access.log\"
admin \"127.0.0.1:0\"
drain-timeout \"30s\"
users \"staff\" {{
{users}    user \"spent\" password=\"p\" quota=\"64KiB/day\"
}}
exits \"world\" {{
    address \"127.0.0.5\" name=\"home\" country=\"CA\" max={HOME}
    proxy \"http://{one}\" name=\"one\" country=\"CA\"
    proxy \"socks5h://{two}\" name=\"two\" country=\"US\"
    proxy \"http://{near}\" \"socks5://{far}\" name=\"chain\" country=\"US\"
    rotate \"per-request\"
    sticky ttl=\"2s\" idle=\"1s\"
    ban unreachable=#true for=\"300ms\"
    retry attempts=3
    max connections=256
}}
forward \"127.0.0.1:0\" {{
    auth users=\"staff\"
    allow \"127.0.0.0/8\"
    exit \"world\"
}}
"
    )
}

struct Gateway {
    server: Running,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Gateway {
    /// Ends what the other sides still hold, and waits until nothing is under way and no file is
    /// open that was not when it started.
    fn rest(&self, world: &mut World, fresh: &Held) {
        eventually("nothing to be under way", || {
            // Again and again: what was cut off is asked for again by another exit.
            world.hang_up();
            let metrics = self.get("/metrics");
            for name in
                ["bifrons_requests_in_flight", "bifrons_tunnels_open", "bifrons_connections_open"]
            {
                let values: Vec<f64> = metrics
                    .lines()
                    .filter(|line| line.split(['{', ' ']).next() == Some(name))
                    .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
                    .collect();
                assert!(!values.is_empty(), "{name} is not there");
                let sum: f64 = values.iter().sum();
                if sum != 0.0 {
                    return Err(format!("{name} is {sum}; {:?} is held", self.server.held()));
                }
            }
            for what in ["exits", "sessions"] {
                let told = self.get(&format!("/api/v1/{what}"));
                let (_, listed) = told.split_once("\r\n\r\n").expect("an answer");
                let counts = listed.split("\"under_way\":").skip(1);
                // Sessions may all have ended.
                assert!(what == "sessions" || counts.clone().count() > 0, "{told}");
                if counts.clone().any(|count| !count.trim_start().starts_with('0')) {
                    return Err(format!("{what} have something under way: {listed}"));
                }
            }
            let held = self.server.held();
            // The connection that has just asked for the metrics may still be there.
            if held.sockets > fresh.sockets || held.files > fresh.files {
                return Err(format!("{held:?} is held, {fresh:?} was"));
            }
            Ok(())
        });
        let pipes = self.server.held().pipes;
        assert!(pipes <= fresh.pipes + PIPES_KEPT, "{pipes} ends of pipes");
    }

    /// What the admin listener answers.
    fn get(&self, path: &str) -> String {
        http(self.admin, &format!("GET {path} HTTP/1.1\r\nHost: {}", self.admin))
    }

    /// Users and exits may have as many connections as before, and not one more.
    fn assert_permits_are_back(&self, world: &World) {
        let open = |name: &str| Tunnel::open(self.address, name, world.origin.address);
        let mut held = Vec::new();
        for user in ["u0", "u1"] {
            for number in 0..CONNECTIONS {
                let tunnel = open(&format!("{user}-exit-home")).expect("an answer");
                held.push(tunnel.unwrap_or_else(|status| panic!("{user} {number}: {status}")));
            }
            let status = open(&format!("{user}-exit-one")).expect("an answer").err();
            assert_eq!(status, Some(429), "{user} has all its connections");
        }
        let status = open("u2-exit-home").expect("an answer").err();
        assert!(matches!(status, Some(502 | 503)), "home is full: {status:?}");
        for exit in ["one", "two", "chain"] {
            // It may be banned yet.
            eventually(exit, || {
                let opened = open(&format!("u2-exit-{exit}")).map_err(|error| error.to_string())?;
                opened.map(drop).map_err(|status| status.to_string())
            });
        }
        // What is left of a quota is what was left of it: nothing.
        assert_eq!(open("spent").expect("an answer").err(), Some(429));
    }
}

impl Tally {
    /// A churn in which little happened shows nothing.
    fn assert_worth_it(&self, length: Duration) {
        let least = 5 * length.as_secs().max(1);
        for (what, count) in [
            ("plain", self.plain),
            ("tunnels", self.tunnels),
            ("socks", self.socks),
            ("cut", self.cut),
            ("refused", self.refused),
        ] {
            assert!(count >= least, "{what}: {count} in {length:?}");
        }
        let served = self.plain + self.tunnels + self.socks;
        assert!(self.lost * 5 < served, "{} lost, {served} served", self.lost);
    }
}

/// Asks again and again: neither another process's files nor its memory tell when they change.
fn eventually(what: &str, mut there: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(why) = there() {
        assert!(Instant::now() < deadline, "waited too long for {what}: {why}");
        std::thread::sleep(Duration::from_millis(100)); // sleep: nothing tells when these change, see above
    }
}

/// A connection on which no answer is waited for longer than anything takes.
fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
