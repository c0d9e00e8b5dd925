//! The command line. What it says becomes a configuration text, so that there is one language
//! and one set of checks.

use std::fmt::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use config::quote;
use miette::{Report, miette};

/// The heading of the options that every server takes.
const COMMON: &str = "Common options";

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
    /// How much the process tells on standard error [default: info; demo: warn]
    #[arg(long, global = true, value_enum, value_name = "LEVEL", help_heading = COMMON)]
    log: Option<Level>,
}

/// Levels of the process's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

const RUN_HELP: &str = "\
What the options say goes before what the file says.

SIGTERM and SIGINT stop it gracefully: it accepts nothing new, finishes what runs within the
`drain-timeout` of the configuration, and ends with exit status 0. A second signal ends it at once.
SIGHUP makes it read the file again (see `bifrons reload`), SIGUSR2 start anew without losing a
connection (see `bifrons upgrade`).

  bifrons check bifrons.kdl && bifrons run bifrons.kdl
  bifrons run bifrons.kdl --threads 1 --access-log stdout --log debug";

const RELOAD_HELP: &str = "\
All is built before anything changes; with an error nothing does. Requests finish on what they
began with. SIGHUP does the same.";

const UPGRADE_HELP: &str = "\
The new process gets the listening sockets, and the old one ends when its work is finished or the
`drain-timeout` is over. If the new one cannot start, the old one goes on. SIGUSR2 does the same.";

const UPSTREAM_HELP: &str = "\
A change holds until it is undone, the server ends, or the upstream goes from the configuration.

  bifrons upstream app list
  bifrons upstream app drain http://10.0.0.1:8080
  bifrons upstream app weight http://10.0.0.2:8080 5";

const CHECK_HELP: &str = "\
It reads what the file names too: certificates, keys, lists, users. All errors are shown at once,
each with its place and its remedy. The exit status is 0 if there are none, else 1.";

const REVERSE_HELP: &str = "\
Servers learn of the client by X-Forwarded-For, -Proto and -Host; clients learn nothing of the
servers. More than one site or route needs a configuration file.

  bifrons reverse --to http://127.0.0.1:9000
  bifrons reverse --to http://10.0.0.1:9000 --to http://10.0.0.2:9000
  bifrons reverse --listen 0.0.0.0:8443 --to http://127.0.0.1:9000 \\
      --tls-cert cert.pem --tls-key key.pem";

const FORWARD_HELP: &str = "\
Safe as it is: it listens on this machine only, and whatever leads to this machine or to a private
network (loopback, RFC 1918, link-local, and the like) is refused unless --allow names it. CONNECT
and SOCKS reach ports 80, 443 and those above 1023. --user, --allow and --client may be given
several times.

  bifrons forward
  bifrons forward --user alice:wonderland --listen 0.0.0.0:3128
  bifrons forward --client 192.168.1.0/24 --listen 0.0.0.0:3128 --anonymity elite

  curl -x http://127.0.0.1:3128 http://example.com/
  curl -x http://127.0.0.1:3128 https://example.com/
  curl -x socks5h://127.0.0.1:3128 https://example.com/";

const DEMO_HELP: &str = "\
All of it happens on this machine. Ports 8080, 8443, 3128 to 3130 and 9901 are used where they
are free, others where not. After the tour it stays up, and says what to try by hand.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve what a configuration file says
    #[command(after_help = RUN_HELP)]
    Run {
        /// The configuration (KDL 2); paths in it are relative to its folder
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Say all that is wrong with a configuration file, and start nothing
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The configuration (KDL 2); paths in it are relative to its folder
        file: PathBuf,
    },
    /// Say what would become of a request, and why
    #[command(after_help = crate::explain::HELP)]
    Explain(crate::explain::Explain),
    /// Say what a change of the configuration changes
    #[command(after_help = crate::diff::HELP)]
    Diff(crate::diff::Diff),
    /// Make or show the authority for TLS that is opened on the way
    #[command(subcommand, after_help = crate::ca::HELP)]
    Ca(crate::ca::Action),
    /// Stand in front of one or more servers
    #[command(after_help = REVERSE_HELP)]
    Reverse(Reverse),
    /// Fetch for clients: HTTP, CONNECT and SOCKS on one port
    #[command(after_help = FORWARD_HELP)]
    Forward(Forward),
    /// Start small origins and both faces over them, make real requests, and tell what happened
    #[command(after_help = DEMO_HELP)]
    Demo(Demo),
    /// Make a running server read its configuration again
    #[command(after_help = RELOAD_HELP)]
    Reload(Remote),
    /// Make a running server start its program anew and hand all over, without losing a connection
    #[command(after_help = UPGRADE_HELP)]
    Upgrade(Remote),
    /// Say what a running server does
    Status {
        #[command(flatten)]
        remote: Remote,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the servers of an upstream of a running server, or change one of them
    #[command(after_help = UPSTREAM_HELP)]
    Upstream {
        #[command(flatten)]
        remote: Remote,
        /// The upstream, by its name
        name: String,
        #[command(subcommand)]
        action: ServerAction,
    },
    /// Make addresses of the forward face: a country, a session of its own in each
    #[command(after_help = crate::endpoints::HELP)]
    Endpoints(crate::endpoints::Endpoints),
    /// Print what makes a client use the forward face
    #[command(after_help = crate::snippet::HELP)]
    Snippet(crate::snippet::Snippet),
    /// Say what the far end sees of this machine through a proxy
    #[command(after_help = crate::leak::HELP)]
    LeakCheck(crate::leak::LeakCheck),
    /// List the exits of a running server, and how they are
    #[command(after_help = crate::gateway::EXITS_HELP)]
    Exits(crate::gateway::Exits),
    /// List the sessions of a running server, or end one
    #[command(after_help = crate::gateway::SESSIONS_HELP)]
    Sessions(crate::gateway::Sessions),
    /// List the bans of exits of a running server, add or end some
    #[command(after_help = crate::gateway::BANS_HELP)]
    Bans(crate::gateway::Bans),
    /// Say what the cache of a running server has, and purge it
    #[command(after_help = crate::cache::HELP)]
    Cache(crate::cache::Cache),
    /// Add, show, change and remove users in a database
    #[command(after_help = crate::user::HELP)]
    User(crate::user::User),
    /// Say who has used how much, where and when
    #[command(after_help = crate::usage::HELP)]
    Usage(crate::usage::Usage),
    /// Print the reference of every directive (Markdown)
    #[command(hide = true)]
    Reference,
}

