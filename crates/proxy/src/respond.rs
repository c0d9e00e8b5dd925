//! Answers of our own: refusals, redirects, fixed answers, error pages.

use std::borrow::Cow;

use config::{ConfigError, ErrorPage, PageBody};
use h1::BodyEncoder;
use message::{Block, Method, Version};

use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::rules::FieldRules;
use crate::snapshot::Face;

/// Error pages by status.
#[derive(Debug, Clone, Default)]
pub(crate) struct ErrorPages {
    pages: Vec<Page>,
}

#[derive(Debug, Clone)]
struct Page {
    status: u16,
    /// Also in place of an answer of the origin.
    origin: bool,
    content_type: String,
    body: Vec<u8>,
}

impl ErrorPages {
    /// Those of a route before those of its site. Files are read now.
    pub(crate) fn build(route: &[ErrorPage], site: &[ErrorPage]) -> Result<Self, Vec<ConfigError>> {
        let (mut pages, mut errors) = (Vec::new(), Vec::new());
        for page in route.iter().chain(site) {
            let body = match &page.body {
                PageBody::Text(text) => text.clone(),
                PageBody::File(path) => match std::fs::read(&path.value) {
                    Ok(body) => body,
                    Err(error) => {
                        errors.push(
                            ConfigError::at(
                                path.span,
                                format!("cannot read error page {}", path.value.display()),
                                error.to_string(),
                            )
                            .help("paths are relative to the folder of the configuration file"),
                        );
                        continue;
                    }
                },
            };
            pages.extend(page.statuses.iter().map(|status| Page {
                status: *status,
                origin: page.origin,
                content_type: page.content_type.clone(),
                body: body.clone(),
            }));
        }
        if errors.is_empty() { Ok(Self { pages }) } else { Err(errors) }
    }

    /// The page for an answer that we make.
    pub(crate) fn ours(&self, status: u16) -> Option<(&str, &[u8])> {
        self.find(status, false)
    }

    /// The page that stands in place of an answer of the origin.
    pub(crate) fn for_origin(&self, status: u16) -> Option<(&str, &[u8])> {
        self.find(status, true)
    }

    fn find(&self, status: u16, origin: bool) -> Option<(&str, &[u8])> {
        let page = self.pages.iter().find(|p| p.status == status && (p.origin || !origin))?;
        Some((&page.content_type, &page.body))
    }
}

/// An answer that we make.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a str,
    pub(crate) body: Cow<'a, [u8]>,
    /// More fields, by name and value.
    pub(crate) fields: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, content_type: "", body: Cow::Borrowed(b""), fields: Vec::new() }
    }

    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: Cow::Owned(body.into().into_bytes()),
            fields: Vec::new(),
        }
    }

    pub(crate) fn field(mut self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// What a failure looks like to the client: a status, `Proxy-Status`, and a few words.
    pub(crate) fn of(failure: &Failure, pages: Option<&'a ErrorPages>) -> Self {
        let status = failure.kind.status();
        let mut answer = match pages.and_then(|pages| pages.ours(status)) {
            Some((content_type, body)) => {
                Self { content_type, body: Cow::Borrowed(body), ..Self::new(status) }
            }
            None => Self::text(status, explain(failure)),
        };
        answer.fields.push(("Proxy-Status", Cow::Owned(proxy_status(failure))));
        answer
    }

    /// Writes all fields but those that frame the answer. Rules hold for what we say as they do
    /// for what an origin says.
    fn write_fields(&self, out: &mut Vec<u8>, rules: Option<&FieldRules>) {
        let kind = Some(("Content-Type", self.content_type)).filter(|(_, kind)| !kind.is_empty());
        let others = self.fields.iter().map(|(name, value)| (*name, &**value));
        let fields = kind.into_iter().chain(others);
        match rules {
            None => fields.for_each(|(name, value)| write_field(out, name, value.as_bytes())),
            Some(rules) => {
                let mut block = Block::default();
                fields.for_each(|(name, value)| block.push(name.as_bytes(), &[value.as_bytes()]));
                rules.apply(&mut block);
                block.write_lines(out, |_| false);
            }
        }
    }
}

