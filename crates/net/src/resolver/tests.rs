use std::collections::HashMap;

use hickory_resolver::proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::*;
use crate::run_local;

mod transports;

/// What the scripted name server says about a name.
#[derive(Clone)]
enum Reply {
    /// The addresses, of which those of the asked family go out, and their TTL.
    Addresses(&'static [&'static str], u32),
    /// No such name, with the SOA minimum if there is an SOA record.
    NoName(Option<u32>),
    Code(ResponseCode),
    /// SRV records as priority, weight, port and target.
    Services(&'static [(u16, u16, u16, &'static str)], u32),
    /// Good IPv4 addresses, but a server failure for IPv6.
    OnlyV4(&'static str),
    Silence,
}

/// A name server on loopback that plays a script and keeps a log.
#[derive(Clone, Default)]
struct Server {
    script: Rc<RefCell<HashMap<&'static str, Reply>>>,
    asked: Rc<RefCell<Vec<(String, RecordType)>>>,
}

impl Server {
    async fn start() -> (Self, Resolver) {
        Self::start_with(|_| {}).await
    }

    /// A server, and a resolver whose configuration says more.
    async fn start_with(say: impl FnOnce(&mut Dns)) -> (Self, Resolver) {
        let server = Self::default();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut dns = Dns::asking(&[socket.local_addr().unwrap()]);
        say(&mut dns);
        let resolver = Resolver::new(&dns).unwrap();
        spawn_local(server.clone().serve(socket));
        (server, resolver)
    }

    fn says(&self, name: &'static str, reply: Reply) {
        self.script.borrow_mut().insert(name, reply);
    }

    /// Questions since the last call.
    fn asked(&self) -> usize {
        self.asked.borrow_mut().drain(..).count()
    }

    async fn serve(self, socket: UdpSocket) {
        let mut room = [0; 1500];
        loop {
            let (length, peer) = socket.recv_from(&mut room).await.unwrap();
            let request = Message::from_vec(&room[..length]).unwrap();
            let question = request.queries[0].clone();
            let name = question.name().to_ascii().to_ascii_lowercase();
            self.asked.borrow_mut().push((name.clone(), question.query_type()));
            let reply = self.script.borrow().get(name.trim_end_matches('.')).cloned();
            let reply = reply.unwrap_or(Reply::NoName(None));
            if let Some(answer) = answer(request.metadata.id, &question, &reply) {
                socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
            }
        }
    }
}

fn answer(id: u16, question: &Query, reply: &Reply) -> Option<Message> {
    let mut message = Message::response(id, OpCode::Query);
    message.add_query(question.clone());
    let wants_v6 = question.query_type() == RecordType::AAAA;
    let mut add = |texts: &[&str], ttl| {
        for text in texts {
            let address: IpAddr = text.parse().unwrap();
            if address.is_ipv6() == wants_v6 {
                let data = RData::from(address);
                message.add_answer(Record::from_rdata(question.name().clone(), ttl, data));
            }
        }
    };
    match reply {
        Reply::Addresses(texts, ttl) => add(texts, *ttl),
        Reply::Services(services, ttl) => {
            for (priority, weight, port, target) in *services {
                let target = Name::from_ascii(target).unwrap();
                let data = RData::SRV(SRV::new(*priority, *weight, *port, target));
                message.add_answer(Record::from_rdata(question.name().clone(), *ttl, data));
            }
        }
        Reply::OnlyV4(_) if wants_v6 => message.metadata.response_code = ResponseCode::ServFail,
        Reply::OnlyV4(text) => add(&[text], 60),
        Reply::Code(code) => message.metadata.response_code = *code,
        Reply::Silence => return None,
        Reply::NoName(minimum) => {
            message.metadata.response_code = ResponseCode::NXDomain;
            if let Some(minimum) = *minimum {
                let zone = Name::from_ascii("test.").unwrap();
                let soa = SOA::new(zone.clone(), zone.clone(), 1, 60, 60, 60, minimum);
                message.add_authority(Record::from_rdata(zone, minimum, RData::SOA(soa)));
            }
        }
    }
    Some(message)
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Lets time pass for timers without waiting. The clock runs on afterwards: while it
/// stands still, the runtime takes waiting for a packet for waiting for a timer.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn answers_are_kept_for_their_ttl() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        server.says("both.test", Reply::Addresses(&["192.0.2.1", "2001:db8::1"], 60));
        let found = resolver.lookup("both.test").await.unwrap();
        assert_eq!(*found, *ips(&["2001:db8::1", "192.0.2.1"]), "IPv6 comes first");
        assert_eq!(server.asked(), 2, "one question for each family");
        pass(58 * SECOND).await;
        assert_eq!(resolver.lookup("Both.TEST").await.unwrap(), found);
        assert_eq!(server.asked(), 0, "known, however it is written");
        server.says("both.test", Reply::Addresses(&["192.0.2.2"], 60));
        pass(3 * SECOND).await;
        assert_eq!(*resolver.lookup("both.test").await.unwrap(), *ips(&["192.0.2.2"]));
        assert_eq!(server.asked(), 2);
    });
}

