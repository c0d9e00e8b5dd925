//! One question to the name servers, and what its answer means.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::{Dns, NameServer, NameServerProtocol};
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as ServerError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::{TokioResolver, system_conf};

use super::{DnsError, KEEP_FOUND, Outcome, Service, tls};

/// One try at one server.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// All tries at all servers, search domains included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// For answers that bring no TTL: "no such name" without an SOA record.
const NO_TTL: Duration = Duration::from_secs(5);

/// The name servers and how they are asked.
pub(super) struct Servers {
    resolver: TokioResolver,
    /// Search domains are those of the system, so only its own servers get them.
    searches: bool,
}

impl Servers {
    pub(super) fn new(dns: &Dns) -> io::Result<Self> {
        let searches = dns.servers.is_empty();
        let (config, mut options) =
            if searches { system()? } else { (configured(&dns.servers), ResolverOpts::default()) };
        options.timeout = TRY_TIMEOUT;
        options.use_hosts_file = ResolveHosts::Always;
        // Both families are asked for and kept, whatever is preferred: pools of exits may prefer
        // another one.
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        // The cache is ours: it joins look-ups, and its clock can be stopped for tests.
        options.cache_size = 0;
        options.case_randomization = true;
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        if let Some(tls) = tls::configuration(dns)? {
            builder = builder.with_tls_config(tls);
        }
        let resolver = builder.build().map_err(io::Error::other)?;
        Ok(Self { resolver, searches })
    }

    fn parse(&self, name: &str) -> Result<Name, DnsError> {
        let mut name =
            Name::from_utf8(name).map_err(|_| DnsError::Failed("not a domain name".into()))?;
        if !self.searches {
            name.set_fqdn(true);
        }
        Ok(name)
    }

    pub(super) async fn services(&self, name: &str) -> (Result<Vec<Service>, DnsError>, Duration) {
        let lookup = match self.parse(name) {
            Ok(name) => tokio::time::timeout(TIMEOUT, self.resolver.srv_lookup(name)).await,
            Err(error) => return (Err(error), NO_TTL),
        };
        let failed = match lookup {
            Ok(Ok(found)) => return read_services(found.answers()),
            Ok(Err(error)) => read_failure(&error),
            Err(_) => Outcome::failed(DnsError::Timeout),
        };
        let left = failed.until.saturating_duration_since(tokio::time::Instant::now());
        (Err(failed.result.err().unwrap_or(DnsError::NotFound)), left)
    }

    pub(super) async fn query(&self, name: &str) -> Outcome {
        let name = match self.parse(name) {
            Ok(name) => name,
            Err(error) => return Outcome::failed(error),
        };
        match tokio::time::timeout(TIMEOUT, self.resolver.lookup_ip(name)).await {
            Ok(Ok(found)) => read(&found),
            Ok(Err(error)) => read_failure(&error),
            Err(_) => Outcome::failed(DnsError::Timeout),
        }
    }
}

fn system() -> io::Result<(ResolverConfig, ResolverOpts)> {
    match system_conf::read_system_conf() {
        Err(NetError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            let local = Dns::asking(&[SocketAddr::from(([127, 0, 0, 1], 53))]);
            Ok((configured(&local.servers), ResolverOpts::default()))
        }
        read => read.map_err(io::Error::other),
    }
}

fn configured(servers: &[NameServer]) -> ResolverConfig {
    let servers = servers.iter().map(|server| {
        let mut connections = match &server.protocol {
            NameServerProtocol::Plain => vec![ConnectionConfig::udp(), ConnectionConfig::tcp()],
            NameServerProtocol::Tls { name } => vec![ConnectionConfig::tls((&**name).into())],
            NameServerProtocol::Https { name, path } => {
                vec![ConnectionConfig::https((&**name).into(), Some((&**path).into()))]
            }
        };
        for connection in &mut connections {
            connection.port = server.address.port();
        }
        NameServerConfig::new(server.address.ip(), true, connections)
    });
    ResolverConfig::from_parts(None, Vec::new(), servers.collect())
}

fn read(found: &LookupIp) -> Outcome {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.iter() {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    // The chain of CNAMEs holds no longer than its shortest link.
    let ttl = found.as_lookup().answers().iter().map(|record| record.ttl).min();
    let ttl = ttl.map_or(NO_TTL, |seconds| Duration::from_secs(seconds.into()));
    if addresses.is_empty() { Outcome::not_found(ttl) } else { Outcome::found(&addresses, ttl) }
}

fn read_services(
    answers: &[hickory_resolver::proto::rr::Record],
) -> (Result<Vec<Service>, DnsError>, Duration) {
    let ttl = answers.iter().map(|record| record.ttl).min();
    let ttl = ttl.map_or(NO_TTL, |seconds| Duration::from_secs(seconds.into()));
    let ttl = ttl.clamp(KEEP_FOUND.0, KEEP_FOUND.1);
    let services: Vec<Service> = answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(service) if !service.target.is_root() => Some(Service {
                target: service.target.to_utf8().trim_end_matches('.').to_ascii_lowercase(),
                port: service.port,
                priority: service.priority,
                weight: service.weight,
            }),
            _ => None,
        })
        .collect();
    if services.is_empty() { (Err(DnsError::NotFound), ttl) } else { (Ok(services), ttl) }
}

fn read_failure(error: &NetError) -> Outcome {
    let failed = |text: &str| Outcome::failed(DnsError::Failed(text.into()));
    match error {
        NetError::Dns(ServerError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {
                let ttl = none.negative_ttl.map(|seconds| Duration::from_secs(seconds.into()));
                Outcome::not_found(ttl.unwrap_or(NO_TTL))
            }
            code => failed(&mnemonic(code)),
        },
        NetError::Dns(ServerError::ResponseCode(code)) => failed(&mnemonic(*code)),
        NetError::Timeout => Outcome::failed(DnsError::Timeout),
        NetError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            Outcome::failed(DnsError::Timeout)
        }
        other => failed(&other.to_string()),
    }
}

/// The name of a response code in the IANA registry, in the upper case that
/// RFC 9209 §2.3.2 shows.
fn mnemonic(code: ResponseCode) -> String {
    format!("{code:?}").to_ascii_uppercase()
}
