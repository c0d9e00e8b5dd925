//! Commands for a server that runs, through its admin listener.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use serde_json::{Value, json};

use crate::args::{Remote, ServerAction};
use crate::encoding::encoded;
use crate::program::{folder, read};

/// Longer than anything takes that can be asked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// `bifrons reload`.
pub(crate) fn reload(remote: &Remote) -> Result<ExitCode, Report> {
    let answer = Admin::of(remote)?.ask(Method::POST, "/api/v1/reload", &Value::Null)?;
    println!("generation {}, in {:.1} ms", answer["generation"], number(&answer["ms"]));
    for what in ["listeners", "sites", "upstreams"] {
        let change = &answer["changes"][what];
        println!(
            "  {what}: {} kept, {} changed, {} added, {} removed",
            change["kept"], change["changed"], change["added"], change["removed"]
        );
    }
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        eprintln!("warning: {}", text(warning));
    }
    Ok(ExitCode::SUCCESS)
}

/// `bifrons upgrade`.
pub(crate) fn upgrade(remote: &Remote) -> Result<ExitCode, Report> {
    let answer = Admin::of(remote)?.ask(Method::POST, "/api/v1/upgrade", &Value::Null)?;
    println!("process {} serves now; the old one finishes its work", answer["process"]);
    Ok(ExitCode::SUCCESS)
}

