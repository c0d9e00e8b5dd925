use proptest::prelude::*;

use super::*;
use Coding::{Brotli, Gzip, Zstd};

const OURS: [Coding; 3] = [Zstd, Brotli, Gzip];

fn of(value: &str) -> Accepts {
    Accepts::of([value.as_bytes()])
}

#[test]
fn nothing_said_is_no_coding() {
    let said_nothing = Accepts::of([]);
    assert_eq!(said_nothing.best(&OURS), None);
    assert!(said_nothing.identity());
    assert_eq!(of("").best(&OURS), None);
    assert!(of("").identity());
}

#[test]
fn ties_are_ours_to_decide() {
    assert_eq!(of("gzip, deflate, br, zstd").best(&OURS), Some(Zstd));
    assert_eq!(of("gzip, deflate, br").best(&OURS), Some(Brotli));
    assert_eq!(of("gzip, deflate, br, zstd").best(&[Gzip, Zstd]), Some(Gzip));
    assert_eq!(of("gzip, br").best(&[]), None);
}

#[test]
fn weights_come_before_our_order() {
    assert_eq!(of("gzip;q=1.0, br;q=0.999, zstd;Q=0.5").best(&OURS), Some(Gzip));
    assert_eq!(of("gzip ; q=0.2 ,br\t;\tq=0.3").best(&OURS), Some(Brotli));
    assert_eq!(of("X-GZIP;q=0.001").best(&OURS), Some(Gzip));
    assert!(!of("gzip;q=0.000").allows(Gzip));
    assert!(!of("gzip;q=0").allows(Gzip));
}

#[test]
fn identity_is_a_choice_of_the_client() {
    // It likes to have no coding better.
    assert_eq!(of("identity, gzip;q=0.5").best(&OURS), None);
    // It does not mind.
    assert_eq!(of("identity;q=0.5, gzip;q=0.5").best(&OURS), Some(Gzip));
    // It takes nothing without a coding.
    let refusing = of("gzip, identity;q=0");
    assert!(!refusing.identity());
    assert_eq!(refusing.best(&OURS), Some(Gzip));
    assert!(!of("*;q=0").identity());
    assert!(of("*;q=0, identity;q=0.1").identity());
    assert!(of("*").identity());
    // What it takes then is not there.
    let hopeless = of("compress, *;q=0");
    assert_eq!(hopeless.best(&OURS), None);
    assert!(!hopeless.identity());
}

#[test]
fn the_asterisk_speaks_for_what_is_not_named() {
    assert_eq!(of("*").best(&OURS), Some(Zstd));
    assert_eq!(of("zstd;q=0, *;q=0.1").best(&OURS), Some(Brotli));
    assert_eq!(of("gzip;q=0.5, *;q=0.1").best(&OURS), Some(Gzip));
    assert!(!of("*").allows_dcb() && !of("*").allows_dcz());
}

#[test]
fn dictionaries_are_to_be_named() {
    let browser = of("gzip, deflate, br, zstd, dcb, dcz");
    assert!(browser.allows_dcb() && browser.allows_dcz());
    let halved = of("dcb;q=0, DCZ;q=0.1");
    assert!(!halved.allows_dcb() && halved.allows_dcz());
}

#[test]
fn what_cannot_be_read_is_not_there() {
    for broken in [
        "gzip;q=2",
        "gzip;q=1.001",
        "gzip;q=.5",
        "gzip;q=0.5555",
        "gzip;q=-1",
        "gzip;q=",
        "gzip;q",
        "gzip;",
        "gzip;q=0.5;q=0.6",
        "gzip;level=9",
        "gzip;q=0,5x",
        "gzip br",
        ";q=1",
        "q=1",
        "gzip;q=0.5a",
        "gzip;q=1e0",
    ] {
        assert_eq!(of(broken).best(&OURS), None, "{broken}");
        assert!(of(broken).identity(), "{broken}");
    }
    assert_eq!(of("gzip;q=x, , br;;, zstd").best(&OURS), Some(Zstd));
}

#[test]
fn the_smaller_of_two_weights_counts() {
    assert!(!of("gzip;q=0, gzip").allows(Gzip));
    assert!(!of("gzip, x-gzip;q=0").allows(Gzip));
    assert!(!Accepts::of([&b"identity"[..], b"identity;q=0"]).identity());
}

#[test]
fn several_fields_are_one_list() {
    assert_eq!(Accepts::of([&b"gzip;q=0.1"[..], b"br;q=0.2"]).best(&OURS), Some(Brotli));
}

proptest! {
    #[test]
    fn any_bytes_are_read(value in proptest::collection::vec(any::<u8>(), 0..64)) {
        let accepts = Accepts::of([&value[..]]);
        if let Some(best) = accepts.best(&OURS) {
            prop_assert!(accepts.allows(best));
        }
    }

    /// The best is one of the heaviest, and none that the client refuses.
    #[test]
    fn the_best_weighs_most(gzip in 0u16..=1000, br in 0u16..=1000, zstd in 0u16..=1000) {
        let text = |weight: u16| format!("{}.{:03}", weight / 1000, weight % 1000);
        let accepts = of(&format!("gzip;q={}, br;q={}, zstd;q={}", text(gzip), text(br), text(zstd)));
        let most = gzip.max(br).max(zstd);
        match accepts.best(&OURS) {
            None => prop_assert_eq!(most, 0),
            Some(best) => prop_assert_eq!([gzip, br, zstd][best.number()], most),
        }
    }
}