/// Options that every server takes.
#[derive(Debug, Default, Args)]
pub(crate) struct Common {
    /// Cores that carry traffic [default: all that it may run on]
    #[arg(long, value_name = "N", help_heading = COMMON)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Where a line for each request goes
    #[arg(long, value_name = "PATH|stdout|off", help_heading = COMMON)]
    pub(crate) access_log: Option<String>,
    /// Where metrics and status can be read: a loopback address
    #[arg(long, value_name = "ADDR", help_heading = COMMON)]
    pub(crate) admin: Option<SocketAddr>,
}

/// Which running server is meant.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// The configuration that it runs on; its `admin` says where to reach it
    #[arg(long, value_name = "FILE", default_value = "bifrons.kdl", global = true)]
    pub(crate) config: PathBuf,
    /// Its admin listener, if it is another one
    #[arg(long, value_name = "ADDR", global = true)]
    pub(crate) admin: Option<SocketAddr>,
}

/// What is done about a server.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerAction {
    /// Show all servers, and how they are
    List,
    /// Give it no new clients, and let it finish; `list` says when it is safe to stop
    Drain {
        /// Its URL, as the configuration or `list` has it
        server: String,
    },
    /// Give it new clients again
    Undrain {
        /// Its URL
        server: String,
    },
    /// Give it another share
    Weight {
        /// Its URL
        server: String,
        /// 0 to 1000; 0: none
        weight: u32,
    },
    /// Add a server
    Add {
        /// Its URL
        server: String,
    },
    /// Take it out of the upstream
    Remove {
        /// Its URL
        server: String,
    },
    /// Let it be as the configuration says
    Reset {
        /// Its URL
        server: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Reverse {
    /// Where to listen (port 0: any free port)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where requests go; several of them take turns, and one that cannot be connected to is
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
    /// Where to listen (port 0: any free port); an address other than loopback needs --user or
    /// --client
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3128")]
    listen: SocketAddr,
    /// Somebody who may use it; without any, nobody is asked for credentials
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = user)]
    users: Vec<(String, String)>,
    /// Addresses to open that are closed by default, such as 10.0.0.0/8
    #[arg(long = "allow", value_name = "CIDR")]
    allow: Vec<String>,
    /// Clients that may use it, such as 192.168.1.0/24 [default: any that can connect]
    #[arg(long = "client", value_name = "CIDR")]
    clients: Vec<String>,
    /// What the far end learns: `transparent` (Via and the client's address), `anonymous` (Via
    /// only), `elite` (nothing)
    #[arg(long, value_enum, value_name = "LEVEL", hide_possible_values = true)]
    #[arg(default_value_t = Anonymity::Anonymous)]
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
        let quiet = matches!(self.command, Command::Demo(_));
        match self.log.unwrap_or(if quiet { Level::Warn } else { Level::Info }) {
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
    /// The configuration would refuse it too, but name directives where these are options.
    pub(crate) fn refuse_open_proxy(&self) -> Result<(), Report> {
        let guarded = !self.users.is_empty() || !self.clients.is_empty();
        if guarded || self.listen.ip().is_loopback() {
            return Ok(());
        }
        let listen = self.listen;
        let help = format!(
            "ask for credentials: --user NAME:PASSWORD\n\
             or name the clients: --client 192.168.1.0/24\n\
             or listen on this machine only: --listen 127.0.0.1:{}",
            listen.port()
        );
        Err(miette!(help = help, "an open proxy: anybody who reaches {listen} could use it"))
    }

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
