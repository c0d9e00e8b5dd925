//! One record as one line.

use config::LogFormat;

use super::address::{push_ip, push_number, push_seconds, push_socket};
use super::escape::{Style, push_text, split_userinfo};
use super::{AccessRecord, LogClock};

/// Appends `record` as one line, newline included, stamped with what `clock` shows.
///
/// Long values are cut, so that a line stays below about 100 KiB whatever a peer sends.
pub fn write_line(
    out: &mut Vec<u8>,
    format: LogFormat,
    record: &AccessRecord<'_>,
    clock: &LogClock,
) {
    match format {
        LogFormat::Json => write_json(out, record, clock),
        LogFormat::Combined => write_combined(out, record, clock),
    }
}

fn write_json(out: &mut Vec<u8>, record: &AccessRecord<'_>, clock: &LogClock) {
    let mut line = Json { out };
    line.put(br#"{"time":""#, clock.rfc3339());
    line.put(br#"","face":""#, record.face.name().as_bytes());
    line.put(br#"","client":""#, b"");
    push_ip(line.out, record.client);
    line.number(br#"","client_port":"#, record.client_port);
    line.optional(br#","user":""#, record.user.map(str::as_bytes), limit::USER);
    line.text(br#","method":""#, record.method, limit::METHOD);
    line.url(br#","target":""#, record.target, limit::TARGET);
    if !record.host.is_empty() {
        line.url(br#","host":""#, record.host, limit::HOST);
    }
    line.put(br#","version":""#, record.version.as_bytes());
    line.number(br#"","status":"#, record.status);
    line.number(br#","bytes_in":"#, record.bytes_in);
    line.number(br#","bytes_out":"#, record.bytes_out);
    line.unless_empty(br#","site":""#, record.site, limit::NAME);
    line.unless_empty(br#","route":""#, record.route, limit::NAME);
    if let Some(cache) = record.cache {
        line.put(br#","cache":""#, cache.as_str().as_bytes());
        line.out.push(b'"');
    }
    line.unless_empty(br#","upstream":""#, record.upstream, limit::NAME);
    if let Some(server) = record.server {
        line.put(br#","server":""#, b"");
        push_socket(line.out, server);
        line.out.push(b'"');
    }
    line.number(br#","attempts":"#, record.attempts);
    line.put(br#","duration":"#, b"");
    push_seconds(line.out, record.duration);
    for (key, time) in
        [(&br#","connect":"#[..], record.connect), (&br#","first_byte":"#[..], record.first_byte)]
    {
        if let Some(time) = time {
            line.put(key, b"");
            push_seconds(line.out, time);
        }
    }
    if let Some(tls) = &record.tls {
        line.text(br#","tls_version":""#, tls.version.as_bytes(), limit::NAME);
        line.text(br#","tls_cipher":""#, tls.cipher.as_bytes(), limit::NAME);
        line.optional(br#","sni":""#, tls.sni.map(str::as_bytes), limit::HOST);
        line.put(br#","tls_resumed":"#, if tls.resumed { b"true" } else { b"false" });
    }
    if let Some(referer) = record.referer {
        line.url(br#","referer":""#, referer, limit::REFERER);
    }
    line.optional(br#","user_agent":""#, record.user_agent, limit::USER_AGENT);
    line.optional(br#","failure":""#, record.failure.map(str::as_bytes), limit::NAME);
    line.unless_empty(br#","detail":""#, record.detail, limit::DETAIL);
    line.number(br#","generation":"#, record.generation);
    line.out.extend_from_slice(b"}\n");
}

fn write_combined(out: &mut Vec<u8>, record: &AccessRecord<'_>, clock: &LogClock) {
    push_ip(out, record.client);
    out.extend_from_slice(b" - ");
    push_user(out, record.user);
    out.extend_from_slice(b" [");
    out.extend_from_slice(clock.clf());
    out.extend_from_slice(b"] \"");
    push_text(out, record.method, limit::METHOD, Style::Quoted);
    out.push(b' ');
    push_url(out, record.target, limit::TARGET, Style::Quoted);
    out.push(b' ');
    out.extend_from_slice(record.version.as_bytes());
    out.extend_from_slice(b"\" ");
    push_status(out, record.status);
    out.push(b' ');
    push_number(out, record.bytes_out);
    out.extend_from_slice(b" \"");
    push_url(out, record.referer.unwrap_or(b"-"), limit::REFERER, Style::Quoted);
    out.extend_from_slice(b"\" \"");
    push_text(out, record.user_agent.unwrap_or(b"-"), limit::USER_AGENT, Style::Quoted);
    out.push(b'"');
    write_combined_rest(&mut Fields { out }, record);
    out.push(b'\n');
}

/// The fields that the NCSA form does not have.
fn write_combined_rest(line: &mut Fields<'_>, record: &AccessRecord<'_>) {
    line.word(b" face=", record.face.name());
    line.number(b" client_port=", record.client_port);
    if !record.host.is_empty() {
        line.out.extend_from_slice(b" host=\"");
        push_url(line.out, record.host, limit::HOST, Style::Quoted);
        line.out.push(b'"');
    }
    line.number(b" bytes_in=", record.bytes_in);
    line.text(b" site=\"", record.site, limit::NAME);
    line.text(b" route=\"", record.route, limit::NAME);
    if let Some(cache) = record.cache {
        line.word(b" cache=", cache.as_str());
    }
    line.text(b" upstream=\"", record.upstream, limit::NAME);
    if let Some(server) = record.server {
        line.word(b" server=", "");
        push_socket(line.out, server);
    }
    line.number(b" attempts=", record.attempts);
    for (key, time) in [
        (&b" duration="[..], Some(record.duration)),
        (&b" connect="[..], record.connect),
        (&b" first_byte="[..], record.first_byte),
    ] {
        if let Some(time) = time {
            line.out.extend_from_slice(key);
            push_seconds(line.out, time);
        }
    }
    if let Some(tls) = &record.tls {
        line.text(b" tls_version=\"", tls.version, limit::NAME);
        line.text(b" tls_cipher=\"", tls.cipher, limit::NAME);
        line.text(b" sni=\"", tls.sni.unwrap_or_default(), limit::HOST);
        line.word(b" tls_resumed=", if tls.resumed { "true" } else { "false" });
    }
    line.text(b" failure=\"", record.failure.unwrap_or_default(), limit::NAME);
    line.text(b" detail=\"", record.detail, limit::DETAIL);
    line.number(b" generation=", record.generation);
}

/// Appends members of a JSON object. Keys are given with all the punctuation around them, so
/// that each is one copy.
struct Json<'a> {
    out: &'a mut Vec<u8>,
}

impl Json<'_> {
    /// A value that needs no escaping. If it is a string, what follows closes it.
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(value);
    }

    fn number(&mut self, key: &[u8], value: impl itoa::Integer) {
        self.out.extend_from_slice(key);
        push_number(self.out, value);
    }

    fn text(&mut self, key: &[u8], value: &[u8], limit: usize) {
        self.out.extend_from_slice(key);
        push_text(self.out, value, limit, Style::Json);
        self.out.push(b'"');
    }

    fn url(&mut self, key: &[u8], value: &[u8], limit: usize) {
        self.out.extend_from_slice(key);
        push_url(self.out, value, limit, Style::Json);
        self.out.push(b'"');
    }

    fn optional(&mut self, key: &[u8], value: Option<&[u8]>, limit: usize) {
        if let Some(value) = value {
            self.text(key, value, limit);
        }
    }

    fn unless_empty(&mut self, key: &[u8], value: &str, limit: usize) {
        if !value.is_empty() {
            self.text(key, value.as_bytes(), limit);
        }
    }
}

/// Appends ` key=value` fields.
struct Fields<'a> {
    out: &'a mut Vec<u8>,
}

impl Fields<'_> {
    /// A word of ours.
    fn word(&mut self, key: &[u8], value: &str) {
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(value.as_bytes());
    }

    fn number(&mut self, key: &[u8], value: impl itoa::Integer) {
        self.out.extend_from_slice(key);
        push_number(self.out, value);
    }

    /// Nothing if `value` is empty. The key ends in the opening quote.
    fn text(&mut self, key: &[u8], value: &str, limit: usize) {
        if !value.is_empty() {
            self.out.extend_from_slice(key);
            push_text(self.out, value.as_bytes(), limit, Style::Quoted);
            self.out.push(b'"');
        }
    }
}

fn push_url(out: &mut Vec<u8>, url: &[u8], limit: usize, style: Style) {
    let (before, after) = split_userinfo(url);
    push_text(out, before, limit, style);
    push_text(out, after, limit, style);
}

/// `-` means no user, so a user of that name is written `\x2d`; an empty one is `""`, as
/// other servers have it.
fn push_user(out: &mut Vec<u8>, user: Option<&str>) {
    match user {
        None => out.push(b'-'),
        Some("") => out.extend_from_slice(b"\"\""),
        Some("-") => out.extend_from_slice(b"\\x2d"),
        Some(user) => push_text(out, user.as_bytes(), limit::USER, Style::Bare),
    }
}

/// Three digits at least: tools that read this form expect them.
fn push_status(out: &mut Vec<u8>, status: u16) {
    if status < 100 {
        out.push(b'0');
    }
    if status < 10 {
        out.push(b'0');
    }
    push_number(out, status);
}

/// How many bytes of a value get into a line, before escaping.
mod limit {
    pub(super) const METHOD: usize = 64;
    pub(super) const TARGET: usize = 8192;
    pub(super) const HOST: usize = 300;
    pub(super) const USER: usize = 256;
    pub(super) const NAME: usize = 256;
    pub(super) const REFERER: usize = 2048;
    pub(super) const USER_AGENT: usize = 1024;
    pub(super) const DETAIL: usize = 512;
}
