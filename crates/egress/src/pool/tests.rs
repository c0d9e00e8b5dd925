use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use config::{
    Country, Exit, ExitKind, ExitLabels, ExitPool, HopProtocol, ListSource, PrefixPick, ServerHost,
    Spanned,
};

use super::Geo;
use super::lines::{self, Line};
use crate::NoExit;
use crate::fixture::{Ask, World, build, exit, exits, name, pool, span};

type Parent = (HopProtocol, String, u16, Option<(String, String)>);

fn parse(line: &str) -> Result<Parent, &'static str> {
    match lines::parse(line, HopProtocol::Http) {
        Line::Nothing => Err("nothing"),
        Line::Wrong(why) => Err(why),
        Line::Parent(hop) => {
            let host = match hop.host {
                ServerHost::Address(address) => address.to_string(),
                ServerHost::Name(name) | ServerHost::Srv(name) => name,
            };
            Ok((hop.protocol, host, hop.port, hop.credentials))
        }
    }
}

/// All of it is shared by the cores, and a lease may go to another thread.
#[test]
fn what_is_shared_can_be() {
    fn shared<T: Send + Sync>() {}
    shared::<super::Pools>();
    shared::<crate::ExitRegistry>();
    shared::<crate::ExitLease>();
    shared::<crate::Measurement>();
}

#[test]
fn lines_of_lists() {
    use HopProtocol::{Http, Https, Socks5h};
    let of = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
    assert_eq!(parse("10.0.0.1:8080"), Ok((Http, "10.0.0.1".into(), 8080, None)));
    assert_eq!(parse(" A.example.:1 "), Ok((Http, "a.example".into(), 1, None)));
    assert_eq!(parse("a.example:1:u:p:q"), Ok((Http, "a.example".into(), 1, of("u", "p:q"))));
    assert_eq!(parse("[2001:db8::1]:1:u:"), Ok((Http, "2001:db8::1".into(), 1, of("u", ""))));
    let url = parse("socks5h://u%40x:p%3A@[::1]:1080/");
    assert_eq!(url, Ok((Socks5h, "::1".into(), 1080, of("u@x", "p:"))));
    assert_eq!(parse("HTTPS://b.example:8443"), Ok((Https, "b.example".into(), 8443, None)));
    assert_eq!(parse("# a comment"), Err("nothing"));
    assert_eq!(parse(""), Err("nothing"));
    for wrong in [
        "a.example",
        "a.example:0",
        "a.example:65536",
        "a.example:1x",
        "a.example:1:u",
        ":1",
        "a.example:1::p",
        "ftp://a.example:1",
        "http://a.example:1/path",
        "http://u%4:p@a:1",
        "::1:8080",
        "[::1:80",
        "a b:1",
        "1.2.3.400:1",
        "http://u%ff@a:1",
    ] {
        assert!(!matches!(parse(wrong), Ok(_) | Err("nothing")), "{wrong}");
    }
}

fn list(path: &std::path::Path) -> Exit {
    let source = Spanned { value: ListSource::File(path.to_owned()), span: span() };
    let mut exit =
        Exit::new("bought", ExitKind::List { source, scheme: HopProtocol::Http }, span());
    exit.labels.country = Country::parse("US");
    exit
}

#[test]
fn a_list_is_one_exit_for_each_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.txt");
    let text = "10.0.0.1:80\n# no more\n\n10.0.0.2:80:u:secret\n10.0.0.2:80:v:secret\n";
    std::fs::write(&path, text).unwrap();
    let mut world = World::new(&[pool(vec![exit(1, "CA"), list(&path)])]);
    let names = |world: &World| {
        let exits = world.registry.exits();
        exits.iter().map(|exit| exit.exit.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&world), ["e1", "10.0.0.1_80", "10.0.0.2_80", "10.0.0.2_80_2"]);
    let all = world.registry.exits();
    assert_eq!((all[1].kind, all[1].labels.country), ("proxy", Country::parse("US")));
    // With other credentials it is another exit: connections that were kept are not its.
    let mut ask = Ask::default();
    ask.wish.exit = Some("10.0.0.2_80".into());
    let before = world.choose(&ask).unwrap().key();
    world.reload(&[pool(vec![list(&path)])]);
    assert_eq!(world.choose(&ask).unwrap().key(), before);
    std::fs::write(&path, "10.0.0.2:80:u:changed\n").unwrap();
    world.reload(&[pool(vec![list(&path)])]);
    assert_ne!(world.choose(&ask).unwrap().key(), before);
}

