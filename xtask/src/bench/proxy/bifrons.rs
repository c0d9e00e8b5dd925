//! Bifrons: one worker, access log to a file, admin listener on.

use std::process::Command;

use super::{Face, Place};
use crate::Result;

/// Writes the configuration and gives the command that serves it.
pub fn command(place: &Place<'_>) -> Result<Command> {
    let Place { bed, listen, admin, .. } = place;
    let origin = bed.origin;
    let face = match place.face {
        Face::Reverse => {
            format!("site \"http://{listen}\" {{\n    to \"http://{origin}\"\n}}\n")
        }
        Face::ReverseTls => format!(
            "site \"https://{listen}\" {{\n    tls cert=\"{}\" key=\"{}\"\n    to \"http://{origin}\"\n}}\n",
            bed.certificate.display(),
            bed.key.display()
        ),
        // Loopback is closed to the forward face unless a rule opens it.
        Face::Forward => format!("forward \"{listen}\" {{\n    allow \"127.0.0.0/8\"\n}}\n"),
    };
    let text = format!(
        "threads 1\n\
         access-log \"{}\" format=\"combined\"\n\
         admin \"{admin}\"\n\
         {face}",
        place.dir.join("access.log").display()
    );
    let mut command = Command::new(bed.bifrons.as_deref().ok_or("there is no Bifrons to measure")?);
    command.arg("run").arg(place.write("bifrons.kdl", &text)?);
    Ok(command)
}