#[test]
fn ttls_are_clamped() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        server.says("none.test", Reply::Addresses(&["192.0.2.1"], 0));
        server.says("eternal.test", Reply::Addresses(&["192.0.2.1"], u32::MAX >> 1));
        let now = Instant::now();
        let kept = async |name: &str| (resolver.outcome(name).await.until - now).as_secs();
        assert!((1..=5).contains(&kept("none.test").await));
        assert!((3600..=3605).contains(&kept("eternal.test").await));
    });
}

#[test]
fn missing_names_are_remembered() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        server.says("gone.test", Reply::NoName(Some(30)));
        assert_eq!(resolver.lookup("gone.test").await, Err(DnsError::NotFound));
        server.says("gone.test", Reply::Addresses(&["192.0.2.1"], 60));
        server.asked();
        pass(28 * SECOND).await;
        assert_eq!(resolver.lookup("gone.test").await, Err(DnsError::NotFound));
        assert_eq!(server.asked(), 0);
        pass(3 * SECOND).await;
        assert!(resolver.lookup("gone.test").await.is_ok());
    });
}

#[test]
fn a_name_without_addresses_is_not_found() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        server.says("mail.test", Reply::Addresses(&[], 60));
        assert_eq!(resolver.lookup("mail.test").await, Err(DnsError::NotFound));
    });
}

#[test]
fn server_failures_bring_their_code_and_are_remembered_briefly() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        server.says("broken.test", Reply::Code(ResponseCode::ServFail));
        let failed = resolver.lookup("broken.test").await.unwrap_err();
        assert_eq!((failed.kind(), failed.rcode()), ("dns_error", Some("SERVFAIL")), "{failed}");
        server.asked();
        assert_eq!(resolver.lookup("broken.test").await, Err(failed));
        assert_eq!(server.asked(), 0);
        server.says("broken.test", Reply::Addresses(&["192.0.2.1"], 60));
        pass(2 * SECOND).await;
        assert!(resolver.lookup("broken.test").await.is_ok());
    });
}

#[test]
fn one_family_is_enough() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        server.says("half.test", Reply::OnlyV4("192.0.2.7"));
        assert_eq!(*resolver.lookup("half.test").await.unwrap(), *ips(&["192.0.2.7"]));
    });
}

#[test]
fn silence_is_a_timeout() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        server.says("silent.test", Reply::Silence);
        // Nothing will arrive, so here the clock may jump from timer to timer.
        tokio::time::pause();
        let failed = resolver.lookup("silent.test").await.unwrap_err();
        assert_eq!((&failed, failed.kind()), (&DnsError::Timeout, "dns_timeout"));
        assert!(server.asked() >= 2);
    });
}

#[test]
fn concurrent_look_ups_of_a_name_are_joined() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        server.says("busy.test", Reply::Addresses(&["192.0.2.1"], 60));
        let tasks: Vec<_> = (0..50)
            .map(|at| {
                let resolver = resolver.clone();
                let name = if at % 2 == 0 { "busy.test" } else { "BUSY.test" };
                spawn_local(async move { resolver.lookup(name).await })
            })
            .collect();
        // The one who asked first loses interest.
        tokio::task::yield_now().await;
        assert_eq!(resolver.len(), 1);
        tasks[0].abort();
        for task in tasks.into_iter().skip(1) {
            assert_eq!(*task.await.unwrap().unwrap(), *ips(&["192.0.2.1"]));
        }
        assert_eq!(server.asked(), 2);
    });
}

