//! `bifrons exits`, `sessions` and `bans`: the gateway of a server that runs.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use config::show;
use miette::Report;
use serde_json::{Value, json};

use crate::args::Remote;
use crate::encoding::encoded;
use crate::endpoints::time;
use crate::remote::{Admin, text};

pub(crate) const EXITS_HELP: &str = "\
  bifrons exits
  bifrons exits --pool world --json";

pub(crate) const SESSIONS_HELP: &str = "\
A session that is ended goes on with what is under way; the next request of its name begins another.

  bifrons sessions
  bifrons sessions end world alice a1b2c3";

pub(crate) const BANS_HELP: &str = "\
  bifrons bans
  bifrons bans add ca-1 --for 10m
  bifrons bans add world/ca-1 --host shop.example --for 1h
  bifrons bans remove ca-1";

/// Which exits are shown, and how.
#[derive(Debug, Args)]
pub(crate) struct Exits {
    #[command(flatten)]
    remote: Remote,
    /// Only those of this pool
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is done about sessions.
#[derive(Debug, Args)]
pub(crate) struct Sessions {
    #[command(flatten)]
    remote: Remote,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Option<SessionAction>,
}

#[derive(Debug, Subcommand)]
enum SessionAction {
    /// Show all (without a word, this is done)
    List,
    /// End one
    End {
        /// The pool that was asked for it
        pool: String,
        /// Whose it is; \"\" where it is nobody's in particular
        user: String,
        /// What the client calls it
        id: String,
    },
}

/// What is done about bans.
#[derive(Debug, Args)]
pub(crate) struct Bans {
    #[command(flatten)]
    remote: Remote,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Option<BanAction>,
}

#[derive(Debug, Subcommand)]
enum BanAction {
    /// Show all (without a word, this is done)
    List,
    /// Ban an exit, in place of the ban that there is
    Add {
        /// Its name, or POOL/NAME
        exit: String,
        /// For this target host only
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// For how long (90s, 10m, 2h, 1d)
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        time: Duration,
    },
    /// End bans of an exit
    Remove {
        /// Its name, or POOL/NAME
        exit: String,
        /// For this target host only; without it, all
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
    },
}

/// `bifrons exits`.
pub(crate) fn exits(options: &Exits) -> Result<ExitCode, Report> {
    let query = options.pool.iter().map(|pool| format!("?pool={}", encoded(pool)));
    let path = format!("/api/v1/exits{}", query.collect::<String>());
    let all = Admin::of(&options.remote)?.get(&path)?;
    print(&all, options.json, exit_line);
    Ok(ExitCode::SUCCESS)
}

/// `bifrons sessions`.
pub(crate) fn sessions(options: &Sessions) -> Result<ExitCode, Report> {
    let admin = Admin::of(&options.remote)?;
    match &options.action {
        None | Some(SessionAction::List) => {
            print(&admin.get("/api/v1/sessions")?, options.json, session_line);
        }
        Some(SessionAction::End { pool, user, id }) => {
            let (pool, user, id_) = (encoded(pool), encoded(user), encoded(id));
            admin.delete(&format!("/api/v1/sessions?pool={pool}&user={user}&id={id_}"))?;
            println!("ended {id}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `bifrons bans`.
pub(crate) fn bans(options: &Bans) -> Result<ExitCode, Report> {
    let admin = Admin::of(&options.remote)?;
    match &options.action {
        None | Some(BanAction::List) => {
            print(&admin.get("/api/v1/bans")?, options.json, ban_line);
        }
        Some(BanAction::Add { exit, host, time }) => {
            let ban = json!({ "exit": exit, "host": host, "seconds": time.as_secs() });
            admin.post("/api/v1/bans", &ban)?;
            println!("banned {exit} for {}", show::duration(*time));
        }
        Some(BanAction::Remove { exit, host }) => {
            let host = host.iter().map(|host| format!("&host={}", encoded(host)));
            let host: String = host.collect();
            admin.delete(&format!("/api/v1/bans?exit={}{host}", encoded(exit)))?;
            println!("not banned any more: {exit}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(all: &Value, json: bool, line: fn(&Value) -> String) {
    if json {
        println!("{all:#}");
        return;
    }
    for one in all.as_array().into_iter().flatten() {
        println!("{}", line(one));
    }
}

fn exit_line(exit: &Value) -> String {
    let mut line =
        format!("{}/{} ({}): ", text(&exit["pool"]), text(&exit["exit"]), text(&exit["kind"]));
    line.push_str(text(&exit["state"]));
    if let Some(left) = exit["banned_ms"].as_u64() {
        line.push_str(&format!(" for {}", rough(left)));
    }
    let labels = &exit["labels"];
    for label in ["country", "state", "city", "zip"] {
        if let Some(value) = labels[label].as_str() {
            line.push_str(&format!(", {label} {value}"));
        }
    }
    if let Some(asn) = labels["asn"].as_u64() {
        line.push_str(&format!(", asn {asn}"));
    }
    if let Some(price) = labels["price"].as_str() {
        line.push_str(&format!(", price {price}"));
    }
    line.push_str(&format!(
        ", {} under way, {} taken, {} failed",
        exit["under_way"], exit["taken"], exit["failed"]
    ));
    if let Some(address) = exit["address"].as_str() {
        let ago = exit["measured_ms_ago"].as_u64().unwrap_or_default();
        line.push_str(&format!(", seen as {address} {} ago", rough(ago)));
    }
    if exit["wrong_country"] == true {
        line.push_str(&format!(", in {} and not where it says", text(&exit["country"])));
    }
    line
}

fn session_line(session: &Value) -> String {
    let user = match text(&session["user"]) {
        "" => "nobody in particular",
        user => user,
    };
    let mut line = format!(
        "{} {user} {}: {}",
        text(&session["pool"]),
        text(&session["id"]),
        session["exit"].as_str().unwrap_or("no exit any more"),
    );
    if let Some(source) = session["source"].as_str() {
        line.push_str(&format!(" from {source}"));
    }
    if session["strict"] == true {
        line.push_str(", strict");
    }
    let ms = |name: &str| rough(session[name].as_u64().unwrap_or_default());
    line.push_str(&format!(
        ", for {} yet, {} old, {} requests, {} under way, {} moves",
        ms("left_ms"),
        ms("age_ms"),
        session["requests"],
        session["under_way"],
        session["moves"],
    ));
    line
}

fn ban_line(ban: &Value) -> String {
    let left = rough(ban["left_ms"].as_u64().unwrap_or_default());
    let host = ban["host"].as_str().map(|host| format!(" for {host}")).unwrap_or_default();
    format!(
        "{}/{}{host}: {left} yet, {}",
        text(&ban["pool"]),
        text(&ban["exit"]),
        text(&ban["why"])
    )
}

/// Milliseconds as a duration that people take in: rounded up to seconds, minutes, hours or days.
fn rough(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds.div_ceil(60)),
        7200..172_800 => format!("{}h", seconds.div_ceil(3600)),
        _ => format!("{}d", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_for_people() {
        for (ms, text) in [
            (0, "0s"),
            (1, "1s"),
            (119_000, "119s"),
            (599_001, "10m"),
            (7_199_000, "120m"),
            (7_200_000, "2h"),
            (3 * 86_400_000, "3d"),
        ] {
            assert_eq!(rough(ms), text);
        }
    }
}
