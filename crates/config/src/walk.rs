//! From nodes to items: every node is held against the directive table, and every value is
//! read as the kind that the table gives it. What is unknown, misplaced, doubled, missing or
//! of the wrong type is found here, for all directives alike.

use std::path::Path;

use crate::suggest::{listed, nearest};
use crate::syntax::{Entry, Node};
use crate::table::{Count, DIRECTIVES, Directive, Parameter, Place, Since};
use crate::typed::{FromTyped, Typed};
use crate::{ConfigError, Span, Spanned};

/// A node that the table knows, with its values read.
#[derive(Debug)]
pub(crate) struct Item {
    pub directive: &'static Directive,
    /// The name of the directive.
    pub span: Span,
    values: Vec<ItemValue>,
    /// The items of its block.
    pub block: Vec<Item>,
    /// Whether something in its block was refused, so that what is missing there may only be
    /// misspelt and is not reported again.
    pub flawed: bool,
}

#[derive(Debug)]
struct ItemValue {
    parameter: &'static Parameter,
    value: Typed,
    span: Span,
}

impl Item {
    /// The value of an argument or a property that stands once. `None`: it was not written,
    /// or could not be read, which has been reported.
    pub(crate) fn one<T: FromTyped>(&self, name: &str) -> Option<Spanned<T>> {
        self.named(name).find_map(|found| {
            let value = T::from_typed(&found.value)?;
            Some(Spanned { value, span: found.span })
        })
    }

    /// The value alone of an argument or a property that stands once.
    pub(crate) fn get<T: FromTyped>(&self, name: &str) -> Option<T> {
        self.one(name).map(|found| found.value)
    }

    /// All values of an argument or a property that could be read.
    pub(crate) fn all<T: FromTyped>(&self, name: &str) -> Vec<Spanned<T>> {
        self.named(name)
            .filter_map(|found| {
                T::from_typed(&found.value).map(|value| Spanned { value, span: found.span })
            })
            .collect()
    }

    /// Where an argument or a property was first written, whether it could be read or not.
    pub(crate) fn written(&self, name: &str) -> Option<Span> {
        self.named(name).next().map(|found| found.span)
    }

    /// Whether nothing stands behind its name.
    pub(crate) fn is_bare(&self) -> bool {
        self.values.is_empty() && self.block.is_empty() && !self.flawed
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &ItemValue> {
        debug_assert!(self.directive.parameter(name).is_some(), "no such parameter: {name}");
        self.values.iter().filter(move |found| found.parameter.name == name)
    }

    /// The items of a name in its block.
    pub(crate) fn children(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.block.iter().filter(move |item| item.directive.name == name)
    }

    /// The first item of a name in its block.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.block.iter().find(|item| item.directive.name == name)
    }
}

/// Checks the nodes of one place.
pub(crate) fn walk(
    nodes: &[Node],
    place: Place,
    base: &Path,
    errors: &mut Vec<ConfigError>,
) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for node in nodes {
        let name = node.name.value.as_str();
        let Some(directive) = Directive::find(name, place) else {
            errors.push(unknown_directive(node, place));
            continue;
        };
        if directive.since == Since::Planned {
            errors.push(planned(&format!("`{name}`"), node.name.span));
            continue;
        }
        let first = items.iter().find(|item| item.directive.name == name);
        if let (Some(first), false) = (first, directive.repeatable) {
            errors.push(
                ConfigError::at(node.name.span, format!("`{name}` stands twice"), "the second")
                    .also(first.span, "the first")
                    .help("keep one of the two"),
            );
            continue;
        }
        items.push(item(node, directive, base, errors));
    }
    items
}

