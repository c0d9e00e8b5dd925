//! `bifrons leak-check`: what the far end sees of this machine through a proxy.
//!
//! The far end is an origin of our own, which sees the connection and every byte of the request;
//! or a public one that echoes (`--target`), of which only the answer is known.

mod finding;
mod origin;
mod proxy;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use serde_json::json;

use finding::{Finding, Level, Ourselves, SENT};
use origin::{Origin, Seen};
use proxy::{Proxy, Target};

pub(crate) const HELP: &str = "\
It starts a small origin on this machine and fetches from it through the proxy, so the proxy must
be allowed to go there (`allow \"127.0.0.0/8\"`; a proxy elsewhere needs --origin-listen with an
address that it reaches). --target asks a public echo instead.

It says what the far end sees: the address, fields that tell of a proxy or of the client, whether
fields were changed, who resolves names, and what becomes of IPv6. What it cannot see is the
client you will use: whether that goes direct when the proxy does not answer. Try it with the
proxy stopped; a PAC file without DIRECT, and a firewall, make sure.

The exit status is 1 if something leaks that --expect forbids, or nothing could be fetched.

  bifrons leak-check --proxy http://alice:secret@127.0.0.1:3128 --expect elite
  bifrons leak-check --proxy socks5h://127.0.0.1:3128 --target http://echo.example/";

/// Longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is checked.
#[derive(Debug, Args)]
pub(crate) struct LeakCheck {
    /// The proxy: http, https, socks4a, socks5 or socks5h
    #[arg(long, value_name = "URL", value_parser = Proxy::parse)]
    proxy: Proxy,
    /// Where our origin listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", conflicts_with = "target")]
    origin_listen: SocketAddr,
    /// The name by which the proxy finds it [default: localhost, or its address]
    #[arg(long, value_name = "NAME", conflicts_with = "target")]
    origin_name: Option<String>,
    /// A page that tells what it sees, instead of our origin
    #[arg(long, value_name = "URL", value_parser = Target::parse)]
    target: Option<Target>,
    /// What it must be: `anonymous` (nobody can tell who we are), `elite` (nor that there is a
    /// proxy)
    #[arg(long, value_enum, value_name = "LEVEL", hide_possible_values = true)]
    expect: Option<Expect>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What a proxy must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Expect {
    Anonymous,
    Elite,
}

impl Expect {
    fn forbids(self, level: Level) -> bool {
        match self {
            Self::Anonymous => level == Level::Client,
            Self::Elite => matches!(level, Level::Client | Level::Proxy),
        }
    }
}

/// What was found in one way to go through the proxy.
#[derive(Debug)]
struct Part {
    name: &'static str,
    findings: Vec<Finding>,
}

/// `bifrons leak-check`.
pub(crate) fn run(options: &LeakCheck) -> Result<ExitCode, Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .wrap_err("cannot start")?;
    let parts = runtime.block_on(check(options))?;
    let worst = parts.iter().flat_map(|part| &part.findings).map(|finding| finding.level).max();
    let worst = worst.unwrap_or(Level::Fine);
    if options.json {
        print_json(options, &parts, worst);
    } else {
        print_text(options, &parts, worst);
    }
    let forbidden = options.expect.is_some_and(|expect| expect.forbids(worst));
    Ok(if forbidden { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What a proxy is that lets such things through.
fn kind(worst: Level) -> &'static str {
    match worst {
        Level::Fine | Level::Note => "elite",
        Level::Proxy => "anonymous",
        Level::Client => "transparent",
    }
}

fn print_text(options: &LeakCheck, parts: &[Part], worst: Level) {
    println!("through {}", options.proxy);
    for part in parts {
        println!("\n{}", part.name);
        for finding in &part.findings {
            println!("  {:<6} {}", finding.level.mark(), finding.text);
        }
    }
    let told = match worst {
        Level::Fine | Level::Note => "the far end sees neither who asks nor that there is a proxy",
        Level::Proxy => "the far end can tell that there is a proxy, but not who uses it",
        Level::Client => "this machine can be told",
    };
    println!("\n{}: {told}", kind(worst));
}

fn print_json(options: &LeakCheck, parts: &[Part], worst: Level) {
    let parts: Vec<_> = parts
        .iter()
        .map(|part| {
            let findings: Vec<_> = part
                .findings
                .iter()
                .map(|finding| json!({ "level": finding.level.word(), "text": finding.text }))
                .collect();
            json!({ "part": part.name, "findings": findings })
        })
        .collect();
    let forbidden = options.expect.map(|expect| expect.forbids(worst));
    let all = json!({
        "proxy": options.proxy.to_string(),
        "kind": kind(worst),
        "as_expected": forbidden.map(|forbidden| !forbidden),
        "parts": parts,
    });
    println!("{all:#}");
}

/// What no check from outside can see.
const FALLBACK: &str = "whether a client goes direct when the proxy does not answer is the \
    client's affair: this one fails. Browsers with a PAC file that says DIRECT, and Firefox by \
    default, do not";

async fn check(options: &LeakCheck) -> Result<Vec<Part>, Report> {
    let mut parts = match &options.target {
        Some(target) => vec![ask(&options.proxy, target).await?],
        None => own(options).await?,
    };
    parts.push(Part { name: "names", findings: vec![options.proxy.names()] });
    parts.push(Part {
        name: "without the proxy",
        findings: vec![Finding::new(Level::Note, FALLBACK.to_owned())],
    });
    Ok(parts)
}

/// Asks a public echo.
async fn ask(proxy: &Proxy, target: &Target) -> Result<Part, Report> {
    let (body, ourselves) = within(proxy.get(target))
        .await
        .wrap_err_with(|| format!("nothing came from {}", target.host))?;
    Ok(Part { name: "the echo", findings: finding::of_echo(&body, &ourselves) })
}

/// Asks an origin of our own, in each way that the proxy has.
async fn own(options: &LeakCheck) -> Result<Vec<Part>, Report> {
    let proxy = &options.proxy;
    let mut origin = Origin::start(options.origin_listen)
        .await
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot listen on {}", options.origin_listen))?;
    let address = origin.address;
    let host = match &options.origin_name {
        Some(name) => name.clone(),
        None if address.ip().is_unspecified() => {
            return Err(miette!("--origin-name is needed: where does the proxy find {address}?"));
        }
        None if address.ip().is_loopback() => "localhost".to_owned(),
        None => address.ip().to_string(),
    };
    let target = Target::here(&host, address.port());
    let mut parts = Vec::new();
    let mut failures = Vec::new();
    let ways = [("plain request", false), ("tunnel", true)];
    for (name, tunnel) in ways.into_iter().filter(|(_, tunnel)| *tunnel || proxy.is_http()) {
        let outcome = within(async {
            let ourselves = proxy.send(&target, tunnel).await?;
            let seen = origin.seen().await.ok_or_else(|| miette!("the origin saw nothing"))?;
            Ok((seen, ourselves))
        });
        match outcome.await {
            Ok((seen, ourselves)) => parts.push(part(name, &seen, &ourselves, proxy)),
            Err(error) => failures.push((name, format!("{error:#}"))),
        }
    }
    if parts.is_empty() {
        let why: Vec<_> = failures.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        let help = format!(
            "the proxy must be allowed to reach {address}: `allow \"{}\"`; \
             or name a public echo with --target",
            address.ip()
        );
        return Err(miette!(help = help, "nothing came through the proxy: {}", why.join("; ")));
    }
    parts.extend(failures.into_iter().map(|(name, why)| Part {
        name,
        findings: vec![Finding::new(Level::Note, format!("does not work: {why}"))],
    }));
    if address.ip().is_loopback() {
        parts.extend(ipv6(proxy).await);
    }
    Ok(parts)
}

fn part(name: &'static str, seen: &Seen, ourselves: &Ourselves, proxy: &Proxy) -> Part {
    let mut findings = vec![finding::of_address(seen.peer, ourselves)];
    findings.extend(finding::of_head(SENT, &seen.head, ourselves, &proxy.secrets()));
    Part { name, findings }
}

/// Whether targets of IPv6 are reached; `None` where this machine has none.
async fn ipv6(proxy: &Proxy) -> Option<Part> {
    let mut origin = Origin::start("[::1]:0".parse().ok()?).await.ok()?;
    let target = Target::here("[::1]", origin.address.port());
    let outcome = within(async {
        proxy.send(&target, true).await?;
        origin.seen().await.ok_or_else(|| miette!("the origin saw nothing"))
    });
    let text = match outcome.await {
        Ok(_) => "targets of IPv6 are reached through the proxy".to_owned(),
        Err(error) => format!(
            "targets of IPv6 are not reached ({error:#}): a client that then goes by itself shows \
             its own address"
        ),
    };
    Some(Part { name: "IPv6", findings: vec![Finding::new(Level::Note, text)] })
}

async fn within<T>(step: impl Future<Output = Result<T, Report>>) -> Result<T, Report> {
    match tokio::time::timeout(PATIENCE, step).await {
        Ok(outcome) => outcome,
        Err(_) => Err(miette!("nothing within {} s", PATIENCE.as_secs())),
    }
}

/// Whether an address says anything about this machine to others.
fn is_telling(ip: IpAddr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified()
}
