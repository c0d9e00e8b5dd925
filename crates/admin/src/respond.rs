//! One request, one answer.

use std::sync::Arc;

use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;

use crate::guard::{self, Guard, Refusal};
use crate::query::Query;
use crate::routes::{self, Found, Operation, Route};
use crate::{Action, Control, ProblemKind, Reply, action, openapi, page};

/// Bytes of content that a request may have.
const BODY_BYTES: usize = 64 * 1024;

/// What every answer is made from.
pub(crate) struct Responder {
    pub(crate) guard: Guard,
    pub(crate) control: Arc<dyn Control>,
}

pub(crate) type Answer = Response<Full<Bytes>>;

impl Responder {
    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let mut answer = match self.guard.check(&request) {
            Ok(()) => self.answer_admitted(request).await,
            Err(refusal) => {
                tracing::debug!(?refusal, "admin: request refused");
                refuse(refusal)
            }
        };
        harden(&mut answer);
        answer
    }

    async fn answer_admitted(&self, request: Request<Incoming>) -> Answer {
        let (route, captured) = match routes::find(request.method().as_str(), request.uri().path())
        {
            Found::Route(route, captured) => (route, captured),
            Found::OtherMethods(allow) => return method_not_allowed(&allow),
            Found::Nothing => {
                let remedy = "/api/v1/openapi.json says what there is";
                return error(StatusCode::NOT_FOUND, "not_found", "there is nothing here", remedy);
            }
        };
        if route.verb.changes()
            && let Err(refusal) = guard::check_change(&request)
        {
            return refuse(refusal);
        }
        let query = request.uri().query().filter(|_| !is_plain(route.operation));
        let query = match Query::parse(query, route.query) {
            Ok(query) => query,
            Err(words) => return bad("bad_query", &words, route),
        };
        let accepts_csv = accepts_csv(&request);
        let body = match route.verb.changes() {
            true => Limited::new(request.into_body(), BODY_BYTES).collect().await,
            false => Ok(Collected::default()),
        };
        let Ok(body) = body else {
            return bad("bad_content", "the content cannot be read, or is too large", route);
        };
        let (operation, content) = (route.operation, body.to_bytes());
        let asked = action::Request { operation, captured, query, content: &content, accepts_csv };
        match asked.action() {
            Ok(None) => self.answer_at_once(operation),
            Ok(Some(action)) => self.perform(action).await,
            Err(words) if route.verb.changes() => bad("bad_content", &words, route),
            Err(words) => bad("bad_query", &words, route),
        }
    }

    /// Does what is asked, on a thread beside this one.
    async fn perform(&self, action: Action) -> Answer {
        let control = Arc::clone(&self.control);
        let outcome = tokio::task::spawn_blocking(move || control.perform(&action)).await;
        match outcome {
            Ok(Ok(Reply::Json(value))) => json(StatusCode::OK, &value),
            Ok(Ok(Reply::Csv(text))) => ok("text/csv; charset=utf-8; header=present", text),
            Ok(Err(problem)) => {
                let (status, name) = match problem.kind {
                    ProblemKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
                    ProblemKind::Unknown => (StatusCode::NOT_FOUND, "unknown"),
                    ProblemKind::Unavailable => (StatusCode::CONFLICT, "unavailable"),
                    ProblemKind::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
                };
                error(status, name, &problem.message, problem.remedy.as_deref())
            }
            Err(_) => error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                "it ended before it was done",
                "the log of the process says more",
            ),
        }
    }

    fn answer_at_once(&self, operation: Operation) -> Answer {
        match operation {
            Operation::Page => ok(routes::HTML, page::render(&self.control.status())),
            Operation::Health if self.control.draining() => {
                content(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "draining\n")
            }
            Operation::Health => ok("text/plain; charset=utf-8", "ok\n"),
            Operation::Metrics => ok(routes::EXPOSITION, self.control.metrics()),
            Operation::Description => {
                json(StatusCode::OK, &openapi::document(&self.control.status().version))
            }
            // All others are actions.
            _ => json(StatusCode::OK, &self.control.status()),
        }
    }
}

/// Whether queries are passed over: whoever scrapes may add one, and it says nothing here.
fn is_plain(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Page
            | Operation::Health
            | Operation::Metrics
            | Operation::Status
            | Operation::Description
    )
}

/// Whether `Accept` names CSV, and does not name JSON before it.
fn accepts_csv<B>(request: &Request<B>) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter();
    let mut types = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|one| one.split(';').next().unwrap_or(one).trim()));
    let wanted = types.find(|one| ["text/csv", "application/json"].contains(one));
    wanted == Some("text/csv")
}

fn refuse(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::BadHost => error(
            StatusCode::BAD_REQUEST,
            "bad_host",
            "exactly one Host field is needed",
            "say which host is asked, once",
        ),
        Refusal::ForeignHost => error(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign_host",
            "other names than localhost are not answered",
            "ask by address or as localhost",
        ),
        Refusal::Unauthorized => {
            let mut answer = error(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "a valid bearer token is needed",
                "send Authorization: Bearer and the `token` of `admin`",
            );
            let challenge = HeaderValue::from_static("Bearer realm=\"bifrons admin\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            answer
        }
        Refusal::CrossSite => error(
            StatusCode::FORBIDDEN,
            "cross_site",
            "the page of another site may have sent this",
            "say Content-Type: application/json, and do not ask from a page in a browser",
        ),
    }
}

/// The body of every answer that is an error.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
}

fn error<'a>(
    status: StatusCode,
    error: &'static str,
    message: &'a str,
    remedy: impl Into<Option<&'a str>>,
) -> Answer {
    json(status, &ErrorBody { error, message, remedy: remedy.into() })
}

/// A request that is not understood.
fn bad(name: &'static str, message: &str, route: &Route) -> Answer {
    let remedy =
        format!("/api/v1/openapi.json says what {} {} takes", route.verb.as_str(), route.path);
    error(StatusCode::BAD_REQUEST, name, message, &*remedy)
}

fn method_not_allowed(allow: &str) -> Answer {
    let message = format!("only {allow} is possible");
    let remedy = "/api/v1/openapi.json says what each does";
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message, remedy);
    if let Ok(allow) = HeaderValue::from_str(allow) {
        answer.headers_mut().insert(ALLOW, allow);
    }
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            body.push(b'\n');
            content(status, "application/json", body)
        }
        // Not reached by our types, which have neither odd keys nor a serializer of their own.
        Err(reason) => {
            tracing::error!(%reason, "admin: a value cannot be written as JSON");
            content(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}\n")
        }
    }
}

fn ok(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    content(StatusCode::OK, content_type, body)
}

fn content(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The page has no script and no form, and nobody else has use for what is told here.
fn harden(answer: &mut Answer) {
    let fields = [
        (CACHE_CONTROL, "no-store"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
        ),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fields {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}
