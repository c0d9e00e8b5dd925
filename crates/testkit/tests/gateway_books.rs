//! What users of the gateway have used: budgets, the books about it, restarts and reloads.

mod gateway;

use std::collections::HashMap;
use std::path::Path;

use accounts::{By, UsageQuery, UsageRow};
use gateway::used::{DAY, alice, count_body, expect_refused, gateway, heads_of_get, large, text};
use gateway::{basic, connect, get, get_text};
use testkit::{Message, Origin, Proxy};

const PRICED: &str = "exits \"world\" {\n    \
    address \"127.0.0.2\" name=\"dear\" country=\"CA\" price=\"10.00\"\n    \
    address \"127.0.0.3\" name=\"free\" country=\"US\"\n}\n";

fn usage(state: &Path, by: &[By]) -> Vec<UsageRow> {
    let query = UsageQuery { by: by.to_vec(), ..UsageQuery::default() };
    query.read(state).expect("usage")
}

#[test]
fn a_budget_is_spent_by_the_price_of_exits() {
    let origin = large(3_000_000);
    // A hundredth, at ten for 10⁹ bytes: a million bytes.
    let proxy = Proxy::start(&format!(
        "{PRICED}{}",
        text("user \"alice\" password=\"secret\" budget=\"0.01/month\"", "exit \"world\"")
    ));
    let shown = basic("alice-country-ca", "secret");
    let mut client = proxy.client();
    let request = get_text(origin.address(), &shown);
    client.send(&request);
    let head = client.recv_head();
    assert_eq!(head.status(), 200);
    assert_eq!(count_body(&mut client), 1_000_000 - request.len() - head.head.len());
    let mut client = proxy.client();
    let answer = get(&mut client, origin.address(), &shown);
    expect_refused(&answer, "budget of the month", 31 * DAY);
    let answer = connect(&mut proxy.client(), origin.address(), &shown);
    expect_refused(&answer, "budget of the month", 31 * DAY);
    // What costs nothing can be had all the same, wished for or not.
    for name in ["alice-country-us", "alice", "alice"] {
        let answer = get(&mut client, origin.address(), &basic(name, "secret"));
        assert_eq!((answer.status(), answer.body.len()), (200, 3_000_000), "{name}");
    }
}

#[test]
fn the_books_tell_who_used_what_by_which_exit_and_for_how_much() {
    let origin = large(100_000);
    let state = tempfile::tempdir().expect("folder");
    let proxy = Proxy::start(&format!(
        "state \"{}\"\n{PRICED}{}",
        state.path().display(),
        text(
            "user \"alice\" password=\"secret\"\nuser \"bob\" password=\"secret\"",
            "exit \"world\""
        )
    ));
    let mut client = proxy.client();
    let mut used: HashMap<(&str, &str), (u64, u64, u64)> = HashMap::new();
    let mut note = |whom, up: usize, answer: &Message| {
        let (of_up, of_down, requests) = used.entry(whom).or_default();
        *of_up += up as u64;
        *of_down += (answer.head.len() + answer.body.len()) as u64;
        *requests += 1;
    };
    for (name, whom) in [
        ("alice-country-ca", ("staff/alice", "dear")),
        ("bob-country-us", ("staff/bob", "free")),
        ("alice-country-ca", ("staff/alice", "dear")),
        ("bob-country-ca", ("staff/bob", "dear")),
    ] {
        let shown = basic(name, "secret");
        let answer = get(&mut client, origin.address(), &shown);
        assert_eq!(answer.body.len(), 100_000);
        note(whom, get_text(origin.address(), &shown).len(), &answer);
    }
    let request = format!(
        "POST {0}/ HTTP/1.1\r\nHost: {1}\r\nContent-Length: 5000\r\n{2}\r\n{3}",
        origin.url(),
        origin.address(),
        basic("bob-country-us", "secret"),
        "x".repeat(5000)
    );
    client.send(&request);
    let answer = client.recv_response();
    assert_eq!((answer.status(), answer.body.len()), (200, 100_000));
    note(("staff/bob", "free"), request.len(), &answer);
    // What is refused is not counted.
    assert_eq!(get(&mut client, origin.address(), "").status(), 407);
    assert_eq!(
        get(&mut client, origin.address(), &basic("bob-country-de", "secret")).status(),
        502
    );
    drop(client);
    proxy.stop();
    drop(proxy);
    let rows: Vec<_> = usage(state.path(), &[By::Set, By::User, By::Exit, By::Target])
        .into_iter()
        .map(|row| {
            let text = |field: Option<String>| field.unwrap_or_default();
            assert_eq!(text(row.target), "127.0.0.1");
            (
                text(row.set) + "/" + &text(row.user),
                text(row.exit),
                row.up,
                row.down,
                row.requests,
                row.cost,
            )
        })
        .collect();
    let mut sorted = rows.clone();
    sorted.sort();
    let mut expected: Vec<_> = (used.into_iter())
        .map(|((user, exit), (up, down, requests))| {
            // A hundred-millionth of ten for each byte, in millionths.
            let cost = if exit == "dear" { (up + down) / 100 } else { 0 };
            (user.to_owned(), exit.to_owned(), up, down, requests, cost)
        })
        .collect();
    expected.sort();
    assert_eq!(sorted, expected);
}

