//! Who a client is, and what it wishes of its exit: both stand in its credentials.
//!
//! Each request is judged by itself: a connection may carry those of several users.

use std::time::Instant;

use accounts::Moment;
use config::{AuthScheme, Dialect, WayOut};
use egress::{Login, SessionWish, dialect};
use message::{Block, FieldId};
use policy::basic::Credentials;
use policy::digest::{self, DigestCheck};
use policy::{Check, Timestamp, UserId, basic};

use crate::auth::callout;
use crate::crowd::Crowd;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::fare::of_denied;
use crate::gate::{NONE_SHOWN, WRONG};
use crate::snapshot::Forward;

/// Credentials as a request shows them (RFC 9110 §11.7.2).
enum Shown {
    Basic(Credentials),
    Digest(Vec<u8>),
    /// An API key.
    Bearer(Vec<u8>),
    None,
}

/// Finds out who the client is, and whether it may ask now.
pub(super) async fn identify(x: &mut Exchange<'_>, face: &Forward) -> Result<(), Failure> {
    // It is meant for us and goes no further.
    let shown = take(&mut x.request.fields);
    match &face.users {
        None => {
            if let Ok(Shown::Basic(shown)) = shown {
                stranger(x, face, shown.user(), shown.password())?;
            }
        }
        Some(crowd) => member(x, face, crowd, shown?).await?,
    }
    wish_by_port(x);
    Ok(())
}

/// Takes the credentials out of a head, with all that could be taken for them.
fn take(fields: &mut Block) -> Result<Shown, Failure> {
    let several = fields.values(FieldId::ProxyAuthorization).nth(1).is_some();
    let shown = match fields.get(FieldId::ProxyAuthorization) {
        None => Ok(Shown::None),
        Some(value) if digest::is_digest(value) => Ok(Shown::Digest(value.to_vec())),
        Some(value) => match basic::bearer(value) {
            Some(key) => Ok(Shown::Bearer(key.to_vec())),
            None => basic::parse(value).map(Shown::Basic).map_err(|error| error.as_str()),
        },
    };
    fields.remove(FieldId::ProxyAuthorization);
    fields.remove_aliases(&[b"proxy-authorization"]);
    if several {
        return Err(unauthenticated("credentials in more than one field"));
    }
    shown.map_err(unauthenticated)
}

fn unauthenticated(words: &'static str) -> Failure {
    Failure::with(Kind::Unauthenticated, words)
}

/// Nobody is asked who he is, but a name may say what is wished.
fn stranger(
    x: &mut Exchange<'_>,
    face: &Forward,
    name: &[u8],
    password: &[u8],
) -> Result<(), Failure> {
    let Some(dialect) = dialect_of(face) else { return Ok(()) };
    let name = String::from_utf8_lossy(name);
    let login = dialect::parse(dialect, &name, password, None, sticky_port(x));
    let wish = login.wish.map_err(refused)?;
    if wish != egress::Wish::default() {
        x.guest.get_or_insert_default().wish = wish;
    }
    Ok(())
}

async fn member(
    x: &mut Exchange<'_>,
    face: &Forward,
    crowd: &Crowd,
    shown: Shown,
) -> Result<(), Failure> {
    match shown {
        Shown::Basic(shown) => log_in(x, face, shown.user(), shown.password()).await,
        Shown::Bearer(key) => {
            attempt(x)?;
            match crowd.users.by_key(&key) {
                Some(user) => welcome(x, crowd, Some(user), None, egress::Wish::default()),
                None => Err(wrong(x, None).await),
            }
        }
        Shown::Digest(value) => by_digest(x, face, crowd, &value).await,
        Shown::None => by_address(x, crowd),
    }
}

/// Whoever shows nothing may be known by the address.
fn by_address(x: &mut Exchange<'_>, crowd: &Crowd) -> Result<(), Failure> {
    match crowd.users.by_address(x.client.address) {
        Some(user) => welcome(x, crowd, Some(user), None, egress::Wish::default()),
        None => Err(unauthenticated(NONE_SHOWN)),
    }
}

/// Whether a name that a client shows tells anything here.
pub(crate) fn cares_for_names(face: &Forward) -> bool {
    face.users.is_some() || dialect_of(face).is_some()
}

/// Whether a client that shows no name may be let in.
pub(crate) fn may_be_nameless(x: &Exchange<'_>, face: &Forward) -> bool {
    face.users.as_ref().is_none_or(|crowd| crowd.users.by_address(x.client.address).is_some())
}

