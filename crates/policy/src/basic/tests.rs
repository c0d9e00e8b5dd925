use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;

fn encode(text: &[u8]) -> Vec<u8> {
    format!("Basic {}", BASE64_STANDARD.encode(text)).into_bytes()
}

#[track_caller]
fn expect(value: &[u8], user: &str, password: &str) {
    let credentials = parse(value).unwrap();
    assert_eq!(credentials.user(), user.as_bytes());
    assert_eq!(credentials.password(), password.as_bytes());
}

#[test]
fn rfc_7617_examples() {
    expect(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame");
    expect(b"Basic dGVzdDoxMjPCow==", "test", "123£");
}

#[test]
fn scheme_space_and_padding_are_taken_generously() {
    for value in [
        &b"basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="[..],
        b"BASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        b" Basic \t QWxhZGRpbjpvcGVuIHNlc2FtZQ= ",
    ] {
        expect(value, "Aladdin", "open sesame");
    }
}

#[test]
fn the_first_colon_splits_and_parts_may_be_empty() {
    expect(&encode(b"a:b:c"), "a", "b:c");
    expect(&encode(b":"), "", "");
    expect(&encode(b"a:"), "a", "");
    expect(&encode(b":b"), "", "b");
}

#[test]
fn latin_1_is_understood_where_it_is_no_utf_8() {
    expect(&encode(b"ren\xe9:p\xfc:\xff"), "ren\u{e9}", "p\u{fc}:\u{ff}");
    expect(&encode("ren\u{e9}:p\u{fc}".as_bytes()), "ren\u{e9}", "p\u{fc}");
    assert_eq!(parse(&encode(&[0xe9; MAX_CREDENTIALS])).err(), Some(BasicError::TooLong));
}

#[test]
fn each_fault_is_named() {
    use BasicError::{ControlCharacter, NoColon, NotBase64, OtherScheme, TooLong};
    let long = encode(&[b':'; MAX_CREDENTIALS + 1]);
    let very_long = encode(&[b':'; 100_000]);
    for (value, error) in [
        (&b""[..], OtherScheme),
        (b"Bas", OtherScheme),
        (b"Basics QTpi", OtherScheme),
        (b"BasicQTpi", OtherScheme),
        (b"Bearer QTpi", OtherScheme),
        (b"Digest username=\"a\"", OtherScheme),
        (b"Basic", NoColon),
        (b"Basic a:b", NotBase64),
        (b"Basic QTpi QTpi", NotBase64),
        (b"Basic QTpi,", NotBase64),
        (b"Basic QTp=i", NotBase64),
        (b"Basic QTo_", NotBase64),
        (b"Basic Q", NotBase64),
        (b"Basic \xff\xff", NotBase64),
        (b"Basic QWJj", NoColon),
        (&encode(b"a:b\0"), ControlCharacter),
        (&encode(b"a\n:b"), ControlCharacter),
        (&encode(b"a:b\x7f"), ControlCharacter),
        (&long, TooLong),
        (&very_long, TooLong),
    ] {
        let shown = String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned();
        assert_eq!(parse(value).err(), Some(error), "{shown}");
    }
    assert!(parse(&encode(&[b':'; MAX_CREDENTIALS])).is_ok());
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", parse(&encode(b"alice:secret")).unwrap());
    assert_eq!(shown, "Credentials(…)");
}

proptest! {
    #[test]
    fn parse_never_panics(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&value);
    }

    #[test]
    fn parse_never_panics_behind_the_scheme(
        value in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = parse(&[b"Basic ", value.as_slice()].concat());
    }

    #[test]
    fn parse_of_encode_is_identity(
        user in "[^\\x00-\\x1f\\x7f:]{0,40}",
        password in "[^\\x00-\\x1f\\x7f]{0,40}",
    ) {
        let credentials = parse(&encode(format!("{user}:{password}").as_bytes())).unwrap();
        prop_assert_eq!(credentials.user(), user.as_bytes());
        prop_assert_eq!(credentials.password(), password.as_bytes());
    }
}
