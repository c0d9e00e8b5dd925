//! `bifrons cache`: the cache of a server that runs.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use config::show;
use miette::Report;
use serde_json::{Value, json};
use telemetry::CacheResult;

use crate::args::Remote;
use crate::encoding::encoded;
use crate::remote::{Admin, text};

pub(crate) const HELP: &str = "\
A purge has taken effect on all cores when the command ends.

  bifrons cache stats
  bifrons cache get http://shop.example/cart
  bifrons cache purge --url http://shop.example/logo.svg
  bifrons cache purge --prefix http://shop.example/img/
  bifrons cache purge --tag product-17 --soft";

/// What is done about the cache.
#[derive(Debug, Args)]
pub(crate) struct Cache {
    #[command(flatten)]
    remote: Remote,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what it has and did (without a word, this is done)
    Stats,
    /// Show which answers in memory were given most often
    Top {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Show what is kept for a URL
    Get {
        /// The URL, with its scheme
        url: String,
    },
    /// Take answers out, or let them be stale
    Purge(Purge),
}

#[derive(Debug, Args)]
struct Purge {
    #[command(flatten)]
    what: What,
    /// Keep them, but as stale: to be validated, or to stand in for errors
    #[arg(long)]
    soft: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Answers to this URL
    #[arg(long)]
    url: Option<String>,
    /// Answers to URLs that begin like this
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Answers with this tag (Surrogate-Key, Cache-Tag)
    #[arg(long)]
    tag: Option<String>,
    /// Answers of this host; without a port, at all ports
    #[arg(long)]
    host: Option<String>,
    /// All answers
    #[arg(long)]
    all: bool,
}

/// `bifrons cache`.
pub(crate) fn run(options: &Cache) -> Result<ExitCode, Report> {
    let admin = Admin::of(&options.remote)?;
    let (answer, show): (Value, fn(&Value) -> String) = match &options.action {
        None | Some(Action::Stats) => (admin.get("/api/v1/cache")?, stats),
        Some(Action::Top { limit }) => {
            (admin.get(&format!("/api/v1/cache/top?limit={limit}"))?, top)
        }
        Some(Action::Get { url }) => {
            (admin.get(&format!("/api/v1/cache/entry?url={}", encoded(url)))?, entries)
        }
        Some(Action::Purge(purge)) => {
            (admin.post("/api/v1/cache/purge", &purge.content())?, purged)
        }
    };
    match options.json {
        true => println!("{answer:#}"),
        false => print!("{}", show(&answer)),
    }
    Ok(ExitCode::SUCCESS)
}

impl Purge {
    fn content(&self) -> Value {
        let What { url, prefix, tag, host, all } = &self.what;
        let mut content = json!({ "soft": self.soft });
        for (name, value) in [("url", url), ("prefix", prefix), ("tag", tag), ("host", host)] {
            if let Some(value) = value {
                content[name] = value.as_str().into();
            }
        }
        if *all {
            content["all"] = true.into();
        }
        content
    }
}

fn stats(cache: &Value) -> String {
    let mut out = String::new();
    for name in ["memory", "disk"] {
        let tier = &cache[name];
        if tier.is_object() {
            out += &format!(
                "{name}: {} answers, {} of {}, {} had to make room\n",
                tier["objects"],
                amount(&tier["bytes"]),
                amount(&tier["limit_bytes"]),
                tier["evicted"],
            );
        }
    }
    let coming = &cache["coming"];
    out += &format!("coming: {} answers, {}\n", coming["answers"], amount(&coming["bytes"]));
    let requests = &cache["requests"];
    let counts = CacheResult::ALL.map(|result| {
        let word = result.as_str();
        format!("{} {}", requests[word], word.replace('_', "-"))
    });
    out += &format!("requests: {}\n", counts.join(", "));
    if let Some(ratio) = cache["hit_ratio"].as_f64() {
        out += &format!("hit ratio: {:.1}%\n", ratio * 100.0);
    }
    out += &format!(
        "saved: {} from servers, {} to clients by compression\n",
        amount(&cache["sent_bytes"]),
        amount(&cache["compressed"]["saved_bytes"]),
    );
    out + &format!(
        "since the start: {} stored, {} refused, {} purged\n",
        cache["stored"], cache["refused"], cache["purged"]
    )
}

fn top(all: &Value) -> String {
    let line = |one: &Value| {
        format!("{:>10} {:>9} {}\n", one["hits"], amount(&one["bytes"]), text(&one["url"]))
    };
    all.as_array().into_iter().flatten().map(line).collect()
}

fn entries(all: &Value) -> String {
    match all.as_array().map_or(&[][..], Vec::as_slice) {
        [] => "nothing is kept in memory for this URL\n".to_owned(),
        all => all.iter().map(entry).collect(),
    }
}

fn entry(entry: &Value) -> String {
    let mut out = format!("{} {}", entry["status"], text(&entry["url"]));
    if let Some(kind) = entry["content_type"].as_str() {
        out += &format!(", {kind}");
    }
    let ttl = entry["ttl_seconds"].as_i64().unwrap_or_default();
    let guessed = if entry["heuristic"] == true { " (guessed)" } else { "" };
    out += &match text(&entry["state"]) {
        _ if entry["purged_softly"] == true => "\n  stale since it was purged softly".to_owned(),
        "fresh" => format!("\n  fresh for {ttl}s yet{guessed}"),
        _ => format!("\n  stale for {}s{guessed}", -ttl),
    };
    out += &format!(", {}s old, given {} times", entry["age_seconds"], entry["hits"]);
    let parts = if entry["whole"] == true { "" } else { ", parts only" };
    let length = entry["length"].as_u64().map(|length| format!("{}, ", show::bytes(length)));
    out += &format!(
        "\n  {}{} in {}{parts}",
        length.unwrap_or_default(),
        amount(&entry["bytes"]),
        text(&entry["tier"]),
    );
    let listed = |name: &str| {
        let all = entry[name].as_array().into_iter().flatten();
        all.map(text).collect::<Vec<_>>().join(", ")
    };
    for (name, words) in [("codings", "also packed as"), ("tags", "tags")] {
        if entry[name] != json!([]) {
            out += &format!("\n  {words}: {}", listed(name));
        }
    }
    for vary in entry["vary"].as_array().into_iter().flatten() {
        let value = vary["value"].as_str().unwrap_or("(none)");
        out += &format!("\n  for requests with {}: {value}", text(&vary["name"]));
    }
    for (name, words) in [("etag", "ETag"), ("last_modified", "Last-Modified")] {
        if let Some(value) = entry[name].as_str() {
            out += &format!("\n  {words}: {value}");
        }
    }
    // What the configuration adds, below the line of the URL.
    if let Some((_, more)) = text(&entry["key"]).split_once(text(&entry["url"]))
        && !more.trim().is_empty()
    {
        out += &format!("\n  key: {}", more.trim_start());
    }
    out + "\n"
}

fn purged(report: &Value) -> String {
    format!("purged {} answers, {}\n", report["objects"], amount(&report["bytes"]))
}

/// Bytes for people.
fn amount(value: &Value) -> String {
    let bytes = value.as_u64().unwrap_or_default();
    for (factor, unit) in [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= factor {
            return format!("{:.1} {unit}", bytes as f64 / factor as f64);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_for_people() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_600_000, "1.5 MiB"),
            (3_u64 << 30, "3.0 GiB"),
        ] {
            assert_eq!(amount(&json!(bytes)), shown);
        }
    }

    #[test]
    fn an_answer_is_told_in_few_lines() {
        let told = entry(&json!({
            "url": "http://a.example/x", "key": "http://a.example/x v=2", "status": 200,
            "vary": [{ "name": "accept-language", "value": null }], "state": "stale",
            "purged_softly": false, "age_seconds": 70, "ttl_seconds": -10, "heuristic": true, "content_type": "text/css",
            "etag": "\"1\"", "last_modified": null, "tags": ["red", "blue"], "length": 1024,
            "whole": true, "codings": [], "bytes": 1500, "hits": 3, "tier": "memory",
        }));
        assert_eq!(
            told,
            "200 http://a.example/x, text/css\n  stale for 10s (guessed), 70s old, given 3 times\n  \
             1KiB, 1.5 KiB in memory\n  tags: red, blue\n  \
             for requests with accept-language: (none)\n  ETag: \"1\"\n  key: v=2\n"
        );
    }
}
