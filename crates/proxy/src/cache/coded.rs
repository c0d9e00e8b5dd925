//! Stored answers in other codings: each is made once and kept.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use cache::{Body, Stored};
use coding::{Coding, Dictionary, DictionaryCoding, EncodeError};
use message::Block;
use net::watchdog::Guard;

use super::lines::Lines;
use super::load::Reading;
use crate::core::Core;
use crate::packing::{self, Choice, Packing, Versions};

/// Larger bodies are packed on their way, each time.
const MOST: u64 = 4 << 20;

/// How long an answer waits for its coding to be made.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is packed on the spot: it takes less than to hand it over.
const AT_ONCE: u64 = 16 << 10;

/// What a stored answer has to be made into for this request, and was not yet.
pub(super) fn wanted(
    packing: &Packing,
    stored: &Stored,
    request: &Block,
    versions: Option<&Versions>,
) -> Option<Wanted> {
    stored.length.filter(|length| *length <= MOST)?;
    let wanted = Wanted::of(packing, stored, request, versions)?;
    (!wanted.is_made(stored) && stored.is_whole()).then_some(wanted)
}

/// Makes a stored answer ready in the coding in which this request gets it.
pub(super) async fn make(
    (core, guard): (&Core, &Guard),
    packing: &Packing,
    stored: &Arc<Stored>,
    request: &Block,
    versions: Option<&Versions>,
) {
    let Some(wanted) = wanted(packing, stored, request, versions) else { return };
    let Some(length) = stored.length else { return };
    let body = stored.body.clone();
    let level = packing.level_of(&wanted);
    let in_memory = matches!(body, Body::Memory(_));
    if in_memory && length <= AT_ONCE && matches!(wanted, Wanted::Alone(_)) {
        if let Ok(bytes) = bytes_of(&body) {
            wanted.keep(core, stored, length, wanted.pack(level, &bytes));
        }
        return;
    }
    let turn = LINES.join(what(stored, &wanted));
    let Ok(_mine) = guard.within(PATIENCE, turn.come()).await else { return };
    // Whoever had the turn before has made it, as a rule.
    if wanted.is_made(stored) {
        return;
    }
    let reading = (!in_memory).then(|| Reading::begin(PATIENCE));
    let pack = move || {
        let bytes = bytes_of(&body).ok()?;
        drop(reading);
        Some((wanted.pack(level, &bytes), wanted))
    };
    // Where it takes too long, this answer is packed on its way.
    let packing = guard.within(PATIENCE, tokio::task::spawn_blocking(pack));
    if let Ok(Ok(Some((packed, wanted)))) = packing.await {
        wanted.keep(core, stored, length, packed);
    }
}

/// A coding in which a request gets a body.
#[derive(Debug)]
pub(crate) enum Wanted {
    Alone(Coding),
    ByDictionary(DictionaryCoding, Arc<Dictionary>),
}

impl Wanted {
    fn of(
        packing: &Packing,
        stored: &Stored,
        request: &Block,
        versions: Option<&Versions>,
    ) -> Option<Self> {
        let (status, fields) = (stored.head.status, &stored.head.fields);
        match packing.choose(request, status, fields, stored.length, versions) {
            Choice::Pack(coding) => Some(Self::Alone(coding)),
            Choice::ByDictionary(coding) => {
                let dictionary = versions?.dictionary(request, fields)?;
                Some(Self::ByDictionary(coding, Arc::clone(dictionary)))
            }
            Choice::Never | Choice::AsItIs | Choice::Unpack(_) => None,
        }
    }

    /// Whether there is nothing to be made.
    fn is_made(&self, stored: &Stored) -> bool {
        match self {
            Self::Alone(coding) => stored.coded[coding.number()].get().is_some(),
            Self::ByDictionary(coding, dictionary) => {
                let hash = dictionary.hash().bytes();
                !stored.coded.has_room()
                    || stored.coded.by_dictionary(hash, coding.number()).is_some()
            }
        }
    }

    fn pack(&self, level: u8, body: &[u8]) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Alone(coding) => coding::encode_all(*coding, level, body),
            Self::ByDictionary(coding, dictionary) => {
                coding::encode_by_dictionary(*coding, level, dictionary, body)
            }
        }
    }

    fn keep(
        &self,
        core: &Core,
        stored: &Arc<Stored>,
        length: u64,
        packed: Result<Vec<u8>, EncodeError>,
    ) {
        let Ok(packed) = packed else { return };
        packing::count(&core.counters, length, packed.len() as u64);
        match self {
            Self::Alone(coding) => core.cache.keep_coding(stored, coding.number(), packed.into()),
            Self::ByDictionary(coding, dictionary) => {
                let of = (dictionary.hash().bytes(), coding.number());
                core.cache.keep_by_dictionary(stored, of, packed.into());
            }
        }
    }
}

/// What is being made: of which answer (for as long as somebody holds it, its address is its own),
/// in which coding, and by which dictionary.
type What = (usize, u8, Option<[u8; 32]>);

fn what(stored: &Arc<Stored>, wanted: &Wanted) -> What {
    let address = Arc::as_ptr(stored) as usize;
    match wanted {
        Wanted::Alone(coding) => (address, coding.number() as u8, None),
        Wanted::ByDictionary(coding, dictionary) => {
            (address, coding.number(), Some(*dictionary.hash().bytes()))
        }
    }
}

/// Everything that is being made in the process. A body that two cores ask for is made by one.
static LINES: Lines<What> = Lines::new();

/// All of a body. Blocks where it is in a file.
fn bytes_of(body: &Body) -> io::Result<Vec<u8>> {
    match body {
        Body::Memory(parts) => {
            Ok(parts.iter().map(|part| &*part.bytes).collect::<Vec<_>>().concat())
        }
        Body::Disk(disk) => {
            let mut bytes = vec![0; usize::try_from(disk.length).map_err(io::Error::other)?];
            disk.file.read_exact_at(&mut bytes, disk.offset)?;
            Ok(bytes)
        }
    }
}
