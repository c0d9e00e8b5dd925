//! The command line. What it says becomes a configuration text, so that there is one language
//! and one set of checks.

use std::fmt::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use config::quote;

/// One access point for traffic: a forward and a reverse proxy.
#[derive(Debug, Parser)]
#[command(
    version,
    about = "A forward and a reverse proxy in one binary.",
    long_about = "Bifrons stands between clients and servers, on either side.\n\n\
        As a reverse proxy it puts servers into one URL space, ends TLS, and hides who they are.\n\
        As a forward proxy it fetches for its users (HTTP, CONNECT, SOCKS4, SOCKS4a, SOCKS5 on \
        one port), hides who they are, and refuses what they may not reach.",
    after_help = "Try it:\n  \
        bifrons demo                                                   a tour with real requests\n  \
        bifrons reverse --listen 127.0.0.1:8080 --to http://127.0.0.1:9000\n  \
        bifrons forward --listen 127.0.0.1:3128\n  \
        bifrons check bifrons.kdl && bifrons run bifrons.kdl"
)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What the process says about itself on standard error.
    #[arg(long, global = true, value_enum, default_value_t = Level::Info)]
    log: Level,
}

/// Levels of the process's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve what a configuration file says
    Run {
        /// The configuration (KDL); paths in it are relative to its folder
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Say all that is wrong with a configuration file, and start nothing
    Check {
        /// The configuration (KDL)
        file: PathBuf,
    },
    /// Stand in front of one or more servers
    Reverse(Reverse),
    /// Fetch for clients: HTTP, CONNECT and SOCKS on one port
    Forward(Forward),
    /// Start small origins and both faces over them, make real requests, and tell what happened
    Demo(Demo),
    /// Print the reference of every directive (Markdown)
    #[command(hide = true)]
    Reference,
}

/// Options that every server takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Worker cores [default: as many as the process may use]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Where the access log goes: a path, `stdout` or `off`
    #[arg(long, value_name = "PATH|stdout|off")]
    pub(crate) access_log: Option<String>,
    /// Admin listener: metrics and status; loopback only
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Reverse {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where requests go; several servers take turns, and one that cannot be connected to is
    /// passed over
    #[arg(long = "to", value_name = "URL", required = true)]
    to: Vec<String>,
    /// Certificate chain (PEM); with it the listener speaks TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Forward {
    /// Where to listen; an address other than loopback needs --user or --client
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3128")]
    listen: SocketAddr,
    /// Someone who may use it; without any, credentials are not asked for
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = user)]
    users: Vec<(String, String)>,
    /// Targets to open that are closed by default (loopback, private and link-local ranges), as
    /// CIDR
    #[arg(long = "allow", value_name = "CIDR")]
    allow: Vec<String>,
    /// Clients that may use it, as CIDR [default: any that can connect]
    #[arg(long = "client", value_name = "CIDR")]
    clients: Vec<String>,
    /// What the far end learns: `transparent` (Via and the client's address), `anonymous` (Via
    /// only), `elite` (nothing)
    #[arg(long, value_enum, default_value_t = Anonymity::Anonymous)]
    anonymity: Anonymity,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Anonymity {
    Transparent,
    Anonymous,
    Elite,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End after the tour; exit status 1 if a step went wrong
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

fn user(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => {
            Ok((name.to_owned(), password.to_owned()))
        }
        _ => Err("a user is written NAME:PASSWORD".to_owned()),
    }
}

impl Arguments {
    pub(crate) fn log_level(&self) -> tracing::Level {
        match self.log {
            Level::Error => tracing::Level::ERROR,
            Level::Warn => tracing::Level::WARN,
            Level::Info => tracing::Level::INFO,
            Level::Debug => tracing::Level::DEBUG,
        }
    }
}

impl Common {
    /// As top-level directives.
    pub(crate) fn to_kdl(&self) -> String {
        let mut text = String::new();
        if let Some(threads) = self.threads {
            line(&mut text, format_args!("threads {threads}"));
        }
        if let Some(log) = &self.access_log {
            line(&mut text, format_args!("access-log {}", quote(log)));
        }
        if let Some(admin) = &self.admin {
            line(&mut text, format_args!("admin {}", quote(&admin.to_string())));
        }
        text
    }
}

impl Reverse {
    pub(crate) fn to_kdl(&self) -> String {
        let mut text = self.common.to_kdl();
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        let port = self.listen.port();
        let listen = quote(&self.listen.to_string());
        line(&mut text, format_args!("site \"{scheme}://*:{port}\" listen={listen} {{"));
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let (cert, key) = (path(cert), path(key));
            line(&mut text, format_args!("    tls cert={cert} key={key}"));
        }
        let servers: Vec<String> = self.to.iter().map(|url| quote(url)).collect();
        line(&mut text, format_args!("    to {}", servers.join(" ")));
        line(&mut text, format_args!("}}"));
        text
    }
}

impl Forward {
    pub(crate) fn to_kdl(&self) -> String {
        let mut text = self.common.to_kdl();
        if !self.users.is_empty() {
            line(&mut text, format_args!("users \"command-line\" {{"));
            for (name, password) in &self.users {
                let (name, password) = (quote(name), quote(password));
                line(&mut text, format_args!("    user {name} password={password}"));
            }
            line(&mut text, format_args!("}}"));
        }
        line(&mut text, format_args!("forward {} {{", quote(&self.listen.to_string())));
        if !self.users.is_empty() {
            line(&mut text, format_args!("    auth users=\"command-line\""));
        }
        for (directive, values) in [("clients", &self.clients), ("allow", &self.allow)] {
            if !values.is_empty() {
                let values: Vec<String> = values.iter().map(|value| quote(value)).collect();
                line(&mut text, format_args!("    {directive} {}", values.join(" ")));
            }
        }
        let anonymity = match self.anonymity {
            Anonymity::Transparent => "transparent",
            Anonymity::Anonymous => "anonymous",
            Anonymity::Elite => "elite",
        };
        line(&mut text, format_args!("    anonymity \"{anonymity}\""));
        line(&mut text, format_args!("}}"));
        text
    }
}

fn path(path: &std::path::Path) -> String {
    quote(&path.to_string_lossy())
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{line}");
}
