//! What counting costs: a grant, and saying what was used of it. In time of the processor, so that
//! it can be asked on a busy machine.

use std::hint::black_box;
use std::sync::Arc;

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
    streams("grant and used, quota", &[&plain], None);
    streams("the same, two threads", &[&plain, &plain], None);
    limits.bandwidth = Some(1 << 50);
    limits.budgets = vec![Budget { amount: 1 << 62, per: Period::Month }];
    let all = account("all", &limits);
    streams("grant and used, quota, budget and bandwidth", &[&all], Some(1_000_000));

    measure("a meter", || drop(black_box(plain.meter(now, "home", None, "a.example"))));
    measure("admit", || {
        let _ = black_box(plain.admit(now));
    });
    measure("reading both clocks", || {
        black_box(Moment::now());
    });
}

fn streams(what: &str, accounts: &[&Arc<Account>], price: Option<u64>) {
    let now = Moment::now();
    std::thread::scope(|scope| {
        for account in accounts {
            scope.spawn(move || {
                let meter = account.meter(now, "home", price, "a.example");
                measure(what, || stream(&meter, now));
            });
        }
    });
}

fn stream(meter: &Meter, now: Moment) {
    if let Granted::Now(bytes) = meter.grant(now, 16 << 10) {
        meter.used(Direction::Down, bytes);
    }
}

fn measure(what: &str, act: impl Fn()) {
    let before = processor_time();
    for _ in 0..ROUNDS {
        act();
    }
    let nanoseconds = processor_time() - before;
    println!("{what}: {:.1} ns", nanoseconds as f64 / f64::from(ROUNDS));
}

/// Nanoseconds that this thread has run.
fn processor_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
