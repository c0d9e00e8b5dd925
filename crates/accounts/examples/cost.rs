//! What counting costs: a grant, and saying what was used of it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use accounts::{Account, Accounts, Direction, Granted, Limits, Meter, Moment, Zone};
use config::{Budget, Period, Quota, UserLimits};

const ROUNDS: u32 = 2_000_000;

fn main() {
    let accounts = Accounts::open(None).expect("a thread");
    let now = Moment::now();
    let mut limits = UserLimits {
        quotas: vec![Quota { bytes: 1 << 60, per: Period::Day }],
        ..UserLimits::default()
    };
    let account = |name: &str, limits: &UserLimits| {
        accounts.account("bench", name, &Arc::new(Limits::build(limits, &Zone::utc())), now)
    };
    let plain = account("plain", &limits);
    measure("quota", &[&plain], None);
    measure("quota, two threads", &[&plain, &plain], None);
    limits.bandwidth = Some(1 << 50);
    limits.budgets = vec![Budget { amount: 1 << 62, per: Period::Month }];
    measure("quota, budget and bandwidth", &[&account("all", &limits)], Some(1_000_000));

    let start = Instant::now();
    for _ in 0..ROUNDS {
        drop(black_box(plain.meter(now, "home", None, "a.example")));
    }
    report("a meter", start);
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let _ = black_box(plain.admit(now));
    }
    report("admit", start);
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(Moment::now());
    }
    report("reading both clocks", start);
}

fn measure(what: &str, accounts: &[&Arc<Account>], price: Option<u64>) {
    let now = Moment::now();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for account in accounts {
            scope.spawn(move || run(&account.meter(now, "home", price, "a.example"), now));
        }
    });
    report(what, start);
}

fn run(meter: &Meter, now: Moment) {
    for _ in 0..ROUNDS {
        if let Granted::Now(bytes) = meter.grant(now, 16 << 10) {
            meter.used(Direction::Down, bytes);
        }
    }
}

fn report(what: &str, start: Instant) {
    println!("{what}: {:.1} ns", start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
}
