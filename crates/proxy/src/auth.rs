//! A server that is asked about each request before it goes on (forward authentication).
//!
//! It is asked with a GET that shows the fields it is to be shown and says of the request what
//! it was: method, scheme, host, target and client. A 2xx lets the request go on, with fields of
//! the answer; 401, 403 and redirects go to the client; with anything else, and with no answer
//! at all, nobody gets in.

pub(crate) mod callout;
mod fetch;

use std::rc::Rc;
use std::time::{Duration, Instant};

use message::target::Target;
use message::{Block, FieldId, ResponseHead, is_alias};
use policy::freshness;

use crate::client::AddressText;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::gate::Passage;
use crate::respond::{Answer, ErrorPages};

use fetch::{Get, Reply, fetch};

/// Decisions that one core keeps, and how large they are together.
pub(crate) const KEPT_DECISIONS: usize = 8192;
/// See [`KEPT_DECISIONS`].
pub(crate) const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Fields of a refusal that go to the client.
const PASSED: [&str; 5] =
    ["WWW-Authenticate", "Location", "Set-Cookie", "Cache-Control", "Content-Encoding"];

/// Fields that belong to one message or one connection: they are neither shown nor copied.
const OWN: [FieldId; 13] = [
    FieldId::Host,
    FieldId::Connection,
    FieldId::KeepAlive,
    FieldId::ProxyConnection,
    FieldId::TransferEncoding,
    FieldId::ContentLength,
    FieldId::Te,
    FieldId::Trailer,
    FieldId::Upgrade,
    FieldId::Expect,
    FieldId::Http2Settings,
    FieldId::ProxyAuthorization,
    FieldId::MaxForwards,
];

/// What is asked, compiled.
#[derive(Debug)]
pub(crate) struct Question {
    /// Index of the upstream that is asked.
    upstream: usize,
    target: String,
    send: Vec<String>,
    copy: Vec<String>,
    timeout: Duration,
    cache: bool,
}

/// What the server has decided.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The request goes on, with these fields.
    Grant(Vec<(String, Box<[u8]>)>),
    /// It does not, and this is what the client gets.
    Refuse(Refusal),
}

#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    content_type: String,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Question {
    pub(crate) fn build(config: &config::ForwardAuth) -> Self {
        let passes = |name: &&String| !OWN.contains(&FieldId::of(name.as_bytes()));
        Self {
            upstream: config.upstream,
            target: config.target.clone(),
            send: config.send.iter().filter(passes).cloned().collect(),
            copy: config.copy.iter().filter(passes).cloned().collect(),
            timeout: config.timeout,
            cache: config.cache,
        }
    }

    /// Asks, or remembers what was answered to the very same question, and does what it says.
    pub(crate) async fn ask(
        &self,
        x: &mut Exchange<'_>,
        pages: &ErrorPages,
    ) -> Result<Passage, Failure> {
        let shown = self.shown(x);
        self.drop_claims(&mut x.request.fields);
        let key = self.key(x, &shown);
        let kept = if self.cache { x.core.decisions.get(&key, Instant::now()) } else { None };
        let decision = match kept {
            Some(decision) => decision,
            None => {
                let (decision, fresh) = self.decide(x, &shown).await?;
                let decision = Rc::new(decision);
                if self.cache && !fresh.is_zero() {
                    let (kept, size) = (Rc::clone(&decision), decision.size());
                    x.core.decisions.keep(key, kept, size, Instant::now(), fresh);
                }
                decision
            }
        };
        match &*decision {
            Decision::Grant(fields) => {
                for (name, value) in fields {
                    x.request.fields.push(name.as_bytes(), &[value]);
                }
                Ok(Passage::Open)
            }
            Decision::Refuse(refusal) => {
                // It is no failure, but the log tells why nobody else was asked.
                x.record.note_failure(&Failure::with(Kind::Denied, "forward_auth"));
                x.answer(refusal.answer(pages)).await?;
                Ok(Passage::Answered)
            }
        }
    }

    /// All that the server sees of a request: whatever decides is in here, so that this is what
    /// a decision is kept for.
    fn shown(&self, x: &Exchange<'_>) -> Block {
        let received = &x.request.fields;
        let mut shown = Block::default();
        for name in &self.send {
            for value in received.values_named(name.as_bytes()) {
                shown.push(name.as_bytes(), &[value]);
            }
        }
        // What a trusted peer says of the client before it stays, as it does on the way to an
        // origin.
        let believed = |id| received.values(id).filter(|_| x.client.trusted);
        let address = AddressText::new(x.client.address);
        let mut chain = believed(FieldId::XForwardedFor).collect::<Vec<_>>();
        chain.push(address.as_str().as_bytes());
        let scheme = x.client.scheme().as_bytes();
        let (host, target) = host_and_target(x);
        let proto = believed(FieldId::XForwardedProto).next().unwrap_or(scheme);
        let host = believed(FieldId::XForwardedHost).next().unwrap_or(host);
        shown.push(b"X-Forwarded-Method", &[x.request.method_text()]);
        shown.push(b"X-Forwarded-Proto", &[proto]);
        shown.push(b"X-Forwarded-Host", &[host]);
        shown.push(b"X-Forwarded-Uri", &target);
        shown.push(b"X-Forwarded-For", &[&chain.join(&b", "[..])]);
        shown
    }

    /// Whatever the client calls by the names of fields that we vouch for, in any spelling that
    /// an origin could take for them.
    pub(crate) fn drop_claims(&self, fields: &mut Block) {
        fields
            .remove_where(|_, found| self.copy.iter().any(|name| is_alias(found, name.as_bytes())));
    }

    /// What a decision is kept for: all that was shown, and who was asked what. A digest with a
    /// secret, for there are passwords in it.
    fn key(&self, x: &Exchange<'_>, shown: &Block) -> policy::DecisionKey {
        let generation = x.view.snapshot.generation.to_le_bytes();
        let upstream = (self.upstream as u64).to_le_bytes();
        let fields = shown.iter().flat_map(|field| [shown.name(field), shown.value(field)]);
        // Another question may copy other fields of the same answer.
        let copied = self.copy.iter().map(String::as_bytes);
        let question = [&generation[..], &upstream, self.target.as_bytes(), b"copy"];
        let parts = question.into_iter().chain(copied).chain([&b"shown"[..]]).chain(fields);
        x.core.verified.keyed_digest("forward-auth", parts)
    }

    /// Asks; says also for how long the decision holds.
    async fn decide(
        &self,
        x: &mut Exchange<'_>,
        shown: &Block,
    ) -> Result<(Decision, Duration), Failure> {
        let get = Get { target: &self.target, fields: shown };
        let until = tokio::time::Instant::now() + self.timeout;
        let reply = fetch(x, self.upstream, get, until).await;
        let reply = reply.map_err(|failure| undecided(failure.kind))?;
        let fresh = fresh_for(&reply.head);
        let decision = match reply.head.status {
            200..=299 => Decision::Grant(self.copied(&reply.head)),
            401 | 403 => Decision::Refuse(Refusal::of(reply)?),
            301 | 302 | 303 | 307 | 308 if reply.head.fields.has(FieldId::Location) => {
                Decision::Refuse(Refusal::of(reply)?)
            }
            500..=599 => return Err(undecided(Kind::Unavailable)),
            _ => return Err(undecided(Kind::ProtocolError)),
        };
        Ok((decision, fresh))
    }

    fn copied(&self, head: &ResponseHead) -> Vec<(String, Box<[u8]>)> {
        let values = |name: &String| {
            let values = head.fields.values_named(name.as_bytes());
            values.map(|value| (name.clone(), value.into())).collect::<Vec<_>>()
        };
        self.copy.iter().flat_map(values).collect()
    }
}

