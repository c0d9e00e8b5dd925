//! The tour's steps through the forward proxy.

use std::net::{IpAddr, SocketAddr};

use super::client::{Connection, Seen, Wrong, ensure};
use super::step::{Part, Step, Story};
use super::world::{USER, World};

/// `alice:wonderland` in Base64 (RFC 4648 §4).
const CREDENTIALS: &str = "Basic YWxpY2U6d29uZGVybGFuZA==";

/// Fields that tell of a proxy, or of the client behind it.
const TELLTALE: &[&str] = &[
    "Via",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "Proxy-Authorization",
    "Proxy-Connection",
];

pub(super) const PART: Part = Part {
    title: "The forward proxy",
    steps: &[
        Step {
            title: "It asks who you are, then fetches for you",
            run: |world| Box::pin(authentication(world)),
        },
        Step {
            title: "A CONNECT tunnel, with TLS from end to end in it",
            run: |world| Box::pin(tunnel(world)),
        },
        Step { title: "SOCKS5 on the same port", run: |world| Box::pin(socks(world)) },
        Step {
            title: "What was never meant for it is closed",
            run: |world| Box::pin(closed(world)),
        },
        Step {
            title: "Elite: nothing tells that there is a proxy",
            run: |world| Box::pin(elite(world)),
        },
    ],
};

async fn authentication(world: &mut World) -> Result<Story, Wrong> {
    let target = world.origins[2].address();
    let mut client = Connection::open(world.ports.forward).await?;
    let request = format!("GET http://{target}/hello HTTP/1.1\nHost: {target}");
    let refused = client.send(&request).await?;
    let challenge = refused.expect(407)?.field("Proxy-Authenticate")?.to_owned();
    let request = format!("{request}\nProxy-Authorization: {CREDENTIALS}");
    let response = client.send(&request).await?;
    let seen = response.seen()?;
    let leaked = seen.field("Proxy-Authorization");
    ensure(leaked.is_none(), || "the origin got the credentials".to_owned())?;
    ensure(seen.field("X-Forwarded-For").is_none(), || {
        "the origin was told the client's address".to_owned()
    })?;
    Ok(Story {
        request: format!(
            "GET http://{target}/hello without credentials, then as {} on the same connection",
            USER.0
        ),
        origin_saw: format!("{}, no credentials", seen.told()),
        client_saw: format!("407, Proxy-Authenticate: {challenge}; then {}", response.told()),
        answered_by: format!("the proxy, then {}", seen.origin),
    })
}

async fn tunnel(world: &mut World) -> Result<Story, Wrong> {
    let target = format!("localhost:{}", world.ports.secure.port());
    let mut client = Connection::open(world.ports.forward).await?;
    let connect =
        format!("CONNECT {target} HTTP/1.1\nHost: {target}\nProxy-Authorization: {CREDENTIALS}");
    client.send(&connect).await?.expect(200)?;
    let mut client = client.secure(&world.trust, "localhost").await?;
    let response = client.send(&format!("GET /hello HTTP/1.1\nHost: {target}")).await?;
    let seen = response.seen()?;
    Ok(Story {
        request: format!("CONNECT {target}, in it GET https://{target}/hello"),
        origin_saw: format!("{} (what the site says, which saw the forward proxy)", seen.told()),
        client_saw: format!("{}; {} with the site itself", response.told(), client.tls()),
        answered_by: format!("{}, through both faces", seen.origin),
    })
}

async fn socks(world: &mut World) -> Result<Story, Wrong> {
    let target = world.origins[2].address();
    let mut client = Connection::open(world.ports.forward).await?;
    let code = socks5(&mut client, target).await?;
    ensure(code == 0, || format!("SOCKS5 reply {code}"))?;
    let response = client.send(&format!("GET /hello HTTP/1.1\nHost: {target}")).await?;
    let seen = response.seen()?;
    expect_no_telltale(&seen)?;
    Ok(Story {
        request: format!("SOCKS5 as {} to {target}, in it GET /hello", USER.0),
        origin_saw: seen.told(),
        client_saw: response.told(),
        answered_by: seen.origin,
    })
}

