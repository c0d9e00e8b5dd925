//! The reverse face: from a request to one of the servers behind a site.

use config::{Action, Scheme};
use message::framing::BodyLength;
use message::target::{CanonicalPath, PathAndQuery, PathError, Target};
use message::{
    Authority, Block, FieldId, Host, Method, RequestHead, ResponseHead, Version, forwarding, hop,
};
use upstream::{Link, Member, StreamSlot};

use crate::cache::{self, CachePlan, Intake, Origin, Place, Side};
use crate::client::{AddressText, Client};
use crate::exchange::{Aim, Exchange};
use crate::failure::{Failure, Kind};
use crate::gate::{self, Passage};
use crate::mapping::{Mapping, map_back};
use crate::peer::{H1Peer, H2Up, UpPeer, header_map};
use crate::relay;
use crate::respond::Answer;
use crate::site::{Found, Route, Site};
use crate::snapshot::Reverse;
use crate::websocket::Handshake;

/// Serves a request on a listener of sites.
pub(crate) async fn serve<'a>(
    x: &mut Exchange<'a>,
    face: &'a Reverse,
    aim: Aim,
) -> Result<(), Failure> {
    let site = find_site(x, face, &aim)?;
    if x.request.method == Method::Connect {
        return Err(Failure::with(Kind::MethodNotAllowed, "CONNECT is for forward proxies"));
    }
    if x.count_forward()? {
        return x.answer_as_last().await;
    }
    let Some(path) = x.path_of(&aim.target) else {
        // `OPTIONS *` asks about the server as a whole, which is us.
        return x.answer_as_last().await;
    };
    let route = find_route(x, site, &path);
    if gate::admit(x, site, route.as_ref().ok().copied()).await? == Passage::Answered {
        return Ok(());
    }
    let route = route?;
    if let Some(upstream) = route.upstream() {
        let forwarding = Forwarding { site, route, aim: &aim, path };
        let Some(plan) = &route.cache else {
            return forwarding.relay(x, upstream, None).await;
        };
        let origin = Behind { forwarding, upstream };
        let place = origin.place(x, plan);
        return cache::serve(x, &place, &origin).await;
    }
    match &route.config.action {
        Action::Redirect { to, status } => {
            let location = location(route, to, x.request.target(), &path);
            x.answer(Answer::text(*status, format!("See {location}\n")).field("Location", location))
                .await
        }
        Action::Respond { status, body, content_type } => {
            let answer =
                Answer { content_type, body: body.as_slice().into(), ..Answer::new(*status) };
            x.answer(answer).await
        }
        Action::Relay { .. } => Err(Failure::internal("a relay without an upstream")),
    }
}

/// Fetches an answer again for the cache alone. The request was let in once.
pub(crate) async fn refresh<'a>(
    x: &mut Exchange<'a>,
    face: &'a Reverse,
    lead: ::cache::Lead,
) -> Result<(), Failure> {
    let aim = x.understand()?;
    let site = find_site(x, face, &aim)?;
    let gone = || Failure::internal("a configuration without this route");
    let path = x.path_of(&aim.target).ok_or_else(gone)?;
    let route = find_route(x, site, &path)?;
    let (Some(upstream), Some(plan)) = (route.upstream(), &route.cache) else {
        return Err(gone());
    };
    let origin = Behind { forwarding: Forwarding { site, route, aim: &aim, path }, upstream };
    let place = origin.place(x, plan);
    cache::refresh(x, &place, &origin, lead).await
}

/// The servers behind a route, as the cache asks them.
struct Behind<'a, 'b> {
    forwarding: Forwarding<'a, 'b>,
    upstream: usize,
}

impl<'a> Behind<'a, '_> {
    fn place(&self, x: &Exchange<'a>, plan: &'a CachePlan) -> Place<'a, '_> {
        Place {
            plan,
            packing: self.forwarding.route.packing.as_deref(),
            side: Side::Reverse,
            scheme: x.client.scheme(),
            aim: self.forwarding.aim,
            path: &self.forwarding.path,
            site: &self.forwarding.site.config.name,
        }
    }
}

impl<'a> Origin<'a> for Behind<'a, '_> {
    async fn relay(
        &self,
        x: &mut Exchange<'a>,
        intake: Option<&Intake<'_>>,
    ) -> Result<(), Failure> {
        self.forwarding.relay(x, self.upstream, intake).await
    }

    fn dress(&self, x: &mut Exchange<'_>, head: &mut ResponseHead) {
        self.forwarding.dress(x, head);
    }
}

