use std::future::poll_fn;
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use net::watchdog::Watchdog;

use net::resolver::Resolver;

use super::*;
use crate::changes::Change;
use crate::cluster::{Ask, Cluster, Tried, Unavailable};
use crate::member::found;

/// The plans of a configuration with these groups.
fn plans(registry: &Arc<Registry>, text: &str) -> Vec<Arc<ClusterPlan>> {
    let sites: String = text
        .lines()
        .filter_map(|line| line.split('"').nth(1))
        .enumerate()
        .map(|(at, name)| format!("site \"http://{at}.example\" {{ to upstream=\"{name}\" }}\n"))
        .collect();
    let config = config::parse("test", &format!("{text}\n{sites}"), Path::new("")).unwrap();
    let roots = Roots::system();
    let build = |group| {
        ClusterPlan::build(group, Duration::from_millis(20), &roots, registry, None).expect("plan")
    };
    config.upstreams.iter().map(build).collect()
}

fn plan(registry: &Arc<Registry>, group: &str) -> Arc<ClusterPlan> {
    plans(registry, &format!("upstream \"app\" {{ {group} }}")).remove(0)
}

fn addresses(plan: &ClusterPlan) -> Vec<String> {
    plan.members().list.iter().map(|member| member.address().to_string()).collect()
}

fn at(name: &str, addresses: &[&str]) -> Vec<Found> {
    let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    found(name, 80, &addresses)
}

