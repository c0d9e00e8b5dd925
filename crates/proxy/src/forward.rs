//! The forward face: from a request to whatever it asks for, if its user may.

pub(crate) mod leave;
pub(crate) mod login;
mod plain;
mod skin;
pub(crate) mod tunnel;
pub(crate) mod verdict;

use std::time::Duration;

use message::forwarding;
use message::target::Target;

use crate::downstream::{pac, transparent};
use crate::exchange::{Aim, Exchange};
use crate::failure::{Failure, Kind};
use crate::intercept;
use crate::respond::Answer;
use crate::snapshot::Forward;

pub(crate) use leave::{Aimed, Who, admit, check, host_ref};
pub(crate) use plain::{Plain, origin_key};

/// Serves a request on a listener of the forward face.
pub(crate) async fn serve<'a>(
    x: &mut Exchange<'a>,
    face: &'a Forward,
    aim: Aim,
) -> Result<(), Failure> {
    if let Some(inside) = x.inside {
        return intercept::serve(x, face, aim, inside).await;
    }
    let led_here = face.config.transparent.is_some();
    if let Some(pac) = face.config.pac.as_ref().filter(|_| !led_here)
        && pac::is_asked(&x.request, &aim.target)
    {
        return pac::answer(x, pac, &aim).await;
    }
    login::identify(x, face).await?;
    if forwarding::via_names(&x.request.fields, &x.view.snapshot.pseudonym) {
        return Err(Failure::new(Kind::Loop));
    }
    if led_here {
        return transparent::relay(x, face, aim).await;
    }
    match &aim.target {
        Target::Authority => tunnel::connect(x, face, &aim).await,
        Target::Absolute { secure: false, path, .. } => {
            let path = path.clone();
            Plain { face, aim: &aim, path, inside: None, led: None }.serve(x).await
        }
        Target::Absolute { secure: true, .. } => {
            Err(Failure::with(Kind::RequestError, "https through a proxy needs CONNECT"))
        }
        Target::Origin(_) => Err(Failure::with(
            Kind::RequestError,
            "this is a forward proxy; the request target must be an absolute URL",
        )),
        Target::Asterisk => x.answer_as_last().await,
    }
}

/// Which exit and which session a client has, where it is told. Addresses are those of exits,
/// never ours or a parent's name.
pub(crate) fn disclosed(x: &Exchange<'_>, face: &Forward) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let guest = x.guest.as_deref().filter(|_| face.config.disclose);
    let Some((guest, exit)) = guest.and_then(|guest| Some((guest, guest.exit()?))) else {
        return fields;
    };
    let mut text = exit.name().to_owned();
    if let Some(country) = exit.country() {
        text.push_str(&format!("; country={country}"));
    }
    if let Some(city) = &exit.labels().city {
        text.push_str(&format!("; city={city}"));
    }
    if let Some(source) = guest.source() {
        text.push_str(&format!("; address=\"{source}\""));
    }
    fields.push(("Bifrons-Exit", text));
    if let Some(session) = guest.session() {
        let left = Duration::from_millis(session.left_ms).as_secs();
        let moved = if session.moved { "; moved" } else { "" };
        let strict = if session.strict { "; strict" } else { "" };
        fields.push(("Bifrons-Session", format!("{}; left={left}{strict}{moved}", session.id)));
    }
    fields
}

/// Adds to an answer about a failure what clients of the forward face are told besides.
pub(crate) fn tell(x: &Exchange<'_>, face: &Forward, failure: &Failure, answer: &mut Answer<'_>) {
    if failure.kind == Kind::Unauthenticated {
        for challenge in login::challenges(x, face) {
            answer.fields.push(("Proxy-Authenticate", challenge.into()));
        }
    }
    let stopped = || crate::fare::of(x).and_then(|fare| fare.retry_after());
    if let Some(after) = x.record.retry_after.or_else(stopped) {
        let seconds = after.as_millis().div_ceil(1000).max(1);
        answer.fields.push(("Retry-After", seconds.to_string().into()));
    }
    skin::dress(answer, failure, face.config.skin);
}