/// Lets in who shows no name, where that may be.
pub(crate) fn nameless(x: &mut Exchange<'_>, face: &Forward) -> Result<(), Failure> {
    if let Some(crowd) = &face.users {
        by_address(x, crowd)?;
    }
    wish_by_port(x);
    Ok(())
}

/// Whether these are the name and the password of a user, who is then the user of the request.
/// The name may carry wishes.
pub(crate) async fn log_in(
    x: &mut Exchange<'_>,
    face: &Forward,
    name: &[u8],
    password: &[u8],
) -> Result<(), Failure> {
    let Some(crowd) = &face.users else {
        stranger(x, face, name, password)?;
        wish_by_port(x);
        return Ok(());
    };
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(wrong(x, None).await);
    };
    let is_user = |name: &str| crowd.users.find(name).is_some();
    let login = match dialect_of(face) {
        Some(dialect) => dialect::parse(dialect, text, password, Some(&is_user), sticky_port(x)),
        None => Login {
            user: text.to_owned(),
            password: password.to_vec(),
            wish: Ok(egress::Wish::default()),
        },
    };
    attempt(x)?;
    let user = login.user.as_bytes();
    let check = |x: &Exchange<'_>| {
        crowd.users.check(user, &login.password, &x.core.verified, Instant::now())
    };
    let (mut checked, core, mut turn) = (check(x), x.core, None);
    if matches!(checked, Check::Work(_) | Check::Unknown) {
        // Until it is told that it was wrong: a guess that waits for its answer is one under way.
        turn = Some(core.turns.take(x.client.address).await);
        // What came of others meanwhile counts.
        attempt(x)?;
        checked = check(x);
    }
    let granted = match checked {
        Check::Granted(id) => Some(id),
        Check::Refused => None,
        Check::Work(job) => crate::gate::work(x.core, job).await,
        Check::Unknown => {
            // In Basic credentials, which the server is shown, a colon ends the name (RFC 7617 §2):
            // SOCKS could name by it somebody else than the server judges.
            let is_sayable = !login.user.contains(|char: char| char == ':' || char.is_control());
            let Some(callout) = crowd.callout.as_ref().filter(|_| is_sayable) else {
                return Err(wrong(x, Some(login.user)).await);
            };
            let asked = callout::ask(x, callout, &login.user, &login.password).await;
            if let Err(failure) = asked {
                let told = failure.kind == Kind::Unauthenticated;
                return Err(if told { wrong(x, Some(login.user)).await } else { failure });
            }
            let wish = wished(x, login.wish, &login.user)?;
            return welcome(x, crowd, None, Some(login.user), wish);
        }
    };
    match granted {
        // Only users are told what is wrong with their wishes.
        Some(id) => {
            let wish = wished(x, login.wish, &login.user)?;
            welcome(x, crowd, Some(id), None, wish)
        }
        None => {
            let failure = wrong(x, Some(login.user)).await;
            drop(turn);
            Err(failure)
        }
    }
}

/// Digest (RFC 7616): the client has used the whole name, wishes included.
async fn by_digest(
    x: &mut Exchange<'_>,
    face: &Forward,
    crowd: &Crowd,
    value: &[u8],
) -> Result<(), Failure> {
    let Some(realm) = &face.digest else {
        return Err(unauthenticated("Digest is not offered here"));
    };
    let shown = digest::parse(value).map_err(|error| unauthenticated(error.as_str()))?;
    let is_user = |name: &str| crowd.users.find(name).is_some();
    let (user, wish) = match dialect_of(face) {
        Some(dialect) => {
            let login = dialect::parse(dialect, shown.user(), b"", Some(&is_user), sticky_port(x));
            (login.user, login.wish)
        }
        None => (shown.user().to_owned(), Ok(egress::Wish::default())),
    };
    attempt(x)?;
    let id = crowd.users.find(&user);
    let asked = digest::Shown { method: x.request.method_text(), target: x.request.target() };
    match realm.check(&shown, id, &asked, &x.core.nonces, Timestamp::now()) {
        DigestCheck::Granted(id) => {
            let wish = wished(x, wish, &user)?;
            welcome(x, crowd, Some(id), None, wish)
        }
        DigestCheck::Stale(_) => {
            x.record.stale = true;
            Err(unauthenticated("the nonce was used or is too old"))
        }
        DigestCheck::Refused => Err(wrong(x, Some(user)).await),
    }
}