/// Where a redirect leads.
pub(crate) fn location(
    route: &Route,
    to: &config::PathTemplate,
    target: &[u8],
    path: &PathAndQuery,
) -> String {
    let mut location = route.fill(to, &target[path.path.clone()]).concat();
    // `//host` and, to browsers, `/\host` name another host than ours.
    if location.starts_with(b"/") {
        let more = location[1..].iter().take_while(|b| matches!(b, b'/' | b'\\')).count();
        location.drain(1..=more);
    }
    // What the client asked with goes along, unless the rule says otherwise.
    if !location.contains(&b'?') {
        location.extend_from_slice(&target[path.query.clone()]);
    }
    String::from_utf8_lossy(&location).into_owned()
}

/// The site of the request's host, which must be the one that TLS was made for.
fn find_site<'a>(x: &mut Exchange<'a>, face: &'a Reverse, aim: &Aim) -> Result<&'a Site, Failure> {
    let host = aim.authority.as_ref().map(|authority| &authority.host);
    let index = face.table.find(host).ok_or_else(|| Failure::new(Kind::Misdirected))?;
    x.record.site = Some(index);
    let site = &*face.table.sites[index];
    if x.tls_site.is_some_and(|made_for| !site.is_for(made_for)) {
        return Err(Failure::with(Kind::Misdirected, "the TLS connection is for another site"));
    }
    // Limits of the listener were those of its most generous site.
    if x.request.fields.bytes().len() > site.heads.bytes
        || x.request.fields.len() > site.heads.fields
    {
        return Err(Failure::new(Kind::RequestHeadTooLarge));
    }
    Ok(site)
}

fn find_route<'a>(
    x: &mut Exchange<'a>,
    site: &'a Site,
    path: &PathAndQuery,
) -> Result<&'a Route, Failure> {
    let canonical = canonical(&x.request.target()[path.path.clone()])?;
    match choose_route(site, &canonical, x.request.method_text()) {
        Ok(index) => {
            x.record.route = Some(index);
            Ok(&site.routes.routes[index])
        }
        Err(failure) => {
            if failure.kind == Kind::MethodNotAllowed {
                x.record.allow = allowed_methods(site, &canonical);
            }
            Err(failure)
        }
    }
}

/// The form of a path that decisions are made on.
pub(crate) fn canonical(path: &[u8]) -> Result<CanonicalPath<'_>, Failure> {
    CanonicalPath::of(path).map_err(|error| {
        Failure::with(
            Kind::RequestError,
            match error {
                PathError::DotSegment => "dot segment in the path",
                PathError::BadEncoding => "path is not encoded well",
            },
        )
    })
}

/// The route of a path, by index.
pub(crate) fn choose_route(
    site: &Site,
    path: &CanonicalPath<'_>,
    method: &[u8],
) -> Result<usize, Failure> {
    match site.routes.find(path, method) {
        Ok(Found::Route(index)) => Ok(index),
        Ok(Found::OtherMethods) => Err(Failure::new(Kind::MethodNotAllowed)),
        Ok(Found::Nothing) => Err(Failure::new(Kind::NoRoute)),
        Err(()) => Err(Failure::with(Kind::RequestError, "the path can be read in two ways")),
    }
}

/// What `Allow` says about a path.
pub(crate) fn allowed_methods(site: &Site, path: &CanonicalPath<'_>) -> String {
    let methods = site.routes.methods(path);
    methods.into_iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(", ")
}

/// A request that goes to a server.
pub(crate) struct Forwarding<'a, 'b> {
    pub(crate) site: &'a Site,
    pub(crate) route: &'a Route,
    pub(crate) aim: &'b Aim,
    pub(crate) path: PathAndQuery,
}