/// `bifrons status`.
pub(crate) fn status(remote: &Remote, as_json: bool) -> Result<ExitCode, Report> {
    let status = Admin::of(remote)?.ask(Method::GET, "/api/v1/status", &Value::Null)?;
    if as_json {
        println!("{status:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let draining = if status["draining"] == true { ", draining" } else { "" };
    println!(
        "bifrons {}, up for {} s, generation {}{draining}",
        text(&status["version"]),
        status["uptime_seconds"],
        status["generation"],
    );
    println!(
        "connections {} + {}, requests {} + {} (reverse + forward), tunnels {}",
        status["connections"]["reverse"],
        status["connections"]["forward"],
        status["requests_in_flight"]["reverse"],
        status["requests_in_flight"]["forward"],
        status["tunnels"],
    );
    for listener in status["listeners"].as_array().into_iter().flatten() {
        let tls = if listener["tls"] == true { ", TLS" } else { "" };
        println!("listener {} ({}{tls})", text(&listener["address"]), text(&listener["face"]));
    }
    status["upstreams"].as_array().into_iter().flatten().for_each(print_upstream);
    Ok(ExitCode::SUCCESS)
}

/// `bifrons upstream`.
pub(crate) fn upstream(
    remote: &Remote,
    name: &str,
    action: &ServerAction,
) -> Result<ExitCode, Report> {
    let admin = Admin::of(remote)?;
    let asked = match action {
        ServerAction::List => {
            let status = admin.ask(Method::GET, "/api/v1/status", &Value::Null)?;
            let mut groups = status["upstreams"].as_array().into_iter().flatten();
            let group = groups.find(|group| group["name"] == name);
            print_upstream(group.ok_or_else(|| miette!("there is no upstream `{name}`"))?);
            return Ok(ExitCode::SUCCESS);
        }
        ServerAction::Drain { server } => json!({ "server": server, "change": "drain" }),
        ServerAction::Undrain { server } => json!({ "server": server, "change": "undrain" }),
        ServerAction::Weight { server, weight } => {
            json!({ "server": server, "change": "weight", "weight": weight })
        }
        ServerAction::Add { server } => json!({ "server": server, "change": "add" }),
        ServerAction::Remove { server } => json!({ "server": server, "change": "remove" }),
        ServerAction::Reset { server } => json!({ "server": server, "change": "reset" }),
    };
    let path = format!("/api/v1/upstreams/{}/servers", encoded(name));
    let answer = admin.ask(Method::POST, &path, &asked)?;
    print_upstream(&answer["upstream"]);
    Ok(ExitCode::SUCCESS)
}

fn print_upstream(group: &Value) {
    let queued = number(&group["queued"]);
    let mut more = String::new();
    if queued > 0.0 {
        more.push_str(&format!(", {queued} waiting"));
    }
    if group["circuit_open"] == true {
        more.push_str(", circuit open");
    }
    println!("upstream {}{more}", text(&group["name"]));
    for server in group["servers"].as_array().into_iter().flatten() {
        let address = server["addresses"][0].as_str().unwrap_or("no address");
        let mut line = format!(
            "  {} ({address}): {}, weight {}, {} under way, {} requests, {} failed",
            text(&server["url"]),
            text(&server["state"]),
            server["weight"],
            server["in_flight"],
            server["requests"],
            server["failures"],
        );
        if let Some(latency) = server["latency_ms"].as_f64() {
            line.push_str(&format!(", {latency:.1} ms"));
        }
        if server["backup"] == true {
            line.push_str(", backup");
        }
        if server["safe_to_stop"] == true {
            line.push_str(", safe to stop");
        }
        if let Some(why) = server["why"].as_str() {
            line.push_str(&format!(" ({why})"));
        }
        println!("{line}");
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

/// The admin listener of a server that runs.
pub(crate) struct Admin {
    address: SocketAddr,
    token: Option<String>,
}

impl Admin {
    /// The one that the configuration names.
    pub(crate) fn of(remote: &Remote) -> Result<Self, Report> {
        let path = &remote.config;
        let name = path.display().to_string();
        let parsed = || Ok(config::parse(&name, &read(path)?, folder(path))?);
        if let Some(address) = remote.admin {
            // Without a file that can be read there is no token, and the server says what it lacks.
            let config: Result<config::Config, Report> = parsed();
            let token = config.ok().and_then(|config| config.admin?.token);
            return Ok(Self { address, token });
        }
        let config: config::Config = parsed()?;
        let Some(config::Admin { listen: address, token, .. }) = config.admin else {
            let help = "add `admin \"127.0.0.1:9901\"`";
            return Err(miette!(help = help, "{name} has no admin listener"));
        };
        if address.port() == 0 {
            return Err(miette!("the admin listener of {name} has any port: name it with --admin"));
        }
        Ok(Self { address, token })
    }

    /// Sends something, and returns what is answered.
    pub(crate) fn post(&self, path: &str, content: &Value) -> Result<Value, Report> {
        self.ask(Method::POST, path, content)
    }

    /// Asks for something, and returns it.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Report> {
        self.ask(Method::GET, path, &Value::Null)
    }

    /// Removes something.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Report> {
        self.ask(Method::DELETE, path, &Value::Null)
    }

    /// Asks, and returns what is answered with status 200.
    fn ask(&self, method: Method, path: &str, content: &Value) -> Result<Value, Report> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .into_diagnostic()
            .wrap_err("cannot start")?;
        let (status, answer) = runtime
            .block_on(async {
                tokio::time::timeout(PATIENCE, self.exchange(method, path, content)).await
            })
            .into_diagnostic()
            .and_then(|outcome| outcome)
            .wrap_err_with(|| format!("no answer from the admin listener on {}", self.address))?;
        let value = serde_json::from_slice::<Value>(&answer).unwrap_or_default();
        if status == 200 {
            return Ok(value);
        }
        match (value["message"].as_str(), value["remedy"].as_str()) {
            (Some(message), Some(remedy)) => Err(miette!(help = remedy, "{}", message.trim_end())),
            (Some(message), None) => Err(miette!("{}", message.trim_end())),
            (None, _) => Err(miette!("the admin listener answered with status {status}")),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        content: &Value,
    ) -> Result<(u16, Bytes), Report> {
        let stream = tokio::net::TcpStream::connect(self.address).await.into_diagnostic()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.into_diagnostic()?;
        tokio::task::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the admin listener");
            }
        });
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", self.address.to_string())
            .header("Content-Type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request =
            request.body(Full::new(Bytes::from(content.to_string()))).into_diagnostic()?;
        let response = sender.send_request(request).await.into_diagnostic()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.into_diagnostic()?;
        Ok((status, body.to_bytes()))
    }
}
