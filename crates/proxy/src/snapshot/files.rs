//! The files that a configuration names, and whether they have changed since they were read.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config::{Config, ErrorPage, PageBody, Spanned, TargetPattern, UpstreamTls};

use crate::intercept::authority_files;

/// What tells one state of a file from another; symbolic links are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl Stamp {
    /// `None`: there is no such file, or it cannot be asked about.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            modified: metadata.modified().ok(),
            size: metadata.size(),
            inode: metadata.ino(),
        })
    }
}

/// The state of files at one time. Those that `tls::ServerTls` looks after by itself are not
/// among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileStates(HashMap<PathBuf, Option<Stamp>>);

impl FileStates {
    /// Looks at all files that a configuration names. Do it before they are read: a file that
    /// changes in between is then read again, never missed.
    pub(crate) fn of(config: &Config) -> Self {
        let state = config.state.as_ref().map(path);
        let sites = config.sites.iter().flat_map(of_site).map(Path::to_owned);
        let upstreams = config.upstreams.iter().flat_map(|upstream| of_upstream(&upstream.tls));
        let users = config.users.iter().flat_map(|set| of_users(set, state));
        let forwards = config.forwards.iter().flat_map(|forward| of_forward(forward, state));
        let exits = config.exits.iter().flat_map(|pool| of_exits(pool, state));
        let geoip = config.geoip.iter().map(|file| file.value.clone());
        let mut states = HashMap::new();
        let paths = sites.chain(upstreams.map(Path::to_owned)).chain(users).chain(forwards);
        for path in paths.chain(exits).chain(geoip) {
            states.entry(path).or_insert_with_key(|path| Stamp::of(path));
        }
        Self(states)
    }

    /// Looks at the same files again.
    #[must_use]
    pub fn now(&self) -> Self {
        Self(self.0.keys().map(|path| (path.clone(), Stamp::of(path))).collect())
    }

    /// Those of which the state is not that of `old`.
    pub fn changed_since<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = &'a Path> {
        self.0.keys().map(PathBuf::as_path).filter(|path| !self.is_as_in(old, path))
    }

    /// Whether a file is what it was.
    pub(crate) fn is_as_in(&self, old: &Self, path: &Path) -> bool {
        matches!((self.0.get(path), old.0.get(path)), (Some(now), Some(then)) if now == then)
    }
}

fn path(file: &Spanned<PathBuf>) -> &Path {
    &file.value
}

pub(crate) fn of_site(site: &config::Site) -> impl Iterator<Item = &Path> {
    let routes = site.routes.iter().flat_map(|route| of_pages(&route.error_pages));
    of_pages(&site.error_pages).chain(routes)
}

pub(crate) fn of_pages(pages: &[ErrorPage]) -> impl Iterator<Item = &Path> {
    pages.iter().filter_map(|page| match &page.body {
        PageBody::File(file) => Some(path(file)),
        PageBody::Text(_) => None,
    })
}

pub(crate) fn of_upstream(tls: &UpstreamTls) -> impl Iterator<Item = &Path> {
    let client = tls.client.iter().flat_map(|client| [path(&client.cert), path(&client.key)]);
    tls.ca.iter().map(path).chain(client)
}

/// The files of a set of users; `state` is the folder with copies of lists.
pub(crate) fn of_users<'a>(
    set: &'a config::UserSet,
    state: Option<&'a Path>,
) -> impl Iterator<Item = PathBuf> {
    let limits = set.users.iter().map(|user| &user.limits).chain([&set.defaults]);
    let lists = limits.flat_map(move |limits| of_rules(&limits.rules, state));
    let files = set.files.iter().chain(&set.databases).map(|file| file.value.clone());
    files.chain(lists)
}

/// The lists that a listener names, and what it opens TLS with.
pub(crate) fn of_forward<'a>(
    forward: &'a config::Forward,
    state: Option<&'a Path>,
) -> impl Iterator<Item = PathBuf> {
    let intercept = forward.intercept.iter().flat_map(move |intercept| {
        let authority = authority_files(intercept, state).ok();
        let authority = authority.into_iter().flat_map(|pair| [pair.cert.value, pair.key.value]);
        let trust = intercept.trust.iter().map(|file| file.value.clone());
        authority
            .chain(trust)
            .chain(of_targets(intercept.hosts.iter(), state))
            .chain(of_targets(intercept.except.iter(), state))
    });
    let pac = forward.pac.iter().flat_map(|pac| &pac.direct);
    of_rules(&forward.rules, state).chain(intercept).chain(of_targets(pac, state))
}

/// The lists that a pool of exits names.
pub(crate) fn of_exits<'a>(
    pool: &'a config::ExitPool,
    state: Option<&'a Path>,
) -> impl Iterator<Item = PathBuf> {
    pool.exits.iter().filter_map(move |exit| match &exit.kind {
        config::ExitKind::List { source, .. } => Some(source.value.path(state)),
        _ => None,
    })
}

fn of_rules<'a>(
    rules: &'a [config::TargetRule],
    state: Option<&'a Path>,
) -> impl Iterator<Item = PathBuf> {
    of_targets(rules.iter().flat_map(|rule| &rule.targets), state)
}

fn of_targets<'a>(
    targets: impl Iterator<Item = &'a TargetPattern>,
    state: Option<&'a Path>,
) -> impl Iterator<Item = PathBuf> {
    targets.filter_map(move |target| match target {
        TargetPattern::List(list) => Some(list.value.path(state)),
        _ => None,
    })
}
