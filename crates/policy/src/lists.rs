//! Files of domains: read once, junk counted, shared by every rule that names them.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domains::{DomainSet, Scope, domain_name};

/// So many skipped lines are kept for the report; all are counted.
const REPORTED: usize = 5;

/// A longer line is not a list's line, and is not held in memory whole.
const MAX_LINE: usize = 64 * 1024;

/// Names that a hosts file gives to the machine itself. To take them for entries of a block
/// list would close `localhost`.
const MACHINE_NAMES: [&str; 13] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
];

/// What a file of domains says.
///
/// A line is one of:
///
/// | line | covers |
/// |---|---|
/// | `ads.example` | the name and its subdomains |
/// | `*.ads.example` | its subdomains |
/// | `\|\|ads.example^` | the name and its subdomains |
/// | `@@\|\|good.ads.example^` | none of them, whatever other lines of this list say |
/// | `0.0.0.0 ads.example www.ads.example` | these names, as in any hosts file |
///
/// Comments begin with `#` (alone or after a space) or `!`. Names may be in any case, in
/// Unicode, and may end in a dot. Any other line is skipped and counted; filters with options
/// (`$third-party`) are among those, since an option narrows what a filter is about to what cannot
/// be told here.
#[derive(Debug, Clone, Default)]
pub struct DomainList {
    path: PathBuf,
    domains: DomainSet,
    /// Stronger than `domains`.
    exceptions: DomainSet,
    skipped: usize,
    first_skipped: Vec<SkippedLine>,
}

/// A line that says nothing a list can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedLine {
    /// From 1.
    pub line: usize,
    /// Why it was skipped.
    pub reason: &'static str,
}

impl fmt::Display for SkippedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl DomainList {
    /// Reads a file.
    ///
    /// # Errors
    /// When the file cannot be read, or holds more than 4 GiB of names.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut list = Self::read(BufReader::with_capacity(64 * 1024, File::open(path)?))?;
        list.path = path.to_owned();
        Ok(list)
    }

    /// Reads the text of a list.
    ///
    /// # Errors
    /// Those of the reader, or when there are more than 4 GiB of names.
    pub fn read(mut text: impl BufRead) -> io::Result<Self> {
        let mut list = Self::default();
        let (mut line, mut name, mut number) = (Vec::new(), String::new(), 0);
        while next_line(&mut text, &mut line)? {
            number += 1;
            if let Err(fault) = list.take_line(&line, number == 1, &mut name) {
                match fault {
                    Fault::Skip(reason) => list.skip(number, reason),
                    Fault::TooLarge => return Err(io::Error::other("more than 4 GiB of names")),
                }
            }
        }
        list.domains.shrink();
        list.exceptions.shrink();
        Ok(list)
    }

    /// The file; empty if the text did not come from one.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the list has this name, or a domain it lies under, and does not except it. The name
    /// is in lower case, IDNA-encoded and without a trailing dot.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.domains.contains(name) && !self.exceptions.contains(name)
    }

    /// The names.
    #[must_use]
    pub fn domains(&self) -> &DomainSet {
        &self.domains
    }

    /// Bytes held on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.domains.heap_bytes() + self.exceptions.heap_bytes()
    }

    /// How many lines were skipped because they are no entries.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The first few of them.
    #[must_use]
    pub fn first_skipped(&self) -> &[SkippedLine] {
        &self.first_skipped
    }

    /// What to tell the operator about lines that were skipped, if there were any.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        use fmt::Write as _;
        if self.skipped == 0 {
            return None;
        }
        let mut text = format!(
            "{}: {} lines are no entries of a domain list and were skipped, {} names were taken",
            self.path.display(),
            self.skipped,
            self.domains.len(),
        );
        for line in &self.first_skipped {
            let _ = write!(text, "; {line}");
        }
        Some(text)
    }

    fn skip(&mut self, line: usize, reason: &'static str) {
        self.skipped += 1;
        if self.first_skipped.len() < REPORTED {
            self.first_skipped.push(SkippedLine { line, reason });
        }
    }

    /// Takes the entries of one line; `name` is room to work in.
    fn take_line(&mut self, line: &[u8], first: bool, name: &mut String) -> Result<(), Fault> {
        if line.len() > MAX_LINE {
            return Err(Fault::Skip("longer than 64 KiB"));
        }
        let line = std::str::from_utf8(line).map_err(|_| Fault::Skip("not UTF-8"))?;
        let line = if first { line.trim_start_matches('\u{feff}') } else { line };
        let line = without_comment(line);
        let mut words = line.split_ascii_whitespace();
        let Some(word) = words.next() else { return Ok(()) };
        if let Some(address) = address(word) {
            return self.take_hosts(address, words, name);
        }
        if words.next().is_some() {
            return Err(Fault::Skip("several words, but no address first"));
        }
        let excepted = word.strip_prefix("@@||");
        let (text, scope) = if let Some(filter) = excepted.or_else(|| word.strip_prefix("||")) {
            let domain = filter
                .strip_suffix('^')
                .ok_or(Fault::Skip("a filter that is more than a domain"))?;
            (domain, Scope::Domain)
        } else if let Some(parent) = word.strip_prefix("*.") {
            (parent, Scope::Subdomains)
        } else {
            (word, Scope::Domain)
        };
        domain_name(text, name).ok_or(Fault::Skip("not a domain name"))?;
        if address(name).is_some() {
            return Err(Fault::Skip("an address, not a domain name"));
        }
        if excepted.is_some() {
            return self.exceptions.insert(name, scope).map_err(|_| Fault::TooLarge);
        }
        self.insert(name, scope)
    }

    /// The names behind the address of a hosts file's line (hosts(5)).
    fn take_hosts<'a>(
        &mut self,
        address_of_line: IpAddr,
        words: impl Iterator<Item = &'a str>,
        name: &mut String,
    ) -> Result<(), Fault> {
        let (mut names, mut junk) = (0, false);
        for word in words {
            names += 1;
            // `0.0.0.0 0.0.0.0` is a usual first line.
            if address(word) == Some(address_of_line) {
                continue;
            }
            if domain_name(word, name).is_none() || address(name).is_some() {
                junk = true;
            } else if !MACHINE_NAMES.contains(&name.as_str()) {
                self.insert(name, Scope::Name)?;
            }
        }
        match (names, junk) {
            (0, _) => Err(Fault::Skip("an address, not a domain name")),
            (_, true) => Err(Fault::Skip("not a domain name after the address")),
            (_, false) => Ok(()),
        }
    }

    fn insert(&mut self, name: &str, scope: Scope) -> Result<(), Fault> {
        self.domains.insert(name, scope).map_err(|_| Fault::TooLarge)
    }
}

