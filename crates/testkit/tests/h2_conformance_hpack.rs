//! RFC 7541: the compression of fields.

mod h2;

use h2::{Front, check};
use testkit::h2::code::{COMPRESSION_ERROR, PROTOCOL_ERROR};
use testkit::h2::{Block, Client, Frame, flag, huffman, integer, setting, string};

/// A block that cannot be decoded ends the connection, with `COMPRESSION_ERROR` (RFC 9113,
/// section 4.3). The h2 crate ends it, but names another reason.
fn broken(rule: &'static str, act: fn(&mut Client) -> u32) -> h2::Case {
    h2::Case::connection(rule, &[COMPRESSION_ERROR], act).h2_says(PROTOCOL_ERROR)
}

/// A request that goes on with this.
fn with(client: &mut Client, more: impl AsRef<[u8]>) -> u32 {
    let block = Block::get("/never").raw(more);
    client.open_block(&block, true)
}

/// The same for what is right.
fn fine(client: &mut Client, more: impl AsRef<[u8]>) -> u32 {
    let block = Block::get("/").raw(more);
    client.open_block(&block, true)
}

/// A literal field whose value is written so.
fn value(octets: &[u8]) -> Vec<u8> {
    [&[0], &string("x", false)[..], octets].concat()
}

/// A string in the Huffman code that consists of these octets, right or wrong.
fn coded(octets: &[u8]) -> Vec<u8> {
    [&integer(octets.len() as u64, 7, 0x80)[..], octets].concat()
}

#[test]
fn section_2_3_3_indices() {
    check(
        Front::start(),
        &[
            broken("2.3.3 an entry that does not exist", |client| {
                with(client, Block::new().indexed(62))
            }),
            broken("2.3.3 a name that does not exist", |client| {
                with(client, Block::new().named(62, "x"))
            }),
            broken("2.3.3 the name of an entry to keep does not exist", |client| {
                with(client, Block::new().keep_named(70, "x"))
            }),
            broken("2.3.3 an index far beyond", |client| {
                with(client, Block::new().indexed(0xffff_ffff))
            }),
            broken("6.1 index 0", |client| with(client, Block::new().raw([0x80]))),
            h2::Case::served("2.3.1 the whole static table", |client| {
                // But for Content-Length, Expect, Host and Transfer-Encoding.
                let block = (15..=61).filter(|index| ![28, 35, 38, 57].contains(index));
                let block = block.fold(Block::new(), |block, index| block.named(index, "1"));
                fine(client, block)
            }),
        ],
    );
}

#[test]
fn section_4_2_table_size() {
    check(
        Front::start(),
        &[
            broken("4.2 a larger table than allowed", |client| {
                let most = client.peer_setting(setting::HEADER_TABLE_SIZE).unwrap_or(4096);
                let block = Block::new().resize(u64::from(most) + 1);
                client.open_block(&block.raw(Block::get("/never")), true)
            }),
            broken("4.2 a far larger table", |client| {
                let block = Block::new().resize(1 << 40);
                client.open_block(&block.raw(Block::get("/never")), true)
            }),
            broken("4.2 a size behind a field", |client| with(client, Block::new().resize(100))),
            broken("4.2 a size between fields", |client| {
                with(client, Block::new().resize(100).literal("a", "b"))
            }),
            h2::Case::served("4.2 two sizes at the beginning", |client| {
                let most = client.peer_setting(setting::HEADER_TABLE_SIZE).unwrap_or(4096);
                let block = Block::new().resize(0).resize(u64::from(most));
                client.open_block(&block.raw(Block::get("/")), true)
            }),
            broken("4.3 a smaller table forgets", |client| {
                let stream = fine(client, Block::new().keep("kept", "x"));
                client.response(stream);
                let block = Block::new().resize(0).resize(4096).raw(Block::get("/never"));
                client.open_block(&block.indexed(62), true)
            }),
            h2::Case::served(
                "4.4 a field larger than the table is none to keep, but no error",
                |client| fine(client, Block::new().keep("a", vec![b'a'; 5000])),
            ),
            broken("4.4 … and empties the table", |client| {
                let large = Block::new().keep("kept", "x").keep("a", vec![b'a'; 5000]);
                with(client, large.indexed(62))
            }),
        ],
    );
}

