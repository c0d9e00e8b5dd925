//! The reference manual, made from the directive table.

use crate::table::{Count, DIRECTIVES, Directive, Parameter, Place, Since};

const HEAD: &str = "\
# Reference of every directive

This page is generated from the directive table of the `config` crate; after a change there:
`cargo run --quiet -- reference > docs/reference.md`.

A configuration is written in [KDL 2](https://kdl.dev). A directive is a line: its name, values
in the order shown, properties (`name=value`) in any order, and perhaps a block in braces.
Strings stand in quotes; single words need none. `//` begins a comment, `/-` leaves out the
directive, value or block behind it. Beyond KDL 2, a range of ports such as `8000-9999` needs no
quotes.

- *Durations* are a whole number and `ms`, `s`, `m`, `h` or `d`: `\"500ms\"`, `\"10s\"`, `\"1h\"`.
- *Sizes* are a whole number and `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024) or `KB`, `MB`,
  `GB`, `TB` (powers of 1000): `\"64KiB\"`. *Rates* are a size or a number, and the time it is for:
  `\"240B/s\"`, `\"100/m\"`, `\"5/10s\"`. *Percentages* have a `%`: `\"50%\"`.
- *Quotas* and *budgets* are a size or an amount of money, and what they are for: `\"10GiB/month\"`,
  `\"5.00/day\"`. Money has no currency. *Hours* are days of the week, times or both:
  `\"Mon-Fri 08:00-18:00\"`, `\"Sat,Sun\"`, `\"22:00-06:00\"`.
- *Files* are relative to the folder of the configuration.
- *Names* of hosts may be written in any script and any case; they are compared in their
  lower-case ASCII form.

`bifrons check FILE` shows everything that is wrong with a configuration at once.
";

/// The whole manual page in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    for place in Place::ALL {
        section(place, &mut out);
    }
    out
}

fn section(place: Place, out: &mut String) {
    let title = match place {
        Place::Top => "Outside any block".to_owned(),
        _ => {
            let phrase = place.phrase();
            format!("I{}", phrase.strip_prefix('i').unwrap_or(phrase))
        }
    };
    out.push_str(&format!("\n## {title}\n"));
    let mut planned = Vec::new();
    for directive in DIRECTIVES.iter().filter(|entry| entry.places.contains(&place)) {
        if directive.since == Since::Planned {
            planned.push(directive);
        } else if directive.places.first() == Some(&place) {
            full(directive, out);
        } else {
            let first = directive.places.first().map_or("", |place| place.phrase());
            let link = anchor(directive);
            out.push_str(&format!("\n### {}\n\nAs [{first}](#{link}).\n", code(directive.name)));
        }
    }
    if !planned.is_empty() {
        out.push_str("\n*Not available in this version:*\n\n");
        for directive in planned {
            out.push_str(&format!("- {}: {}\n", code(directive.name), directive.prose));
        }
    }
}

/// The link to the full entry. Headings with the same text are told apart by a number, in the
/// order of the page.
fn anchor(directive: &Directive) -> String {
    let mut before = 0;
    for place in Place::ALL {
        for entry in DIRECTIVES.iter().filter(|entry| entry.places.contains(&place)) {
            if entry.name != directive.name || entry.since == Since::Planned {
                continue;
            }
            if std::ptr::eq(entry, directive) {
                return match before {
                    0 => entry.name.to_owned(),
                    number => format!("{}-{number}", entry.name),
                };
            }
            before += 1;
        }
    }
    directive.name.to_owned()
}

fn full(directive: &Directive, out: &mut String) {
    out.push_str(&format!("\n### {}\n\n", code(directive.name)));
    out.push_str(&format!("```text\n{}\n```\n\n{}\n", directive.usage(), directive.prose));
    let known = |parameter: &&Parameter| parameter.since != Since::Planned;
    let arguments = directive.arguments.iter().map(|it| (it, it.name.to_ascii_uppercase()));
    let properties = directive.properties.iter().map(|it| (it, format!("{}=", it.name)));
    let rows: Vec<_> =
        arguments.chain(properties).filter(|(parameter, _)| known(parameter)).collect();
    if !rows.is_empty() {
        out.push_str("\n| value | is | default | meaning |\n|---|---|---|---|\n");
        for (parameter, name) in rows {
            out.push_str(&row(parameter, &name));
        }
    }
    let later: Vec<_> = directive
        .properties
        .iter()
        .filter(|property| property.since == Since::Planned)
        .map(|property| code(&format!("{}=", property.name)))
        .collect();
    if !later.is_empty() {
        out.push_str(&format!("\nNot available in this version: {}.\n", later.join(", ")));
    }
    out.push_str(&format!("\n```kdl\n{}\n```\n", directive.example));
    let mut facts = Vec::new();
    if let Since::Version(version) = directive.since {
        facts.push(format!("Since {version}"));
    }
    facts.push(if directive.repeatable { "may stand several times" } else { "stands once" }.into());
    let when = if directive.reloadable { "on a reload" } else { "at the next start" };
    facts.push(format!("a change takes effect {when}"));
    out.push_str(&format!("\n{}.\n", facts.join("; ")));
}

fn row(parameter: &Parameter, name: &str) -> String {
    let several = match parameter.count {
        Count::Many | Count::Any => ", several",
        Count::One | Count::Optional => "",
    };
    let default = parameter.default.map_or_else(String::new, code);
    let cell = |text: &str| text.replace('|', "\\|");
    format!(
        "| {} | {}{several} | {} | {} |\n",
        code(name),
        cell(&parameter.kind.describe()),
        cell(&default),
        cell(parameter.prose)
    )
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
