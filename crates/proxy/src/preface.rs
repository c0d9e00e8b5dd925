//! What a connection to a server begins with, where the server is to know whose it is.

use std::net::SocketAddr;

use config::{ProxyVersion, Upstream};
use net::proxy_protocol::{Ends, write_v1, write_v2};

use crate::client::Client;

/// The PROXY protocol header for this client, which has connected to `destination`; `None`: the
/// group wants none.
pub(crate) fn preface(
    group: &Upstream,
    client: &Client,
    destination: SocketAddr,
) -> Option<Vec<u8>> {
    let version = group.proxy_protocol?;
    let ends = Ends { source: SocketAddr::new(client.address, client.port), destination };
    let mut header = Vec::new();
    match version {
        ProxyVersion::V1 => write_v1(&mut header, &ends),
        ProxyVersion::V2 => write_v2(&mut header, &ends),
    }
    Some(header)
}
