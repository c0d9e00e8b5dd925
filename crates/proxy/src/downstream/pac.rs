//! The PAC file: what browsers are told of this proxy, made from the configuration.
//!
//! A browser asks for it before it knows that there is a proxy, so it shows no credentials. What
//! it is given is ECMAScript 3, which the oldest of them understand, and asks no name server: a
//! look-up would tell others what is visited through the proxy.

use std::fmt::Write as _;
use std::net::IpAddr;

use config::{Pac, TargetPattern};
use ipnet::IpNet;
use message::target::Target;
use message::{Authority, Method, RequestHead};

use crate::exchange::{Aim, Exchange};
use crate::failure::{Failure, Kind};
use crate::respond::Answer;

/// Where it is found; the second is what WPAD asks for.
const PATHS: [&[u8]; 2] = [b"/proxy.pac", b"/wpad.dat"];

/// How long a browser may go by an old one.
const CACHE: &str = "max-age=300";

/// Whether a request is one for the PAC file.
pub(crate) fn is_asked(request: &RequestHead, target: &Target) -> bool {
    let Target::Origin(path) = target else { return false };
    matches!(request.method, Method::Get | Method::Head)
        && PATHS.contains(&&request.target()[path.path.clone()])
}

/// Answers with the PAC file.
pub(crate) async fn answer(x: &mut Exchange<'_>, pac: &Pac, aim: &Aim) -> Result<(), Failure> {
    let proxy = match (&pac.proxy, &aim.authority) {
        (Some(proxy), _) => proxy.clone(),
        (None, Some(authority)) => by_name(authority, x.client.secure),
        (None, None) => return Err(Failure::with(Kind::RequestError, "no host")),
    };
    let answer = Answer {
        content_type: "application/x-ns-proxy-autoconfig",
        body: script(pac, &proxy).into_bytes().into(),
        ..Answer::new(200)
    };
    x.answer(answer.field("Cache-Control", CACHE)).await
}

/// The proxy under the name that it was asked by: there it was found.
fn by_name(authority: &Authority<'_>, secure: bool) -> String {
    let port = authority.port.unwrap_or(if secure { 443 } else { 80 });
    format!("{}:{port}", authority.host)
}

/// The whole file, for a proxy at `host:port`.
fn script(pac: &Pac, proxy: &str) -> String {
    let kind = if pac.secure { "HTTPS" } else { "PROXY" };
    let fallback = if pac.fallback_direct { "; DIRECT" } else { "" };
    let way = literal(&format!("{kind} {proxy}{fallback}"));
    let mut text = String::from(HEAD);
    let tests: Vec<_> = pac.direct.iter().filter_map(test).collect();
    if pac.direct.iter().any(|pattern| matches!(pattern, TargetPattern::Net(_))) {
        text.insert_str(0, BITS);
        text.push_str("  var address = bits(host);\n");
    }
    for test in tests {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  if ({test}) return \"DIRECT\";");
    }
    let _ = writeln!(text, "  return {way};\n}}");
    text
}

const HEAD: &str = r#"function FindProxyForURL(url, host) {
  host = String(host).toLowerCase().replace(/\.$/, "");
"#;

/// An address as its family and its bits; a name as nothing. A network is a beginning of that.
const BITS: &str = r#"function binary(number, digits) {
  var text = number.toString(2);
  while (text.length < digits) text = "0" + text;
  return text;
}
function bits4(host) {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(host)) return "";
  var parts = host.split("."), text = "";
  for (var i = 0; i < 4; i++) {
    if (parts[i] > 255) return "";
    text += binary(parts[i] * 1, 8);
  }
  return text;
}
function bits6(host) {
  var last = host.substring(host.lastIndexOf(":") + 1);
  if (last.indexOf(".") >= 0) {
    var four = bits4(last);
    if (!four) return "";
    host = host.substring(0, host.length - last.length) +
      parseInt(four.substring(0, 16), 2).toString(16) + ":" +
      parseInt(four.substring(16), 2).toString(16);
  }
  var halves = host.split("::");
  if (halves.length > 2) return "";
  var head = halves[0] ? halves[0].split(":") : [];
  var tail = halves[1] ? halves[1].split(":") : [];
  var missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return "";
  while (missing-- > 0) head.push("0");
  head = head.concat(tail);
  var text = "";
  for (var i = 0; i < 8; i++) {
    if (!/^[0-9a-f]{1,4}$/.test(head[i])) return "";
    text += binary(parseInt(head[i], 16), 16);
  }
  return text;
}
function bits(host) {
  host = host.replace(/^\[/, "").replace(/\]$/, "").replace(/%.*$/, "");
  if (host.indexOf(":") < 0) return host && bits4(host) ? "4:" + bits4(host) : "";
  var text = bits6(host);
  var mapped = new Array(81).join("0") + new Array(17).join("1");
  if (text.indexOf(mapped) === 0) return "4:" + text.substring(96);
  return text ? "6:" + text : "";
}
"#;