#[test]
fn addresses_are_there_at_once_and_names_when_they_are_found() {
    let registry = Registry::new([7; 32]);
    let plan = plan(&registry, "server \"http://192.0.2.1\" \"http://app.test\"");
    assert_eq!(addresses(&plan), ["192.0.2.1:80"]);
    assert!(plan.members().pending);
    assert!(plan.looked_up(1, Ok(at("app.test", &["192.0.2.3", "192.0.2.2"]))));
    assert_eq!(addresses(&plan), ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"]);
    assert!(!plan.members().pending);
    let published = plan.members();
    assert!(plan.looked_up(1, Ok(at("app.test", &["192.0.2.2", "192.0.2.3"]))));
    assert!(Arc::ptr_eq(&published, &plan.members()), "an equal set is no news");
    assert!(plan.looked_up(1, Err(DnsError::Timeout)));
    assert_eq!(plan.members().list.len(), 3, "the last good set stays");
    assert!(!plan.looked_up(9, Err(DnsError::Timeout)), "nobody asked for that");
}

#[test]
fn a_later_plan_begins_with_what_is_known() {
    let registry = Registry::new([7; 32]);
    let first = plan(&registry, "server \"http://app.test\"");
    first.looked_up(0, Ok(at("app.test", &["192.0.2.2"])));
    let second = plan(&registry, "server \"http://app.test\"; keep-idle 3");
    assert_eq!(addresses(&second), ["192.0.2.2:80"]);
    assert!(!second.members().pending);
    let (one, two) = (&first.members().list[0], &second.members().list[0]);
    assert!(Arc::ptr_eq(&one.endpoint, &two.endpoint), "one state for both");
}

#[test]
fn who_was_there_from_the_beginning_needs_no_slow_start() {
    let registry = Registry::new([7; 32]);
    let plan =
        plan(&registry, "server \"http://192.0.2.1\" \"http://app.test\"; slow-start \"9s\"");
    let since = |index: usize| plan.members().list[index].endpoint.well_since(process_ms());
    assert_eq!(since(0), 0);
    registry.start(&config::Dns::asking(&["127.0.0.1:1".parse().unwrap()]));
    plan.looked_up(1, Ok(at("app.test", &["192.0.2.2"])));
    assert_eq!(since(1), 0, "its name was only being looked up");
    plan.looked_up(1, Ok(at("app.test", &["192.0.2.2", "192.0.2.3"])));
    assert_eq!(since(1), 0);
    assert_ne!(since(2), 0, "it joined the others");
    let url = "http://192.0.2.9".to_owned();
    registry.change("app", "", Change::Add { url }).unwrap();
    assert_ne!(since(3), 0);
}

#[test]
fn services_have_priorities_weights_and_the_name_of_the_domain() {
    let registry = Registry::new([7; 32]);
    let plan = plan(
        &registry,
        "server \"https+srv://_web._tcp.example.com\" weight=2; tls insecure=#true",
    );
    let record = |address: &str, priority, weight| Found {
        address: address.parse().unwrap(),
        priority,
        weight: Some(weight),
        target: Some("host.example.net".into()),
    };
    let records = vec![record("192.0.2.1:8443", 10, 5), record("192.0.2.2:443", 20, 0)];
    plan.looked_up(0, Ok(records));
    let members = plan.members();
    let (first, second) = (&members.list[0], &members.list[1]);
    assert_eq!((first.tier, first.weight), (10, 10));
    assert_eq!((second.tier, second.weight), (20, 2), "a weight of 0 is a small one");
    assert_eq!(first.authority, "host.example.net:8443");
    assert_eq!(second.authority, "host.example.net");
    assert_eq!(first.tls_host, "example.com", "a forged record proves nothing");
}

#[test]
fn changes_reach_all_plans_of_the_name_and_go_with_the_last() {
    let registry = Registry::new([7; 32]);
    let group = "server \"http://192.0.2.1\" \"http://192.0.2.2\"";
    let old = plan(&registry, group);
    let new = plan(&registry, group);
    registry.change("app", "192.0.2.1:80", Change::Drain).unwrap();
    for plan in [&old, &new] {
        let draining: Vec<_> = plan.members().list.iter().map(|one| one.draining).collect();
        assert_eq!(draining, [true, false]);
    }
    drop(old);
    assert!(plan(&registry, group).members().list[0].draining, "a reload keeps it");
    drop(new);
    assert!(!plan(&registry, group).members().list[0].draining, "the group was gone");
}

#[test]
fn a_server_is_safe_to_stop_when_no_group_uses_it() {
    let registry = Registry::new([7; 32]);
    let both = plans(
        &registry,
        "upstream \"one\" { server \"http://192.0.2.1\" \"http://192.0.2.2\" }\n\
         upstream \"two\" { server \"http://192.0.2.1\" }",
    );
    let safe = || registry.status()[0].servers[0].safe_to_stop;
    registry.change("one", "http://192.0.2.1", Change::Drain).unwrap();
    assert!(!safe(), "the other group uses it");
    registry.change("two", "http://192.0.2.1", Change::Drain).unwrap();
    assert!(safe());
    let endpoint = Arc::clone(&both[0].members().list[0].endpoint);
    assert!(endpoint.enter(u32::MAX));
    assert!(!safe(), "a request runs on it");
    endpoint.leave(None);
    assert!(safe());
}

#[test]
fn who_is_much_slower_than_the_others_is_left_out() {
    let registry = Registry::new([7; 32]);
    let plan = plan(
        &registry,
        "server \"http://192.0.2.1\" \"http://192.0.2.2\" \"http://192.0.2.3\"; \
         outlier failures=5 within=\"10s\" eject=\"30s\" latency=\"300%\"",
    );
    let members = plan.members();
    let out = |now| -> Vec<bool> {
        members.list.iter().map(|one| one.endpoint.ejection.is_out(now)).collect()
    };
    for (member, millis) in members.list.iter().zip([10, 12, 80]) {
        for _ in 0..ENOUGH_RESPONSES - 1 {
            member.endpoint.answered(1000, Duration::from_millis(millis));
        }
    }
    plan.compare_latencies(1000);
    assert_eq!(out(1000), [false; 3], "too few to judge by");
    for (member, millis) in members.list.iter().zip([10, 12, 80]) {
        member.endpoint.answered(1500, Duration::from_millis(millis));
    }
    plan.compare_latencies(1500);
    assert_eq!(out(1500), [false; 3], "once a second is enough");
    plan.compare_latencies(2000);
    assert_eq!(out(2000), [false, false, true]);
    assert_eq!(out(32_000), [false; 3]);
}

#[test]
fn who_is_slow_but_has_to_stay_keeps_its_latency() {
    let registry = Registry::new([7; 32]);
    let plan = plan(
        &registry,
        "server \"http://192.0.2.1\" \"http://192.0.2.2\" \"http://192.0.2.3\" \
         \"http://192.0.2.4\" \"http://192.0.2.5\"; \
         outlier failures=5 within=\"10s\" eject=\"30s\" latency=\"300%\" max-ejected=\"20%\"",
    );
    let members = plan.members();
    for (member, millis) in members.list.iter().zip([10, 80, 12, 90, 11]) {
        for _ in 0..ENOUGH_RESPONSES {
            member.endpoint.answered(1000, Duration::from_millis(millis));
        }
    }
    plan.compare_latencies(1000);
    let out: Vec<_> = members.list.iter().map(|one| one.endpoint.ejection.is_out(1000)).collect();
    assert_eq!(out, [false, false, false, true, false], "the slowest");
    let responses: Vec<_> = members.list.iter().map(|one| one.endpoint.mean_latency().1).collect();
    assert_eq!(responses, [20, 20, 20, 0, 20]);
}

#[test]
fn a_change_is_not_undone_by_a_look_up() {
    let registry = Registry::new([7; 32]);
    let plan = plan(&registry, "server \"http://app.test\"");
    let sets = [at("app.test", &["192.0.2.1"]), at("app.test", &["192.0.2.1", "192.0.2.2"])];
    plan.looked_up(0, Ok(sets[0].clone()));
    for round in 0..50 {
        std::thread::scope(|scope| {
            let mut state = plan.lock();
            let set = sets[(round + 1) % 2].clone();
            let look_up = scope.spawn(|| plan.looked_up(0, Ok(set)));
            // Most times it comes to the lock meanwhile.
            for _ in 0..100 {
                std::thread::yield_now();
            }
            registry.note_change(&plan, "http://app.test", Change::Drain).unwrap();
            plan.publish(&mut state, &registry.changes("app"), &registry);
            drop(state);
            assert!(look_up.join().unwrap());
        });
        assert!(plan.members().list.iter().all(|member| member.draining), "round {round}");
        registry.change("app", "http://app.test", Change::Undrain).unwrap();
    }
}

#[test]
fn a_dropped_plan_ends_the_work_for_it() {
    let registry = Registry::new([7; 32]);
    let plan = plan(&registry, "server \"http://app.test\"; health \"/\"");
    let mut alive = plan.alive.subscribe();
    plan.looked_up(0, Ok(at("app.test", &["192.0.2.1"])));
    let health = Arc::downgrade(plan.members().list[0].health.as_ref().unwrap());
    assert!(health.upgrade().is_some());
    drop(plan);
    assert!(health.upgrade().is_none());
    let rested = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(rested.block_on(alive.changed()).is_err());
}

/// A group on one core whose clock stands still.
fn on_a_core(plan: &Arc<ClusterPlan>) -> Rc<Cluster> {
    let resolver = Resolver::new(&config::Dns::default()).unwrap();
    Rc::new(Cluster::new(Arc::clone(plan), Watchdog::new(Duration::from_millis(100)), &resolver))
}

fn ask(tried: &Tried) -> Ask<'_> {
    Ask { hash: None, pinned: None, tried }
}

