//! What becomes of the content of messages: `cache`, `compress` and `decompress`. A route has
//! what it says itself, else what its site says.

use crate::build::Context;
use crate::model::{
    Action, ByteLimit, CacheRules, CodingLevel, Compress, ContentCoding, Decompress,
};
use crate::walk::Item;
use crate::{ConfigError, cache};

/// What a block says itself about one of the three.
pub(crate) enum Own<T> {
    /// Nothing: what is around it holds.
    Unsaid,
    Off,
    Says(T),
}

impl<T: Clone> Own<T> {
    fn or(self, around: &Option<T>) -> Option<T> {
        match self {
            Self::Unsaid => around.clone(),
            Self::Off => None,
            Self::Says(own) => Some(own),
        }
    }
}

impl<T> From<Own<T>> for Option<T> {
    /// Where nothing is around it.
    fn from(own: Own<T>) -> Self {
        match own {
            Own::Says(own) => Some(own),
            Own::Unsaid | Own::Off => None,
        }
    }
}

/// The three together.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub cache: Option<CacheRules>,
    pub compress: Option<Compress>,
    pub decompress: Option<Decompress>,
}

impl Content {
    /// What holds in a block.
    pub(crate) fn of(block: &Item, around: &Self, context: &mut Context<'_>) -> Self {
        Self {
            cache: cache::rules(block, context).or(&around.cache),
            compress: compress(block, context).or(&around.compress),
            decompress: decompress(block, context).or(&around.decompress),
        }
    }
}

impl Content {
    /// Only what servers answer is kept, and only they are sent bodies.
    pub(crate) fn of_action(self, action: &Action) -> Self {
        match action {
            Action::Relay { .. } => self,
            Action::Redirect { .. } | Action::Respond { .. } => {
                Self { cache: None, decompress: None, ..self }
            }
        }
    }
}

/// Whether a directive says `off`, which must stand alone.
pub(crate) fn or_off(item: &Item, context: &mut Context<'_>) -> bool {
    let Some(off) = item.one::<String>("switch").filter(|word| word.value == "off") else {
        return false;
    };
    let property = item.directive.properties.iter().find_map(|it| item.written(it.name));
    if let Some(more) = item.block.first().map(|inner| inner.span).or(property) {
        let name = item.directive.name;
        context.error(
            ConfigError::at(more, format!("a setting of a `{name}` that is off"), "has no effect")
                .also(off.span, "off")
                .help("leave one of the two out"),
        );
    }
    true
}

fn compress(block: &Item, context: &mut Context<'_>) -> Own<Compress> {
    let Some(item) = block.child("compress") else { return Own::Unsaid };
    let written = item.all::<String>("coding");
    if let Some(off) = written.iter().find(|word| word.value == "off") {
        let other = written.iter().find(|word| word.value != "off").map(|word| word.span);
        if let Some(other) = other.or_else(|| item.block.first().map(|inner| inner.span)) {
            context.error(
                ConfigError::at(other, "a setting of a `compress` that is off", "has no effect")
                    .also(off.span, "off")
                    .help("leave one of the two out"),
            );
        }
        return Own::Off;
    }
    let mut codings: Vec<CodingLevel> = Vec::new();
    for word in &written {
        let coding = coding_of(&word.value);
        if codings.iter().any(|known| known.coding == coding) {
            context.error(
                ConfigError::at(word.span, format!("\"{}\" stands twice", word.value), "again")
                    .help("write each coding once, the one that is liked best first"),
            );
            continue;
        }
        codings.push(CodingLevel::default_of(coding));
    }
    if codings.is_empty() {
        codings = Compress::DEFAULT_CODINGS.map(CodingLevel::default_of).to_vec();
    }
    levels(item, &mut codings, context);
    let types: Vec<String> =
        item.children("types").flat_map(|it| crate::build::values(it, "type")).collect();
    let switch = |name: &str| {
        let child = item.child(name)?;
        Some(child.get::<String>("switch").is_none_or(|word| word == "on"))
    };
    let dictionaries = switch("dictionaries").unwrap_or(false);
    if dictionaries
        && let Some(child) = item.child("dictionaries")
        && codings.iter().all(|it| it.coding == ContentCoding::Gzip)
    {
        context.error(
            ConfigError::at(
                child.span,
                "`dictionaries` without a coding for them",
                "has no effect",
            )
            .help("add \"zstd\" (for `dcz`) or \"br\" (for `dcb`) to `compress`"),
        );
    }
    let min = item.child("min").and_then(|it| it.get::<ByteLimit>("size"));
    Own::Says(Compress {
        codings,
        types: match types.is_empty() {
            true => Compress::DEFAULT_TYPES.map(str::to_owned).to_vec(),
            false => types,
        },
        min: match min {
            Some(ByteLimit::Bytes(min)) => min,
            _ => Compress::DEFAULT_MIN,
        },
        spare_credentials: switch("spare-credentials").unwrap_or(false),
        dictionaries,
        span: item.span,
    })
}

fn coding_of(word: &str) -> ContentCoding {
    match word {
        "br" => ContentCoding::Brotli,
        "gzip" => ContentCoding::Gzip,
        // The table has no fourth.
        _ => ContentCoding::Zstd,
    }
}

/// Levels of codings that are offered.
fn levels(item: &Item, codings: &mut [CodingLevel], context: &mut Context<'_>) {
    let Some(item) = item.child("level") else { return };
    for name in ["zstd", "br", "gzip"] {
        let Some(level) = item.one::<u64>(name) else { continue };
        let coding = coding_of(name);
        match codings.iter_mut().find(|known| known.coding == coding) {
            Some(known) => known.level = level.value as u8,
            None => context.error(
                ConfigError::at(level.span, format!("a level for {name}"), "is not offered here")
                    .help(format!("add \"{name}\" to `compress`, or leave its level out")),
            ),
        }
    }
}

fn decompress(block: &Item, context: &mut Context<'_>) -> Own<Decompress> {
    let Some(item) = block.child("decompress") else { return Own::Unsaid };
    if or_off(item, context) {
        return Own::Off;
    }
    let max_size = match item.get::<ByteLimit>("max-size") {
        Some(ByteLimit::Bytes(size)) => Some(size),
        _ => None,
    };
    let max_ratio = item.get::<u64>("max-ratio").map_or(100, |ratio| ratio as u32);
    Own::Says(Decompress { max_size, max_ratio, span: item.span })
}
