//! What is remembered of a request, for the access log and the counters.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use message::{FieldId, RequestHead};
use telemetry::counters::Finished;
use telemetry::{AccessRecord, AccessTls, CacheResult};
use tls::TlsInfo;

use crate::client::Client;
use crate::core::{Core, View};
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::gate::{Noted, Reserved};
use crate::respond::ErrorPages;
use crate::snapshot::{Face, Listener};

/// What is remembered of one request.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) started: Instant,
    /// Index of the site in its listener.
    pub(crate) site: Option<usize>,
    /// Index of the route in its site.
    pub(crate) route: Option<usize>,
    /// What the cache did, where there is one.
    pub(crate) cache: Option<CacheResult>,
    /// Index of the upstream.
    pub(crate) upstream: Option<usize>,
    pub(crate) server: Option<SocketAddr>,
    pub(crate) attempts: u8,
    pub(crate) status: u16,
    /// Size of the head of the request, until somebody is charged for it.
    pub(crate) head_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) connect: Option<Duration>,
    first_byte: Option<Duration>,
    /// The client was told of an interim response: it has seen something of this server.
    pub(crate) interim_sent: bool,
    pub(crate) user: Option<String>,
    /// When it is worth asking again, if it is told.
    pub(crate) retry_after: Option<Duration>,
    /// The nonce that was shown is not good any more, all else is (RFC 7616 §3.3).
    pub(crate) stale: bool,
    /// For `Allow`, when the method is refused.
    pub(crate) allow: String,
    /// What the gate has to say to the response.
    pub(crate) noted: Noted,
    /// `SOCKS5` and the like, where it is no HTTP.
    pub(crate) protocol: Option<&'static str>,
    failure: Option<Failure>,
}

impl Record {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            site: None,
            route: None,
            cache: None,
            upstream: None,
            server: None,
            attempts: 0,
            status: 0,
            head_in: 0,
            bytes_in: 0,
            bytes_out: 0,
            connect: None,
            first_byte: None,
            interim_sent: false,
            user: None,
            retry_after: None,
            stale: false,
            allow: String::new(),
            noted: Noted::default(),
            protocol: None,
            failure: None,
        }
    }

    pub(crate) fn note_failure(&mut self, failure: &Failure) {
        self.failure = Some(failure.clone());
    }

    /// The failure of the last attempt, when there is nobody left to try.
    pub(crate) fn last_failure(&self) -> Failure {
        self.failure.clone().unwrap_or_else(|| Failure::new(Kind::Unavailable))
    }

    /// Why policy refused the request, if it did: one of [`telemetry::REFUSAL_NAMES`].
    fn refusal(&self) -> Option<&str> {
        let failure = self.failure.as_ref()?;
        match failure.kind {
            // The rules say their reason in these very words.
            Kind::Denied | Kind::IpProhibited => Some(&failure.detail),
            Kind::RateLimited => Some("rate_limit"),
            Kind::WishRefused | Kind::NoExit => Some("wish"),
            Kind::QuotaExceeded => Some("quota"),
            Kind::Unauthenticated | Kind::SiteUnauthenticated => Some(match self.user {
                Some(_) => "credentials_wrong",
                None => "credentials_missing",
            }),
            _ => None,
        }
    }

    /// An earlier attempt failed, this one did not.
    pub(crate) fn note_first_byte(&mut self) {
        self.failure = None;
        if self.first_byte.is_none() {
            self.first_byte = Some(self.started.elapsed());
        }
    }

    /// What the request may not say behind its body.
    pub(crate) fn reserved<'a>(&self, listener: &'a Listener) -> Option<Reserved<'a>> {
        let Face::Reverse(face) = &listener.face else { return None };
        let site = face.table.sites.get(self.site?)?;
        Some(Reserved::of(site, site.routes.routes.get(self.route?)?))
    }

    /// The error pages of where the request got to.
    pub(crate) fn error_pages<'a>(&self, listener: &'a Listener) -> Option<&'a ErrorPages> {
        let Face::Reverse(face) = &listener.face else { return None };
        let site = face.table.sites.get(self.site?)?;
        match self.route.and_then(|index| site.routes.routes.get(index)) {
            Some(route) => Some(&route.error_pages),
            None => Some(&site.error_pages),
        }
    }
}

