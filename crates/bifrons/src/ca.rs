//! `bifrons ca`: the authority of this installation, for TLS that is opened on the way.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use miette::{Report, miette};
use tls::authority::{
    AuthorityInfo, CERTIFICATE_FILE, Constraint, NewAuthority, create, inspect, save,
};

use crate::program::{folder, read};

pub(crate) const HELP: &str = "\
Whoever trusts this authority trusts whoever has its key with all that they send over TLS. Each
installation has one of its own: the key never leaves the machine, and only its owner can read it.
A listener opens TLS where its configuration has `intercept`, and nowhere else.

  bifrons ca init --config bifrons.kdl
  bifrons ca init --dir /var/lib/bifrons --constrain shop.example --days 365
  bifrons ca show --config bifrons.kdl";

/// What is done about the authority.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Make an authority; one that is there stays, unless --force says otherwise
    Init(Init),
    /// Show the authority, and how clients come to trust it
    Show(Place),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    place: Place,
    /// Its name, which clients show to their users
    #[arg(long, value_name = "NAME", default_value = "Bifrons interception")]
    name: String,
    /// How long it is valid
    #[arg(long, value_name = "DAYS", default_value_t = 1825,
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// What it may sign for, which clients check: a domain with its subdomains, an address or a
    /// network; several times for several. What is not named passes unchanged
    #[arg(long = "constrain", value_name = "DOMAIN|CIDR", value_parser = constraint)]
    constraints: Vec<Constraint>,
    /// Replace the one that is there: nobody who trusted that one trusts this one
    #[arg(long)]
    force: bool,
}

/// Where the authority is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The configuration whose state folder it is in
    #[arg(long, value_name = "FILE", default_value = "bifrons.kdl")]
    config: PathBuf,
    /// Its folder, if it is another one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Does it.
pub(crate) fn run(action: &Action) -> Result<ExitCode, Report> {
    match action {
        Action::Init(options) => init(options),
        Action::Show(place) => show(&place.folder()?.join(CERTIFICATE_FILE)),
    }
}

impl Place {
    fn folder(&self) -> Result<PathBuf, Report> {
        if let Some(folder) = &self.dir {
            return Ok(folder.clone());
        }
        let name = self.config.display().to_string();
        let config = config::parse(&name, &read(&self.config)?, folder(&self.config))?;
        config.state.map(|state| state.value).ok_or_else(|| {
            miette!(
                help = "write `state \"DIR\"` into it, or use --dir",
                "{name} has no state folder"
            )
        })
    }
}

fn init(options: &Init) -> Result<ExitCode, Report> {
    let folder = options.place.folder()?;
    let new = NewAuthority {
        name: &options.name,
        lifetime: Duration::from_secs(u64::from(options.days) * 24 * 3600),
        constraints: &options.constraints,
    };
    let created = create(&new).map_err(|why| miette!("cannot make an authority: {why}"))?;
    let (certificate, key) = save(&folder, &created, options.force).map_err(|error| {
        let shown = folder.display();
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => miette!(
                help = "`bifrons ca show` shows it; --force replaces it, and all who trust it have \
                        to be told",
                "there is an authority in {shown} already"
            ),
            _ => miette!("cannot write into {shown}: {error}"),
        }
    })?;
    println!("{}  (the key: nobody else may ever read it)", key.display());
    show(&certificate)
}

fn show(certificate: &Path) -> Result<ExitCode, Report> {
    let info = inspect(certificate)
        .map_err(|why| miette!(help = "`bifrons ca init` makes an authority", "{why}"))?;
    println!("{}", certificate.display());
    print!("{}", description(&info, SystemTime::now()));
    print!("{}", installation(&certificate.display().to_string()));
    Ok(ExitCode::SUCCESS)
}

fn description(info: &AuthorityInfo, now: SystemTime) -> String {
    let pairs: Vec<_> = info.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    let constraints: Vec<_> = info.constraints().collect();
    let left = match info.not_after.duration_since(now) {
        Ok(left) => format!("for {} more days", left.as_secs() / (24 * 3600)),
        Err(_) => "no longer".to_owned(),
    };
    format!(
        "  subject      {}\n  SHA-256      {}\n               {}\n  valid        {left}\n  \
         signs for    {}\n",
        info.subject,
        pairs[..16].join(":"),
        pairs[16..].join(":"),
        if constraints.is_empty() { "anything".to_owned() } else { constraints.join(", ") },
    )
}

/// How clients come to trust it.
fn installation(certificate: &str) -> String {
    format!(
        "\nClients trust it when they are told to:\n  \
         curl       curl --cacert {certificate} -x http://127.0.0.1:3128 https://…\n  \
         Python     REQUESTS_CA_BUNDLE={certificate}  (requests), SSL_CERT_FILE (httpx)\n  \
         Node       NODE_EXTRA_CA_CERTS={certificate}\n  \
         Git        git config --global http.sslCAInfo {certificate}\n  \
         Java       keytool -importcert -cacerts -alias bifrons -file {certificate}\n  \
         Debian     cp {certificate} /usr/local/share/ca-certificates/bifrons.crt\n             \
         && update-ca-certificates\n  \
         Fedora     trust anchor {certificate}\n  \
         macOS      security add-trusted-cert -d -r trustRoot\n             \
         -k /Library/Keychains/System.keychain {certificate}\n  \
         Windows    certutil -addstore Root {certificate}\n  \
         Chromium   on Linux: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n bifrons\n             \
         -i {certificate}; elsewhere the store of the system\n  \
         Firefox    Settings, Privacy & Security, View Certificates, Authorities, Import;\n             \
         or the policy ImportEnterpriseRoots for the store of the system\n"
    )
}

/// A domain, an address or a network.
fn constraint(text: &str) -> Result<Constraint, String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    if let Ok(address) = address.parse::<IpAddr>() {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(whole), str::parse::<u8>);
        return match length {
            Ok(length) if length <= whole => Ok(Constraint::Net(address, length)),
            _ => Err(format!("the prefix has 0 to {whole} bits")),
        };
    }
    let name = text.trim_start_matches("*.").trim_end_matches('.').to_ascii_lowercase();
    let valid = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    match name.split('.').all(valid) {
        true => Ok(Constraint::Domain(name)),
        false => Err("neither a domain (in ASCII, xn--…) nor a network".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_are_domains_or_networks() {
        let net = |text: &str, length| Ok(Constraint::Net(text.parse().unwrap(), length));
        assert_eq!(constraint("*.Shop.Example."), Ok(Constraint::Domain("shop.example".into())));
        assert_eq!(constraint("10.0.0.0/8"), net("10.0.0.0", 8));
        assert_eq!(constraint("192.0.2.1"), net("192.0.2.1", 32));
        assert_eq!(constraint("2001:db8::/32"), net("2001:db8::", 32));
        for wrong in ["10.0.0.0/33", "10.0.0.0/x", "", "a..b", "a b", "b\u{fc}cher.example", "*"] {
            assert!(constraint(wrong).is_err(), "{wrong:?}");
        }
    }
}