enum Fault {
    Skip(&'static str),
    TooLarge,
}

/// Reads up to the next line feed, at most one byte more than [`MAX_LINE`] of it.
fn next_line(text: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let chunk = text.fill_buf()?;
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = &chunk[..end.unwrap_or(chunk.len())];
        let room = (MAX_LINE + 1).saturating_sub(line.len());
        line.extend_from_slice(&taken[..taken.len().min(room)]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        text.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// `#` opens a comment at the beginning or after a space only: `example.com##.banner` is a
/// filter for one element of a page, and must not close all of `example.com`.
fn without_comment(line: &str) -> &str {
    let line = line.trim_ascii();
    if line.starts_with(['!', '#', '[']) {
        return "";
    }
    let bytes = line.as_bytes();
    let comment =
        (1..bytes.len()).find(|&at| bytes[at] == b'#' && bytes[at - 1].is_ascii_whitespace());
    comment.map_or(line, |at| line[..at].trim_ascii_end())
}

/// An address as hosts files have it, which may carry a zone (`fe80::1%lo0`).
fn address(word: &str) -> Option<IpAddr> {
    word.split_once('%').map_or(word, |(address, _)| address).parse().ok()
}

/// Lists by path, so that a file that several rules or listeners name is read once and held
/// once.
#[derive(Debug, Default)]
pub struct Lists {
    opened: HashMap<PathBuf, Result<Arc<DomainList>, String>>,
}

impl Lists {
    /// None is open yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The list in this file, read now if it was not before.
    ///
    /// # Errors
    /// Why the file cannot be read, in words.
    pub fn open(&mut self, path: &Path) -> Result<Arc<DomainList>, String> {
        if let Some(opened) = self.opened.get(path) {
            return opened.clone();
        }
        let opened = DomainList::open(path).map(Arc::new).map_err(|error| error.to_string());
        self.opened.insert(path.to_owned(), opened.clone());
        opened
    }

    /// Every list that could be read, in no order: for warnings and figures.
    pub fn opened(&self) -> impl Iterator<Item = &DomainList> {
        self.opened.values().filter_map(|list| list.as_deref().ok())
    }
}

#[cfg(test)]
mod tests;