async fn look<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

#[test]
fn who_waits_for_its_own_server_holds_nobody_up() {
    net::run_local(async {
        let registry = Registry::new([7; 32]);
        let plan = plan(
            &registry,
            "server \"http://192.0.2.1\" \"http://192.0.2.2\"; sticky cookie=\"b\"; \
             max-connections 1 queue=4 queue-timeout=\"60s\"",
        );
        let cluster = on_a_core(&plan);
        let cookie = plan.members().list[0].cookie.clone();
        let tried = Tried::default();
        let own = Ask { pinned: Some(cookie.as_bytes()), ..ask(&tried) };
        let has = cluster.lease(&own).await.unwrap();
        let mut second = pin!(cluster.lease(&own));
        let mut third = pin!(cluster.lease(&own));
        assert!(look(second.as_mut()).await.is_pending());
        assert!(look(third.as_mut()).await.is_pending());
        let Poll::Ready(free) = look(pin!(cluster.lease(&ask(&tried)))).await else {
            panic!("a server is idle");
        };
        assert_ne!(free.unwrap().member().address(), has.member().address());
        let Poll::Ready(elsewhere) = look(pin!(cluster.lease(&own))).await else {
            panic!("half of the line waits for one server already");
        };
        assert_ne!(elsewhere.unwrap().member().address(), has.member().address());
        drop(has);
        assert!(look(second.as_mut()).await.is_ready());
    });
}

