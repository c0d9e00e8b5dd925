//! The status as a page for people.

use std::fmt::{self, Display, Write};

use crate::Status;

/// Renders the page. It needs no script and nothing from elsewhere.
pub(crate) fn render(status: &Status) -> String {
    let mut page = String::with_capacity(8 * 1024);
    // Writing to a string does not fail.
    let _ = write_page(&mut page, status);
    page
}

fn write_page(page: &mut String, status: &Status) -> fmt::Result {
    page.push_str(HEAD);
    let state = if status.draining { "draining" } else { "serving" };
    writeln!(page, "<h1>Bifrons {}</h1>", Text(&status.version))?;
    writeln!(page, "<p class=\"{state}\">{state}, for {}</p>", Uptime(status.uptime_seconds))?;
    write_numbers(page, status)?;
    write_table(page, "Listeners", ["Address", "Face", "TLS"], &status.listeners, |row| {
        let tls = if row.tls { "yes" } else { "no" };
        [row.address.to_string(), row.face.to_owned(), tls.to_owned()]
    })?;
    write_table(page, "Sites", ["Site", "Listens on", "Routes"], &status.sites, |row| {
        [row.name.clone(), join(&row.listen), join(&row.routes)]
    })?;
    let servers: Vec<_> = status
        .upstreams
        .iter()
        .flat_map(|upstream| upstream.servers.iter().map(move |server| (upstream, server)))
        .collect();
    write_table(page, "Upstreams", ["Upstream", "Server", "Addresses"], &servers, |row| {
        [row.0.name.clone(), row.1.url.clone(), join(&row.1.addresses)]
    })?;
    page.push_str(ENDPOINTS);
    Ok(())
}

fn write_numbers(page: &mut String, status: &Status) -> fmt::Result {
    let numbers = [
        ("Open connections, reverse", status.connections.reverse),
        ("Open connections, forward", status.connections.forward),
        ("Requests in flight, reverse", status.requests_in_flight.reverse),
        ("Requests in flight, forward", status.requests_in_flight.forward),
        ("Open tunnels", status.tunnels),
        ("Worker cores", status.threads as u64),
        ("Generation of the configuration", status.generation),
    ];
    page.push_str("<table>\n");
    for (name, number) in numbers {
        writeln!(page, "<tr><th scope=\"row\">{name}</th><td>{number}</td></tr>")?;
    }
    page.push_str("</table>\n");
    Ok(())
}

/// A table with a heading, or nothing if there is no row.
fn write_table<T, const N: usize>(
    page: &mut String,
    heading: &str,
    columns: [&str; N],
    rows: &[T],
    cells: impl Fn(&T) -> [String; N],
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>{heading}</h2>\n<table>\n<tr>")?;
    for column in columns {
        writeln!(page, "<th scope=\"col\">{column}</th>")?;
    }
    page.push_str("</tr>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in cells(row) {
            write!(page, "<td>{}</td>", Text(&cell))?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    Ok(())
}

fn join(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Text within an element.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            other => f.write_char(other),
        })
    }
}

/// `3 d 4 h`, `4 h 5 min`, `5 min 6 s`, `6 s`.
struct Uptime(u64);

impl Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minutes, hours, days) = (self.0 / 60, self.0 / 3600, self.0 / 86_400);
        if days > 0 {
            write!(f, "{days} d {} h", hours % 24)
        } else if hours > 0 {
            write!(f, "{hours} h {} min", minutes % 60)
        } else if minutes > 0 {
            write!(f, "{minutes} min {} s", self.0 % 60)
        } else {
            write!(f, "{} s", self.0)
        }
    }
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Bifrons</title>
<style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse }
th, td { text-align: left; vertical-align: top; padding: .2rem 1.5rem .2rem 0 }
tr + tr { border-top: 1px solid #8884 }
th { font-weight: 600 }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
.draining { font-weight: 600 }
</style>
"#;

const ENDPOINTS: &str = r#"<h2>Endpoints</h2>
<table>
<tr><td><a href="/metrics">/metrics</a></td><td>for Prometheus</td></tr>
<tr><td><a href="/healthz">/healthz</a></td><td>200 while serving, 503 while draining</td></tr>
<tr><td><a href="/api/v1/status">/api/v1/status</a></td><td>this page as JSON</td></tr>
<tr><td><a href="/api/v1/openapi.json">/api/v1/openapi.json</a></td><td>all else, described for programs (OpenAPI)</td></tr>
</table>
</html>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_in_two_units() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3_661, "1 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(Uptime(seconds).to_string(), text);
        }
    }

    #[test]
    fn text_is_only_text() {
        assert_eq!(Text("<b a=\"'\">&").to_string(), "&lt;b a=&quot;&#39;&quot;&gt;&amp;");
    }
}
