//! Bifrons: one worker, access log to a file, but not of a cache; admin listener on.

use std::fmt::Write as _;
use std::process::Command;

use super::{BROTLI_LEVEL, Face, GZIP_LEVEL, Kind, Place, ZSTD_LEVEL};
use crate::Result;
use crate::bench::load::{PASSWORD, route, user};
use crate::bench::scenario::{UPSTREAMS, USERS};

/// The name of the configuration file.
pub const CONFIGURATION: &str = "bifrons.kdl";

/// Writes the configuration and gives the command that serves it. `routes` is for
/// [`Face::ManyRoutes`].
pub fn command(place: &Place<'_>, routes: usize) -> Result<Command> {
    let Place { bed, admin, .. } = place;
    let log = if place.face.is_cache() {
        String::new()
    } else {
        format!("access-log \"{}\" format=\"combined\"\n", place.dir.join("access.log").display())
    };
    let text = format!("threads 1\n{log}admin \"{admin}\"\n{}", face(place, routes));
    let mut command = Command::new(bed.bifrons.as_deref().ok_or("there is no Bifrons to measure")?);
    command.arg("run").arg(place.write(CONFIGURATION, &text)?);
    Ok(command)
}

fn face(place: &Place<'_>, routes: usize) -> String {
    let Place { bed, listen, .. } = place;
    let servers: String =
        place.servers().iter().map(|server| format!(" \"http://{server}\"")).collect();
    let tls =
        || format!("tls cert=\"{}\" key=\"{}\"", bed.certificate.display(), bed.key.display());
    match place.face {
        Face::Reverse | Face::WebSockets => {
            format!("site \"http://{listen}\" {{\n    to{servers}\n}}\n")
        }
        Face::Cached | Face::CachedOnDisk | Face::CachedQuarter | Face::Expiring => format!(
            "cache {{\n    memory \"{}MiB\"\n    {}\n}}\n\
             site \"http://{listen}\" {{\n    cache\n    to{servers}\n}}\n",
            place.kept_mib(),
            match place.face {
                Face::CachedOnDisk => {
                    format!("disk \"{}\" size=\"1GiB\"", place.dir.join("kept").display())
                }
                _ => String::new(),
            }
        ),
        Face::Compressed => format!(
            "site \"http://{listen}\" {{\n    compress \"{}\" {{\n        \
             level {}={}\n    }}\n    to{servers}\n}}\n",
            place.kind.coding(),
            place.kind.coding(),
            match place.kind {
                Kind::BifronsZstd => ZSTD_LEVEL,
                Kind::BifronsBrotli => BROTLI_LEVEL,
                _ => GZIP_LEVEL,
            }
        ),
        Face::ReverseTls | Face::Http2 => format!(
            "site \"https://{listen}\" {{\n    {}\n    to{servers} {{\n        \
             keep-idle {}\n    }}\n}}\n",
            tls(),
            place.keep_idle()
        ),
        Face::Http2Throughout => format!(
            "site \"https://{listen}\" {{\n    {}\n    to \"h2c://{}\"\n}}\n",
            tls(),
            bed.origins.h2c
        ),
        Face::LeastRequests => format!(
            "site \"http://{listen}\" {{\n    to{servers} {{\n        \
             balance \"least-requests\"\n    }}\n}}\n"
        ),
        Face::ForwardUsers => users(place),
        Face::ManyRoutes => many_routes(place, &servers, routes),
        // Loopback is closed to the forward face unless a rule opens it.
        Face::Forward | Face::Socks => {
            format!("forward \"{listen}\" {{\n    allow \"127.0.0.0/8\"\n}}\n")
        }
    }
}

/// Users with quotas for the day and the month, of whom each may do less than all, and rules of all
/// kinds before the one that lets the requests through.
fn users(place: &Place<'_>) -> String {
    let mut text = format!("state \"{}\"\nusers \"crowd\" {{\n", place.dir.display());
    for number in 0..USERS {
        let _ = writeln!(
            text,
            "    user \"{}\" password=\"{PASSWORD}\" connections=64 requests=\"100000/s\" \
             quota=\"{}TiB/month\" {{ quota \"1TiB/day\" }}",
            user(number),
            number + 1
        );
    }
    let _ = writeln!(text, "}}\nforward \"{}\" {{\n    auth users=\"crowd\"", place.listen);
    for number in 0..10 {
        let _ = writeln!(text, "    deny \"*.ads-{number}.example\"");
        let _ = writeln!(text, "    deny regex=\"^track{number}[0-9]+\\\\.\"");
        let _ = writeln!(text, "    deny \"203.0.113.{number}\"");
        let _ = writeln!(
            text,
            "    deny \"*.shop-{number}.example\" method=\"POST\" user=\"user{number}\""
        );
    }
    text.push_str("    allow \"127.0.0.0/8\"\n}\n");
    text
}

fn many_routes(place: &Place<'_>, servers: &str, routes: usize) -> String {
    let mut text = format!("site \"http://{}\" {{\n", place.listen);
    if routes == 1 {
        text.push_str("    route \"/*\" { to upstream=\"app-0\" }\n");
    } else {
        for index in 0..routes {
            let (path, upstream) = (route(index), index % UPSTREAMS);
            let _ = writeln!(text, "    route \"{path}/*\" {{ to upstream=\"app-{upstream}\" }}");
        }
    }
    text.push_str("}\n");
    for index in 0..UPSTREAMS.min(routes) {
        let _ = writeln!(text, "upstream \"app-{index}\" {{ server{servers} }}");
    }
    text
}