#[test]
fn section_5_1_integers() {
    check(
        Front::start(),
        &[
            broken("5.1 an index of more than 64 bits", |client| {
                let mut index = vec![0xff; 12];
                index.push(1);
                with(client, index)
            }),
            broken("5.1 an index that wraps around at 32 bits", |client| {
                // 2^32 + 2 would be `:method: GET`, or any small index, to who forgets a carry.
                with(client, integer((1 << 32) + 17, 7, 0x80))
            }),
            broken("5.1 an index that wraps around at 64 bits", |client| {
                with(client, [0xff, 0x92, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03])
            }),
            broken("5.1 an integer that is cut off", |client| with(client, [0xff, 0x80, 0x80])),
            broken("5.1 a length that wraps around", |client| {
                with(
                    client,
                    [0, 1, b'x', 0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
                )
            }),
            broken("5.1 zeros without end", |client| {
                let mut index = vec![0xff];
                index.extend([0x80; 2000]);
                with(client, index)
            }),
        ],
    );
}

#[test]
fn section_5_2_strings() {
    check(
        Front::start(),
        &[
            broken("5.2 a string that is cut off", |client| with(client, value(&[5, b'a', b'b']))),
            broken("5.2 a name that is cut off", |client| with(client, [0, 5, b'a'])),
            broken("5.2 a field without its value", |client| with(client, [0, 1, b'a'])),
            broken("5.2 padding of more than 7 bits", |client| {
                let mut octets = huffman(b"abc");
                octets.push(0xff);
                with(client, value(&coded(&octets)))
            }),
            broken("5.2 padding alone", |client| with(client, value(&coded(&[0xff])))),
            broken("5.2 padding of zeros", |client| {
                // `0` is 00000, and three more zeros are no beginning of EOS.
                with(client, value(&coded(&[0])))
            }),
            broken("5.2 padding that is not all ones", |client| {
                with(client, value(&coded(&[0b0000_0110])))
            }),
            broken("5.2 EOS inside a string", |client| {
                with(client, value(&coded(&[0xff, 0xff, 0xff, 0xff])))
            }),
            broken("5.2 EOS behind a symbol", |client| {
                // 00000, then 30 ones, then ones.
                with(client, value(&coded(&[0b0000_0111, 0xff, 0xff, 0xff, 0xff])))
            }),
            broken("5.2 a name with EOS", |client| {
                with(client, [&[0], &coded(&[0xff; 4])[..], &string("v", false)].concat())
            }),
            h2::Case::served("5.2 padding of 0 to 7 bits", |client| {
                // `0` has five bits: all lengths of padding are met.
                let block = (1..=8).fold(Block::new(), |block, count| {
                    block.literal_huffman("x", vec![b'0'; count])
                });
                fine(client, block)
            }),
        ],
    );
}

#[test]
fn section_6_all_representations_are_understood() {
    let front = Front::start();
    let mut client = front.client();
    let block = Block::new()
        .indexed(3) // POST
        .indexed(6) // http
        .named(4, "/all")
        .keep_named(1, "a")
        .literal("plain", "1")
        .literal_huffman("coded", "two & \u{e9}")
        .never("secret", "3")
        .keep("kept", "4")
        .keep_named(62, "5")
        .indexed(62)
        .indexed(63)
        .named(62, "6")
        .never("empty", "");
    let stream = client.open_block(&block, true);
    assert_eq!(client.response(stream).status, 200);
    drop(client);
    let request = &front.finish()[0];
    assert_eq!(request.start_line(), "POST /all HTTP/1.1");
    assert_eq!(request.get("Host").as_deref(), Some("a"));
    assert_eq!(request.get("plain").as_deref(), Some("1"));
    assert_eq!(request.get("coded").as_deref(), Some("two & \u{e9}"));
    assert_eq!(request.get("secret").as_deref(), Some("3"));
    assert_eq!(request.all("kept"), ["4", "5", "5", "4", "6"]);
    assert_eq!(request.get("empty").as_deref(), Some(""));
}

#[test]
fn section_4_the_dynamic_table_is_a_queue_of_so_many_octets() {
    let front = Front::start();
    let mut client = front.client();
    let most = client.peer_setting(setting::HEADER_TABLE_SIZE).unwrap_or(4096) as usize;
    // Entries of 128 octets, with 32 of overhead (section 4.1): one more than fit.
    let value = |number: usize| format!("{number:095}");
    let fit = most / 128;
    let mut kept = Block::get("/fill");
    for number in 0..=fit {
        kept = kept.keep("x", value(number));
    }
    let stream = client.open_block(&kept, true);
    assert_eq!(client.response(stream).status, 200, "{}", client.history());
    // The oldest that is left, the latest, and the name of one that this field puts out (4.4).
    let oldest = 61 + fit as u64;
    let block =
        Block::get("/use").indexed(oldest).indexed(62).keep_named(oldest, "new").indexed(62);
    let stream = client.open_block(&block, true);
    assert_eq!(client.response(stream).status, 200, "{}", client.history());
    // Nothing stands behind the oldest.
    client.open_block(&Block::get("/never").indexed(62 + fit as u64), true);
    // The h2 crate says no more than this.
    client.expect_goaway(PROTOCOL_ERROR);
    drop(client);
    let requests = front.finish();
    assert_eq!(requests[1].all("x"), [value(1), value(fit), "new".to_owned(), "new".to_owned()]);
}

#[test]
fn section_2_2_a_request_that_is_refused_still_changes_the_table() {
    let front = Front::start();
    let mut client = front.client();
    let bad = Block::get("/never").literal("connection", "close").keep("x-kept", "value");
    let stream = client.open_block(&bad, true);
    client.expect_reset(stream, PROTOCOL_ERROR);
    let stream = client.open_block(&Block::get("/good").indexed(62), true);
    assert_eq!(client.response(stream).status, 200);
    // So does a block for a stream that was reset before it came.
    let stream = client.open_get("/held");
    client.send(&Frame::reset(stream, 8));
    let stream = client.open_block(&Block::get("/good").keep("x-kept", "later").indexed(62), true);
    assert_eq!(client.response(stream).status, 200);
    drop(client);
    let requests = front.finish();
    let good: Vec<_> = requests.iter().filter(|request| request.target() == "/good").collect();
    assert_eq!(good[0].all("x-kept"), ["value"]);
    assert_eq!(good[1].all("x-kept"), ["later", "later"]);
}

#[test]
fn section_4_2_the_table_of_the_proxy_is_no_larger_than_allowed() {
    let answer = |request: &testkit::Message| {
        let path = request.target();
        format!("HTTP/1.1 200 OK\r\nx-path: {path}\r\nx-same: same\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    };
    let front = Front::answering("", answer);
    for size in [0, 100, 4096] {
        let settings = [(setting::HEADER_TABLE_SIZE, size)];
        let mut client = Client::connect_with(front.proxy.first(), &settings);
        client.wait(|event| *event == testkit::h2::Event::SettingsAck).expect("acknowledged");
        client.limit_table(size as usize);
        for number in 0..40 {
            let path = format!("/{number}");
            let response = client.get(&path);
            assert_eq!(response.get("x-path"), Some(&*path), "table of {size}");
            assert_eq!(response.get("x-same"), Some("same"), "table of {size}");
        }
        // Smaller and larger again, while it is used.
        if size > 0 {
            client.send(&Frame::settings(&[(setting::HEADER_TABLE_SIZE, 0)]));
            client.send(&Frame::settings(&[(setting::HEADER_TABLE_SIZE, size)]));
            assert!(client.sync());
            let response = client.get("/after");
            assert_eq!(response.get("x-path"), Some("/after"));
        }
    }
    front.finish();
}

#[test]
fn section_5_2_a_field_may_be_cut_between_fragments_anywhere() {
    let front = Front::start();
    let block = Block::get("/cut").literal_huffman("x-coded", "value").keep("x-kept", "kept");
    for at in 0..=block.len() {
        let mut client = front.client();
        let stream = client.take_stream();
        let (left, right) = block.as_ref().split_at(at);
        client.send_all(&[
            Frame::headers(stream, left, true).without(flag::END_HEADERS),
            Frame::continuation(stream, right, true),
        ]);
        assert_eq!(client.response(stream).status, 200, "cut at {at}");
    }
    for request in front.finish() {
        assert_eq!(request.get("x-coded").as_deref(), Some("value"));
        assert_eq!(request.get("x-kept").as_deref(), Some("kept"));
    }
}