#[test]
fn a_bad_list_is_an_error_that_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.txt");
    let registry = crate::ExitRegistry::new();
    let problem = |text: Option<&str>| {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let errors = build(&[pool(vec![list(&path)])], &registry, None).unwrap_err();
        assert_eq!(errors.len(), 1);
        errors[0].message.clone()
    };
    assert!(problem(None).contains("cannot read"));
    assert!(problem(Some("# nothing\n")).contains("names no parent"));
    let wrong = problem(Some("10.0.0.1:80\n10.0.0.2:x:user:hunter2\n"));
    assert!(wrong.contains("line 2") && !wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn what_a_url_gave_is_taken_without_what_is_wrong_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let every = std::time::Duration::from_secs(60);
    let source = ListSource::Url { url: "https://lists.example/a".into(), every };
    let path = source.path(Some(folder.path()));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "<html>\n10.0.0.1:80\n").unwrap();
    let source = Spanned { value: source, span: span() };
    let exit = Exit::new("l", ExitKind::List { source, scheme: HopProtocol::Socks5 }, span());
    let registry = crate::ExitRegistry::new();
    let roots = tls::Roots::default();
    let state = Some(folder.path());
    let surroundings = super::Surroundings { registry: &registry, roots: &roots, geo: None, state };
    let pools = super::Pools::build(&[pool(vec![exit])], &surroundings).unwrap();
    assert_eq!(pools.get(0).unwrap().exits().count(), 1);
}

#[test]
fn pools_that_lead_to_each_other_end() {
    let leading = |name: &str, number: u8, to: &[usize]| {
        let mut exits = vec![exit(number, "CA")];
        exits.extend(to.iter().map(|to| Exit::new(&format!("p{to}"), ExitKind::Pool(*to), span())));
        ExitPool { name: name.into(), ..pool(exits) }
    };
    let pools = [
        leading("a", 1, &[1, 2]),
        leading("b", 2, &[3]),
        leading("c", 3, &[3, 0]),
        leading("d", 4, &[]),
    ];
    let world = World::new(&pools);
    let names: Vec<_> = world.pool().exits().map(|exit| exit.name().to_owned()).collect();
    assert_eq!(names, ["e1", "e2", "e4", "e3"]);
    // An exit is shown once, in the pool that it stands in.
    assert_eq!(world.registry.exits().len(), 4);
}

fn prefix(net: &str, pick: PrefixPick) -> ExitPool {
    let kind = ExitKind::Prefix { net: net.parse().unwrap(), pick };
    pool(vec![Exit::new("net", kind, span())])
}

fn source(world: &World, ask: &Ask) -> IpAddr {
    world.choose(ask).unwrap().source().unwrap()
}

