//! What would become of a request, and why: the decisions of the data plane, asked for without a
//! connection.
//!
//! Whatever decides here is what decides there: the tables of sites and routes, the canonical
//! path, the rules about fields and targets. What depends on the moment (limits that are used up,
//! names that resolve, passwords, answers of servers) is told as what will be asked.

mod cache;
mod fields;
mod forward;
mod gate;
mod gateway;
mod listener;
mod relay;
mod reverse;
mod route;
mod site;

use std::net::{IpAddr, SocketAddr};

use accounts::Accounts;

use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::snapshot::{Face, Snapshot};

/// Of what is not chosen, so many are told of.
const OTHERS: usize = 12;

/// A request that nobody makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its method; `CONNECT` asks a listener of the forward face.
    pub method: String,
    /// An absolute URL; a path, with a `Host` among the fields; for CONNECT `host:port`.
    pub url: String,
    /// Fields of the request; `Host` follows from the URL unless it is here.
    pub fields: Vec<(String, String)>,
    /// Where it comes from.
    pub client: IpAddr,
    /// The listener that it comes to; `None`: the one that the URL leads to.
    pub listener: Option<SocketAddr>,
    /// The name that the client shows to the forward face, wishes included.
    pub user: Option<String>,
}

/// What would become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The end of it.
    pub outcome: Outcome,
    /// How it comes to that, in the order in which it is decided.
    pub parts: Vec<Part>,
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes to a server of this upstream, if one can be reached.
    Relayed {
        /// Its name.
        upstream: String,
    },
    /// It goes to this target, if that can be reached.
    Forwarded {
        /// Host and port.
        target: String,
    },
    /// It is answered as the configuration says.
    Answered {
        /// Status of the answer.
        status: u16,
        /// More about it.
        why: String,
    },
    /// It is refused.
    Refused {
        /// Status of the answer.
        status: u16,
        /// The word for it in the log and in `Proxy-Status`.
        kind: &'static str,
        /// More about it.
        why: String,
    },
    /// It does not come to a request.
    Closed {
        /// Why.
        why: String,
    },
}

/// One decision, or one thing that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is about.
    pub name: &'static str,
    /// What was decided.
    pub says: String,
    /// More about it.
    pub notes: Vec<String>,
    /// What was not chosen, and why.
    pub others: Vec<Other>,
}

/// Something that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// What would become of a request. With a registry, servers are told of as they are now; with
/// accounts, what users have left counts.
#[must_use]
pub fn explain(
    snapshot: &Snapshot,
    question: &Question,
    live: Option<&upstream::Registry>,
    accounts: Option<&Accounts>,
) -> Explanation {
    let mut told = Told::default();
    let ended = told.all(snapshot, question, live, accounts);
    let outcome = told.stopped.unwrap_or(match ended {
        Ok(outcome) | Err(outcome) => outcome,
    });
    Explanation { outcome, parts: told.parts }
}

/// What has been told so far.
#[derive(Debug, Default)]
struct Told {
    parts: Vec<Part>,
    /// The end of the request, where what comes after it is told all the same.
    stopped: Option<Outcome>,
}

/// The way ends early.
type Step<T> = Result<T, Outcome>;

impl Told {
    fn all(
        &mut self,
        snapshot: &Snapshot,
        question: &Question,
        live: Option<&upstream::Registry>,
        accounts: Option<&Accounts>,
    ) -> Step<Outcome> {
        let place = listener::choose(self, snapshot, question)?;
        let trusted = snapshot.trusted.trusts(question.client);
        let mut client = Client::new(SocketAddr::new(question.client, 0), trusted);
        client.secure = place.secure;
        if place.listener.introducers.trusts(question.client) {
            self.note("connections of this client begin with a PROXY protocol header: the address in it counts");
        }
        if trusted {
            self.note(format!("what {} says of clients before it is believed", question.client));
        }
        match &place.listener.face {
            Face::Reverse(face) => {
                let head = fields::head(question, &place)?;
                reverse::Asked { snapshot, face, client, live, place: &place }.explain(self, head)
            }
            Face::Forward(face) => {
                let head = fields::head(question, &place)?;
                let asking = (question.user.as_deref(), accounts);
                forward::explain(self, snapshot, face, &client, head, asking)
            }
            Face::Tunnel(face) => forward::tunnel(self, snapshot, face, &client, &place, live),
        }
    }

    fn part(&mut self, name: &'static str, says: impl Into<String>) {
        let says = says.into();
        self.parts.push(Part { name, says, notes: Vec::new(), others: Vec::new() });
    }

    /// More about the last part.
    fn note(&mut self, note: impl Into<String>) {
        if let Some(part) = self.parts.last_mut() {
            part.notes.push(note.into());
        }
    }

    /// What was not chosen in the last part; not more than anybody would read. They are sorted
    /// by how near they were, nearest first.
    fn others(&mut self, mut others: Vec<(i64, Other)>) {
        others.sort_by_key(|(distance, _)| *distance);
        let more = others.len().saturating_sub(OTHERS);
        let Some(part) = self.parts.last_mut() else { return };
        part.others.extend(others.into_iter().take(OTHERS).map(|(_, other)| other));
        if more > 0 {
            let why = "further away".to_owned();
            part.others.push(Other { what: format!("{more} more"), why });
        }
    }

    /// The request ends here; what comes after it is told all the same.
    fn stop(&mut self, failure: &Failure) {
        if self.stopped.is_none() {
            self.stopped = Some(refused(failure));
            self.note("the request ends here; what follows is for those who get past");
        }
    }
}

/// A failure as the client sees it.
fn refused(failure: &Failure) -> Outcome {
    let why = match (failure.detail.as_ref(), failure.kind) {
        ("", Kind::Misdirected) => "no site has this host",
        ("", Kind::NoRoute) => "no route has this path",
        ("", Kind::MethodNotAllowed) => "routes of this path take other methods",
        ("", Kind::RequestBodyTooLarge) => "the body is larger than is allowed",
        ("", Kind::RequestHeadTooLarge) => "the head is larger than is allowed",
        ("", Kind::Loop) => "the request has been here before",
        (detail, _) => detail,
    };
    let (status, kind) = (failure.kind.status(), failure.kind.name());
    Outcome::Refused { status, kind, why: why.to_owned() }
}

fn closed(why: impl Into<String>) -> Outcome {
    Outcome::Closed { why: why.into() }
}

fn other(what: impl Into<String>, why: impl Into<String>) -> Other {
    Other { what: what.into(), why: why.into() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