/// The dialect in which names carry wishes: that of the pool by which the listener leaves.
pub(crate) fn dialect_of(face: &Forward) -> Option<Dialect> {
    match face.config.exit {
        WayOut::Pool(index) => face.pools.get(index).map(|pool| pool.config().dialect),
        WayOut::Direct => None,
    }
}

/// What a user wishes. The log tells whose wish it was that is refused.
fn wished(
    x: &mut Exchange<'_>,
    wish: Result<egress::Wish, dialect::DialectError>,
    user: &str,
) -> Result<egress::Wish, Failure> {
    wish.map_err(|error| {
        x.record.user = Some(user.to_owned());
        refused(error)
    })
}

fn refused(error: dialect::DialectError) -> Failure {
    Failure::with(Kind::WishRefused, error.to_string())
}

/// Refuses those who have tried too many passwords.
fn attempt(x: &mut Exchange<'_>) -> Result<(), Failure> {
    x.core.attempts.admit(x.client.address, Instant::now()).map_err(|too_many| {
        x.record.retry_after = Some(too_many.retry_after);
        Failure::with(Kind::RateLimited, "too many wrong passwords")
    })
}

/// Whoever shows a wrong password waits for the answer, the longer the more often.
async fn wrong(x: &mut Exchange<'_>, user: Option<String>) -> Failure {
    let user = user.unwrap_or_default();
    let delay = x.core.attempts.failed(x.client.address, user.as_bytes(), Instant::now());
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    // The log tells who was claimed to be asking.
    x.record.user = Some(user);
    unauthenticated(WRONG)
}

/// Asks again whether the user may ask: for each request inside a tunnel.
pub(crate) fn admit_again(x: &mut Exchange<'_>) -> Result<(), Failure> {
    let Some(account) = x.guest.as_ref().and_then(|guest| guest.account.clone()) else {
        return Ok(());
    };
    account.admit(Moment::now()).map_err(|denied| {
        x.record.retry_after = denied.retry_after();
        of_denied(&denied)
    })
}

/// Lets a user in, if it may ask now. `name`: one that only a callout knows.
fn welcome(
    x: &mut Exchange<'_>,
    crowd: &Crowd,
    id: Option<UserId>,
    name: Option<String>,
    wish: egress::Wish,
) -> Result<(), Failure> {
    let name = id.map_or_else(|| name.unwrap_or_default(), |id| crowd.users.name(id).to_owned());
    x.core.attempts.succeeded(x.client.address, name.as_bytes());
    let now = Moment::now();
    if id.is_some_and(|id| crowd.users.is_expired(id, Timestamp::now())) {
        x.record.user = Some(name);
        return Err(Failure::with(Kind::Denied, "the account has expired"));
    }
    let account = crowd.account(&x.core.accounts, id, &name, now);
    x.record.user = Some(name);
    let denied = |x: &mut Exchange<'_>, denied: accounts::Denied| {
        x.record.retry_after = denied.retry_after();
        of_denied(&denied)
    };
    account.admit(now).map_err(|error| denied(x, error))?;
    let permit = account.connect().map_err(|error| denied(x, error))?;
    let guest = x.guest.get_or_insert_default();
    guest.rules = crowd.rules(id);
    guest.account = Some(account);
    guest.permit = Some(permit);
    guest.wish = wish;
    Ok(())
}

fn sticky_port(x: &Exchange<'_>) -> Option<u16> {
    x.listener.sticky.then(|| x.listener.address.port())
}

/// On a sticky port the port is the session, unless the client names one.
fn wish_by_port(x: &mut Exchange<'_>) {
    if let Some(port) = sticky_port(x) {
        let wish = &mut x.guest.get_or_insert_default().wish;
        wish.session.get_or_insert_with(|| SessionWish::of_port(port));
    }
}

/// What a client without good credentials is asked for (RFC 9110 §11.7.1).
pub(crate) fn challenges(x: &Exchange<'_>, face: &Forward) -> Vec<String> {
    let Some(auth) = &face.config.auth else { return Vec::new() };
    let mut all = Vec::new();
    for scheme in &auth.schemes {
        match (scheme, &face.digest) {
            (AuthScheme::Basic, _) => {
                // A quoted string has no place for these two (RFC 9110 §5.6.4).
                let realm = auth.realm.replace(['"', '\\'], "'");
                all.push(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
            }
            (AuthScheme::Digest, Some(realm)) => {
                all.extend(realm.challenges(&x.core.nonces, Timestamp::now(), x.record.stale));
            }
            (AuthScheme::Digest, None) => {}
        }
    }
    all
}
