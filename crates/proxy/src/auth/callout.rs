//! A server that is asked about users whom nothing else knows.
//!
//! It is sent a GET with the name and the password as Basic credentials, and the address of the
//! client in `X-Forwarded-For`. A 2xx says that they belong together, 401, 403 and 404 that they
//! do not; with anything else nobody gets in for now. Answers are remembered on each core.

use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use message::Block;

use super::fetch::{Get, fetch};
use super::{Decision, Refusal};
use crate::client::AddressText;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::gate::WRONG;

/// How long the server may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a name and a password belong together.
///
/// # Errors
/// They do not, or the server does not say.
pub(crate) async fn ask(
    x: &Exchange<'_>,
    callout: &config::Callout,
    user: &str,
    password: &[u8],
) -> Result<(), Failure> {
    let wrong = || Failure::with(Kind::Unauthenticated, WRONG);
    let upstream = (callout.upstream as u64).to_le_bytes();
    let generation = x.view.snapshot.generation.to_le_bytes();
    // The server is told the address: what it says of one says nothing of another.
    let address = AddressText::new(x.client.address);
    let parts = [
        &generation[..],
        &upstream,
        callout.target.as_bytes(),
        user.as_bytes(),
        password,
        address.as_str().as_bytes(),
    ];
    let key = x.core.verified.keyed_digest("callout", parts);
    if let Some(decision) = x.core.decisions.get(&key, Instant::now()) {
        return match &*decision {
            Decision::Grant(_) => Ok(()),
            Decision::Refuse(_) => Err(wrong()),
        };
    }
    let mut credentials = user.as_bytes().to_vec();
    credentials.push(b':');
    credentials.extend_from_slice(password);
    let credentials = STANDARD.encode(credentials);
    let mut fields = Block::default();
    fields.push(b"Authorization", &[b"Basic ", credentials.as_bytes()]);
    fields.push(b"X-Forwarded-For", &[address.as_str().as_bytes()]);
    let until = tokio::time::Instant::now() + TIMEOUT;
    let get = Get { target: &callout.target, fields: &fields };
    let reply = fetch(x, callout.upstream, get, until).await;
    let undecided = |kind| Failure::with(kind, "asking about a user");
    let status = reply.map_err(|failure| undecided(failure.kind))?.head.status;
    let (decision, keep) = match status {
        200..=299 => (Decision::Grant(Vec::new()), callout.keep),
        401 | 403 | 404 => (Decision::Refuse(Refusal::bare(status)), callout.keep_refused),
        _ => return Err(undecided(Kind::Unavailable)),
    };
    let granted = matches!(decision, Decision::Grant(_));
    if !keep.is_zero() {
        let size = decision.size();
        x.core.decisions.keep(key, Rc::new(decision), size, Instant::now(), keep);
    }
    if granted { Ok(()) } else { Err(wrong()) }
}
