//! One request, one answer.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::guard::{Guard, Refusal};
use crate::{Control, page};

/// What every answer is made from.
pub(crate) struct Responder {
    pub(crate) guard: Guard,
    pub(crate) control: Arc<dyn Control>,
}

pub(crate) type Answer = Response<Full<Bytes>>;

impl Responder {
    /// Answers a request; its content, if it has any, is not read.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Answer {
        let mut answer = match self.guard.check(request) {
            Ok(()) => self.answer_admitted(request),
            Err(refusal) => {
                tracing::debug!(?refusal, "admin: request refused");
                refuse(refusal)
            }
        };
        harden(&mut answer);
        answer
    }

    fn answer_admitted<B>(&self, request: &Request<B>) -> Answer {
        let Some(endpoint) = Endpoint::find(request.uri().path()) else {
            return error(StatusCode::NOT_FOUND, "not_found", "there is nothing here, see /");
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = error(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "only GET and HEAD are possible",
            );
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        self.answer_endpoint(endpoint)
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
    }
}

/// The body of every answer that is an error.
#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
    message: &'static str,
}

fn error(status: StatusCode, error: &'static str, message: &'static str) -> Answer {
    json(status, &ErrorBody { error, message })
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