#[test]
fn some_names_never_leave_the_machine() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        let loopback = ips(&["127.0.0.1", "::1"]);
        for name in ["localhost", "LocalHost.", "a.b.localhost", "db.LOCALHOST"] {
            assert_eq!(*resolver.lookup(name).await.unwrap(), *loopback, "{name}");
        }
        for name in ["x.invalid", "site.onion", "onion.", "", "."] {
            assert_eq!(resolver.lookup(name).await, Err(DnsError::NotFound), "{name}");
        }
        for address in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(*resolver.lookup(address).await.unwrap(), *ips(&[address]));
        }
        assert!(resolver.is_empty());
        assert_eq!(server.asked(), 0);
        // These only look alike.
        for name in ["notlocalhost", "localhost.test", "onions"] {
            assert_eq!(resolver.lookup(name).await, Err(DnsError::NotFound), "{name}");
            assert!(server.asked() >= 2, "{name}");
        }
    });
}

#[test]
fn what_is_no_name_is_an_error_and_not_a_panic() {
    run_local(async {
        let (_server, resolver) = Server::start().await;
        let long = format!("{}.test", "a".repeat(64));
        let longer = "a.".repeat(200);
        for name in [&*long, &*longer, "a..b", "\\999", "\0", "\u{fffd}"] {
            assert!(resolver.lookup(name).await.is_err(), "{name:?}");
        }
    });
}

#[test]
fn the_cache_is_bounded_and_forgets_what_expires_first() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        let now = Instant::now();
        {
            let mut names = resolver.inner.names.borrow_mut();
            for at in 0..MAX_NAMES {
                let until = now + SECOND * (10 + at as u32);
                let outcome = Outcome { result: Err(DnsError::NotFound), until };
                names.insert(format!("n{at}.test").into(), Slot::Known(outcome));
            }
        }
        server.says("new.test", Reply::Addresses(&["192.0.2.1"], 60));
        assert!(resolver.lookup("new.test").await.is_ok());
        assert!(resolver.len() <= MAX_NAMES * 3 / 4 + 1, "{}", resolver.len());
        let names = resolver.inner.names.borrow();
        assert!(!names.contains_key("n0.test"));
        assert!(names.contains_key(&*format!("n{}.test", MAX_NAMES - 1)));
    });
}

#[test]
fn too_many_look_ups_under_way_are_refused() {
    run_local(async {
        let (_server, resolver) = Server::start().await;
        let (_sender, receiver) = watch::channel(None);
        for at in 0..MAX_NAMES {
            let slot = Slot::Asked(receiver.clone());
            resolver.inner.names.borrow_mut().insert(format!("n{at}.test").into(), slot);
        }
        let failed = resolver.lookup("one-more.test").await.unwrap_err();
        assert!(matches!(failed, DnsError::Failed(_)), "{failed}");
        assert_eq!(failed.rcode(), None);
        assert_eq!(resolver.len(), MAX_NAMES);
    });
}

#[test]
fn services_are_read_with_their_time_to_live() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        let records: &[_] = &[(10, 60, 8080, "A.test."), (20, 0, 9090, "b.test.")];
        server.says("_web._tcp.test", Reply::Services(records, 30));
        let (found, holds) = resolver.services("_web._tcp.test").await;
        let of = |(priority, weight, port, target): (u16, u16, u16, &str)| Service {
            target: target.to_owned(),
            port,
            priority,
            weight,
        };
        assert_eq!(found, Ok(vec![of((10, 60, 8080, "a.test")), of((20, 0, 9090, "b.test"))]));
        assert_eq!(holds, 30 * SECOND);
        // "Decidedly not available" (RFC 2782).
        server.says("_no._tcp.test", Reply::Services(&[(0, 0, 0, ".")], 30));
        assert_eq!(resolver.services("_no._tcp.test").await.0, Err(DnsError::NotFound));
        assert_eq!(resolver.services("_gone._tcp.test").await.0, Err(DnsError::NotFound));
        server.says("_zero._tcp.test", Reply::Services(records, 0));
        assert_eq!(resolver.services("_zero._tcp.test").await.1, SECOND);
    });
}