#[test]
fn addresses_of_a_prefix() {
    let net: ipnet::IpNet = "2001:db8:1::/64".parse().unwrap();
    let world = World::new(&[prefix("2001:db8:1::/64", PrefixPick::Random)]);
    let ask = Ask::default();
    let many: HashSet<_> = (0..100).map(|_| source(&world, &ask)).collect();
    assert_eq!(many.len(), 100);
    assert!(many.iter().all(|address| net.contains(address) && *address != net.network()));
    let (one, two) = (world.choose(&ask).unwrap(), world.choose(&ask).unwrap());
    assert_ne!(one.key(), two.key());
    // One try is a try of the exit, whatever the address.
    let tried = Ask { tried: vec![one.key()], ..Ask::default() };
    assert_eq!(world.choose(&tried).err(), Some(NoExit::AllTried));
    // A session keeps its address.
    let in_session: HashSet<_> = (0..10).map(|_| source(&world, &Ask::session("a"))).collect();
    assert_eq!(in_session.len(), 1);

    let world = World::new(&[prefix("2001:db8:1::/64", PrefixPick::Session)]);
    assert_eq!(source(&world, &ask), source(&world, &ask));
    assert_ne!(source(&world, &ask), source(&world, &Ask::default().user("bob")));
    assert_ne!(source(&world, &Ask::session("a")), source(&world, &Ask::session("b")));
    let a = source(&world, &Ask::session("a"));
    world.registry.end_session("world", "alice", "a");
    assert_eq!(source(&world, &Ask::session("a")), a);

    let world = World::new(&[prefix("2001:db8:1::/64", PrefixPick::Host)]);
    assert_eq!(source(&world, &ask), source(&world, &Ask::default().user("bob")));
    assert_ne!(source(&world, &ask), source(&world, &Ask::default().host("b.example")));
    assert_eq!(source(&world, &ask), source(&world, &Ask::session("a")));

    for (net, hosts) in [("10.0.0.0/30", 2), ("10.0.0.0/31", 2), ("10.0.0.1/32", 1)] {
        let world = World::new(&[prefix(net, PrefixPick::Random)]);
        let many: HashSet<_> = (0..100).map(|_| source(&world, &ask)).collect();
        assert_eq!(many.len(), hosts, "{net}");
        assert!(!many.contains(&"10.0.0.3".parse().unwrap()));
    }
    for net in ["::/0", "2001:db8::5/128", "0.0.0.0/0"] {
        let world = World::new(&[prefix(net, PrefixPick::Random)]);
        source(&world, &ask);
    }
}

#[test]
fn a_database_labels_what_nobody_has_labelled() {
    let geo: Geo = Arc::new(|address| {
        let known = address == "127.0.1.1".parse::<IpAddr>().unwrap();
        known.then(|| ExitLabels {
            country: Country::parse("CA"),
            city: Some("toronto".into()),
            asn: Some(7),
            ..ExitLabels::default()
        })
    });
    let labels = |change: fn(&mut ExitLabels)| {
        let mut exit = exit(1, "-");
        change(&mut exit.labels);
        let world = World::with_geo(&[pool(vec![exit])], Some(Arc::clone(&geo)));
        let labels = world.registry.exits()[0].labels.clone();
        (labels.country.map(|country| country.to_string()), labels.city, labels.asn)
    };
    let ca = || Some("CA".to_owned());
    assert_eq!(labels(|_| {}), (ca(), Some("toronto".into()), Some(7)));
    assert_eq!(
        labels(|labels| labels.country = Country::parse("CA")),
        (ca(), Some("toronto".into()), Some(7))
    );
    // What is written is not made into a place that does not exist.
    assert_eq!(
        labels(|labels| labels.country = Country::parse("US")),
        (Some("US".into()), None, Some(7))
    );
    assert_eq!(
        labels(|labels| labels.city = Some("york".into())),
        (None, Some("york".into()), Some(7))
    );
}

#[test]
fn plans_are_bounded_and_still_right() {
    let mut all = exits(200, "CA");
    for (number, exit) in all.iter_mut().enumerate() {
        exit.labels.tags = (0..13).map(|tag| format!("t{tag}")).collect();
        exit.labels.tags.push(format!("own{number}"));
    }
    let world = World::new(&[pool(all)]);
    for number in 0..6000_usize {
        let mut ask = Ask::default();
        let tags = (0..13).filter(|tag| number >> tag & 1 == 1);
        ask.wish.tags = tags.map(|tag| format!("t{tag}").into()).collect();
        ask.wish.tags.push(format!("own{}", number % 200).into());
        assert_eq!(name(&world.choose(&ask)), format!("e{}", number % 200 + 1));
    }
}
