//! Rules for fields, compiled once.

use config::FieldRule;
use message::{Block, FieldId, is_alias};

/// Rules in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldRules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
enum Rule {
    Set { name: Name, value: Box<[u8]> },
    Add { name: Name, value: Box<[u8]> },
    Remove(Name),
    RemovePrefix(Box<[u8]>),
}

#[derive(Debug, Clone)]
struct Name {
    id: FieldId,
    text: Box<[u8]>,
}

impl FieldRules {
    /// Those of a site, then those of a route.
    pub(crate) fn build(site: &[FieldRule], route: &[FieldRule]) -> Self {
        Self { rules: site.iter().chain(route).map(Rule::build).collect() }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether one of them sets this field.
    pub(crate) fn sets(&self, id: FieldId) -> bool {
        self.rules.iter().any(|rule| matches!(rule, Rule::Set { name, .. } if name.id == id))
    }

    /// Applies them to a head.
    pub(crate) fn apply(&self, fields: &mut Block) {
        for rule in &self.rules {
            match rule {
                Rule::Set { name, value } => {
                    name.remove_from(fields);
                    fields.push(&name.text, &[value]);
                }
                Rule::Add { name, value } => fields.push(&name.text, &[value]),
                Rule::Remove(name) => name.remove_from(fields),
                Rule::RemovePrefix(prefix) => remove_prefix(fields, prefix),
            }
        }
    }

    /// Takes out what they set or remove in a head, where it stands behind a body: a recipient
    /// may merge the two.
    pub(crate) fn clear(&self, trailers: &mut Block) {
        for rule in &self.rules {
            match rule {
                Rule::Set { name, .. } | Rule::Remove(name) => name.remove_from(trailers),
                Rule::RemovePrefix(prefix) => remove_prefix(trailers, prefix),
                Rule::Add { .. } => {}
            }
        }
    }
}

fn remove_prefix(fields: &mut Block, prefix: &[u8]) {
    fields.remove_where(|_, found| {
        found.get(..prefix.len()).is_some_and(|begin| is_alias(begin, prefix))
    });
}

impl Rule {
    fn build(rule: &FieldRule) -> Self {
        match rule {
            FieldRule::Set { name, value } => {
                Self::Set { name: Name::build(name), value: value.as_bytes().into() }
            }
            FieldRule::Add { name, value } => {
                Self::Add { name: Name::build(name), value: value.as_bytes().into() }
            }
            FieldRule::Remove { name } => match name.strip_suffix('*') {
                Some(prefix) => Self::RemovePrefix(prefix.as_bytes().into()),
                None => Self::Remove(Name::build(name)),
            },
        }
    }
}

impl Name {
    fn build(name: &str) -> Self {
        Self { id: FieldId::of(name.as_bytes()), text: name.as_bytes().into() }
    }

    /// With all aliases: what a rule sets, a client must not be able to add beside it.
    fn remove_from(&self, fields: &mut Block) {
        match self.id {
            FieldId::Other => fields.remove_named(&self.text),
            id => fields.remove(id),
        }
        fields.remove_aliases(&[&self.text]);
    }
}
