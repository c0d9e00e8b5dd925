//! Basic authentication (RFC 7617), of sites and of the forward face.

use std::time::Instant;

use message::{Block, FieldId};
use policy::basic::Credentials;
use policy::{Check, PasswordJob, UserId, Users, basic};

use crate::core::Core;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};

/// Basic authentication of a site or a route.
#[derive(Debug)]
pub(super) struct Basic {
    /// Index into the sets of users of the snapshot.
    users: usize,
    /// What a client without good credentials is asked for (RFC 9110 §11.6.1).
    pub(super) challenge: String,
}

impl Basic {
    pub(super) fn build(config: &config::BasicAuth) -> Self {
        let mut challenge = String::from("Basic realm=\"");
        // A quoted string (RFC 9110 §5.6.4).
        for char in config.realm.chars().filter(|char| !char.is_control()) {
            if matches!(char, '"' | '\\') {
                challenge.push('\\');
            }
            challenge.push(char);
        }
        challenge.push_str("\", charset=\"UTF-8\"");
        Self { users: config.users, challenge }
    }

    /// Who the client is. Each request is judged by itself. The credentials are meant for us and
    /// go no further.
    pub(super) async fn admit(&self, x: &mut Exchange<'_>) -> Result<(), Failure> {
        let shown =
            take_credentials(&mut x.request.fields, FieldId::Authorization, b"authorization");
        let view = x.view;
        let Some(users) = view.snapshot.users.get(self.users) else {
            return Err(Failure::internal("no such set of users"));
        };
        let words = match shown {
            Err(words) => words,
            Ok(shown) => match check_password(x, users, shown.user(), shown.password()).await {
                true => return Ok(()),
                false => WRONG,
            },
        };
        x.record.noted.field("WWW-Authenticate", self.challenge.as_str());
        Err(Failure::with(Kind::SiteUnauthenticated, words))
    }
}

/// What those are told whose name or password is wrong; which of the two is not said.
pub(crate) const WRONG: &str = "unknown user or wrong password";

/// What those are told who show nothing.
pub(crate) const NONE_SHOWN: &str = "no credentials were sent";

/// Takes the credentials in the field of this name out of a head, with all that could be taken
/// for that field.
///
/// # Errors
/// Why there are none, in words that quote nothing.
pub(crate) fn take_credentials(
    fields: &mut Block,
    id: FieldId,
    name: &[u8],
) -> Result<Credentials, &'static str> {
    let shown = fields.get(id).map(basic::parse);
    let several = fields.values(id).nth(1).is_some();
    fields.remove(id);
    fields.remove_aliases(&[name]);
    match shown {
        _ if several => Err("credentials in more than one field"),
        None => Err(NONE_SHOWN),
        Some(Err(error)) => Err(error.as_str()),
        Some(Ok(credentials)) => Ok(credentials),
    }
}

/// Whether these are the name and the password of a user, who is then the user of the request.
pub(crate) async fn check_password(
    x: &mut Exchange<'_>,
    users: &Users,
    user: &[u8],
    password: &[u8],
) -> bool {
    let core = x.core;
    let granted = match users.check(user, password, &core.verified, Instant::now()) {
        Check::Granted(user) => Some(user),
        Check::Refused | Check::Unknown => None,
        Check::Work(job) => work(core, job).await,
    };
    x.record.user = Some(match granted {
        Some(user) => users.name(user).to_owned(),
        None => String::from_utf8_lossy(user).into_owned(),
    });
    granted.is_some()
}

/// Works a slow hash out: whose password it is, if it is right. Hashes are made to be slow: they
/// are worked out beside the cores, a few at once.
pub(crate) async fn work(core: &Core, job: PasswordJob) -> Option<UserId> {
    let Ok(_turn) = core.password_turns.acquire().await else { return None };
    let outcome = tokio::task::spawn_blocking(move || job.run()).await.ok()?;
    core.verified.remember(&outcome, Instant::now());
    outcome.granted()
}
