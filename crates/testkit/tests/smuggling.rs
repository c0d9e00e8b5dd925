//! Random messages made of the pieces that smuggling is made of, held against a second reading:
//! an origin sees nothing that a strict reader does not see, and a client gets no answer that
//! belongs to another request.
//!
//! `SMUGGLING_SEED` repeats a run; without it the seed is fixed.

use testkit::{Origin, Peer, Proxy};

/// A small generator (xorshift64*): the same seed gives the same messages.
struct Random(u64);

impl Random {
    fn seeded(salt: u64) -> (Self, u64) {
        let seed = std::env::var("SMUGGLING_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or(0x5eed_0000_0000_0001) ^ salt;
        (Self(seed.max(1)), seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

const FIELDS: &[&str] = &[
    "Content-Length: 5",
    "Content-Length: 0",
    "Content-Length: 30",
    "content-length: 5",
    "Content-Length: 5, 5",
    "Content-Length: +5",
    "Content-Length: 0x5",
    "Content-Length : 5",
    " Content-Length: 5",
    "Content-Length:5",
    "Content-Length: \t5\t ",
    "Content_Length: 5",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "transfer-encoding: CHUNKED",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding\t: chunked",
    "Transfer_Encoding: chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "Connection: Transfer-Encoding",
    "Connection: Content-Length, close",
    "Connection: keep-alive",
    "Expect: 100-continue",
    "X: y",
    "X:",
    ": y",
    "Host: b",
    "Upgrade: websocket\r\nConnection: upgrade",
];

const BODIES: &[&str] = &[
    "",
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "5\nhello\n0\n\n",
    "0\r\n\r\n",
    "0\r\n\r\nhello",
    "05\r\nhello\r\n000\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    "\r\n",
];

const NOISE: &[u8] = b"\0\r\n\t \x0b\x7f\xff:;,\"\\%#?";

fn request(random: &mut Random, path: &str) -> Vec<u8> {
    let method = random.one_of(&["GET", "POST", "POST", "PUT", "HEAD"]);
    let version = random.one_of(&["1.1", "1.1", "1.1", "1.0"]);
    let mut text = format!("{method} {path} HTTP/{version}\r\nHost: a\r\n");
    for _ in 0..random.below(4) {
        text.push_str(random.one_of(FIELDS));
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(random.one_of(BODIES));
    text.into_bytes()
}

/// Puts in, takes out or changes one byte.
fn disturb(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len());
    let noise = NOISE[random.below(NOISE.len())];
    match random.below(3) {
        0 => bytes.insert(at, noise),
        1 => bytes[at] = noise,
        _ => drop(bytes.remove(at)),
    }
}

/// What a strict reader makes of a message's beginning.
struct Reading {
    target: String,
    body: Vec<u8>,
    length: usize,
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// The lines of a head, and where it ends; `None` where it is not complete or has other line
/// ends than CRLF.
fn head_lines(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    let clean = |line: &String| {
        line.chars().all(|c| c == '\t' || !(c.is_ascii_control() || matches!(c, '\r' | '\n')))
    };
    lines.iter().all(clean).then_some((lines, end + 4))
}

/// The length and the coding that field lines declare; `None` where they are not certain.
fn framing(lines: &[String]) -> Option<(Option<usize>, bool)> {
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim_matches([' ', '\t']);
        if !is_token(name) {
            return None;
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                if length.is_some() || !digits {
                    return None;
                }
                length = Some(value.parse().ok()?);
            }
            "transfer-encoding" => {
                if chunked || !value.eq_ignore_ascii_case("chunked") {
                    return None;
                }
                chunked = true;
            }
            _ => {}
        }
    }
    (!chunked || length.is_none()).then_some((length, chunked))
}

/// A chunked body and its length on the wire.
fn read_chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let line = |at: usize| -> Option<(String, usize)> {
        let length = bytes.get(at..)?.windows(2).position(|window| window == b"\r\n")?;
        let text: String = bytes[at..at + length].iter().map(|b| char::from(*b)).collect();
        (!text.contains(['\n', '\r', '\0'])).then_some((text, at + length + 2))
    };
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let (text, next) = line(at)?;
        let size = text.split(';').next()?.trim_end_matches([' ', '\t']);
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        body.extend(bytes.get(at..at.checked_add(size)?)?);
        at += size;
        if bytes.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let (text, next) = line(at)?;
        at = next;
        if text.is_empty() {
            return Some((body, at));
        }
        if !is_token(text.split_once(':')?.0) {
            return None;
        }
    }
}

/// The request that the bytes begin with, if there is no doubt about it.
fn read_request(bytes: &[u8]) -> Option<Reading> {
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let bytes = &bytes[skipped..];
    let (lines, end) = head_lines(bytes)?;
    let words: Vec<&str> = lines[0].split(' ').collect();
    let [method, target, version] = words[..] else { return None };
    if !is_token(method) || target.is_empty() || !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return None;
    }
    let (length, chunked) = framing(&lines[1..])?;
    let (body, used) = if chunked {
        read_chunks(&bytes[end..])?
    } else {
        let length = length.unwrap_or(0);
        (bytes.get(end..end.checked_add(length)?)?.to_vec(), length)
    };
    Some(Reading { target: target.to_owned(), body, length: skipped + end + used })
}