impl<'a> Forwarding<'a, '_> {
    /// Makes the head of the request what the server shall see; returns whether it asks for
    /// another protocol.
    pub(crate) fn prepare(&self, x: &mut Exchange<'a>) -> bool {
        let upgrade = passes_upgrade(x);
        self.introduce(&mut x.request, &x.client);
        self.route.request_rules.apply(&mut x.request.fields);
        finish_connection_fields(x, upgrade);
        upgrade
    }

    /// Makes the fields that tell the server about the client.
    pub(crate) fn introduce(&self, request: &mut RequestHead, client: &Client) {
        let rule = &self.site.config.forwarded;
        let address = AddressText::new(client.address);
        let host = request.fields.received(FieldId::Host).unwrap_or_default().to_vec();
        let about = forwarding::Client {
            address: client.address,
            address_text: address.as_bytes(),
            trusted: client.trusted,
            scheme: client.scheme(),
            host: &host,
        };
        let fields = &mut request.fields;
        forwarding::distrust(fields, client.trusted);
        fields.remove(FieldId::ProxyAuthorization);
        forwarding::apply(fields, rule, &about);
        if let Some(pseudonym) = &rule.via {
            forwarding::add_via(fields, request.version.number(), pseudonym);
        }
    }

    /// Sends the head of the request, or puts it where it leaves together with the body.
    pub(crate) async fn begin(
        &self,
        x: &mut Exchange<'a>,
        endpoint: &Member,
        link: Link,
        upgrade: bool,
    ) -> Result<UpPeer, Failure> {
        match link {
            Link::Http1(connection) => {
                let mut up = H1Peer::new(connection.wire);
                up.lend_output(&x.core.blocks);
                self.write_request(x, endpoint, &mut up);
                Ok(UpPeer::H1(up))
            }
            Link::Http2(slot) => {
                if upgrade {
                    self.ask_for_extended_connect(x, &slot).await?;
                }
                let request = self.request_over_http2(x, endpoint, upgrade)?;
                let end = x.body == BodyLength::None && !upgrade;
                let (response, send) =
                    slot.send(request, end).map_err(|error| Failure::of_unsent(&error))?;
                Ok(UpPeer::H2(H2Up::new(slot, response, (!end).then_some(send), upgrade)))
            }
        }
    }

    /// Whether a server takes extended CONNECT, which it may be slow to say.
    async fn ask_for_extended_connect(
        &self,
        x: &mut Exchange<'a>,
        slot: &StreamSlot,
    ) -> Result<(), Failure> {
        let response = self.site.config.timeouts.response;
        match x.guard.within(response, Box::pin(slot.takes_extended_connect())).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::with(Kind::UpgradeFailed, "no extended CONNECT")),
            Err(_) => {
                slot.distrust();
                Err(Failure::new(Kind::ResponseTimeout))
            }
        }
    }

    fn write_request(&self, x: &mut Exchange<'a>, endpoint: &Member, up: &mut H1Peer) {
        let coding = relay::coding_of(x.body_out());
        let out = up.begin(coding);
        let parts = self.target_out(&x.request, &endpoint.server.base_path);
        h1::write_request_line(out, x.request.method_text(), &parts);
        let host = self.host_out(&x.request, &endpoint.authority);
        relay::write_fields(out, &x.request.fields, host, coding);
    }

    /// The request as HTTP/2 has it (RFC 9113 §8.3.1, RFC 8441 §4).
    fn request_over_http2(
        &self,
        x: &Exchange<'a>,
        endpoint: &Member,
        upgrade: bool,
    ) -> Result<http::Request<()>, Failure> {
        let unfit = || Failure::with(Kind::RequestError, "cannot be said in HTTP/2");
        let host = match self.host_out(&x.request, &endpoint.authority) {
            Some(host) => host,
            None => x.request.fields.get(FieldId::Host).unwrap_or(endpoint.authority.as_bytes()),
        };
        let scheme = match endpoint.server.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let path = self.target_out(&x.request, &endpoint.server.base_path).concat();
        let uri = http::Uri::builder()
            .scheme(scheme)
            .authority(host)
            .path_and_query(path)
            .build()
            .map_err(|_| unfit())?;
        let mut request = http::Request::new(());
        *request.uri_mut() = uri;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = header_map(&x.request.fields, |_| false).map_err(|_| unfit())?;
        if x.said.trailers {
            request.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
        }
        let method = x.request.method_text();
        *request.method_mut() = match x.request.fields.get(FieldId::Upgrade).filter(|_| upgrade) {
            None => http::Method::from_bytes(method).map_err(|_| unfit())?,
            Some(protocol) => {
                let protocol = String::from_utf8_lossy(protocol).to_ascii_lowercase();
                request.extensions_mut().insert(h2::ext::Protocol::from(protocol.as_str()));
                // HTTP/2 proves by itself that the server means it (RFC 8441 §5).
                request.headers_mut().remove("sec-websocket-key");
                http::Method::CONNECT
            }
        };
        Ok(request)
    }

    /// The request target for the server, in pieces.
    pub(crate) fn target_out<'x>(
        &'x self,
        request: &'x RequestHead,
        base_path: &'x str,
    ) -> [&'x [u8]; 4] {
        if request.method == Method::Options && self.asks_all() {
            return [b"*", b"", b"", b""];
        }
        let target = request.target();
        let path = self.route.path_out(&target[self.path.path.clone()]);
        let query = &target[self.path.query.clone()];
        [base_path.as_bytes(), path[0], path[1], query]
    }

    /// `OPTIONS http://host` without a path asks about the whole server (RFC 9112 §3.2.4).
    fn asks_all(&self) -> bool {
        self.path.path.is_empty() && self.path.query.is_empty()
    }

    /// The `Host` that the server gets, unless it is the field as received. `authority` is that of
    /// the server.
    pub(crate) fn host_out<'x>(
        &self,
        request: &'x RequestHead,
        authority: &'x str,
    ) -> Option<&'x [u8]> {
        if self.route.request_rules.sets(FieldId::Host) {
            return None;
        }
        if !self.site.config.forwarded.preserve_host {
            return Some(authority.as_bytes());
        }
        match &self.aim.target {
            Target::Absolute { authority, .. } => Some(&request.target()[authority.clone()]),
            _ if request.fields.get(FieldId::Host).is_none_or(<[u8]>::is_empty) => {
                Some(authority.as_bytes())
            }
            _ => None,
        }
    }

    /// Makes the head of the response what clients of the site shall see.
    pub(crate) fn localize(
        &self,
        x: &mut Exchange<'_>,
        endpoint: &Member,
        head: &mut ResponseHead,
    ) {
        // What the origin says about itself stays here.
        head.fields.remove(FieldId::Server);
        head.fields.remove(FieldId::XPoweredBy);
        head.fields.remove(FieldId::ProxyStatus);
        if head.fields.has_any(&[FieldId::Location, FieldId::ContentLocation, FieldId::SetCookie]) {
            let host = x.request.fields.received(FieldId::Host).unwrap_or_default().to_vec();
            let mapping =
                Mapping { scheme: x.client.scheme(), host: &host, route: self.route, endpoint };
            map_back(&mut head.fields, &mapping);
        }
    }

    /// Adds what is said to this client alone, and what the rules of the route say.
    pub(crate) fn dress(&self, x: &mut Exchange<'_>, head: &mut ResponseHead) {
        for (name, value) in x.record.noted.take_fields() {
            head.fields.push(name.as_bytes(), &[value.as_bytes()]);
        }
        self.route.response_rules.apply(&mut head.fields);
    }
}

