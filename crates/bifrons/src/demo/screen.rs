//! What the demo prints: text for a person, in colour only where a terminal shows it.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::certificate::CA;
use super::client::{ADDRESS, Wrong};
use super::configuration::{ACCESS_LOG, EXITS, SHOP_HOST, UPSTREAM};
use super::origin::SHOP;
use super::step::Story;
use super::world::{FILE, LIMITED, USER, World};

/// Columns that text is broken at.
const WIDTH: usize = 96;

/// Columns before what is told of a step.
const INDENT: usize = 18;

/// The standard output.
pub(super) struct Screen {
    out: io::Stdout,
    colour: bool,
}

#[derive(Debug, Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Green,
    Red,
}

impl Screen {
    /// In colour on a terminal, unless `NO_COLOR` is set (no-color.org).
    pub(super) fn new() -> Self {
        let out = io::stdout();
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = out.is_terminal() && !forbidden;
        Self { out, colour }
    }

    fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bold => 1,
            Style::Dim => 2,
            Style::Green => 32,
            Style::Red => 31,
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = self.styled(Style::Bold, text);
        writeln!(self.out, "\n{text}\n")
    }

    /// Says what runs, and on which configuration.
    pub(super) fn opening(&mut self, world: &World) -> io::Result<()> {
        let ports = &world.ports;
        self.heading(
            "Bifrons: four origins and both faces of the proxy over them, all on this machine",
        )?;
        let origins: Vec<String> = world
            .origins
            .iter()
            .map(|origin| format!("{} {}", origin.name(), origin.address()))
            .collect();
        let (user, password) = USER;
        let rows = [
            ("origins", origins.join(", ")),
            (
                "reverse",
                format!("http://{} and https://localhost:{}", ports.site, ports.secure.port()),
            ),
            (
                "forward",
                format!(
                    "{}, and {} which is elite; {user}, {password}",
                    ports.forward, ports.elite
                ),
            ),
            ("gateway", format!("{}, with exits in {}", ports.gateway, countries())),
            ("admin", format!("http://{}", ports.admin)),
            (
                "client",
                format!("{ADDRESS}, the proxy itself connects from 127.0.0.1 and from its exits"),
            ),
        ];
        for (label, text) in rows {
            writeln!(self.out, "  {label:<9} {text}")?;
        }
        let path = world.folder.path().join(FILE);
        self.heading(&format!("The configuration ({})", path.display()))?;
        for line in world.text.trim_end().lines() {
            let comment = line.trim_start().starts_with("//");
            let line = if comment { self.styled(Style::Dim, line) } else { line.to_owned() };
            writeln!(self.out, "{}", format!("  {line}").trim_end())?;
        }
        Ok(())
    }

    /// Begins a part of the tour.
    pub(super) fn part(&mut self, title: &str) -> io::Result<()> {
        let title = self.styled(Style::Bold, title);
        writeln!(self.out, "\n{title}")
    }

    /// Tells a step.
    pub(super) fn step(
        &mut self,
        number: usize,
        title: &str,
        outcome: &Result<Story, Wrong>,
        took: Duration,
    ) -> io::Result<()> {
        let verdict = match outcome {
            Ok(_) => self.styled(Style::Green, "ok"),
            Err(_) => self.styled(Style::Red, "WRONG"),
        };
        let took = format!("{:.1} ms", took.as_secs_f64() * 1000.0);
        let padding = " ".repeat(WIDTH.saturating_sub(4 + title.len() + 12));
        let title = self.styled(Style::Bold, title);
        writeln!(self.out, "\n{number:>2}  {title}{padding}{took:>9} {verdict}")?;
        match outcome {
            Ok(story) => {
                let rows = [
                    ("request", &story.request),
                    ("answered by", &story.answered_by),
                    ("origin saw", &story.origin_saw),
                    ("client saw", &story.client_saw),
                ];
                for (label, text) in rows {
                    self.row(label, text)?;
                }
            }
            Err(Wrong(why)) => self.row("but", why)?,
        }
        Ok(())
    }

    fn row(&mut self, label: &str, text: &str) -> io::Result<()> {
        let mut label = self.styled(Style::Dim, &format!("{label:<width$}", width = INDENT - 4));
        for line in broken(text, WIDTH - INDENT) {
            writeln!(self.out, "    {label}{line}")?;
            label = " ".repeat(INDENT - 4);
        }
        Ok(())
    }

    /// Sums up.
    pub(super) fn closing(&mut self, steps: usize, wrong: usize, took: Duration) -> io::Result<()> {
        let took = took.as_millis();
        let text = match wrong {
            0 => self.styled(Style::Green, &format!("{steps} steps in {took} ms, all went well.")),
            _ => self.styled(Style::Red, &format!("{wrong} of {steps} steps went wrong.")),
        };
        writeln!(self.out, "\n{text}")
    }

    /// Says how to go on by hand.
    pub(super) fn by_hand(&mut self, world: &World) -> io::Result<()> {
        let ports = &world.ports;
        let (site, secure, admin) = (ports.site, ports.secure.port(), ports.admin);
        let target = world.origins[2].address();
        let (user, password) = USER;
        let through = |port| format!("{user}:{password}@{port}");
        let (forward, elite) = (through(ports.forward), through(ports.elite));
        let gateway = ports.gateway;
        let wishing = |wish: &str| format!("{user}-{wish}:{password}@{gateway}");
        let rotating = through(gateway);
        let limited = format!("{}:{}@{gateway}", LIMITED.0, LIMITED.1);
        let (canadian, sticky) = (wishing("country-ca"), wishing("session-a1"));
        let shop = format!("http://{SHOP_HOST}:{}{SHOP}", target.port());
        let folder = world.folder.path().display();
        let app = world.origins[0].address();
        let bifrons = std::env::args().next().unwrap_or_else(|| "bifrons".to_owned());
        let commands = [
            ("A and B in turn", format!("curl http://{site}/api/hello")),
            ("TLS", format!("curl --cacert {folder}/{CA} https://localhost:{secure}/hello")),
            (
                "HTTP/2",
                format!("curl --http2 --cacert {folder}/{CA} https://localhost:{secure}/hello"),
            ),
            ("three, then 429", format!("curl -i http://{site}/search")),
            ("a redirect, mapped back", format!("curl -i http://{site}/api/login")),
            ("refused", format!("curl -i --path-as-is http://{site}/api/../admin")),
            ("an HTTP proxy", format!("curl -x http://{forward} http://{target}/hello")),
            (
                "a tunnel",
                format!(
                    "curl -x http://{forward} --cacert {folder}/{CA} https://localhost:{secure}/hello"
                ),
            ),
            ("SOCKS5", format!("curl -x socks5h://{forward} http://{target}/hello")),
            ("elite", format!("curl -x http://{elite} http://{target}/hello")),
            ("closed", format!("curl -i -x http://{forward} http://169.254.169.254/")),
            ("as from Canada", format!("curl -i -x http://{canadian} http://{target}/hello")),
            (
                "one exit for a while",
                format!("curl -i -x socks5h://{sticky} http://{target}/hello"),
            ),
            ("never by a banned exit", format!("curl -i -x http://{rotating} {shop}")),
            ("which are banned", format!("{bifrons} bans --admin {admin}")),
            (
                "which exit, and why",
                format!(
                    "{bifrons} explain --admin {admin} --listener {gateway} --user {user} GET {shop}"
                ),
            ),
            ("a quota, used up", format!("curl -i -x http://{limited} http://{target}/hello")),
            ("who has used what", format!("curl http://{admin}/api/v1/users")),
            ("why", format!("{bifrons} explain --admin {admin} GET http://{site}/api/hello")),
            (
                "no new requests for A",
                format!("{bifrons} upstream --admin {admin} {UPSTREAM} drain http://{app}"),
            ),
            ("how it is now", format!("{bifrons} status --admin {admin}")),
            (
                "edit and reload",
                format!("$EDITOR {folder}/{FILE} && {bifrons} reload --admin {admin}"),
            ),
            ("metrics", format!("curl http://{admin}/metrics")),
            ("who asked for what", format!("tail -f {folder}/{ACCESS_LOG}")),
        ];
        self.heading("Try it by hand, in another terminal")?;
        for (what, command) in commands {
            let what = self.styled(Style::Dim, &format!("{what:<24}"));
            writeln!(self.out, "  {what}{command}")?;
        }
        writeln!(self.out, "\nCtrl-C ends the demo and removes its files.")?;
        self.out.flush()
    }
}

/// Where the exits are, each country once.
fn countries() -> String {
    let mut countries: Vec<&str> = EXITS.iter().map(|exit| exit.country).collect();
    countries.dedup();
    countries.join(", ")
}

/// Lines of at most `width` characters, broken at spaces, but not behind the colon of a field.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut words = text.split(' ');
    while let Some(word) = words.next() {
        let mut word = word.to_owned();
        while word.ends_with(':')
            && let Some(value) = words.next()
        {
            word.push(' ');
            word.push_str(value);
        }
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::broken;

    #[test]
    fn lines_are_broken_at_spaces_and_lose_nothing() {
        let text = "one two three fourteen-letters five";
        let lines = broken(text, 9);
        assert_eq!(lines, ["one two", "three", "fourteen-letters", "five"]);
        assert_eq!(lines.join(" "), text);
    }

    #[test]
    fn a_field_stays_with_its_value() {
        assert_eq!(broken("one Name: value, b", 13), ["one", "Name: value,", "b"]);
    }
}