fn item(
    node: &Node,
    directive: &'static Directive,
    base: &Path,
    errors: &mut Vec<ConfigError>,
) -> Item {
    if let Some(span) = node.annotation {
        errors.push(annotation(span));
    }
    let mut values = Values { node, directive, base, read: Vec::new(), errors };
    values.read_all();
    let values = values.read;
    let before = errors.len();
    let block = match (&node.block, directive.block) {
        (Some(block), Some(place)) => walk(&block.nodes, place, base, errors),
        (Some(block), None) => {
            errors.push(
                ConfigError::at(
                    block.span,
                    format!("`{}` takes no block", directive.name),
                    "this block",
                )
                .help(format!("write `{}`", directive.usage())),
            );
            Vec::new()
        }
        (None, _) => Vec::new(),
    };
    let flawed = errors.len() > before;
    Item { directive, span: node.name.span, values, block, flawed }
}

/// The values of one node on their way from entries to typed values.
struct Values<'a> {
    node: &'a Node,
    directive: &'static Directive,
    base: &'a Path,
    read: Vec<ItemValue>,
    errors: &'a mut Vec<ConfigError>,
}

impl Values<'_> {
    fn read_all(&mut self) {
        let node = self.node;
        let mut argument = 0;
        for entry in &node.entries {
            if let Some(span) = entry.annotation {
                self.errors.push(annotation(span));
            }
            match &entry.key {
                Some(key) => self.property(key, entry),
                None => self.argument(entry, &mut argument),
            }
        }
        self.missing();
    }

    /// Gives a value to the argument that stands at `next`, or to one behind it.
    fn argument(&mut self, entry: &Entry, next: &mut usize) {
        let arguments = self.directive.arguments;
        let mut at = *next;
        while let Some(parameter) = arguments.get(at) {
            let several = matches!(parameter.count, Count::Many | Count::Any);
            let satisfied =
                self.count(parameter) > 0 || !matches!(parameter.count, Count::One | Count::Many);
            let later = &arguments[at + 1..];
            let elsewhere = match parameter.kind.accepts_shape(&entry.value) {
                // `ports 8000-9999 sticky`: a word of a later argument is no further port.
                true => later.iter().any(|it| it.kind.has_word(&entry.value)),
                false => later.iter().any(|it| it.kind.accepts_shape(&entry.value)),
            };
            if satisfied && elsewhere {
                at += 1;
                continue;
            }
            *next = if several { at } else { at + 1 };
            self.value(parameter, entry);
            return;
        }
        let name = self.directive.name;
        let message = match arguments.len() {
            0 => format!("`{name}` takes no value here"),
            _ => format!("too many values for `{name}`"),
        };
        self.errors.push(
            ConfigError::at(entry.span, message, format!("{} is too much", entry.value))
                .help(format!("write `{}`", self.directive.usage())),
        );
    }

    fn property(&mut self, key: &Spanned<String>, entry: &Entry) {
        let directive = self.directive;
        let Some(parameter) = directive.properties.iter().find(|known| known.name == key.value)
        else {
            self.errors.push(unknown_property(key, directive));
            return;
        };
        if parameter.since == Since::Planned {
            let what = format!("`{}=` of `{}`", key.value, directive.name);
            self.errors.push(planned(&what, key.span));
            self.read.push(ItemValue { parameter, value: Typed::Invalid, span: key.span });
            return;
        }
        let several = matches!(parameter.count, Count::Many | Count::Any);
        let first = self.read.iter().find(|found| found.parameter.name == parameter.name);
        if let (Some(first), false) = (first, several) {
            self.errors.push(
                ConfigError::at(key.span, format!("`{}=` stands twice", key.value), "the second")
                    .also(first.span, "the first")
                    .help("keep one of the two"),
            );
            return;
        }
        self.value(parameter, entry);
    }

    fn value(&mut self, parameter: &'static Parameter, entry: &Entry) {
        let value = parameter.kind.read(&entry.value, self.base).unwrap_or_else(|fault| {
            let owner = match &entry.key {
                Some(key) => format!("{} {}=", self.directive.name, key.value),
                None => format!("{} ", self.directive.name),
            };
            let help = || format!("write {}", parameter.kind.describe());
            self.errors.push(fault.of(&owner).or_help(help).at(entry.span));
            Typed::Invalid
        });
        self.read.push(ItemValue { parameter, value, span: entry.span });
    }

    fn count(&self, parameter: &Parameter) -> usize {
        self.read.iter().filter(|found| found.parameter.name == parameter.name).count()
    }

    /// Reports what must stand and does not.
    fn missing(&mut self) {
        let directive = self.directive;
        let parameters = directive.arguments.iter().map(|parameter| (parameter, ""));
        let properties = directive.properties.iter().map(|parameter| (parameter, "="));
        for (parameter, sign) in parameters.chain(properties) {
            if !matches!(parameter.count, Count::One | Count::Many) || self.count(parameter) > 0 {
                continue;
            }
            let message = match sign {
                "" => {
                    format!("`{}` without {}", directive.name, parameter.name.to_ascii_uppercase())
                }
                _ => format!("`{}` without `{}=`", directive.name, parameter.name),
            };
            self.errors.push(
                ConfigError::at(
                    self.node.name.span,
                    message,
                    format!("needs {}", parameter.kind.describe()),
                )
                .help(format!("write `{}`", directive.usage())),
            );
        }
    }
}

