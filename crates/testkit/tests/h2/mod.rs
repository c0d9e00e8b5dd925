//! What the tests of HTTP/2 share: a site before an origin, and a table of rules.

#![allow(dead_code, reason = "no test binary uses all of it")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};

use testkit::h2::{Block, Client, Frame, Outcome, code, flag};
use testkit::{Message, Origin, Proxy, Served};

/// A site before an origin that speaks HTTP/1.1 and answers all with 200. A request whose target
/// contains `held` is not answered until the test is through.
pub struct Front {
    pub origin: Served,
    pub proxy: Proxy,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let closed = self.open.lock().unwrap();
        drop(self.opened.wait_while(closed, |open| !*open).unwrap());
    }
}

impl Front {
    pub fn start() -> Self {
        Self::answering("", |_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())
    }

    /// With these directives in the site, and an origin that answers so.
    pub fn answering(
        directives: &str,
        answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let origin = Origin::serve(move |request| {
            if request.target().contains("held") {
                held.pass();
            }
            answer(request)
        });
        let url = origin.url();
        let proxy = Proxy::start(&format!(
            "site \"http://127.0.0.1:0\" {{\n{directives}\nto \"{url}\"\n}}"
        ));
        Self { origin, proxy, gate }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.proxy.first())
    }

    /// Lets go of the requests that are held.
    pub fn release(&self) {
        self.gate.open();
    }

    /// Stops the proxy; no octet of a request whose path contains `never` has reached the origin.
    /// Clients must have let go of their connections.
    pub fn finish(self) -> Vec<Message> {
        self.gate.open();
        self.proxy.stop();
        let all = self.origin.all_bytes();
        assert!(!all.contains("never"), "this reached the origin: {all}");
        self.origin.requests()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.gate.open();
    }
}

/// A rule: what a client does, and what must come of it.
pub struct Case {
    rule: &'static str,
    /// Returns the stream that is judged.
    act: fn(&mut Client) -> u32,
    expect: Expect,
    /// Where the h2 crate is known to say something else: this code.
    instead: Option<u32>,
    /// Where the h2 crate is known to end the connection, and not just the stream.
    ends: bool,
}

enum Expect {
    /// GOAWAY with one of these codes and the end, or just the end.
    Connection(&'static [u32]),
    /// RST_STREAM with one of these codes; the connection lives on.
    Stream(&'static [u32]),
    /// Either of the two.
    Either(&'static [u32]),
    /// A response with 200.
    Served,
}

impl Case {
    /// A connection error with one of these codes.
    pub fn connection(
        rule: &'static str,
        codes: &'static [u32],
        act: fn(&mut Client) -> u32,
    ) -> Self {
        Self { rule, act, expect: Expect::Connection(codes), instead: None, ends: false }
    }

    /// A stream error with one of these codes.
    pub fn stream(rule: &'static str, codes: &'static [u32], act: fn(&mut Client) -> u32) -> Self {
        Self { rule, act, expect: Expect::Stream(codes), instead: None, ends: false }
    }

    /// A stream error or a connection error with one of these codes.
    pub fn either(rule: &'static str, codes: &'static [u32], act: fn(&mut Client) -> u32) -> Self {
        Self { rule, act, expect: Expect::Either(codes), instead: None, ends: false }
    }

    /// A response with 200.
    pub fn served(rule: &'static str, act: fn(&mut Client) -> u32) -> Self {
        Self { rule, act, expect: Expect::Served, instead: None, ends: false }
    }

    /// The h2 crate ends the stream or the connection as it must, but names this reason. The
    /// day it names the right one, the rule fails and this can go.
    pub fn h2_says(self, code: u32) -> Self {
        Self { instead: Some(code), ..self }
    }

    /// The h2 crate ends the connection where the stream would do, as section 5.4.1 lets it. The
    /// day it does not, the rule fails and this can go.
    pub fn h2_ends_all(self) -> Self {
        Self { ends: true, ..self }
    }

    fn judge(&self, client: &mut Client) -> Result<(), String> {
        let stream = (self.act)(client);
        let outcome = match self.expect {
            Expect::Connection(_) => connection_outcome(client)?,
            _ => client.outcome(stream),
        };
        let judge = |codes: &[u32], found: u32| match self.instead {
            None if codes.contains(&found) => Ok(()),
            Some(instead) if instead == found => Ok(()),
            _ => Err(format!("said {}", code::name(found))),
        };
        match (&self.expect, outcome) {
            (Expect::Served, Outcome::Response(response)) if response.status == 200 => Ok(()),
            (Expect::Stream(codes), Outcome::Goaway(found)) if self.ends => judge(codes, found),
            (Expect::Stream(codes), Outcome::Reset(found)) if !self.ends => {
                judge(codes, found)?;
                if client.sync() { Ok(()) } else { Err("then ended the connection".to_owned()) }
            }
            (Expect::Either(codes), Outcome::Reset(found) | Outcome::Goaway(found))
            | (Expect::Connection(codes), Outcome::Goaway(found)) => judge(codes, found),
            (Expect::Either(_) | Expect::Connection(_), Outcome::Closed) => Ok(()),
            (_, outcome) => Err(format!("{outcome:?}")),
        }
    }
}

/// How the connection ends, if it does: an answer to a PING shows that it does not.
fn connection_outcome(client: &mut Client) -> Result<Outcome, String> {
    if client.sync() {
        let kept: Vec<_> = client.kept().iter().cloned().collect();
        return Err(format!("did not end the connection; received: {kept:?}"));
    }
    Ok(client.end_of_connection().map_or(Outcome::Closed, Outcome::Goaway))
}

/// Judges all rules, each on a connection of its own, and fails with a list of those broken.
pub fn check(front: Front, cases: &[Case]) {
    check_with(front, cases, &[]);
}

/// The same with these settings of the client.
pub fn check_with(front: Front, cases: &[Case], settings: &[(u16, u32)]) {
    let mut broken = Vec::new();
    for case in cases {
        let address = front.proxy.first();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut client = Client::connect_with(address, settings);
            let verdict = case.judge(&mut client);
            verdict.map_err(|words| format!("{words}; {}", client.history()))
        }));
        let words = match outcome {
            Ok(Ok(())) => continue,
            Ok(Err(words)) => words,
            Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
        };
        broken.push(format!("- {}: {words}", case.rule));
    }
    assert!(broken.is_empty(), "{} rules broken:\n{}", broken.len(), broken.join("\n"));
    front.finish();
}

/// The pseudo-fields of a GET, followed by more.
pub fn get_with<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    request("GET", path, more)
}

/// The pseudo-fields of a request, followed by more.
pub fn request<'a>(
    method: &'a str,
    path: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut fields =
        vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")];
    fields.extend_from_slice(more);
    fields
}

/// A block that is not whole, followed by this frame.
pub fn cut_block(client: &mut Client, then: &Frame) -> u32 {
    let block = Block::get("/never");
    client.send(&Frame::headers(1, &block, true).without(flag::END_HEADERS)).send(then);
    0
}