/// Asks for a connection (RFC 1928, RFC 1929), and returns the reply's code.
async fn socks5(client: &mut Connection, target: SocketAddr) -> Result<u8, Wrong> {
    client.write(&[5, 1, 2]).await?;
    let method = client.read(2).await?;
    ensure(method == [5, 2], || format!("method {method:?} instead of user and password"))?;
    let mut login = vec![1];
    for text in [USER.0, USER.1] {
        login.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        login.extend_from_slice(text.as_bytes());
    }
    client.write(&login).await?;
    let granted = client.read(2).await?;
    ensure(granted == [1, 0], || format!("{} was refused: {granted:?}", USER.0))?;
    let IpAddr::V4(ip) = target.ip() else {
        return Err(Wrong(format!("{target} is not an address of IPv4")));
    };
    let mut request = vec![5, 1, 0, 1];
    request.extend_from_slice(&ip.octets());
    request.extend_from_slice(&target.port().to_be_bytes());
    client.write(&request).await?;
    let reply = client.read(4).await?;
    // The address that follows is of no use to anybody.
    client.read(if reply[3] == 4 { 18 } else { 6 }).await?;
    Ok(reply[1])
}

async fn closed(world: &mut World) -> Result<Story, Wrong> {
    let admin = world.ports.admin.port();
    let targets = [
        "169.254.169.254".to_owned(),
        "[::ffff:169.254.169.254]".to_owned(),
        format!("127.0.0.1:{admin}"),
        format!("localhost:{admin}"),
        format!("2130706433:{admin}"),
    ];
    let mut client = Connection::open(world.ports.forward).await?;
    let mut why = String::new();
    for target in &targets {
        let request = format!(
            "GET http://{target}/ HTTP/1.1\nHost: {target}\nProxy-Authorization: {CREDENTIALS}"
        );
        let response = client.send(&request).await?;
        ensure(response.status == 403, || format!("{} for {target}", response.status))?;
        if why.is_empty() {
            why = response.field("Proxy-Status")?.to_owned();
        }
    }
    Ok(Story {
        request: format!("GET http://…/ of {}", targets.join(", ")),
        answered_by: "the proxy".to_owned(),
        origin_saw: "nothing".to_owned(),
        client_saw: format!("403 each time, Proxy-Status: {why}"),
    })
}

async fn elite(world: &mut World) -> Result<Story, Wrong> {
    let target = world.origins[2].address();
    let mut client = Connection::open(world.ports.elite).await?;
    let telling = "Via: 1.1 office\nX-Forwarded-For: 10.1.2.3\nForwarded: for=10.1.2.3\n\
                   X-Real-IP: 10.1.2.3\nProxy-Connection: keep-alive";
    let request = format!(
        "GET http://{target}/hello HTTP/1.1\nHost: {target}\nAccept: */*\n{telling}\n\
         Proxy-Authorization: {CREDENTIALS}"
    );
    let response = client.send(&request).await?;
    let seen = response.seen()?;
    expect_no_telltale(&seen)?;
    let names: Vec<&str> = seen.fields.iter().map(|(name, _)| name.as_str()).collect();
    ensure(names == ["Host", "Accept"], || format!("the origin got {}", names.join(", ")))?;
    ensure(response.head.field("Via").is_none(), || "the answer has a Via".to_owned())?;
    Ok(Story {
        request: format!(
            "GET http://{target}/hello with Via, X-Forwarded-For, Forwarded, X-Real-IP, \
             Proxy-Connection"
        ),
        origin_saw: format!("{}; no fields but {}", seen.told(), names.join(" and ")),
        client_saw: format!("{}, no Via", response.told()),
        answered_by: seen.origin,
    })
}

fn expect_no_telltale(seen: &Seen) -> Result<(), Wrong> {
    match TELLTALE.iter().find(|name| seen.field(name).is_some()) {
        Some(name) => Err(Wrong(format!("the origin got {name}"))),
        None => Ok(()),
    }
}
