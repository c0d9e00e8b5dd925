//! Answers of our own: refusals, redirects, fixed answers, error pages.

use std::borrow::Cow;
use std::future::poll_fn;
use std::ops::Range;

use config::{ConfigError, ErrorPage, PageBody};
use h1::BodyEncoder;
use message::framing::BodyLength;
use message::{Block, Method, Version};

use crate::exchange::{Exchange, client_gone};
use crate::failure::{Failure, Kind};
use crate::peer::{DownPeer, Sink};
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

    /// All fields but those that frame the answer. Rules hold for what we say as they do for
    /// what an origin says.
    fn write_fields(&self, fields: &mut Block, rules: Option<&FieldRules>) {
        if !self.content_type.is_empty() {
            fields.push(b"Content-Type", &[self.content_type.as_bytes()]);
        }
        for (name, value) in &self.fields {
            fields.push(name.as_bytes(), &[value.as_bytes()]);
        }
        if let Some(rules) = rules {
            rules.apply(fields);
        }
    }
}

/// The size that the head of a response would have in HTTP/1, without a reason.
pub(crate) fn size_as_h1(fields: &Block) -> u64 {
    (b"HTTP/1.1 200 \r\n\r\n".len() + fields.written_length()) as u64
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
        Kind::CodingNotSupported => "The body of the request cannot be unpacked",
        Kind::ExpectationFailed => "The expectation cannot be met",
        Kind::VersionNotSupported => "This version of HTTP is not supported here",
        Kind::RequestTimeout | Kind::ClientTooSlow => "The request took too long",
        Kind::ClientGone => "The client went away",
        Kind::Denied | Kind::IpProhibited => "This is not allowed",
        Kind::Unauthenticated | Kind::SiteUnauthenticated => "Credentials are needed",
        Kind::RateLimited => "There were too many requests",
        Kind::WishRefused => "What is wished of the exit cannot be met",
        Kind::QuotaExceeded => "What this user may use is used up",
        Kind::NoExit => "There is no such exit",
        Kind::ExitsUnavailable => "No exit is available",
        Kind::ExitFailed => "The exit failed",
        Kind::SessionLost => "The exit of this session is gone",
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
        | Kind::UnwantedStatus
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
    pub(crate) async fn answer(&mut self, mut answer: Answer<'_>) -> Result<(), Failure> {
        let noted = self.record.noted.take_fields().into_iter();
        answer.fields.extend(noted.map(|(name, value)| (name, Cow::Owned(value))));
        self.settle_body();
        let bodyless = matches!(answer.status, 204 | 304) || answer.status < 200;
        let mut fields = self.core.blocks.block();
        answer.write_fields(&mut fields, self.response_rules());
        // We are the origin of it, and have a clock (RFC 9110 §6.6.1).
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        fields.push(b"Date", &[date.as_bytes()]);
        if !bodyless {
            let length = itoa::Buffer::new().format(answer.body.len()).to_owned();
            fields.push(b"Content-Length", &[length.as_bytes()]);
        }
        let shown = !bodyless && self.request.method != Method::Head && !answer.body.is_empty();
        let length =
            if shown { BodyLength::Known(answer.body.len() as u64) } else { BodyLength::None };
        self.begin_final(answer.status, 0..0, fields, length)?;
        if shown {
            self.send_whole(&answer.body).await?;
            self.record.bytes_out += answer.body.len() as u64;
        }
        self.flush_answer().await
    }

    /// Puts the head of the final response into the output, in the form that the client takes,
    /// and decides whether the connection goes on. `reason` is where the reason phrase stands in
    /// the buffer of the fields. Returns its size, of HTTP/2 as if it were one of HTTP/1.
    pub(crate) fn begin_final(
        &mut self,
        status: u16,
        reason: Range<usize>,
        fields: Block,
        length: BodyLength,
    ) -> Result<u64, Failure> {
        // A tunnel that nobody is behind must not look open.
        let open = self.down.awaits_tunnel() && (200..300).contains(&status);
        let status = if open { 501 } else { status };
        self.record.status = status;
        self.head_sent = true;
        let outcome = match &mut *self.down {
            DownPeer::H1(peer) => {
                let modern = self.request.version >= Version::Http11;
                let chunked = matches!(length, BodyLength::Chunked | BodyLength::UntilClose);
                let encoder =
                    if chunked && modern { BodyEncoder::Chunked } else { BodyEncoder::Identity };
                self.keep_alive &= (modern || !chunked) && !self.core.is_draining();
                peer.lend_output(&self.core.blocks);
                let out = peer.begin(encoder);
                let before = out.len();
                h1::write_status_line(out, status, &fields.bytes()[reason]);
                fields.write_lines(out, |_| false);
                if encoder == BodyEncoder::Chunked {
                    out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                }
                if !self.keep_alive {
                    out.extend_from_slice(b"Connection: close\r\n");
                } else if !modern {
                    out.extend_from_slice(b"Connection: keep-alive\r\n");
                }
                out.extend_from_slice(b"\r\n");
                Ok((out.len() - before) as u64)
            }
            down @ (DownPeer::H2(_) | DownPeer::Nobody) => {
                let sent = down.respond(status, &fields, length == BodyLength::None);
                sent.map(|()| size_as_h1(&fields))
            }
        };
        self.core.blocks.give(fields);
        outcome.map_err(|error| client_gone(&error))
    }

    /// Sends a body that is at hand as a whole.
    pub(crate) async fn send_whole(&mut self, body: &[u8]) -> Result<(), Failure> {
        let header = self.timeouts().header;
        let mut left = body;
        let down = &mut *self.down;
        let all = poll_fn(|cx| {
            while !left.is_empty() {
                let taken = std::task::ready!(down.poll_send(cx, left))?;
                left = &left[taken..];
            }
            down.finish(None);
            std::task::Poll::Ready(Ok(()))
        });
        match self.guard.within(header, all).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(client_gone(&error)),
            Err(_) => Err(Failure::new(Kind::ClientTooSlow)),
        }
    }

    /// The rules for responses of the route that the request got to.
    fn response_rules(&self) -> Option<&'a FieldRules> {
        let Face::Reverse(face) = &self.listener.face else { return None };
        let site = face.table.sites.get(self.record.site?)?;
        let rules = &site.routes.routes.get(self.record.route?)?.response_rules;
        (!rules.is_empty()).then_some(rules)
    }
}
