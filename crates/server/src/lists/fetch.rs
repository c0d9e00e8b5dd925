//! Fetching one list.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policy::DomainList;
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::{Content, Wanted};

/// Largest list, in bytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// From the request to the end of the list.
const TIMEOUT: Duration = Duration::from_secs(60);

/// To connect, with TLS.
const CONNECT: Duration = Duration::from_secs(10);

const MAX_REDIRECTS: u32 = 5;

/// What came of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    /// There is another copy now.
    Changed,
    /// The copy is what the server has.
    Same,
}

/// Fetches lists, straight from this machine: whatever proxy the environment names may be this one.
pub(super) struct Fetcher {
    plain: OnceLock<Agent>,
    /// For `https` URLs, also through redirects.
    secure: OnceLock<Agent>,
    /// `None`: those of the system.
    roots: Option<Vec<Certificate<'static>>>,
    max_bytes: u64,
}

/// What is noted beside a copy.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
    /// Seconds since 1970.
    fetched: u64,
}

impl Fetcher {
    pub(super) fn new() -> Self {
        Self { plain: OnceLock::new(), secure: OnceLock::new(), roots: None, max_bytes: MAX_BYTES }
    }

    /// Makes the copy what the server has now. The old one stays until the new one is whole.
    pub(super) fn fetch(&self, list: &Wanted, now: SystemTime) -> Result<Fetched, String> {
        let old = note(&list.path).filter(|note| note.url == list.url && list.path.exists());
        let mut request = self.agent(&list.url).get(&list.url);
        if let Some(old) = &old {
            if let Some(etag) = &old.etag {
                request = request.header("If-None-Match", etag);
            }
            if let Some(date) = &old.last_modified {
                request = request.header("If-Modified-Since", date);
            }
        }
        let mut response = request.call().map_err(|error| error.to_string())?;
        let field = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let mut note = Note {
            url: list.url.clone(),
            etag: field("etag"),
            last_modified: field("last-modified"),
            fetched: seconds,
        };
        let outcome = match (response.status().as_u16(), old) {
            (200, _) => {
                let body = response.body_mut().with_config().limit(self.max_bytes).reader();
                store(list, body)?
            }
            (304, Some(old)) => {
                note.etag = note.etag.or(old.etag);
                note.last_modified = note.last_modified.or(old.last_modified);
                Fetched::Same
            }
            (status, _) => return Err(format!("the server answers {status}")),
        };
        // Without it the list is fetched whole the next time.
        if let Err(error) = write_note(&list.path, &note) {
            tracing::warn!(%error, path = %list.path.display(), "cannot note when a list was fetched");
        }
        Ok(outcome)
    }

    fn agent(&self, url: &str) -> &Agent {
        let secure = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        let place = if secure { &self.secure } else { &self.plain };
        place.get_or_init(|| {
            let roots = self.roots.clone();
            let roots = roots.unwrap_or_else(|| if secure { system_roots() } else { Vec::new() });
            let tls = TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .unversioned_rustls_crypto_provider(tls::provider())
                .root_certs(RootCerts::Specific(Arc::new(roots)))
                .build();
            Agent::config_builder()
                .tls_config(tls)
                .https_only(secure)
                .proxy(None)
                .user_agent(concat!("bifrons/", env!("CARGO_PKG_VERSION")))
                .http_status_as_error(false)
                .max_redirects(MAX_REDIRECTS)
                .timeout_global(Some(TIMEOUT))
                .timeout_connect(Some(CONNECT))
                .build()
                .new_agent()
        })
    }
}

fn system_roots() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        tracing::warn!("the system has no authorities: no https URL of a list can be fetched");
    }
    found.certs.iter().map(|cert| Certificate::from_der(cert).to_owned()).collect()
}

/// Puts what is read in the place of the copy, if it can be a list.
fn store(list: &Wanted, body: impl Read) -> Result<Fetched, String> {
    let words = |error: io::Error| format!("cannot keep a copy of it: {error}");
    let folder = list.path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(words)?;
    let part = Part::new(&list.path);
    copy(body, &part.0)?;
    examine(list.content, &part.0)?;
    if is_same(&part.0, &list.path) {
        return Ok(Fetched::Same);
    }
    fs::rename(&part.0, &list.path).map_err(words)?;
    Ok(Fetched::Changed)
}

/// A file that is gone when this is dropped, unless it was renamed.
struct Part(PathBuf);

impl Part {
    fn new(path: &Path) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(with_suffix(path, &format!(".{}-{number}.part", std::process::id())))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // As a rule it has been renamed.
        let _ = fs::remove_file(&self.0);
    }
}

fn copy(mut body: impl Read, path: &Path) -> Result<(), String> {
    let mut file = create(path).map_err(|error| format!("cannot keep a copy of it: {error}"))?;
    io::copy(&mut body, &mut file).map_err(|error| error.to_string())?;
    file.sync_all().map_err(|error| format!("cannot keep a copy of it: {error}"))
}

/// Only for us: lists of parents have passwords in them.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// A page that says that there is no list, or nothing at all, must not take the place of a list.
fn examine(content: Content, path: &Path) -> Result<(), String> {
    let error = |error: io::Error| error.to_string();
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(512).read_to_end(&mut start)).map_err(error)?;
    match start.trim_ascii_start().first() {
        None => return Err("it is empty".to_owned()),
        Some(b'<') => return Err("it is a page, not a list".to_owned()),
        Some(_) => {}
    }
    if content == Content::Domains {
        let list = DomainList::open(path).map_err(error)?;
        if list.domains().is_empty() && list.skipped() > 0 {
            return Err("no line of it is an entry of a domain list".to_owned());
        }
    }
    Ok(())
}

fn is_same(new: &Path, old: &Path) -> bool {
    let size = |path| fs::metadata(path).map(|metadata| metadata.len());
    let same_size = matches!((size(new), size(old)), (Ok(new), Ok(old)) if new == old);
    let bytes = |path| File::open(path).map(|file| BufReader::new(file).bytes());
    let (true, Ok(new), Ok(old)) = (same_size, bytes(new), bytes(old)) else { return false };
    new.zip(old).all(|pair| matches!(pair, (Ok(new), Ok(old)) if new == old))
}

/// When the copy was last found to be what the server has.
pub(super) fn last_fetched(copy: &Path) -> Option<SystemTime> {
    let note = note(copy).filter(|_| copy.exists())?;
    UNIX_EPOCH.checked_add(Duration::from_secs(note.fetched))
}

fn note(copy: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(note_path(copy)).ok()?).ok()
}

fn write_note(copy: &Path, note: &Note) -> io::Result<()> {
    let part = Part::new(&note_path(copy));
    let mut file = BufWriter::new(create(&part.0)?);
    serde_json::to_writer(&mut file, note)?;
    file.flush()?;
    drop(file);
    fs::rename(&part.0, note_path(copy))
}

fn note_path(copy: &Path) -> PathBuf {
    with_suffix(copy, ".note")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// A URL without what may be secret in it.
pub(super) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let query = if rest.contains('?') { "?…" } else { "" };
    format!("{scheme}://{host}{path}{query}")
}

#[cfg(test)]
mod tests;