#[test]
fn an_origin_sees_what_a_strict_reader_sees() {
    let origin = Origin::serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let proxy = Proxy::before(&origin);
    let (mut random, seed) = Random::seeded(0);
    let (mut seen, mut served) = (0, 0);
    for round in 0..1500 {
        let mut bytes = request(&mut random, "/first");
        for path in ["/second", "/third"] {
            bytes.extend(request(&mut random, path));
        }
        for _ in 0..random.below(3) {
            disturb(&mut random, &mut bytes);
        }
        let mut client = proxy.client();
        // It may have had enough before the end.
        let _ = client.try_send(&bytes);
        let _ = client.socket().shutdown(std::net::Shutdown::Write);
        client.recv_until_gone();
        let shown = String::from_utf8_lossy(&bytes);
        let mut rest = &bytes[..];
        for request in &origin.requests()[seen..] {
            let Some((head, _)) = head_lines(&request.head) else {
                panic!("seed {seed}, round {round}: {:?} out of {shown:?}", request.text());
            };
            // One that the proxy answers by itself is not among them.
            loop {
                let Some(reading) = read_request(rest) else {
                    panic!("seed {seed}, round {round}: {:?} out of {shown:?}", request.text());
                };
                rest = &rest[reading.length..];
                let same_target = head[0].split(' ').nth(1) == Some(&reading.target);
                if same_target && request.body == reading.body {
                    break;
                }
            }
            served += 1;
        }
        seen = origin.requests().len();
    }
    // Else the messages are all wrong, and nothing is proven.
    assert!(served > 300, "only {served} requests were served");
}

/// A response of random shape to the request number `number`, and whether it was
/// disturbed.
fn response(random: &mut Random, number: usize) -> (Vec<u8>, bool) {
    let status =
        random.one_of(&["200 OK", "200 OK", "204 No Content", "304 Not Modified", "404 X"]);
    let mut text = String::new();
    if random.below(6) == 0 {
        text.push_str("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    }
    let version = random.one_of(&["1.1", "1.1", "1.1", "1.0"]);
    text.push_str(&format!("HTTP/{version} {status}\r\nX-Number: {number}\r\n"));
    for _ in 0..random.below(3) {
        let field = random.one_of(FIELDS);
        if !field.starts_with("Host") && !field.starts_with("Expect") {
            text.push_str(field);
            text.push_str("\r\n");
        }
    }
    text.push_str("\r\n");
    text.push_str(random.one_of(BODIES));
    if random.below(4) == 0 {
        text.push_str("HTTP/1.1 200 OK\r\nX-Number: poison\r\nContent-Length: 0\r\n\r\n");
    }
    let mut bytes = text.into_bytes();
    let disturbed = random.below(2) == 0;
    if disturbed {
        disturb(random, &mut bytes);
    }
    (bytes, disturbed)
}

#[test]
fn a_client_gets_no_answer_of_another_request() {
    let (mut random, seed) = Random::seeded(0x0bad);
    let random = std::sync::Mutex::new(&mut random);
    let origin = Origin::start();
    let proxy = Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url()));
    let mut client = proxy.client();
    let mut good = 0;
    for number in 0..800 {
        let mut random = random.lock().unwrap();
        let method = random.one_of(&["GET", "GET", "HEAD"]);
        client.send(format!("{method} /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut upstream = origin.accept();
        assert_eq!(upstream.recv_request().target(), format!("/{number}"));
        let (bytes, disturbed) = response(&mut random, number);
        let shown =
            format!("seed {seed}, {method} {number}: {:?}", String::from_utf8_lossy(&bytes));
        upstream.send(bytes);
        // One exchange on each connection to the origin: the next one must not find this.
        upstream.finish();
        match answer(&mut client, method, &shown) {
            Some(answer) => {
                let of = answer.get("X-Number");
                let ours = answer.has("Proxy-Status");
                let fits = ours || disturbed || of == Some(number.to_string());
                assert!(fits, "{shown}: {}", answer.text());
                assert!(!answer.text().contains("poison"), "{shown}: {}", answer.text());
                good += usize::from(!ours);
                if answer.closes() {
                    client.recv_until_gone();
                    client = proxy.client();
                }
            }
            // A body that is not whole ends the connection.
            None => client = proxy.client(),
        }
    }
    assert!(good > 100, "only {good} responses were passed on");
}

/// The final response, read strictly; `None`: it has no good end.
fn answer(client: &mut Peer, method: &str, shown: &str) -> Option<testkit::Message> {
    loop {
        let mut head = client.recv_head_or_end()?;
        let (lines, _) =
            head_lines(&head.head).unwrap_or_else(|| panic!("{shown}: {}", head.text()));
        let framed = framing(&lines[1..]).unwrap_or_else(|| panic!("{shown}: {}", head.text()));
        let status = head.status();
        if status < 200 {
            assert_ne!(status, 101, "{shown}");
            continue;
        }
        if method == "HEAD" || matches!(status, 204 | 304) {
            return Some(head);
        }
        head.body = match framed {
            (Some(length), _) => client.recv_exact_or_end(length)?,
            (None, true) => client.recv_chunked_or_end()?,
            (None, false) => panic!("{shown}: no length: {}", head.text()),
        };
        return Some(head);
    }
}
