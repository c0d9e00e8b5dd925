//! `bifrons snippet`: what makes a client use the proxy, written as that client wants it.
//!
//! Each text is whole: a file of settings, or a program that takes a URL and prints what it gets.
//! The tests run each of them with its client.

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use miette::{Report, miette};

use crate::encoding::{Escapes, curl_value, literal};
use crate::endpoints::{Access, Endpoint, make};

pub(crate) const HELP: &str = "\
What it prints is whole, and says in its first lines how it is used. It holds the password.

  bifrons snippet curl --user alice --password secret > curlrc
      curl --config curlrc https://example.com/
  bifrons snippet python --user alice --password secret --country ca --sticky > get.py
      python3 get.py https://example.com/
  bifrons snippet apt --config bifrons.kdl --user alice > /etc/apt/apt.conf.d/90proxy";

/// Which client, and which proxy.
#[derive(Debug, Args)]
pub(crate) struct Snippet {
    /// The client
    #[arg(value_enum, value_name = "CLIENT")]
    client: Client,
    #[command(flatten)]
    access: Access,
}

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Client {
    /// A file of settings for curl
    Curl,
    /// A program with requests
    Python,
    /// A program with undici, whose fetch knows proxies on all versions
    Node,
    /// A program for Node that drives Chromium
    Playwright,
    /// A spider in one file
    Scrapy,
    /// A file of settings for git
    Git,
    /// A file of settings for apt
    Apt,
    /// A program with net/http
    Go,
    /// A program with java.net.http, in one file
    Java,
}

/// `bifrons snippet`.
pub(crate) fn run(options: &Snippet) -> Result<ExitCode, Report> {
    for endpoint in make(&options.access, 1)? {
        print!("{}", text(options.client, &endpoint)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn text(client: Client, endpoint: &Endpoint) -> Result<String, Report> {
    client.speaks(endpoint.scheme)?;
    let host = endpoint.host.trim_matches(['[', ']']);
    let (url, origin) = (endpoint.url(), endpoint.origin());
    let (name, password) = (&endpoint.name, &endpoint.password);
    let pair = format!("{name}:{password}");
    let utf16 = |text: &str| literal(text, Escapes::Utf16);
    let scalar = |text: &str| literal(text, Escapes::Scalar);
    let (template, values): (&str, Vec<(&str, String)>) = match client {
        Client::Curl => (
            include_str!("snippet/curlrc"),
            vec![("PROXY", curl_value(&origin)), ("PAIR", curl_value(&pair))],
        ),
        Client::Python => (include_str!("snippet/get.py"), vec![("URL", url)]),
        Client::Scrapy => (include_str!("snippet/spider.py"), vec![("URL", url)]),
        Client::Git => (include_str!("snippet/gitconfig"), vec![("URL", url)]),
        Client::Apt => (include_str!("snippet/apt.conf"), vec![("URL", url)]),
        Client::Node => (
            include_str!("snippet/get.js"),
            vec![("PROXY", utf16(&origin)), ("PAIR", utf16(&pair))],
        ),
        Client::Playwright => (
            include_str!("snippet/browse.js"),
            vec![("PROXY", utf16(&origin)), ("NAME", utf16(name)), ("PASSWORD", utf16(password))],
        ),
        Client::Go => {
            // Its SOCKS leaves names to the proxy, and older versions know it by this name only.
            let scheme = endpoint.scheme.trim_end_matches('h');
            let place = format!("{}:{}", endpoint.host, endpoint.port);
            (
                include_str!("snippet/get.go.txt"),
                vec![
                    ("SCHEME", scalar(scheme)),
                    ("HOST", scalar(&place)),
                    ("NAME", scalar(name)),
                    ("PASSWORD", scalar(password)),
                ],
            )
        }
        Client::Java => (
            include_str!("snippet/Get.java"),
            vec![
                ("HOST", utf16(host)),
                ("PORT", endpoint.port.to_string()),
                ("NAME", utf16(name)),
                ("PASSWORD", utf16(password)),
            ],
        ),
    };
    Ok(fill(template, &values))
}

impl Client {
    /// Whether it can speak so to a proxy that asks for a password.
    fn speaks(self, scheme: &str) -> Result<(), Report> {
        let (known, why): (&[&str], _) = match self {
            Self::Curl | Self::Python | Self::Git | Self::Apt => return Ok(()),
            Self::Go if scheme == "socks5" => {
                (&["http", "https", "socks5h"], "Go has the proxy resolve names")
            }
            Self::Go => return Ok(()),
            Self::Node => (&["http", "https"], "undici has no SOCKS"),
            Self::Playwright => (&["http", "https"], "Chromium shows SOCKS no password"),
            Self::Scrapy => (&["http"], "Scrapy has neither SOCKS nor TLS to a proxy"),
            Self::Java => (&["http"], "Java's client has neither SOCKS nor TLS to a proxy"),
        };
        if known.contains(&scheme) {
            return Ok(());
        }
        Err(miette!(help = format!("--scheme {}", known.join("|")), "{why}"))
    }
}

/// Puts values where a template has `<<NAME>>`. What is in a value is never looked at again.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut out = String::new();
    let mut parts = template.split("<<");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let found = part.split_once(">>").and_then(|(name, rest)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, rest))
        });
        debug_assert!(found.is_some(), "a template names what there is not: {part}");
        if let Some((value, rest)) = found {
            out.push_str(value);
            out.push_str(rest);
        }
    }
    out
}
