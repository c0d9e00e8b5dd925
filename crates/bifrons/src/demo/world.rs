//! What the tour goes through: four origins, and both faces over them.

use std::fs::Permissions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use admin::AdminServer;
use config::{Errors, Span, Spanned, UpstreamTls};
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use server::{Server, StartError};
use tempfile::TempDir;
use tls::{ClientTls, Roots};

use super::origin::Origin;
use super::{certificate, configuration};
use crate::args::Common;
use crate::program::{Program, Source};

/// The name and the password of the forward proxy's user.
pub(super) const USER: (&str, &str) = ("alice", "wonderland");

/// Another one, who may use only a little.
pub(super) const LIMITED: (&str, &str) = ("bob", "builder");

/// What the configuration is called, on disk and in messages.
pub(super) const FILE: &str = "bifrons.kdl";

/// How often other ports are tried when somebody takes one between the look and the start.
const ATTEMPTS: usize = 3;

/// Where everything listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    /// The plain site.
    pub(super) site: SocketAddr,
    /// The site with TLS.
    pub(super) secure: SocketAddr,
    /// The forward proxy that tells its name.
    pub(super) forward: SocketAddr,
    /// The forward proxy that tells nothing.
    pub(super) elite: SocketAddr,
    /// The forward proxy that leaves by exits.
    pub(super) gateway: SocketAddr,
    /// The admin listener.
    pub(super) admin: SocketAddr,
}

/// All that runs during the demo.
pub(super) struct World {
    /// Origins A, B and C, and D which speaks gRPC.
    pub(super) origins: [Origin; 4],
    pub(super) ports: Ports,
    /// The configuration that the server runs on.
    pub(super) text: String,
    /// Trusts the demo's authority and nobody else.
    pub(super) trust: ClientTls,
    /// Does so too, and speaks nothing but HTTP/2.
    pub(super) trust_h2: ClientTls,
    /// Files; gone when the demo ends.
    pub(super) folder: TempDir,
    pub(super) server: Arc<Server>,
    _admin: Option<AdminServer>,
}

impl World {
    /// Starts everything.
    pub(super) fn start(common: &Common) -> Result<Self, Report> {
        let folder = tempfile::Builder::new()
            .prefix("bifrons-demo-")
            // A private key and a password go into it.
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .into_diagnostic()
            .wrap_err("cannot make a folder for the demo")?;
        certificate::make(folder.path())
            .map_err(|error| miette!("cannot make a certificate: {error}"))?;
        let origins = origins().into_diagnostic().wrap_err("cannot start an origin")?;
        let (ports, text, server) = serve(common, &origins, folder.path())?;
        let path = folder.path().join(FILE);
        std::fs::write(&path, &text)
            .into_diagnostic()
            .wrap_err("cannot write the configuration")?;
        let server = Arc::new(server);
        // All that the command line says is in the file.
        let source = Source::File(path, Common::default());
        let program = Arc::new(Program::new(Arc::clone(&server), source));
        let admin = match server.take_admin() {
            Some(socket) => Some(
                crate::admin::start(socket, None, &program)
                    .into_diagnostic()
                    .wrap_err("cannot start the admin listener")?,
            ),
            None => None,
        };
        let trust_h2 = trust(folder.path(), b"h2")?;
        let trust = trust(folder.path(), b"http/1.1")?;
        Ok(Self { origins, ports, text, trust, trust_h2, folder, server, _admin: admin })
    }

    /// How many requests have reached any origin.
    pub(super) fn requests(&self) -> usize {
        self.origins.iter().map(Origin::requests).sum()
    }
}

fn origins() -> io::Result<[Origin; 4]> {
    Ok([Origin::start('A')?, Origin::start('B')?, Origin::start('C')?, Origin::start_grpc('D')?])
}

/// Starts the server on the ports that documents use, where they are free.
fn serve(
    common: &Common,
    origins: &[Origin; 4],
    folder: &Path,
) -> Result<(Ports, String, Server), Report> {
    let mut attempt = 1;
    loop {
        let nice = attempt == 1;
        let ports = Ports::choose(common, nice).into_diagnostic().wrap_err("no port is free")?;
        let addresses = origins.each_ref().map(Origin::address);
        let text = configuration::text(common, &ports, addresses);
        let config = config::parse(FILE, &text, folder)?;
        match server::start(config) {
            Ok(server) => return Ok((ports, text, server)),
            Err(StartError::Config(errors)) if attempt == ATTEMPTS => {
                return Err(Report::new(Errors::new(FILE, &text, errors)));
            }
            Err(StartError::Config(_)) => attempt += 1,
            Err(error) => return Err(error).into_diagnostic(),
        }
    }
}

impl Ports {
    /// Ports that are free now: the well-known ones, or any.
    fn choose(common: &Common, nice: bool) -> io::Result<Self> {
        // All are held until all are chosen, so that none is chosen twice.
        let mut held = Vec::new();
        let mut choose = |port: u16| {
            let wanted = if nice { port } else { 0 };
            let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            let listener = bind(wanted).or_else(|_| bind(0))?;
            let address = listener.local_addr();
            held.push(listener);
            address
        };
        Ok(Self {
            site: choose(8080)?,
            secure: choose(8443)?,
            forward: choose(3128)?,
            elite: choose(3129)?,
            gateway: choose(3130)?,
            admin: match common.admin {
                Some(address) if address.port() != 0 => address,
                _ => choose(9901)?,
            },
        })
    }
}

fn trust(folder: &Path, protocol: &[u8]) -> Result<ClientTls, Report> {
    let ca = Spanned { value: folder.join(certificate::CA), span: Span::from(0..0) };
    let tls = UpstreamTls { ca: Some(ca), ..UpstreamTls::default() };
    ClientTls::build(&tls, &Roots::system(), &[protocol])
        .map_err(|errors| Report::new(Errors::new(certificate::CA, "", errors)))
}
