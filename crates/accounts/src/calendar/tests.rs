use super::*;

fn span() -> Span {
    Span::from((0, 0))
}

fn zone(name: &str) -> Zone {
    Zone::named(Some(name), span()).expect("it exists")
}

/// Seconds since 1970 of a text such as `2026-03-08T07:00:00Z`.
fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().expect("a time").as_second()
}

fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

#[test]
fn days_are_written_and_read() {
    assert_eq!(day("1970-01-01"), Day(0));
    assert_eq!(day("2000-03-01"), Day(11_017));
    assert_eq!(day("1969-12-31"), Day(-1));
    assert_eq!(Day(20_000).to_string(), "2024-10-04");
    for text in ["", "2026-02-30", "2026-1-1", "20260101", "2026-01-01T00", "+002026-01-01"] {
        assert_eq!(text.parse::<Day>(), Err(NotADay), "{text}");
    }
}

#[test]
fn a_zone_that_is_none_is_an_error() {
    let error = Zone::named(Some("Mars/Olympus"), span()).expect_err("there is none");
    assert_eq!(error.message, "there is no time zone `Mars/Olympus`");
    assert!(Zone::named(None, span()).is_ok());
}

#[test]
fn days_of_23_and_25_hours() {
    let toronto = zone("America/Toronto");
    let spring = toronto.period(Period::Day, at("2026-03-08T12:00:00Z"));
    assert_eq!(spring.first, day("2026-03-08"));
    assert_eq!(spring.begins, at("2026-03-08T05:00:00Z"));
    assert_eq!(spring.ends, at("2026-03-09T04:00:00Z"));
    assert_eq!(spring.ends - spring.begins, 23 * 3600);
    let autumn = toronto.period(Period::Day, at("2026-11-01T12:00:00Z"));
    assert_eq!(autumn.ends - autumn.begins, 25 * 3600);
}

#[test]
fn a_day_may_begin_at_one_in_the_morning() {
    // Clocks went from 0:00 to 1:00.
    let beirut = zone("Asia/Beirut").period(Period::Day, at("2022-03-27T12:00:00Z"));
    assert_eq!(beirut.begins, at("2022-03-26T22:00:00Z"));
    assert_eq!(beirut.ends - beirut.begins, 23 * 3600);
    let before = zone("Asia/Beirut").period(Period::Day, at("2022-03-26T12:00:00Z"));
    assert_eq!(before.ends, beirut.begins);
}

#[test]
fn months_end_where_they_do() {
    let utc = Zone::utc();
    for (now, first, ends) in [
        ("2026-01-31T23:59:59Z", "2026-01-01", "2026-02-01T00:00:00Z"),
        ("2026-02-01T00:00:00Z", "2026-02-01", "2026-03-01T00:00:00Z"),
        ("2028-02-29T10:00:00Z", "2028-02-01", "2028-03-01T00:00:00Z"),
        ("2026-12-31T23:59:59Z", "2026-12-01", "2027-01-01T00:00:00Z"),
    ] {
        let month = utc.period(Period::Month, at(now));
        assert_eq!((month.first, month.ends), (day(first), at(ends)), "{now}");
    }
    // In Auckland it is February already.
    let month = zone("Pacific/Auckland").period(Period::Month, at("2026-01-31T12:00:00Z"));
    assert_eq!(month.first, day("2026-02-01"));
    assert_eq!(month.begins, at("2026-01-31T11:00:00Z"));
}

#[test]
fn periods_follow_each_other() {
    for name in ["America/Toronto", "Asia/Beirut", "Pacific/Auckland", "Pacific/Apia", "UTC"] {
        let zone = zone(name);
        for kind in [Period::Day, Period::Month] {
            // 2011 has the day that Samoa left out.
            let mut spell = zone.period(kind, at("2011-01-01T00:00:00Z"));
            while spell.ends < at("2012-03-01T00:00:00Z") {
                assert!(spell.begins < spell.ends, "{name}: {spell:?}");
                assert_eq!(zone.period(kind, spell.begins), spell, "{name}");
                assert_eq!(zone.period(kind, spell.ends - 1), spell, "{name}");
                let next = zone.period(kind, spell.ends);
                assert_eq!(next.begins, spell.ends, "{name}: {spell:?} {next:?}");
                spell = next;
            }
        }
    }
}