/// Whether the request for another protocol goes on to the server.
pub(crate) fn passes_upgrade(x: &Exchange<'_>) -> bool {
    asks_for_upgrade(&x.request, x.said, x.body)
}

/// Whether a request is one for another protocol that may go on to the server.
pub(crate) fn asks_for_upgrade(
    request: &RequestHead,
    said: hop::Connection,
    body: BodyLength,
) -> bool {
    let allowed = said.upgrade
        && request.version >= Version::Http11
        && request.method == Method::Get
        && body == BodyLength::None;
    // Those would hide further requests from us (h2c smuggling).
    allowed
        && request.fields.received(FieldId::Upgrade).is_some_and(|value| {
            message::list::elements(value).all(|protocol| {
                let name = protocol.split(|byte| *byte == b'/').next().unwrap_or(protocol);
                ![&b"h2c"[..], b"h2", b"http", b"tls"]
                    .iter()
                    .any(|hidden| name.eq_ignore_ascii_case(hidden))
            })
        })
}

/// Puts back what belongs to the connection to the server.
pub(crate) fn finish_connection_fields(x: &mut Exchange<'_>, upgrade: bool) {
    let stream = x.down.is_stream();
    put_connection_fields(&mut x.request.fields, x.said, upgrade, stream);
}

/// The same for a request that came in a `stream` of HTTP/2, or else over HTTP/1.
pub(crate) fn put_connection_fields(
    fields: &mut Block,
    said: hop::Connection,
    upgrade: bool,
    stream: bool,
) {
    let trailers = said.trailers;
    if upgrade && let Some(protocol) = fields.received(FieldId::Upgrade).map(<[u8]>::to_vec) {
        if stream && protocol.eq_ignore_ascii_case(b"websocket") {
            Handshake::complete(fields);
        }
        fields.push(b"Connection", &[if trailers { b"upgrade, te" } else { b"upgrade" }]);
        fields.push(b"Upgrade", &[&protocol]);
    } else if trailers {
        fields.push(b"Connection", &[b"te"]);
    }
    if trailers {
        fields.push(b"TE", &[b"trailers"]);
    }
}

/// A host and port as text, for comparison.
pub(crate) fn same_origin(authority: &[u8], endpoint: &Member) -> bool {
    let Ok(found) = Authority::parse(authority) else { return false };
    let secure = endpoint.server.scheme == Scheme::Https;
    let port = found.port.unwrap_or(if secure { 443 } else { 80 });
    let host = match &endpoint.server.host {
        config::ServerHost::Address(ip) => Host::Address(*ip),
        config::ServerHost::Name(name) | config::ServerHost::Srv(name) => {
            Host::Name(name.as_str().into())
        }
    };
    found.host == host && port == endpoint.server.port
}
