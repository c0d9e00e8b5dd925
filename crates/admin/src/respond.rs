//! One request, one answer.

use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::action::Target;
use crate::guard::{self, Guard, Refusal};
use crate::{Control, ProblemKind, page};

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
        let path = request.uri().path();
        if let Some(target) = Target::find(path) {
            if *request.method() != Method::POST {
                return method_not_allowed("POST", "only POST is possible");
            }
            return match guard::check_change(&request) {
                Ok(()) => self.change(target, request.into_body()).await,
                Err(refusal) => refuse(refusal),
            };
        }
        let Some(endpoint) = Endpoint::find(path) else {
            return error(StatusCode::NOT_FOUND, "not_found", "there is nothing here, see /");
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed("GET, HEAD", "only GET and HEAD are possible");
        }
        self.answer_endpoint(endpoint)
    }

    /// Changes something, on a thread beside this one.
    async fn change(&self, target: Target, body: Incoming) -> Answer {
        let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else {
            return error(StatusCode::BAD_REQUEST, "bad_content", "the content cannot be read");
        };
        let action = match target.action(&body.to_bytes()) {
            Ok(action) => action,
            Err(words) => return error(StatusCode::BAD_REQUEST, "bad_content", &words),
        };
        let control = Arc::clone(&self.control);
        let outcome = tokio::task::spawn_blocking(move || control.perform(&action)).await;
        match outcome {
            Ok(Ok(value)) => json(StatusCode::OK, &value),
            Ok(Err(problem)) => {
                let (status, name) = match problem.kind {
                    ProblemKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
                    ProblemKind::Unknown => (StatusCode::NOT_FOUND, "unknown"),
                    ProblemKind::Unavailable => (StatusCode::CONFLICT, "unavailable"),
                    ProblemKind::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
                };
                error(status, name, &problem.message)
            }
            Err(_) => {
                error(StatusCode::INTERNAL_SERVER_ERROR, "failed", "it ended before it was done")
            }
        }
    }

    fn answer_endpoint(&self, endpoint: Endpoint) -> Answer {
        match endpoint {
            Endpoint::Page => ok("text/html; charset=utf-8", page::render(&self.control.status())),
            Endpoint::Health if self.control.draining() => {
                content(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "draining\n")
            }
            Endpoint::Health => ok("text/plain; charset=utf-8", "ok\n"),
            Endpoint::Metrics => {
                ok("text/plain; version=0.0.4; charset=utf-8", self.control.metrics())
            }
            Endpoint::Status => json(StatusCode::OK, &self.control.status()),
        }
    }
}

/// What there is.
#[derive(Debug, Clone, Copy)]
enum Endpoint {
    Page,
    Health,
    Metrics,
    Status,
}

impl Endpoint {
    fn find(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Page),
            "/healthz" => Some(Self::Health),
            "/metrics" => Some(Self::Metrics),
            "/api/v1/status" => Some(Self::Status),
            _ => None,
        }
    }
}

fn refuse(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::BadHost => {
            error(StatusCode::BAD_REQUEST, "bad_host", "exactly one Host field is needed")
        }
        Refusal::ForeignHost => error(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign_host",
            "ask by address or as localhost, other names are not answered",
        ),
        Refusal::Unauthorized => {
            let mut answer =
                error(StatusCode::UNAUTHORIZED, "unauthorized", "a valid bearer token is needed");
            let challenge = HeaderValue::from_static("Bearer realm=\"bifrons admin\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            answer
        }
        Refusal::CrossSite => error(
            StatusCode::FORBIDDEN,
            "cross_site",
            "say Content-Type: application/json, and do not ask from a page in a browser",
        ),
    }
}

/// The body of every answer that is an error.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'static str,
    message: &'a str,
}

fn error(status: StatusCode, error: &'static str, message: &str) -> Answer {
    json(status, &ErrorBody { error, message })
}

fn method_not_allowed(allow: &'static str, message: &str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
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