/// When a host is what a pattern means, in ECMAScript. What cannot be said there is left out:
/// then the proxy is used, which is where all of it would go without the file.
fn test(pattern: &TargetPattern) -> Option<String> {
    match pattern {
        TargetPattern::Any => Some("true".to_owned()),
        TargetPattern::Net(net) => {
            Some(format!("address.indexOf({}) === 0", literal(&prefix_bits(net))))
        }
        TargetPattern::Domain(name) => {
            let (name, below) = (literal(name), literal(&format!(".{name}")));
            Some(format!("host === {name} || dnsDomainIs(host, {below})"))
        }
        TargetPattern::Subdomains(below) => Some(format!("dnsDomainIs(host, {})", literal(below))),
        TargetPattern::Regex(_) | TargetPattern::List(_) => None,
    }
}

/// A network as `bits` of the script writes the addresses in it.
fn prefix_bits(net: &IpNet) -> String {
    let (family, bits) = match net.network() {
        IpAddr::V4(ip) => ("4:", format!("{:032b}", ip.to_bits())),
        IpAddr::V6(ip) => ("6:", format!("{:0128b}", ip.to_bits())),
    };
    format!("{family}{}", &bits[..usize::from(net.prefix_len())])
}

/// A string of ECMAScript that means this text and nothing else, wherever it stands.
fn literal(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b" .:;-_[]*".contains(&byte) => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pac(direct: &[TargetPattern]) -> Pac {
        Pac { proxy: None, secure: false, direct: direct.to_vec(), fallback_direct: false }
    }

    fn net(text: &str) -> TargetPattern {
        TargetPattern::Net(text.parse().unwrap())
    }

    #[test]
    fn without_exceptions_there_is_one_way() {
        let text = script(&pac(&[]), "proxy.example:3128");
        assert_eq!(text, format!("{HEAD}  return \"PROXY proxy.example:3128\";\n}}\n"));
        assert!(!text.contains("DIRECT"));
        let secure = Pac { secure: true, fallback_direct: true, ..pac(&[]) };
        let text = script(&secure, "[2001:db8::1]:443");
        assert!(text.contains("return \"HTTPS [2001:db8::1]:443; DIRECT\";"), "{text}");
    }

    #[test]
    fn patterns_in_ecmascript() {
        let text = |pattern: TargetPattern| test(&pattern).unwrap();
        assert_eq!(
            text(TargetPattern::Domain("a.example".into())),
            "host === \"a.example\" || dnsDomainIs(host, \".a.example\")"
        );
        assert_eq!(
            text(TargetPattern::Subdomains(".a.example".into())),
            "dnsDomainIs(host, \".a.example\")"
        );
        assert_eq!(text(net("10.0.0.0/8")), "address.indexOf(\"4:00001010\") === 0");
        assert_eq!(text(net("fd00::/8")), "address.indexOf(\"6:11111101\") === 0");
        assert_eq!(text(net("0.0.0.0/0")), "address.indexOf(\"4:\") === 0");
    }

    #[test]
    fn no_text_gets_out_of_its_string() {
        assert_eq!(
            literal("a\"); alert(1)//"),
            "\"a\\u0022\\u0029; alert\\u00281\\u0029\\u002f\\u002f\""
        );
        assert_eq!(
            literal("\\\n\u{2028}</script>"),
            "\"\\u005c\\u000a\\u2028\\u003c\\u002fscript\\u003e\""
        );
    }

    #[test]
    fn the_name_it_was_asked_by() {
        let named =
            |text: &str, secure| by_name(&Authority::parse(text.as_bytes()).unwrap(), secure);
        assert_eq!(named("Proxy.Example:3128", false), "proxy.example:3128");
        assert_eq!(named("wpad", false), "wpad:80");
        assert_eq!(named("[::1]", true), "[::1]:443");
    }
}
