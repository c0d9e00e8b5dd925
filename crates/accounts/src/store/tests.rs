use std::sync::Arc;
use std::time::Instant;

use config::{Period, Quota, UserLimits};

use super::*;
use crate::{Accounts, By, Day, Direction, Granted, Limits, Moment, UsageRow, Zone};

/// 2026-07-31T12:00:00Z.
const NOON: i64 = 1_785_499_200;

fn now() -> Moment {
    Moment { instant: Instant::now(), unix: NOON }
}

fn quota(bytes: u64) -> Arc<Limits> {
    let quotas = vec![Quota { bytes, per: Period::Day }];
    Arc::new(Limits::build(&UserLimits { quotas, ..UserLimits::default() }, &Zone::utc()))
}

fn use_some(accounts: &Accounts, user: &str, bytes: u64) {
    let account = accounts.account("staff", user, &quota(1 << 30), now());
    account.meter(now(), "far", Some(1_500_000_001), "a.example").used(Direction::Down, bytes);
}

#[test]
fn quotas_go_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let accounts = Accounts::open(Some(folder.path())).expect("a thread");
    assert_eq!(accounts.status().problem, None);
    use_some(&accounts, "alice", 700);
    use_some(&accounts, "alice", 1);
    drop(accounts);

    let accounts = Accounts::open(Some(folder.path())).expect("a thread");
    let account = accounts.account("staff", "alice", &quota(1000), now());
    let standing = account.standing(now());
    assert_eq!((standing.day.bytes, standing.day.bytes_left), (701, Some(299)));
    // 1.500000001 millionths a byte.
    assert_eq!((standing.month.bytes, standing.month.cost), (701, 1051));
    let meter = account.meter(now(), "home", None, "a.example");
    assert_eq!(meter.grant(now(), 4096), Granted::Now(299));
    drop(meter);
    // Of another set, and on another day, nothing was used.
    let other = accounts.account("guests", "alice", &quota(1000), now());
    assert_eq!(other.standing(now()).day.bytes_left, Some(1000));
    let tomorrow = Moment { unix: NOON + 24 * 3600, ..now() };
    assert_eq!(account.standing(tomorrow).day.bytes_left, Some(1000));
    assert_eq!(account.standing(tomorrow).month.bytes, 0, "July is over");
}

#[test]
fn money_is_written_to_the_last_grain() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..10 {
        let accounts = Accounts::open(Some(folder.path())).expect("a thread");
        use_some(&accounts, "alice", 100_000_000);
    }
    // A thousand million bytes cost the price, to the last millionth.
    let rows = UsageQuery { by: vec![By::Target], ..UsageQuery::default() }
        .read(folder.path())
        .expect("it is there");
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].down, rows[0].cost, rows[0].requests), (1_000_000_000, 1_500_000_001, 10));
    let accounts = Accounts::open(Some(folder.path())).expect("a thread");
    let account = accounts.account("staff", "alice", &quota(1000), now());
    assert_eq!(account.standing(now()).day.cost, 1_500_000_001);
}

#[test]
fn two_processes_add_up_and_learn_of_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (
        Accounts::open(Some(folder.path())).expect("a thread"),
        Accounts::open(Some(folder.path())).expect("a thread"),
    );
    use_some(&old, "alice", 300);
    old.flush();
    use_some(&new, "alice", 500);
    new.flush();
    use_some(&old, "alice", 7);
    old.flush();
    let standing = |accounts: &Accounts| {
        accounts.find("staff", "alice").expect("it is there").standing(now()).day
    };
    assert_eq!(standing(&new).bytes, 800, "the new one has not written since");
    assert_eq!(standing(&old).bytes, 807);
    assert_eq!(standing(&old).bytes_left, Some((1 << 30) - 807));
    let rows = old.usage(&UsageQuery::default()).expect("it is there");
    assert_eq!((rows[0].down, rows[0].requests), (807, 3));
}

#[test]
fn a_day_that_is_over_does_not_take_the_place_of_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let accounts = Accounts::open(Some(folder.path())).expect("a thread");
    let account = accounts.account("staff", "alice", &quota(1000), now());
    let tomorrow = Moment { unix: NOON + 24 * 3600, ..now() };
    let late = account.meter(now(), "home", None, "a.example");
    assert_eq!(late.grant(now(), 100), Granted::Now(100));
    account.meter(tomorrow, "home", None, "a.example").used(Direction::Up, 30);
    accounts.flush();
    late.used(Direction::Up, 100);
    drop(late);
    drop((account, accounts));
    let accounts = Accounts::open(Some(folder.path())).expect("a thread");
    let account = accounts.account("staff", "alice", &quota(1000), tomorrow);
    assert_eq!(account.standing(tomorrow).day.bytes_left, Some(970));
}

#[test]
fn a_file_that_is_none_is_left_alone() {
    for content in
        [&b"not a database, but long enough to look at: "[..], b"SQLite format 3\0 and more"]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        std::fs::write(&file, content.repeat(100)).expect("a file");
        let accounts = Accounts::open(Some(folder.path())).expect("a thread");
        let status = accounts.status();
        assert_eq!(status.file, None);
        assert!(status.problem.is_some_and(|problem| problem.contains("usage.db")));
        // In memory all goes on.
        use_some(&accounts, "alice", 10);
        assert_eq!(accounts.usage(&UsageQuery::default()).expect("in memory")[0].down, 10);
        drop(accounts);
        assert_eq!(std::fs::read(&file).expect("it is there"), content.repeat(100));
    }
}