impl Exchange<'_> {
    /// Writes the line of the access log and counts.
    pub(crate) fn record(&self) {
        let line = Line {
            core: self.core,
            view: self.view,
            listener: self.listener,
            client: &self.client,
            tls: self.down.tls_info(),
            request: &self.request,
            record: &self.record,
        };
        line.write();
    }
}

/// What a line of the access log is made of.
pub(crate) struct Line<'a> {
    pub(crate) core: &'a Core,
    pub(crate) view: &'a View,
    pub(crate) listener: &'a Listener,
    pub(crate) client: &'a Client,
    pub(crate) tls: Option<&'a TlsInfo>,
    pub(crate) request: &'a RequestHead,
    pub(crate) record: &'a Record,
}

impl Line<'_> {
    /// Writes it, and counts.
    pub(crate) fn write(&self) {
        let record = self.record;
        let duration = record.started.elapsed();
        if self.core.log.enabled() {
            self.core.log.record(&self.access(duration), std::time::SystemTime::now());
        }
        let finished = Finished {
            status: record.status,
            duration,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
        };
        let counters = &self.core.counters;
        counters.request_finished(self.face(), self.site_label(), &finished);
        if let Some(failure) = &record.failure {
            self.core.count_failure(failure.kind);
        }
        if let Some(result) = record.cache {
            counters.cache(result).inc();
        }
        if let Some(reason) = record.refusal() {
            counters.refusal(telemetry::refusal_index(reason).unwrap_or(u8::MAX)).inc();
        }
    }

    /// What the log says of it.
    fn access(&self, duration: Duration) -> AccessRecord<'_> {
        let record = self.record;
        let (site, route) = self.names();
        let info = self.tls;
        AccessRecord {
            face: self.face(),
            client: self.client.address,
            client_port: self.client.port,
            user: record.user.as_deref(),
            method: self.request.method_text(),
            target: self.request.target(),
            host: self.request.fields.received(FieldId::Host).unwrap_or_default(),
            version: record.protocol.unwrap_or(self.request.version.as_str()),
            status: record.status,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            site,
            route,
            cache: record.cache,
            upstream: record.upstream.map_or("", |index| self.view.clusters[index].name()),
            server: record.server,
            attempts: record.attempts,
            duration,
            connect: record.connect,
            first_byte: record.first_byte,
            tls: info.map(|info| AccessTls {
                version: info.version,
                cipher: info.cipher,
                sni: info.sni.as_deref(),
                resumed: info.resumed,
            }),
            referer: self.request.fields.received(FieldId::Referer),
            user_agent: self.request.fields.received(FieldId::UserAgent),
            failure: record.failure.as_ref().map(|failure| failure.kind.name()),
            detail: record.failure.as_ref().map_or("", |failure| &*failure.detail),
            generation: self.view.snapshot.generation,
        }
    }

    fn site_label(&self) -> Option<telemetry::SiteLabel> {
        let Face::Reverse(face) = &self.listener.face else { return None };
        face.table.sites.get(self.record.site?).map(|site| site.label)
    }

    fn face(&self) -> telemetry::Face {
        match &self.listener.face {
            Face::Forward(_) => telemetry::Face::Forward,
            Face::Reverse(_) | Face::Tunnel(_) => telemetry::Face::Reverse,
        }
    }

    /// Those of the site, or the listener, and of the route.
    fn names(&self) -> (&str, &str) {
        match &self.listener.face {
            Face::Reverse(face) => {
                let site = self.record.site.and_then(|index| face.table.sites.get(index));
                let route = site
                    .zip(self.record.route)
                    .and_then(|(site, index)| site.routes.routes.get(index));
                (
                    site.map_or("", |site| &site.config.name),
                    route.map_or("", |route| &route.config.name),
                )
            }
            Face::Forward(face) => (&face.config.name, ""),
            Face::Tunnel(face) => (&face.config.name, ""),
        }
    }
}