#[test]
fn a_cookie_that_names_no_server_asks_for_none() {
    net::run_local(async {
        let registry = Registry::new([7; 32]);
        let plan = plan(
            &registry,
            "server \"http://192.0.2.1\"; sticky cookie=\"b\"; \
             max-connections 1 queue=2 queue-timeout=\"60s\"",
        );
        let cluster = on_a_core(&plan);
        let tried = Tried::default();
        let forged = Ask { pinned: Some(b"forged"), ..ask(&tried) };
        let _has = cluster.lease(&forged).await.unwrap();
        let mut first = pin!(cluster.lease(&forged));
        let mut second = pin!(cluster.lease(&forged));
        assert!(look(first.as_mut()).await.is_pending());
        assert!(look(second.as_mut()).await.is_pending(), "it may use the whole line");
        assert!(plan.queue.as_ref().unwrap().is_contended());
        let third = look(pin!(cluster.lease(&forged))).await;
        assert!(matches!(third, Poll::Ready(Err(Unavailable::QueueFull))));
    });
}

#[test]
fn one_that_came_back_gets_its_share_little_by_little() {
    net::run_local(async {
        let registry = Registry::new([7; 32]);
        let plan = plan(
            &registry,
            "server \"http://192.0.2.1\" \"http://192.0.2.2\"; slow-start \"100s\"",
        );
        let cluster = on_a_core(&plan);
        let members = plan.members();
        members.list[1].endpoint.became_well(process_ms());
        let tried = Tried::default();
        for _ in 0..1100 {
            cluster.lease(&ask(&tried)).await.unwrap();
        }
        let (requests, _) = members.list[1].endpoint.totals();
        assert!((100..=101).contains(&requests), "a tenth of the other's: {requests}");
        assert_eq!(members.list[1].endpoint.in_flight(), 0);
    });
}

#[test]
fn a_request_goes_nowhere_twice() {
    net::run_local(async {
        let registry = Registry::new([7; 32]);
        let plan = plan(&registry, "server \"http://192.0.2.1\" \"http://192.0.2.2\"");
        let cluster = on_a_core(&plan);
        let mut tried = Tried::default();
        let mut seen = Vec::new();
        assert!(cluster.has_another(&tried));
        for _ in 0..2 {
            let lease = cluster.lease(&ask(&tried)).await.unwrap();
            tried.add(&lease);
            seen.push(lease.member().address());
        }
        assert_ne!(seen[0], seen[1]);
        assert!(!cluster.has_another(&tried));
        assert_eq!(cluster.lease(&ask(&tried)).await.unwrap_err(), Unavailable::AllTried);
    });
}

#[test]
fn a_name_that_is_not_found_in_time_is_said_to_be_so() {
    net::run_local(async {
        let registry = Registry::new([7; 32]);
        let plan = plan(&registry, "server \"http://app.test\"");
        let cluster = on_a_core(&plan);
        let tried = Tried::default();
        let wanted = cluster.lease(&ask(&tried)).await.unwrap_err();
        assert_eq!(wanted, Unavailable::Unresolved(DnsError::Timeout));
        plan.looked_up(0, Err(DnsError::NotFound));
        let wanted = cluster.lease(&ask(&tried)).await.unwrap_err();
        assert_eq!(wanted, Unavailable::Unresolved(DnsError::NotFound));
        plan.looked_up(0, Ok(at("app.test", &["192.0.2.1"])));
        assert!(cluster.lease(&ask(&tried)).await.is_ok());
    });
}
