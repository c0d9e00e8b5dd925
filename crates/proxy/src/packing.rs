//! Answers in another content coding than that in which they came (RFC 9110 §8.4).

use coding::{
    Accepts, Applied, Coding, Decoder, Dictionary, DictionaryCoding, Encoder, Limits, TypeSet,
};
use config::{Compress, ContentCoding};
use message::framing::BodyLength;
use message::{Block, FieldId, Method, ResponseHead};

pub(crate) use self::body::{Layer, Packed, Packer, count};
pub(crate) use self::versions::{Versions, goes_on_the_way};
use crate::cache::Wanted;
use crate::exchange::Exchange;

mod body;
mod versions;

/// What may come out of an answer that a client cannot unpack itself. Servers are not trusted with
/// our memory either; only a window of it is held at any time.
const UNPACKED: Limits = Limits { max_size: 1 << 30, max_ratio: 200 };

/// In which codings answers of a route go out.
#[derive(Debug)]
pub(crate) struct Packing {
    offered: Vec<Coding>,
    levels: [u8; 3],
    types: TypeSet,
    min: u64,
    spare_credentials: bool,
    /// Whether earlier versions of an answer serve as dictionaries.
    pub(crate) dictionaries: bool,
}

/// What becomes of one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It stays as it is, for every client.
    Never,
    /// It stays as it is for this client; another one may get it packed.
    AsItIs,
    /// It goes out in this coding.
    Pack(Coding),
    /// It goes out in this coding, by the dictionary that the client has.
    ByDictionary(DictionaryCoding),
    /// It came in this coding, which the client does not take.
    Unpack(Coding),
}

impl Choice {
    /// What is said of the body. `done`: whether there is what carries it out; else the body goes out
    /// as it is.
    pub(crate) fn if_done(self, done: bool) -> Self {
        match self {
            Self::Pack(_) | Self::ByDictionary(_) | Self::Unpack(_) if !done => Self::AsItIs,
            choice => choice,
        }
    }
}

impl Packing {
    pub(crate) fn build(config: &Compress) -> Self {
        let mut levels = [0; 3];
        for offered in &config.codings {
            levels[coding_of(offered.coding).number()] = offered.level;
        }
        Self {
            offered: config.codings.iter().map(|offered| coding_of(offered.coding)).collect(),
            levels,
            types: TypeSet::new(&config.types),
            min: config.min,
            spare_credentials: config.spare_credentials,
            dictionaries: config.dictionaries,
        }
    }

    fn level(&self, coding: Coding) -> u8 {
        self.levels[coding.number()]
    }

    pub(crate) fn level_of(&self, wanted: &Wanted) -> u8 {
        self.level(match wanted {
            Wanted::Alone(coding) => *coding,
            Wanted::ByDictionary(DictionaryCoding::Dcb, _) => Coding::Brotli,
            Wanted::ByDictionary(DictionaryCoding::Dcz, _) => Coding::Zstd,
        })
    }

    /// What becomes of the body of an answer. `length`: of the body, where it is known; `versions`:
    /// what the request has to do with dictionaries, where they are used.
    pub(crate) fn choose(
        &self,
        request: &Block,
        status: u16,
        fields: &Block,
        length: Option<u64>,
        versions: Option<&Versions>,
    ) -> Choice {
        let bodyless = status < 200 || matches!(status, 204 | 206 | 304);
        if bodyless || has_directive(fields, b"no-transform") || has(fields, b"content-range") {
            return Choice::Never;
        }
        if has_directive(request, b"no-transform") {
            return Choice::AsItIs;
        }
        let accepts = || Accepts::of(request.values_named(b"accept-encoding"));
        match Applied::of(fields.values_named(b"content-encoding")) {
            Applied::Identity => {}
            Applied::One(coding) if !accepts().allows(coding) => return Choice::Unpack(coding),
            Applied::One(_) | Applied::Other => return Choice::Never,
        }
        let fits = fields.get(FieldId::ContentType).is_some_and(|value| self.types.matches(value));
        if !fits || length.is_some_and(|length| length < self.min) {
            return Choice::Never;
        }
        if let Some(coding) = self.offer_by_dictionary(request, fields, length, versions) {
            return Choice::ByDictionary(coding);
        }
        self.offer(request).map_or(Choice::AsItIs, Choice::Pack)
    }

    /// The coding by which this client gets an answer that may be made by the dictionary it has.
    fn offer_by_dictionary(
        &self,
        request: &Block,
        answer: &Block,
        length: Option<u64>,
        versions: Option<&Versions>,
    ) -> Option<DictionaryCoding> {
        let dictionary = versions?.dictionary(request, answer)?;
        if self.spare_credentials && may_be_probed(request) {
            return None;
        }
        let offers = |coding| self.offered.contains(&coding);
        let offered = (offers(Coding::Brotli), offers(Coding::Zstd));
        let accepts = Accepts::of(request.values_named(b"accept-encoding"));
        versions::best(dictionary, &accepts, offered, length)
    }

