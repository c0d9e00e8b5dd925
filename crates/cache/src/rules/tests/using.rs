//! Whether what is stored is used.

use super::*;

fn judged(cache_control: &str, request: &[(&str, &str)], after: u64) -> Use {
    let fields = [("Cache-Control", cache_control), ("ETag", "\"1\"")];
    let facts = stored(200, &fields).expect("may be stored");
    judge(&facts, &get(request).1, later(after))
}

const STALE: Use = Use::Validate(Forwarded::Stale);
const WISHED: Use = Use::Validate(Forwarded::Request);

#[test]
fn what_is_fresh_is_used_until_it_is_not() {
    assert_eq!(judged("max-age=60", &[], 0), Use::Fresh);
    assert_eq!(judged("max-age=60", &[], 59), Use::Fresh);
    assert_eq!(judged("max-age=60", &[], 60), STALE);
    assert_eq!(judged("max-age=60, no-cache", &[], 0), STALE);
}

#[test]
fn a_clock_that_goes_back_makes_nothing_older() {
    let facts = stored(200, &[("Cache-Control", "max-age=60")]).unwrap();
    assert_eq!(judge(&facts, &get(&[]).1, Time(NOW.0 - 1_000_000)), Use::Fresh);
    assert_eq!(age(&facts, Time(i64::MIN)), 0);
    assert_eq!(judge(&facts, &get(&[]).1, Time(i64::MAX)), STALE);
}

#[test]
fn clients_have_wishes() {
    for (wish, after, used) in [
        ("no-cache", 1, WISHED),
        ("max-age=0", 1, WISHED),
        ("max-age=x", 1, WISHED),
        ("max-age=5", 5, Use::Fresh),
        ("max-age=5", 6, WISHED),
        ("min-fresh=10", 50, Use::Fresh),
        ("min-fresh=10", 51, WISHED),
        ("max-stale", 6000, Use::Stale { revalidate: false }),
        ("max-stale=10", 70, Use::Stale { revalidate: false }),
        ("max-stale=10", 71, STALE),
        ("max-stale=x", 61, STALE),
        ("max-stale, min-fresh=1", 61, STALE),
        ("only-if-cached", 1, Use::Fresh),
        ("only-if-cached", 61, Use::Miss(Miss::OnlyIfCached)),
        ("no-store", 1, Use::Fresh),
    ] {
        assert_eq!(judged("max-age=60", &[("Cache-Control", wish)], after), used, "{wish} {after}");
    }
    assert_eq!(judged("max-age=60", &[("Pragma", "No-Cache")], 1), WISHED);
    let both = [("Pragma", "no-cache"), ("Cache-Control", "x")];
    assert_eq!(judged("max-age=60", &both, 1), Use::Fresh);
}

#[test]
fn what_may_not_be_stale_is_not_whatever_a_client_wishes() {
    for value in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        let value = format!("max-age=60, {value}");
        assert_eq!(judged(&value, &[("Cache-Control", "max-stale")], 61), STALE, "{value}");
    }
}

#[test]
fn a_reload_need_not_ask_for_what_never_changes() {
    let reload = [("Cache-Control", "max-age=0")];
    assert_eq!(judged("max-age=60, immutable", &reload, 10), Use::Fresh);
    assert_eq!(judged("max-age=60, immutable", &reload, 60), STALE);
    assert_eq!(judged("max-age=60, immutable", &[("Cache-Control", "no-cache")], 10), WISHED);
}

#[test]
fn stale_while_it_is_validated() {
    let value = "max-age=60, stale-while-revalidate=30";
    assert_eq!(judged(value, &[], 89), Use::Stale { revalidate: true });
    assert_eq!(judged(value, &[], 90), STALE);
    assert_eq!(judged(value, &[("Cache-Control", "no-cache")], 61), STALE);
    assert_eq!(judged(value, &[("Cache-Control", "max-age=100")], 61), STALE);
    // An origin that says both means both.
    let shared = "s-maxage=60, stale-while-revalidate=30";
    assert_eq!(judged(shared, &[], 89), Use::Stale { revalidate: true });
    assert_eq!(judged(shared, &[("Cache-Control", "max-stale")], 90), STALE);
    let strict = "max-age=60, must-revalidate, stale-while-revalidate=30";
    assert_eq!(judged(strict, &[], 61), STALE);
}

#[test]
fn windows_of_the_configuration_are_for_what_was_fresh_once() {
    let terms = Terms { while_revalidate: 30_000, if_error: 60_000, ..Terms::default() };
    let facts = |value| {
        let fields = [("Cache-Control", value), ("ETag", "\"1\"")];
        stored_for(&[], &terms, 200, &fields).unwrap()
    };
    let (_, asked) = get(&[]);
    assert_eq!(judge(&facts("max-age=60"), &asked, later(89)), Use::Stale { revalidate: true });
    assert_eq!(judge(&facts("max-age=0"), &asked, later(0)), STALE);
    assert_eq!(judge(&facts("s-maxage=60"), &asked, later(61)), STALE);
    assert!(may_stand_in(&facts("max-age=0"), &asked, later(59)));
    for never in ["s-maxage=0", "max-age=0, must-revalidate", "no-cache"] {
        assert!(!may_stand_in(&facts(never), &asked, later(1)), "{never}");
    }
    let own = facts("max-age=60, stale-while-revalidate=0, stale-if-error=0");
    assert_eq!(judge(&own, &asked, later(61)), STALE);
    assert!(!may_stand_in(&own, &asked, later(61)));
}

#[test]
fn stale_in_place_of_an_error() {
    let of = |value, wish: &[(&str, &str)], after| {
        let facts = stored(200, &[("Cache-Control", value), ("ETag", "\"1\"")]).unwrap();
        may_stand_in(&facts, &get(wish).1, later(after))
    };
    assert!(of("max-age=60, stale-if-error=60", &[], 119));
    assert!(!of("max-age=60, stale-if-error=60", &[], 120));
    assert!(!of("max-age=60, stale-if-error=60", &[("Cache-Control", "no-cache")], 61));
    assert!(of("max-age=60", &[("Cache-Control", "max-age=0")], 59));
    assert!(of("max-age=60", &[("Cache-Control", "stale-if-error=60")], 119));
    assert!(!of("max-age=60, must-revalidate", &[("Cache-Control", "stale-if-error=60")], 61));
    assert!(!of("max-age=60", &[], 60));
}

#[test]
fn what_was_purged_softly_is_stale() {
    let value = "max-age=60, stale-while-revalidate=30, stale-if-error=30";
    let mut facts = stored(200, &[("Cache-Control", value)]).unwrap();
    facts.marked_stale = true;
    let (_, asked) = get(&[]);
    assert_eq!(judge(&facts, &asked, later(1)), Use::Stale { revalidate: true });
    assert_eq!(judge(&facts, &asked, later(90)), STALE);
    assert!(may_stand_in(&facts, &asked, later(1)));
    facts.while_revalidate = 0;
    let (_, patient) = get(&[("Cache-Control", "max-stale")]);
    assert_eq!(judge(&facts, &patient, later(1)), STALE);
}
