//! How long it takes to choose among 10 000 exits with labels:
//! `cargo run --release -p egress --example choose`.
//!
//! Each line is the mean of one choice and of giving the exit back, in nanoseconds.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{ChooseExit, Country, Exit, ExitKind, ExitPool, Span};
use egress::{Asking, ExitRegistry, NoExit, Pool, Pools, SessionWish, Surroundings, Wish};

const EXITS: u32 = 10_000;
const COUNTRIES: [&str; 10] = ["CA", "US", "DE", "FR", "GB", "JP", "BR", "IN", "AU", "ZA"];
const TIMES: u32 = 200_000;

fn main() {
    let plain = build(|_| {});
    measure("no wish", &plain, &|_| Wish::default());
    measure("country", &plain, &|turn| country(turn));
    measure("country, city, asn, tag", &plain, &|turn| {
        let mut wish = country(turn);
        wish.city = Some(format!("city_{}", turn % 10 + 10 * (turn % 5)).into());
        wish.asn = Some(64_500 + turn % 10);
        wish.tags = vec!["residential".into()];
        wish
    });
    measure("a session that exists, of 5 000", &plain, &|turn| session(turn % 5000));
    measure("a session that is new", &plain, &|turn| session(1_000_000 + turn));
    let least = build(|pool| pool.choose = ChooseExit::LeastUsed);
    measure("least used", &least, &|turn| country(turn));
    let weighted = build(|pool| {
        for (number, exit) in (1..).zip(&mut pool.exits) {
            exit.weight = number % 7 + 1;
        }
    });
    measure("by weight", &weighted, &|turn| country(turn));
    let limited = build(|pool| {
        pool.max_per_exit = Some(100);
        pool.max_per_host = Some(2);
        pool.exclusive = true;
    });
    measure("limits per host, exclusive", &limited, &|turn| country(turn));
    for number in 0..EXITS {
        if number % 10 != 0 {
            ban(&plain, number);
        }
    }
    measure("nine of ten banned", &plain, &|_| Wish::default());
    (0..EXITS).for_each(|number| ban(&plain, number));
    let began = Instant::now();
    let times = 100;
    for _ in 0..times {
        let outcome = choose(&plain, &Wish::default(), "shop.example");
        assert_eq!(outcome, Err(NoExit::AllBanned));
    }
    println!("{:9} ns  all banned", (began.elapsed() / times).as_nanos());
}

fn build(change: impl FnOnce(&mut ExitPool)) -> Arc<Pool> {
    let span: Span = (0, 0).into();
    let exit = |number: u32| {
        let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
        let mut exit = Exit::new(&format!("e{number}"), ExitKind::Address(address), span);
        exit.labels.country = Country::parse(COUNTRIES[number as usize % COUNTRIES.len()]);
        exit.labels.city = Some(format!("city_{}", number % 50));
        exit.labels.asn = Some(64_500 + number % 10);
        exit.labels.tags = vec!["residential".into()];
        exit
    };
    let mut pool = ExitPool::new("world", (0..EXITS).map(exit).collect(), span);
    change(&mut pool);
    let registry = ExitRegistry::new();
    let roots = tls::Roots::default();
    let surroundings = Surroundings { registry: &registry, roots: &roots, geo: None, state: None };
    let pools = Pools::build(&[pool], &surroundings).expect("a good configuration");
    Arc::clone(pools.get(0).expect("there is one"))
}

fn country(turn: u32) -> Wish {
    let country = Country::parse(COUNTRIES[turn as usize % COUNTRIES.len()]);
    Wish { country, ..Wish::default() }
}

fn session(number: u32) -> Wish {
    let id = format!("s{number}").into();
    Wish { session: Some(SessionWish { id, ttl: None, strict: false }), ..Wish::default() }
}

fn ban(pool: &Pool, number: u32) {
    let registry = pool.registry();
    let time = Duration::from_secs(3600);
    registry.ban(&format!("e{number}"), None, time).expect("it is known");
}

fn choose(pool: &Arc<Pool>, wish: &Wish, host: &str) -> Result<(), NoExit> {
    let asking = Asking {
        wish,
        whose: egress::Whose { set: "staff", user: "alice" },
        host,
        port: 443,
        connection: None,
        allowed: &|_| true,
        tried: &[],
        now_ms: net::watchdog::process_ms(),
    };
    pool.choose(&asking).map(drop)
}

fn measure(what: &str, pool: &Arc<Pool>, wish: &dyn Fn(u32) -> Wish) {
    let wishes: Vec<_> = (0..TIMES).map(wish).collect();
    let hosts: Vec<_> = (0..256).map(|number| format!("host{number}.example")).collect();
    // Once round, so that the plans are made. (A new session is new only once.)
    if !what.ends_with("new") {
        for wish in &wishes[..5000] {
            choose(pool, wish, "shop.example").expect("there are enough");
        }
    }
    let began = Instant::now();
    // A session has at most 10 000 brothers.
    let some = if what.ends_with("new") { 4000 } else { wishes.len() };
    for (wish, host) in wishes[..some].iter().zip(hosts.iter().cycle()) {
        choose(pool, wish, host).expect("there are enough");
    }
    println!("{:9} ns  {what}", began.elapsed().as_nanos() / some as u128);
}
