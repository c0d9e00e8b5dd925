//! `bifrons explain`: what would become of a request, and why.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use config::Errors;
use miette::Report;
use proxy::{Explanation, Outcome, Part, Question};
use serde_json::{Value, json};

use crate::args::Remote;
use crate::program::{folder, read};
use crate::remote::Admin;

pub(crate) const HELP: &str = "\
With --config it reads the file as `check` does, and starts nothing. Without, or with --live or
--admin, it asks the server that runs, and servers are told of as they are now. Passwords are not
checked, names not resolved, and nobody is asked: what depends on these is told as what will be.

  bifrons explain --config bifrons.kdl GET http://shop.example:8080/api/users
  bifrons explain --config bifrons.kdl POST http://127.0.0.1:8080/ -H 'Host: shop.example'
  bifrons explain --config bifrons.kdl CONNECT example.com:443 --client 10.0.0.7
  bifrons explain --config bifrons.kdl --user alice-country-ca CONNECT shop.example:443
  bifrons explain --live GET https://shop.example/ --json";

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The method; `CONNECT` asks a listener of the forward face
    method: String,
    /// The URL; for CONNECT host:port
    url: String,
    /// A field of the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
    /// Where the request comes from
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    client: IpAddr,
    /// The listener that it comes to [default: the one that the URL leads to]
    #[arg(long, value_name = "ADDR")]
    listener: Option<SocketAddr>,
    /// The name that the client shows to a listener of the forward face, wishes included
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The configuration to ask; for a running server the one that it runs on [default for it:
    /// bifrons.kdl]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask the server that runs on the configuration
    #[arg(long)]
    live: bool,
    /// Ask the server that runs, at this admin listener
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.trim().to_owned())),
        _ => Err("a field is written \"Name: value\"".to_owned()),
    }
}

impl Explain {
    fn question(&self) -> Question {
        Question {
            method: self.method.clone(),
            url: self.url.clone(),
            fields: self.fields.clone(),
            client: self.client,
            listener: self.listener,
            user: self.user.clone(),
        }
    }
}

/// Asks, and prints what is answered.
pub(crate) fn run(options: &Explain) -> Result<ExitCode, Report> {
    let question = options.question();
    let explanation = match &options.config {
        Some(path) if !options.live && options.admin.is_none() => offline(path, &question)?,
        path => {
            let config = path.clone().unwrap_or_else(|| PathBuf::from("bifrons.kdl"));
            let remote = Remote { config, admin: options.admin };
            Admin::of(&remote)?.post("/api/v1/explain", &question_json(&question))?
        }
    };
    if options.json {
        println!("{explanation:#}");
    } else {
        print!("{} {}\n{}", question.method, question.url, rendered(&explanation));
    }
    Ok(ExitCode::SUCCESS)
}

fn offline(path: &Path, question: &Question) -> Result<Value, Report> {
    let text = read(path)?;
    let name = path.display().to_string();
    let config = config::parse(&name, &text, folder(path))?;
    let explanation =
        server::explain(&config, question).map_err(|errors| Errors::new(&name, &text, errors))?;
    Ok(to_json(&explanation))
}

/// A question, as it is sent to a running server.
fn question_json(question: &Question) -> Value {
    json!({
        "method": question.method,
        "url": question.url,
        "fields": question.fields.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
        "client": question.client.to_string(),
        "listener": question.listener.map(|address| address.to_string()),
        "user": question.user,
    })
}

/// A question as it was received.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn from_json(asked: &Value) -> Result<Question, String> {
    let known = ["method", "url", "fields", "client", "listener", "user"];
    let object = asked.as_object().ok_or("a question is an object")?;
    if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("`{name}` is not part of a question"));
    }
    let word = |name: &str| match &asked[name] {
        Value::String(text) => Ok(Some(text.as_str())),
        Value::Null => Ok(None),
        _ => Err(format!("`{name}` is a string")),
    };
    let needed = |name| word(name)?.map(str::to_owned).ok_or(format!("`{name}` is missing"));
    let pair = |field: &Value| match (field[0].as_str(), field[1].as_str()) {
        (Some(name), Some(value)) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a field is [\"name\", \"value\"]".to_owned()),
    };
    let fields = match &asked["fields"] {
        Value::Null => Vec::new(),
        Value::Array(fields) => fields.iter().map(pair).collect::<Result<_, _>>()?,
        _ => return Err("`fields` is an array".to_owned()),
    };
    let client = word("client")?.unwrap_or("127.0.0.1").parse();
    let listener = word("listener")?.map(str::parse).transpose();
    Ok(Question {
        method: needed("method")?,
        url: needed("url")?,
        fields,
        client: client.map_err(|_| "`client` is an address")?,
        listener: listener.map_err(|_| "`listener` is an address and a port")?,
        user: word("user")?.map(str::to_owned),
    })
}

/// An explanation for programs.
pub(crate) fn to_json(explanation: &Explanation) -> Value {
    let outcome = match &explanation.outcome {
        Outcome::Relayed { upstream } => json!({ "what": "relayed", "upstream": upstream }),
        Outcome::Forwarded { target } => json!({ "what": "forwarded", "target": target }),
        Outcome::Answered { status, why } => {
            json!({ "what": "answered", "status": status, "why": why })
        }
        Outcome::Refused { status, kind, why } => {
            json!({ "what": "refused", "status": status, "kind": kind, "why": why })
        }
        Outcome::Closed { why } => json!({ "what": "closed", "why": why }),
    };
    let part = |part: &Part| {
        let others =
            part.others.iter().map(|other| json!({ "what": other.what, "why": other.why }));
        json!({
            "name": part.name,
            "says": part.says,
            "notes": part.notes,
            "others": others.collect::<Vec<_>>(),
        })
    };
    json!({ "outcome": outcome, "parts": explanation.parts.iter().map(part).collect::<Vec<_>>() })
}

/// An explanation for people.
fn rendered(explanation: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut out = format!("→ {}\n\n", outcome(&explanation["outcome"]));
    for part in all(&explanation["parts"]) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{:<10} {}", text(&part["name"]), text(&part["says"]));
        for note in all(&part["notes"]) {
            let _ = writeln!(out, "           · {}", text(&note));
        }
        for other in all(&part["others"]) {
            let _ =
                writeln!(out, "           not {}: {}", text(&other["what"]), text(&other["why"]));
        }
    }
    out
}

fn outcome(outcome: &Value) -> String {
    let word = |name: &str| outcome[name].as_str().unwrap_or_default();
    match word("what") {
        "relayed" => format!("goes to a server of `{}`", word("upstream")),
        "forwarded" => format!("goes to {}", word("target")),
        "answered" => format!("is answered with {}: {}", outcome["status"], word("why")),
        "refused" => {
            let why = word("why");
            let colon = if why.is_empty() { "" } else { ": " };
            format!("is refused with {} {}{colon}{why}", outcome["status"], word("kind"))
        }
        _ => format!("is no request here: {}", word("why")),
    }
}
