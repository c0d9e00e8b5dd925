//! What a listener does besides: transparent connections, a PAC file, interception.

use crate::ConfigError;
use crate::build::{Context, values};
use crate::model::{CertificateFiles, Intercept, Pac, TargetPattern, Transparent};
use crate::walk::Item;

/// `transparent`.
pub(super) fn transparent(item: &Item, context: &mut Context<'_>) -> Option<Transparent> {
    let transparent = item.child("transparent")?;
    let clash = [
        ("auth", "clients that know of no proxy cannot be asked for a password", "`clients`"),
        ("pac", "clients that know of no proxy ask for no PAC file", "another `forward`"),
    ];
    for (name, message, instead) in clash {
        if let Some(other) = item.child(name) {
            context.error(
                ConfigError::at(other.span, message, "not possible here")
                    .also(transparent.span, "makes it transparent")
                    .help(format!("leave `{name}` out, and use {instead}")),
            );
        }
    }
    match transparent.get::<String>("how")?.as_str() {
        "tproxy" => Some(Transparent::Tproxy),
        _ => Some(Transparent::Redirect),
    }
}

/// `pac`.
pub(super) fn pac(item: &Item) -> Option<Pac> {
    let pac = item.child("pac")?;
    let flag = |name: &str| pac.child(name).and_then(|it| it.get("flag")).unwrap_or(false);
    Some(Pac {
        proxy: pac.child("proxy").and_then(|proxy| proxy.get("address")),
        secure: flag("secure"),
        direct: targets(pac, "direct"),
        fallback_direct: flag("fallback-direct"),
    })
}

/// `intercept`.
pub(super) fn intercept(item: &Item, context: &mut Context<'_>) -> Option<Intercept> {
    let intercept = item.child("intercept")?;
    let ca = intercept.child("ca");
    if ca.is_none() && !context.has_state && !intercept.flawed {
        context.error(
            ConfigError::at(intercept.span, "interception without an authority", "cannot sign")
                .help(
                    "add `ca cert=\"…\" key=\"…\"` to the block, or `state \"/var/lib/bifrons\"` \
                     at the top, for the one that `bifrons ca init` makes",
                ),
        );
    }
    let count = intercept.child("certificates").and_then(|it| it.get::<u64>("count"));
    Some(Intercept {
        authority: ca.and_then(|ca| {
            ca.one("cert").zip(ca.one("key")).map(|(cert, key)| CertificateFiles { cert, key })
        }),
        hosts: targets(intercept, "host"),
        except: targets(intercept, "except"),
        trust: intercept.children("trust").flat_map(|it| it.all("file")).collect(),
        certificates: count.map_or(1000, |count| count as u32),
        span: intercept.span,
    })
}

fn targets(item: &Item, name: &str) -> Vec<TargetPattern> {
    item.children(name).flat_map(|it| values(it, "target")).collect()
}