#[test]
fn files_of_others_and_of_later_releases_are_left_alone() {
    for (sql, problem) in [
        ("CREATE TABLE other (a)", "not a file of usage"),
        ("PRAGMA application_id = 7; PRAGMA user_version = 1", "not a file of usage"),
        ("PRAGMA application_id = 0x42465553; PRAGMA user_version = 99", "made by a later release"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        Connection::open(folder.path().join(FILE))
            .and_then(|db| db.execute_batch(sql))
            .expect("a file");
        let accounts = Accounts::open(Some(folder.path())).expect("a thread");
        let said = accounts.status().problem.expect("a problem");
        assert!(said.ends_with(problem), "{said}");
        assert!(UsageQuery::default().read(folder.path()).is_err());
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let accounts = Accounts::open(Some(&file)).expect("a thread");
    assert!(accounts.status().problem.is_some());
}

#[test]
fn a_file_that_is_locked_is_written_to_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let accounts = Accounts::open(Some(folder.path())).expect("a thread");
    let other = Connection::open(folder.path().join(FILE)).expect("it is there");
    other.execute_batch("ALTER TABLE usage_exit RENAME TO gone").expect("a change");
    use_some(&accounts, "alice", 10);
    accounts.flush();
    assert!(accounts.status().problem.is_some_and(|problem| problem.contains("usage_exit")));
    use_some(&accounts, "alice", 5);
    other.execute_batch("ALTER TABLE gone RENAME TO usage_exit").expect("a change");
    accounts.flush();
    assert_eq!(accounts.status().problem, None);
    assert_eq!(accounts.usage(&UsageQuery::default()).expect("a sum")[0].down, 15);
}

#[test]
fn old_days_go() {
    let Opened { mut store, .. } = Store::open(None).expect("memory");
    let cell_of = |unix| {
        let accounts = Accounts::open(None).expect("a thread");
        let now = Moment { unix, ..now() };
        let account = accounts.account("staff", "alice", &quota(1), now);
        let books = account.books(unix);
        account.cells.find(&account.owner, (&books.day, &books.month), "home", "a.example")
    };
    let delta = crate::cells::Delta { up: 1, ..Default::default() };
    let mut batch = Batch::default();
    let day = 24 * 3600;
    for back in [0, TARGET_DAYS, TARGET_DAYS + 1, EXIT_DAYS, EXIT_DAYS + 1] {
        batch.add(&cell_of(NOON - i64::from(back) * day), &delta);
    }
    store.write(&mut batch).expect("memory");
    store.prune(Zone::utc().day(NOON)).expect("memory");
    let up = |by: &[By]| {
        let query = UsageQuery { by: by.to_vec(), ..UsageQuery::default() };
        store.usage(&query).expect("memory").len()
    };
    assert_eq!((up(&[By::Day]), up(&[By::Day, By::Target])), (4, 2));
}

#[test]
fn questions() {
    let accounts = Accounts::open(None).expect("a thread");
    for (user, exit, host, days, bytes) in [
        ("alice", "ca-1", "a.example", 0, 1),
        ("alice", "ca-1", "b.example", 0, 2),
        ("alice", "us-1", "a.example", 1, 4),
        ("bob", "us-1", "a, \"b\".example", 1, 8),
    ] {
        let now = Moment { unix: NOON + days * 24 * 3600, ..now() };
        let account = accounts.account("staff", user, &quota(1 << 30), now);
        account.meter(now, exit, Some(250_000_000_000_000), host).used(Direction::Up, bytes);
    }
    let ask = |query: UsageQuery| accounts.usage(&query).expect("memory");
    let all = ask(UsageQuery::default());
    assert_eq!(all, [UsageRow { up: 15, requests: 4, cost: 3_750_000, ..UsageRow::default() }]);
    let none = ask(UsageQuery { user: Some("nobody".to_owned()), ..UsageQuery::default() });
    assert_eq!(none, [UsageRow::default()]);
    let day = |text: &str| text.parse::<Day>().ok();
    let ups = |query| ask(query).iter().map(|row| row.up).collect::<Vec<_>>();
    let by = |by: &[By]| UsageQuery { by: by.to_vec(), ..UsageQuery::default() };
    assert_eq!(ups(by(&[By::User])), [7, 8]);
    assert_eq!(ups(by(&[By::Exit, By::User])), [3, 4, 8]);
    assert_eq!(ups(by(&[By::Target])), [8, 5, 2]);
    assert_eq!(ups(UsageQuery { from: day("2026-08-01"), ..by(&[By::User]) }), [4, 8]);
    assert_eq!(ups(UsageQuery { to: day("2026-07-31"), ..by(&[By::User]) }), [3]);
    let target = Some("a.example".to_owned());
    assert_eq!(ups(UsageQuery { target, ..by(&[]) }), [5]);
    assert_eq!(ups(UsageQuery { limit: Some(1), ..by(&[By::User]) }), [7]);
    let query = UsageQuery { user: Some("bob".to_owned()), ..by(&[By::Target, By::Day]) };
    assert_eq!(
        crate::to_csv(&ask(query.clone()), &query.by),
        "day,target,bytes_up,bytes_down,requests,cost\r\n\
         2026-08-01,\"a, \"\"b\"\".example\",8,0,1,2.00\r\n"
    );
}