impl Decision {
    /// Roughly, in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Grant(fields) => {
                fields.iter().map(|(name, value)| name.len() + value.len() + 64).sum()
            }
            Self::Refuse(refusal) => {
                let fields: usize = refusal.fields.iter().map(|(_, value)| value.len() + 64).sum();
                refusal.body.len() + fields + refusal.content_type.len()
            }
        }
    }
}

impl Refusal {
    /// Without anything to tell the client.
    fn bare(status: u16) -> Self {
        Self { status, content_type: String::new(), fields: Vec::new(), body: Vec::new() }
    }

    fn of(reply: Reply) -> Result<Self, Failure> {
        let received = &reply.head.fields;
        let text = |value: &[u8]| {
            String::from_utf8(value.to_vec()).map_err(|_| undecided(Kind::ProtocolError))
        };
        let content_type = received.get(FieldId::ContentType).map(text).transpose()?;
        let mut fields = Vec::new();
        for name in PASSED {
            for value in received.values_named(name.as_bytes()) {
                fields.push((name, text(value)?));
            }
        }
        // A body that is too long to be kept is left out: the status says what there is to say.
        let whole = reply.body.is_some();
        fields.retain(|(name, _)| whole || *name != "Content-Encoding");
        Ok(Self {
            status: reply.head.status,
            content_type: content_type.filter(|_| whole).unwrap_or_default(),
            fields,
            body: reply.body.unwrap_or_default(),
        })
    }

    /// Pages that stand in place of an origin's stand in place of this as well.
    fn answer<'r>(&'r self, pages: &'r ErrorPages) -> Answer<'r> {
        let page = pages.for_origin(self.status);
        let (content_type, body) = page.unwrap_or((&self.content_type, &self.body));
        let mut answer = Answer { content_type, body: body.into(), ..Answer::new(self.status) };
        for (name, value) in &self.fields {
            if page.is_none() || *name != "Content-Encoding" {
                answer = answer.field(name, value.as_str());
            }
        }
        answer
    }
}

/// Nobody gets in while nobody decides.
fn undecided(kind: Kind) -> Failure {
    let kind = if (502..=504).contains(&kind.status()) { kind } else { Kind::Unavailable };
    Failure::with(kind, "asking whether the request may go on")
}

/// For how long an answer may be used again: as it says itself, for the same question. One that
/// gives its client a cookie is for one client, once.
fn fresh_for(head: &ResponseHead) -> Duration {
    let fields = &head.fields;
    let varies = |value: &[u8]| message::list::contains(value, b"*");
    if fields.has(FieldId::SetCookie) || fields.values_named(b"vary").any(varies) {
        return Duration::ZERO;
    }
    freshness(fields.values_named(b"cache-control"), fields.values_named(b"age"))
}

/// The host that a request is for, and the path and query of its target as they were received.
fn host_and_target<'x>(x: &'x Exchange<'_>) -> (&'x [u8], [&'x [u8]; 2]) {
    let received = x.request.target();
    let host = x.request.fields.get(FieldId::Host).unwrap_or_default();
    match Target::parse(x.request.method, received) {
        Ok(Target::Absolute { authority, path, .. }) => {
            let target = &received[path.path.start..path.query.end];
            let slash: &[u8] = if target.starts_with(b"/") { b"" } else { b"/" };
            (&received[authority], [slash, target])
        }
        _ => (host, [received, b""]),
    }
}
