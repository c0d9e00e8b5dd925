//! Answers that are fetched again while the old ones still serve (RFC 5861 §3).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use cache::{Key, Lead, Role, Stored};
use message::framing::BodyLength;
use message::{Method, RequestHead, hop};

use super::{Origin, Place, Turns, find};
use crate::client::Client;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::guest::Mark;
use crate::peer::DownPeer;
use crate::record::Record;
use crate::reverse;
use crate::slot::Serving;
use crate::snapshot::Face;
use cache::Found;
use cache::rules::{Asked, Forwarded};

/// Fetches an answer again beside this request, unless somebody does already.
pub(super) fn later(x: &Exchange<'_>, key: &Key, url: u128, stale: &Arc<Stored>) {
    let Some(core) = x.core.handle() else { return };
    let Some(slot) = core.slot(x.listener.address) else { return };
    let Role::Lead(lead) = core.cache.join(key, url, &x.request.fields, Some(stale)) else {
        return;
    };
    let mut request = x.request.clone();
    request.method = Method::Get;
    let client = x.client;
    core.counters.cache_refreshes.inc();
    tokio::task::spawn_local(async move {
        let serving = core.serving(&slot);
        // Boxed: a task is moved about before it runs, and this is large.
        Box::pin(run(&core, serving, client, request, lead)).await;
    });
}

async fn run(core: &Rc<Core>, serving: Serving, client: Client, request: RequestHead, lead: Lead) {
    let guard = core.clock.guard();
    let (mut down, mark) = (DownPeer::Nobody, Mark::default());
    let mut x = Exchange {
        core,
        serving: &serving,
        view: &serving.view,
        listener: serving.listener(),
        client,
        destination: None,
        tls_site: None,
        down: &mut down,
        guard: &guard,
        request,
        body: BodyLength::None,
        said: hop::Connection::default(),
        keep_alive: true,
        awaits_continue: false,
        head_sent: false,
        inside: None,
        opens: None,
        carries: None,
        record: Record::new(Instant::now()),
        mark: &mark,
        guest: None,
        wrapped: None,
    };
    let Face::Reverse(face) = &x.listener.face else { return };
    if let Err(failure) = reverse::refresh(&mut x, face, lead).await {
        let (kind, detail) = (failure.kind.name(), &*failure.detail);
        tracing::debug!(kind, detail, "an answer could not be fetched again");
    }
}

/// Fetches an answer again, for whoever waits for it.
pub(crate) async fn refresh<'a, O: Origin<'a>>(
    x: &mut Exchange<'a>,
    place: &Place<'a, '_>,
    origin: &O,
    lead: Lead,
) -> Result<(), Failure> {
    // Who it was that asked says what may be stored of the answer; how fresh it had to be does not.
    let asked = Asked {
        no_cache: false,
        only_if_cached: false,
        max_age: None,
        max_stale: None,
        min_fresh: None,
        conditional: false,
        range: false,
        ..Asked::of(Method::Get, &x.request.fields)
    };
    let key = place.key(x);
    let stale = match find(x, &key).await {
        Found::Here(stored) => Some(stored),
        Found::OtherVariants | Found::Nothing => None,
    };
    let versions = place.versions(x, &key);
    let turns = Turns { place, origin, asked, key, versions };
    let since = x.core.cache.newest_purge();
    turns.fetch(x, (Some(lead), since), stale, Forwarded::Stale).await
}