fn annotation(span: Span) -> ConfigError {
    ConfigError::at(span, "type annotations mean nothing here", "a type annotation")
        .help("remove it: the kind of every value is known")
}

fn planned(what: &str, span: Span) -> ConfigError {
    ConfigError::at(span, format!("{what} is not available in this version"), "not available yet")
        .help("leave it out; the reference manual lists what this version has")
}

fn unknown_directive(node: &Node, place: Place) -> ConfigError {
    let name = &node.name.value;
    let error = ConfigError::at(
        node.name.span,
        format!("there is no directive `{name}` {}", place.phrase()),
        "not known here",
    );
    let here = DIRECTIVES.iter().filter(|entry| entry.places.contains(&place));
    let elsewhere: Vec<_> = DIRECTIVES
        .iter()
        .filter(|entry| entry.name == name.as_str())
        .flat_map(|entry| entry.places)
        .map(|place| place.phrase())
        .collect();
    if !elsewhere.is_empty() {
        return error.help(format!("`{name}` stands {}", listed(&elsewhere, "or")));
    }
    if let Some(meant) = nearest(name, here.clone().map(|entry| entry.name)) {
        return error.help(format!("did you mean `{meant}`?"));
    }
    if let Some(meant) = nearest(name, DIRECTIVES.iter().map(|entry| entry.name)) {
        let places = DIRECTIVES.iter().filter(|entry| entry.name == meant);
        let places: Vec<_> =
            places.flat_map(|entry| entry.places).map(|place| place.phrase()).collect();
        return error.help(format!("did you mean `{meant}`? It stands {}", listed(&places, "or")));
    }
    let mut known: Vec<_> = here
        .filter(|entry| entry.since != Since::Planned)
        .map(|entry| format!("`{}`", entry.name))
        .collect();
    known.dedup();
    error.help(format!("{} there may stand {}", capital(place.phrase()), listed(&known, "and")))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn unknown_property(key: &Spanned<String>, directive: &Directive) -> ConfigError {
    let error = ConfigError::at(
        key.span,
        format!("`{}` has no property `{}`", directive.name, key.value),
        "not known here",
    );
    let inside = directive.block.and_then(|place| Directive::find(&key.value, place));
    if let Some(inside) = inside {
        return error.help(format!(
            "it stands in the block: `{} … {{ {} }}`",
            directive.name,
            inside.usage()
        ));
    }
    let names = || directive.properties.iter().map(|property| property.name);
    if let Some(meant) = nearest(&key.value, names()) {
        return error.help(format!("did you mean `{meant}=`?"));
    }
    let known: Vec<_> = directive
        .properties
        .iter()
        .filter(|property| property.since != Since::Planned)
        .map(|property| format!("`{}=`", property.name))
        .collect();
    match known.is_empty() {
        true => error.help(format!("it takes no properties: `{}`", directive.usage())),
        false => error.help(format!("it takes {}", listed(&known, "and"))),
    }
}