/// `Proxy-Status` of a failure (RFC 9209 §2).
pub(crate) fn proxy_status(failure: &Failure) -> String {
    let mut text = format!("bifrons; error={}", failure.kind.name());
    if !failure.detail.is_empty() {
        // An sf-string (RFC 8941 §3.3.3): what is not printable ASCII has no place in it.
        let clean = failure.detail.chars().map(|c| match c {
            '"' | '\\' => '\'',
            ' '..='~' => c,
            _ => '?',
        });
        text.push_str("; details=\"");
        text.extend(clean);
        text.push('"');
    }
    text
}

fn explain(failure: &Failure) -> String {
    let what = match failure.kind {
        Kind::RequestError => "The request is malformed",
        Kind::RequestHeadTooLarge => "The head of the request is too large",
        Kind::RequestTargetTooLong => "The URL is too long",
        Kind::RequestBodyTooLarge => "The body of the request is too large",
        Kind::ExpectationFailed => "The expectation cannot be met",
        Kind::VersionNotSupported => "This version of HTTP is not supported here",
        Kind::RequestTimeout | Kind::ClientTooSlow => "The request took too long",
        Kind::ClientGone => "The client went away",
        Kind::Denied | Kind::IpProhibited => "This is not allowed",
        Kind::Unauthenticated => "Credentials are needed",
        Kind::Misdirected => "This host is not served here",
        Kind::NoRoute => "There is nothing here",
        Kind::MethodNotAllowed => "This method is not allowed here",
        Kind::Loop => "The request came back to where it has been",
        Kind::DnsTimeout | Kind::DnsError => "The name of the server could not be resolved",
        Kind::Unavailable | Kind::ConnectionLimit => "The server is not available",
        Kind::IpUnroutable
        | Kind::ConnectionRefused
        | Kind::ConnectionTerminated
        | Kind::ConnectionTimeout => "The server could not be reached",
        Kind::ReadTimeout | Kind::WriteTimeout | Kind::ResponseTimeout => {
            "The server took too long"
        }
        Kind::TlsProtocolError | Kind::TlsCertificateError | Kind::TlsAlert => {
            "No secure connection with the server"
        }
        Kind::ResponseIncomplete
        | Kind::ResponseHeadTooLarge
        | Kind::ProtocolError
        | Kind::UpgradeFailed => "The answer of the server was not valid",
        Kind::InternalError => "The proxy made a mistake",
    };
    match &*failure.detail {
        "" => format!("{what}.\n"),
        detail => format!("{what}: {detail}.\n"),
    }
}

impl<'a> Exchange<'a> {
    /// Sends an answer of our own and says whether the connection can go on.
    pub(crate) async fn answer(&mut self, answer: Answer<'_>) -> Result<(), Failure> {
        self.keep_alive &= !self.core.is_draining();
        self.settle_body();
        let close = !self.keep_alive;
        let bodyless = matches!(answer.status, 204 | 304) || answer.status < 200;
        self.down.lend_output(&self.core.blocks);
        let rules = self.response_rules();
        let out = self.down.begin(BodyEncoder::Identity);
        h1::write_status_line(out, answer.status, b"");
        answer.write_fields(out, rules);
        let mut field = |name: &str, value: &[u8]| write_field(out, name, value);
        // We are the origin of it, and have a clock (RFC 9110 §6.6.1).
        field("Date", httpdate::fmt_http_date(std::time::SystemTime::now()).as_bytes());
        if !bodyless {
            field("Content-Length", itoa::Buffer::new().format(answer.body.len()).as_bytes());
        }
        if close {
            field("Connection", b"close");
        } else if self.request.version == Version::Http10 {
            field("Connection", b"keep-alive");
        }
        out.extend_from_slice(b"\r\n");
        if !bodyless && self.request.method != Method::Head {
            out.extend_from_slice(&answer.body);
            self.record.bytes_out += answer.body.len() as u64;
        }
        self.record.status = answer.status;
        self.head_sent = true;
        self.flush_answer().await
    }

    /// The rules for responses of the route that the request got to.
    fn response_rules(&self) -> Option<&'a FieldRules> {
        let Face::Reverse(face) = &self.listener.face else { return None };
        let site = face.table.sites.get(self.record.site?)?;
        let rules = &site.routes.routes.get(self.record.route?)?.response_rules;
        (!rules.is_empty()).then_some(rules)
    }
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
