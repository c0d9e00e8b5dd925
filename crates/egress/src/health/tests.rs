use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{Country, ExitHealth, ExitLabels, ExitPool};

use crate::fixture::{Ask, T0, World, exit, name, pool, span};
use crate::{Geo, NoExit, Refusal, Sign};

fn measured() -> ExitPool {
    let mut config = pool(vec![exit(1, "CA"), exit(2, "CA")]);
    config.health = Some(ExitHealth {
        target: "http://127.0.0.1/ip".into(),
        every: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
        fall: 2,
        rise: 1,
        span: span(),
    });
    config
}

/// `10.0.0.x` is Canada, `10.0.1.x` the United States, and nothing is known of others.
fn geo() -> Geo {
    Arc::new(|address| match address {
        IpAddr::V4(address) => {
            let country = match address.octets() {
                [10, 0, 0, _] => "CA",
                [10, 0, 1, _] => "US",
                _ => return None,
            };
            Some(ExitLabels { country: Country::parse(country), ..ExitLabels::default() })
        }
        IpAddr::V6(_) => None,
    })
}

fn address(text: &str) -> Result<IpAddr, &'static str> {
    Ok(text.parse().unwrap())
}

#[test]
fn each_measurement_is_given_out_once_and_again_after_its_time() {
    let world = World::new(&[measured()]);
    let due = |now: u64, most: usize| {
        let all = world.pool().measurements_due(now, most);
        all.iter().map(|one| one.exit().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(due(T0, 1), ["e1"]);
    assert_eq!(due(T0, 9), ["e2"]);
    assert!(due(T0 + 29_999, 9).is_empty());
    assert_eq!(due(T0 + 30_000, 9), ["e1", "e2"]);
    let one = &world.pool().measurements_due(T0 + 60_000, 1)[0];
    assert_eq!(one.target(), ("http://127.0.0.1/ip", Duration::from_secs(10)));
    assert_eq!(one.source(), Some("127.0.1.1".parse().unwrap()));
    assert!(World::new(&[pool(vec![exit(1, "CA")])]).pool().measurements_due(T0, 9).is_empty());
}

#[test]
fn failures_in_a_row_make_an_exit_ill_and_a_measurement_makes_it_well() {
    let world = World::new(&[measured()]);
    let first = &world.pool().measurements_due(T0, 1)[0];
    first.note(Err("timeout"), T0);
    let lease = Ask::default();
    let mut e1 = Ask::default();
    e1.wish.exit = Some("e1".into());
    // A request that gets through ends the row, one that does not goes on with it.
    world.choose(&e1).unwrap().report(&Sign::Connected, T0);
    first.note(Err("timeout"), T0);
    assert!(world.choose(&e1).is_ok());
    world.choose(&e1).unwrap().report(&Sign::Unreachable, T0);
    assert_eq!(world.choose(&e1).err(), Some(NoExit::AllIll));
    assert_eq!(name(&world.choose(&lease)), "e2");
    assert!(world.registry.exits()[0].ill);
    first.note(address("10.0.0.1"), T0);
    assert!(world.choose(&e1).is_ok());
}

#[test]
fn an_exit_in_another_country_is_not_taken_for_its_label() {
    let world = World::with_geo(&[measured()], Some(geo()));
    let due = world.pool().measurements_due(T0, 2);
    due[0].note(address("10.0.1.9"), T0);
    due[1].note(address("10.0.0.9"), T0);
    for _ in 0..4 {
        assert_eq!(name(&world.choose(&Ask::country("CA"))), "e2");
    }
    let all = Ask::country("CA").with(|asking| world.pool().candidates(asking));
    let measured = Country::parse("US");
    assert_eq!(all[0].refusal, Some(Refusal::WrongCountry { measured }));
    // Nobody is given it for the country that it is in, either: that is no more than a guess.
    assert_eq!(world.choose(&Ask::country("US")).err(), Some(NoExit::NoMatch { key: "country" }));
    // Who wishes for no place may have it, if the user may leave from where it really is.
    let anywhere = (0..2).map(|_| name(&world.choose(&Ask::default()))).collect::<Vec<_>>();
    assert!(anywhere.contains(&"e1".to_owned()));
    let canadian = Ask { allowed: |exit| exit.country() == Country::parse("CA"), ..Ask::default() };
    for _ in 0..4 {
        assert_eq!(name(&world.choose(&canadian)), "e2");
    }
    // A database that knows nothing says nothing.
    due[0].note(address("192.0.2.1"), T0);
    let again = (0..2).map(|_| name(&world.choose(&Ask::country("CA")))).collect::<Vec<_>>();
    assert!(again.contains(&"e1".to_owned()));
    due[1].note(address("10.0.1.1"), T0);
    due[0].note(address("10.0.1.1"), T0);
    assert_eq!(world.choose(&Ask::country("CA")).err(), Some(NoExit::NoMatch { key: "country" }));
    let shown = &world.registry.exits()[0];
    assert_eq!((shown.country, shown.wrong_country), (measured, true));
    assert_eq!(shown.address, Some("10.0.1.1".parse().unwrap()));
}

#[test]
fn a_session_leaves_an_exit_that_turns_out_to_be_elsewhere() {
    let world = World::with_geo(&[measured()], Some(geo()));
    let mut ask = Ask::session("a");
    ask.wish.country = Country::parse("CA");
    let strict = Ask { wish: ask.wish.clone(), ..Ask::default() }.strict().user("bob");
    let first = name(&world.choose(&ask));
    world.choose(&Ask::country("CA")).unwrap();
    assert_eq!(name(&world.choose(&strict)), first);
    for one in world.pool().measurements_due(T0, 2) {
        one.note(address(if one.exit() == first { "10.0.1.1" } else { "10.0.0.1" }), T0);
    }
    assert_ne!(name(&world.choose(&ask)), first);
    assert_eq!(world.choose(&strict).err(), Some(NoExit::SessionLost));
}
