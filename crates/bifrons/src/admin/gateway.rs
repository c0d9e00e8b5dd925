//! Exits, sessions, bans, usage and those who guess.

use std::collections::BTreeMap;
use std::time::Duration;

use accounts::{By, Day, UsageQuery};
use admin::{Problem, ProblemKind, Reply, UsageAsked};
use config::show::money;
use egress::{BanError, ExitStatus, SessionStatus};
use serde_json::{Value, json};
use server::Server;

use super::done;

const WHICH_EXITS: &str = "`bifrons exits`, or GET /api/v1/exits, says which there are";

pub(super) fn exits(server: &Server, pool: Option<&str>) -> Value {
    let all = server.exits().exits();
    all.iter().filter(|exit| pool.is_none_or(|pool| *pool == *exit.pool)).map(exit_json).collect()
}

fn exit_json(exit: &ExitStatus) -> Value {
    let labels = &exit.labels;
    let text = |value: &Option<config::Country>| value.map(|country| country.to_string());
    json!({
        "pool": *exit.pool,
        "exit": *exit.exit,
        "kind": exit.kind,
        "state": state(exit),
        "labels": {
            "country": text(&labels.country),
            "state": labels.state,
            "city": labels.city,
            "zip": labels.zip,
            "asn": labels.asn,
            "price": labels.price.map(money),
            "tags": labels.tags,
        },
        "under_way": exit.under_way,
        "taken": exit.taken,
        "failed": exit.failed,
        "banned_ms": exit.banned_ms,
        "address": exit.address,
        "measured_ms_ago": exit.measured_ms_ago,
        "country": text(&exit.country),
        "wrong_country": exit.wrong_country,
    })
}

/// One word; a ban that is over tells less than an illness that is not.
fn state(exit: &ExitStatus) -> &'static str {
    match exit {
        ExitStatus { banned_ms: Some(_), .. } => "banned",
        ExitStatus { ill: true, .. } => "ill",
        _ => "up",
    }
}

pub(super) fn sessions(server: &Server, pool: Option<&str>, user: Option<&str>) -> Value {
    let is_meant = |session: &&SessionStatus| {
        pool.is_none_or(|pool| *pool == *session.pool)
            && user.is_none_or(|user| *user == *session.user)
    };
    let all = server.exits().sessions();
    all.iter()
        .filter(is_meant)
        .map(|session| {
            json!({
                "pool": *session.pool,
                "set": session.set,
                "user": session.user,
                "id": session.id,
                "exit": session.exit.as_deref(),
                "source": session.source,
                "age_ms": session.age_ms,
                "left_ms": session.left_ms,
                "strict": session.strict,
                "requests": session.requests,
                "under_way": session.under_way,
                "moves": session.moves,
            })
        })
        .collect()
}

pub(super) fn end_session(
    server: &Server,
    pool: &str,
    user: &str,
    id: &str,
) -> Result<Value, Problem> {
    if server.exits().end_session(pool, user, id) {
        return Ok(done());
    }
    Err(Problem::new(ProblemKind::Unknown, "there is no such session")
        .with_remedy("`bifrons sessions`, or GET /api/v1/sessions, says which there are"))
}

pub(super) fn bans(server: &Server, exit: Option<&str>) -> Value {
    let all = server.exits().bans();
    all.iter()
        .filter(|ban| exit.is_none_or(|exit| *exit == *ban.exit))
        .map(|ban| {
            json!({
                "pool": *ban.pool,
                "exit": *ban.exit,
                "host": ban.host,
                "left_ms": ban.left_ms,
                "why": *ban.why,
            })
        })
        .collect()
}

pub(super) fn ban(
    server: &Server,
    exit: &str,
    host: Option<&str>,
    seconds: u64,
) -> Result<Value, Problem> {
    if seconds == 0 {
        let problem = Problem::new(ProblemKind::Invalid, "a ban of no time");
        return Err(problem.with_remedy("DELETE /api/v1/bans ends one"));
    }
    let made = server.exits().ban(exit, host, Duration::from_secs(seconds));
    made.map(|()| done()).map_err(|error| match error {
        BanError::NoExit => {
            Problem::new(ProblemKind::Unknown, error.to_string()).with_remedy(WHICH_EXITS)
        }
        BanError::Full => Problem::new(ProblemKind::Unavailable, error.to_string())
            .with_remedy("ban it for all hosts, or end bans for others"),
    })
}

pub(super) fn unban(server: &Server, exit: &str, host: Option<&str>) -> Result<Value, Problem> {
    if server.exits().unban(exit, host) {
        return Ok(done());
    }
    Err(Problem::new(ProblemKind::Unknown, "there is no such ban")
        .with_remedy("`bifrons bans`, or GET /api/v1/bans, says which there are"))
}

pub(super) fn attempts(server: &Server) -> Value {
    let counts = server.attempts();
    json!({
        "failures": counts.failures,
        "delayed": counts.delayed,
        "refused": counts.refused,
    })
}

pub(super) fn usage(server: &Server, asked: &UsageAsked) -> Result<Reply, Problem> {
    let invalid = |message: String, remedy: &str| {
        Problem::new(ProblemKind::Invalid, message).with_remedy(remedy)
    };
    let day = |text: &Option<String>| -> Result<Option<Day>, Problem> {
        text.as_deref().map(str::parse).transpose().map_err(|error: accounts::NotADay| {
            invalid(error.to_string(), "a day is written 2026-07-01")
        })
    };
    let by: Result<Vec<By>, String> = asked.by.iter().map(|word| word.parse()).collect();
    let query = UsageQuery {
        set: asked.set.clone(),
        user: asked.user.clone(),
        exit: asked.exit.clone(),
        target: asked.target.clone(),
        from: day(&asked.from)?,
        to: day(&asked.to)?,
        by: by.map_err(|message| invalid(message, "write them with commas between them"))?,
        limit: asked.limit,
    };
    let rows = server.accounts().usage(&query).map_err(|message| {
        Problem::new(ProblemKind::Failed, message).with_remedy("the log of the process says more")
    })?;
    Ok(match asked.csv {
        true => Reply::Csv(accounts::to_csv(&rows, &query.by)),
        false => Reply::Json(rows.iter().map(crate::usage::to_json).collect()),
    })
}

/// What `/metrics` says of all this.
pub(super) fn figures(server: &Server) -> telemetry::Gateway {
    let registry = server.exits();
    let mut exits: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
    for exit in registry.exits() {
        // All states of a pool are there, so that none vanishes when it is nobody's.
        for state in ["up", "ill", "banned"] {
            exits.entry((exit.pool.to_string(), state)).or_default();
        }
        *exits.entry((exit.pool.to_string(), state(&exit))).or_default() += 1;
    }
    let usage = |total: accounts::Total| telemetry::Usage {
        set: total.set.into(),
        user: total.user.into(),
        exit: total.exit.to_string(),
        received: total.up,
        sent: total.down,
        requests: total.requests,
        cost: total.cost,
    };
    let attempts = server.attempts();
    telemetry::Gateway {
        usage: server.accounts().totals().into_iter().map(usage).collect(),
        exits: exits.into_iter().map(|((pool, state), number)| (pool, state, number)).collect(),
        sessions: registry.session_count() as u64,
        bans: registry.bans().len() as u64,
        auth_failures: attempts.failures,
        auth_delayed: attempts.delayed,
        auth_refused: attempts.refused,
    }
}