#[test]
fn a_quota_goes_on_where_it_was_after_a_restart() {
    let origin = large(600);
    let state = tempfile::tempdir().expect("folder");
    let quota = 1000 + 2 * heads_of_get(&origin);
    let text = format!(
        "state \"{}\"\n{}",
        state.path().display(),
        text(&format!("user \"alice\" password=\"secret\" quota=\"{quota}B/month\""), "")
    );
    let proxy = Proxy::start(&text);
    let mut client = proxy.client();
    assert_eq!(get(&mut client, origin.address(), &alice()).body.len(), 600);
    drop(client);
    proxy.stop();
    drop(proxy);
    let proxy = Proxy::start(&text);
    let mut client = proxy.client();
    client.send(get_text(origin.address(), &alice()));
    client.recv_head();
    assert_eq!(count_body(&mut client), 400);
    drop(client);
    proxy.stop();
    drop(proxy);
    let proxy = Proxy::start(&text);
    let answer = get(&mut proxy.client(), origin.address(), &alice());
    expect_refused(&answer, "quota of the month", 31 * DAY);
}

#[test]
fn a_reload_changes_limits_and_keeps_what_was_used() {
    let origin = large(600);
    let whole = 600 + heads_of_get(&origin);
    let of = |quota: usize| {
        let users = format!("user \"alice\" password=\"secret\" quota=\"{quota}B/day\"");
        text(&users, "")
    };
    let proxy = Proxy::start(&of(whole));
    let mut client = proxy.client();
    assert_eq!(get(&mut client, origin.address(), &alice()).body.len(), 600);
    assert_eq!(get(&mut client, origin.address(), &alice()).status(), 429);
    proxy.reload(&of(2 * whole));
    assert_eq!(get(&mut client, origin.address(), &alice()).body.len(), 600);
    assert_eq!(get(&mut client, origin.address(), &alice()).status(), 429);
    proxy.reload(&text("user \"alice\" password=\"secret\"", ""));
    assert_eq!(get(&mut client, origin.address(), &alice()).body.len(), 600);
}

#[test]
fn a_tunnel_that_runs_feels_a_reload() {
    let origin = Origin::start();
    let proxy = gateway("user \"alice\" password=\"secret\"", "");
    let mut client = proxy.client();
    assert_eq!(connect(&mut client, origin.address(), &alice()).status(), 200);
    let mut server = origin.accept();
    server.send([b'x'; 500]);
    client.expect([b'x'; 500]);
    proxy.reload(&text("user \"alice\" password=\"secret\" quota=\"800B/day\"", ""));
    // Somebody has to ask for the new limits to be the account's.
    let _ = get(&mut proxy.client(), origin.address(), "");
    let _ = connect(&mut proxy.client(), origin.address(), &alice());
    let _ = server.try_send([b'x'; 1000]);
    assert_eq!(count_body(&mut client), 300);
}