#[test]
fn a_look_up_tells_for_how_long_it_holds() {
    run_local(async {
        let (server, resolver) = Server::start().await;
        server.says("origin.test", Reply::Addresses(&["192.0.2.1"], 40));
        let (found, holds) = resolver.lookup_for("origin.test").await;
        assert_eq!(*found.unwrap(), *ips(&["192.0.2.1"]));
        assert!(holds > 38 * SECOND && holds <= 40 * SECOND, "{holds:?}");
    });
}

fn hosts(entries: &[(&str, &[&str])]) -> Vec<config::HostsEntry> {
    let entry = |(name, addresses): &(&str, &[&str])| config::HostsEntry {
        name: (*name).to_owned(),
        addresses: ips(addresses),
        span: (0..0).into(),
    };
    entries.iter().map(entry).collect()
}

#[test]
fn hosts_of_the_configuration_come_before_all_others() {
    run_local(async {
        let (server, asking) = Server::start_with(|dns| {
            dns.hosts = hosts(&[
                ("intranet.test", &["10.0.0.5", "fd00::5"]),
                ("localhost", &["192.0.2.9"]),
                ("site.onion", &["192.0.2.8"]),
            ]);
        })
        .await;
        server.says("intranet.test", Reply::Addresses(&["192.0.2.1"], 60));
        for name in ["intranet.test", "Intranet.TEST", "intranet.test."] {
            let found = asking.lookup(name).await.unwrap();
            assert_eq!(*found, *ips(&["10.0.0.5", "fd00::5"]), "{name}");
        }
        assert_eq!(*asking.lookup("localhost").await.unwrap(), *ips(&["192.0.2.9"]));
        assert_eq!(*asking.lookup("site.onion").await.unwrap(), *ips(&["192.0.2.8"]));
        assert_eq!(server.asked(), 0);
        // Only these names, not what is below them.
        assert_eq!(asking.lookup("a.intranet.test").await, Err(DnsError::NotFound));
        assert_eq!(*asking.lookup("a.localhost").await.unwrap(), *ips(&["127.0.0.1", "::1"]));
    });
}

#[test]
fn families_are_preferred_by_the_configuration_and_by_whoever_asks() {
    use FamilyPreference::{Any, Ipv4First, Ipv4Only, Ipv6First, Ipv6Only};
    const BOTH: &[&str] = &["192.0.2.1", "2001:db8::1", "192.0.2.2"];
    const SIX_FIRST: &[&str] = &["2001:db8::1", "192.0.2.1", "192.0.2.2"];
    const FOUR_FIRST: &[&str] = &["192.0.2.1", "192.0.2.2", "2001:db8::1"];
    run_local(async {
        for (prefer, found) in [
            (Any, SIX_FIRST),
            (Ipv6First, SIX_FIRST),
            (Ipv4First, FOUR_FIRST),
            (Ipv4Only, &["192.0.2.1", "192.0.2.2"]),
            (Ipv6Only, &["2001:db8::1"]),
        ] {
            let (server, resolver) = Server::start_with(|dns| dns.prefer = prefer).await;
            server.says("both.test", Reply::Addresses(BOTH, 60));
            server.says("four.test", Reply::Addresses(&["192.0.2.7"], 60));
            assert_eq!(*resolver.lookup("both.test").await.unwrap(), *ips(found), "{prefer:?}");
            assert_eq!(*resolver.lookup_for("both.test").await.0.unwrap(), *ips(found));
            // Whoever asks differently is given another order of the same answer.
            let four = resolver.lookup_preferring("both.test", Ipv4First).await;
            assert_eq!(*four.unwrap(), *ips(FOUR_FIRST));
            assert_eq!(server.asked(), 2);
            let only = resolver.lookup("four.test").await;
            let wanted = if prefer == Ipv6Only { Err(DnsError::NotFound) } else { only.clone() };
            assert_eq!(only, wanted);
            // What is an address already is what was asked for.
            assert_eq!(*resolver.lookup("192.0.2.1").await.unwrap(), *ips(&["192.0.2.1"]));
        }
    });
}