    /// The coding that this client gets an answer in which may be packed, or why it gets none.
    pub(crate) fn offer(&self, request: &Block) -> Result<Coding, &'static str> {
        if has_directive(request, b"no-transform") {
            return Err("it forbids that (no-transform)");
        }
        if self.spare_credentials && may_be_probed(request) {
            return Err("it has credentials, and another site may have made it ask");
        }
        let accepts = Accepts::of(request.values_named(b"accept-encoding"));
        accepts.best(&self.offered).ok_or("it takes none of these codings")
    }

    /// Decides about an answer that is relayed, and changes its head accordingly.
    pub(crate) fn begin(
        &self,
        x: &Exchange<'_>,
        head: &mut ResponseHead,
        length: BodyLength,
    ) -> Option<Packer> {
        if head.status == 304 {
            // What it is about may have gone out packed, under a weak tag.
            let accepts = Accepts::of(x.request.fields.values_named(b"accept-encoding"));
            if accepts.best(&self.offered).is_some() {
                weaken_tag(&mut head.fields);
            }
            return None;
        }
        let known = match length {
            BodyLength::Known(length) => Some(length),
            BodyLength::None => declared(&head.fields),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        };
        if length == BodyLength::None && x.request.method != Method::Head {
            return None;
        }
        let choice = self.choose(&x.request.fields, head.status, &head.fields, known, None);
        if length == BodyLength::None {
            mark(&mut head.fields, choice, false);
            return None;
        }
        let packer = self.packer(choice, known, None);
        mark(&mut head.fields, choice.if_done(packer.is_some()), false);
        packer
    }

    /// What carries the choice out. `length`: of the body as it is, where that is known.
    pub(crate) fn packer(
        &self,
        choice: Choice,
        length: Option<u64>,
        dictionary: Option<&Dictionary>,
    ) -> Option<Packer> {
        match choice {
            Choice::Never | Choice::AsItIs => None,
            Choice::ByDictionary(_) => {
                let level = self.level(Coding::Zstd);
                let encoder = Encoder::by_dictionary(level, length, dictionary?).ok()?;
                Some(Packer::Pack(Box::new(encoder)))
            }
            Choice::Pack(coding) => {
                let encoder = Encoder::new(coding, self.level(coding), length).ok()?;
                Some(Packer::Pack(Box::new(encoder)))
            }
            Choice::Unpack(coding) => {
                let decoder = Decoder::new(coding, UNPACKED).ok()?;
                Some(Packer::Unpack(Box::new(decoder)))
            }
        }
    }
}

/// Fields that are about the very bytes of a body.
const OF_THE_BYTES: [&[u8]; 6] = [
    b"content-encoding",
    b"accept-ranges",
    b"content-md5",
    b"digest",
    b"content-digest",
    b"repr-digest",
];

/// Makes a head say what becomes of its body. `by_versions`: whether dictionaries are looked at.
pub(crate) fn mark(fields: &mut Block, choice: Choice, by_versions: bool) {
    if choice == Choice::Never {
        return;
    }
    add_vary(fields, b"accept-encoding", b"Accept-Encoding");
    if by_versions && !matches!(choice, Choice::Unpack(_)) {
        add_vary(fields, b"available-dictionary", b"Available-Dictionary");
    }
    let coding = match choice {
        Choice::Pack(coding) => Some(coding.as_str()),
        Choice::ByDictionary(coding) => Some(coding.as_str()),
        Choice::Unpack(_) => None,
        Choice::Never | Choice::AsItIs => return,
    };
    fields.remove(FieldId::ContentLength);
    remove_named(fields, &OF_THE_BYTES);
    weaken_tag(fields);
    if let Some(coding) = coding {
        fields.push(b"Content-Encoding", &[coding.as_bytes()]);
    }
}

/// Removes all fields of these names, which are in lower case.
pub(crate) fn remove_named(fields: &mut Block, names: &[&[u8]]) {
    fields.remove_where(|_, name| names.iter().any(|one| name.eq_ignore_ascii_case(one)));
}

/// A strong tag says that two bodies are the same to the byte: packed ones are not
/// (RFC 9110 §8.8.1).
fn weaken_tag(fields: &mut Block) {
    let tag = fields.values_named(b"etag").next().filter(|tag| tag.starts_with(b"\""));
    if let Some(tag) = tag.map(<[u8]>::to_vec) {
        fields.remove_named(b"etag");
        fields.push(b"ETag", &[b"W/", &tag]);
    }
}

fn add_vary(fields: &mut Block, lower: &[u8], name: &[u8]) {
    let named = fields.values_named(b"vary").any(|value| {
        message::list::elements(value).any(|name| name == b"*" || name.eq_ignore_ascii_case(lower))
    });
    if !named {
        fields.push(b"Vary", &[name]);
    }
}

fn declared(fields: &Block) -> Option<u64> {
    std::str::from_utf8(fields.get(FieldId::ContentLength)?).ok()?.parse().ok()
}

fn has(fields: &Block, name: &[u8]) -> bool {
    fields.values_named(name).next().is_some()
}

fn has_directive(fields: &Block, directive: &[u8]) -> bool {
    fields
        .values_named(b"cache-control")
        .any(|value| message::list::elements(value).any(|one| one.eq_ignore_ascii_case(directive)))
}

/// Whether the length of an answer may tell somebody else what is in it (BREACH): it is made for
/// a client with credentials, and another site may have made the client ask.
fn may_be_probed(request: &Block) -> bool {
    let secret = has(request, b"cookie") || request.has(FieldId::Authorization);
    let own = request
        .values_named(b"sec-fetch-site")
        .next()
        .is_some_and(|site| matches!(site, b"same-origin" | b"none"));
    secret && !own
}

fn coding_of(coding: ContentCoding) -> Coding {
    match coding {
        ContentCoding::Gzip => Coding::Gzip,
        ContentCoding::Brotli => Coding::Brotli,
        ContentCoding::Zstd => Coding::Zstd,
    }
}
