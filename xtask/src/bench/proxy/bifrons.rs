//! Bifrons: one worker, access log to a file, admin listener on.

use std::fmt::Write as _;
use std::process::Command;

use super::{Face, Place};
use crate::Result;
use crate::bench::load::route;
use crate::bench::scenario::UPSTREAMS;

/// The name of the configuration file.
pub const CONFIGURATION: &str = "bifrons.kdl";

/// Writes the configuration and gives the command that serves it. `routes` is for
/// [`Face::ManyRoutes`].
pub fn command(place: &Place<'_>, routes: usize) -> Result<Command> {
    let Place { bed, admin, .. } = place;
    let text = format!(
        "threads 1\n\
         access-log \"{}\" format=\"combined\"\n\
         admin \"{admin}\"\n\
         {}",
        place.dir.join("access.log").display(),
        face(place, routes),
    );
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
        Face::ManyRoutes => many_routes(place, &servers, routes),
        // Loopback is closed to the forward face unless a rule opens it.
        Face::Forward => format!("forward \"{listen}\" {{\n    allow \"127.0.0.0/8\"\n}}\n"),
    }
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
