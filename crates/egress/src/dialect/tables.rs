//! The dialects.
//!
//! A key that a vendor has and we have not is [`Says::Refused`], so that the error can say that
//! it is known. A key is taken and does nothing only where leaving it out would take the same
//! exit: labels for reports ([`Says::Remark`]), and permissions that are never made use of and
//! requests for more fields in answers ([`Says::Harmless`]).

use config::Country;

use super::table::{Key, Place, Rule, Says, StateForm, Table, TtlForm, Words, ZipForm};
use crate::wish::Wish;

/// `alice-country-ca-city-toronto-session-abc-ttl-10m-strict`.
pub(super) static NATIVE: Table = Table {
    place: Place::Name,
    prefixes: &[],
    keys: &[
        Key::new("exit", Says::Exit),
        Key::new("tag", Says::Tag),
        Key::new("continent", Says::Continent),
        Key::new("country", Says::Country),
        Key::new("state", Says::State(StateForm::Words(Words::Joined))),
        Key::new("city", Says::City(Words::Joined)),
        Key::new("zip", Says::Zip(ZipForm::Any)),
        Key::new("asn", Says::Asn),
        Key::new("resolve", Says::Resolve { here: "here", exit: "exit" }),
        Key::new("session", Says::Session),
        Key::new("ttl", Says::Ttl(TtlForm::Unit)),
        Key::new("strict", Says::Strict),
    ],
    rules: &[],
};

/// `user-alice-country-ca-city-toronto-session-abc-sessionduration-30`.
pub(super) static DECODO: Table = Table {
    place: Place::Name,
    prefixes: &["user-"],
    keys: &[
        Key::new("continent", Says::Continent),
        Key::new("country", Says::Country),
        Key::new("state", Says::State(StateForm::OfUs)),
        Key::new("city", Says::City(Words::Joined)),
        Key::new("zip", Says::Zip(ZipForm::Five)),
        Key::new("asn", Says::Asn),
        Key::new("session", Says::Session),
        Key::new("session_iplock", Says::StrictSession),
        Key::new("sessionduration", Says::Ttl(TtlForm::Minutes)),
        Key::new("os", Says::Refused),
    ],
    rules: &[
        Rule { key: "state", holds: |wish| wish.state.is_none() || in_us(wish), problem: US },
        Rule { key: "city", holds: city_in_country, problem: COUNTRY },
        Rule { key: "zip", holds: |wish| wish.zip.is_none() || in_us(wish), problem: US },
        Rule {
            key: "zip",
            holds: |wish| wish.zip.is_none() || (wish.city.is_none() && wish.state.is_none()),
            problem: "does not go with a city or a state",
        },
        Rule {
            key: "asn",
            holds: |wish| wish.asn.is_none() || is_anywhere(wish),
            problem: "does not go with a place",
        },
    ],
};

/// `brd-customer-alice-zone-world-country-ca-session-abc-const`.
///
/// The zone is a tag or a pool, and may be left out. Of the keys that do nothing, `route_err`
/// says what the vendor may do directly when an exit fails, which we never do; `c_tag` labels a
/// request, and `debug` asks for more fields in the answer.
pub(super) static BRIGHT_DATA: Table = Table {
    place: Place::Name,
    prefixes: &["brd-customer-", "lum-customer-", "brd-cu-", "lum-cu-"],
    keys: &[
        Key::new("zone", Says::Zone),
        Key::alias("z", Says::Zone),
        Key::new("country", Says::Country),
        Key::alias("cy", Says::Country),
        Key::new("state", Says::State(StateForm::Code)),
        Key::alias("st", Says::State(StateForm::Code)),
        Key::new("city", Says::City(Words::Squeezed)),
        Key::alias("ct", Says::City(Words::Squeezed)),
        Key::new("zip", Says::Zip(ZipForm::Any)),
        Key::alias("zp", Says::Zip(ZipForm::Any)),
        Key::new("asn", Says::Asn),
        Key::new("ip", Says::Address),
        Key::new("dns", Says::Resolve { here: "local", exit: "remote" }),
        Key::new("session", Says::Session),
        Key::alias("s", Says::Session),
        Key::new("const", Says::Strict),
        Key::new("route_err", Says::Harmless(&["block", "pass_dyn"])),
        Key::new("c_tag", Says::Remark),
        Key::new("debug", Says::Harmless(&["full"])),
        Key::new("carrier", Says::Refused),
        Key::new("os", Says::Refused),
        Key::new("mobile", Says::Refused),
        Key::new("gip", Says::Refused),
        Key::new("vip", Says::Refused),
        Key::new("direct", Says::Refused),
        Key::new("d", Says::Refused),
        Key::new("key", Says::Refused),
        Key::new("k", Says::Refused),
        Key::new("info", Says::Refused),
        Key::new("raw", Says::Refused),
        Key::new("render", Says::Refused),
        Key::new("unblocker", Says::Refused),
        Key::new("ub", Says::Refused),
        Key::new("ua", Says::Refused),
    ],
    rules: &[
        Rule { key: "state", holds: |wish| wish.state.is_none() || in_us(wish), problem: US },
        Rule { key: "city", holds: city_in_country, problem: COUNTRY },
    ],
};

/// `customer-alice-cc-CA-city-toronto-sessid-abc12345-sesstime-5`.
pub(super) static OXYLABS: Table = Table {
    place: Place::Name,
    prefixes: &["customer-", "user-"],
    keys: &[
        Key::new("cn", Says::Continent),
        Key::new("cc", Says::Country),
        Key::new("st", Says::State(StateForm::OfUs)),
        Key::new("city", Says::City(Words::Joined)),
        Key::new("postalcode", Says::Zip(ZipForm::Five)),
        Key::new("ASN", Says::Asn),
        Key::alias("asn", Says::Asn),
        Key::new("sessid", Says::Session),
        Key::new("sessid_oneip", Says::StrictSession),
        Key::new("sesstime", Says::Ttl(TtlForm::Minutes)),
        Key::new("ipversion", Says::Refused),
        Key::new("platform", Says::Refused),
        Key::new("os", Says::Refused),
    ],
    rules: &[
        Rule { key: "st", holds: |wish| wish.state.is_none() || in_us(wish), problem: US },
        Rule { key: "city", holds: city_in_country, problem: COUNTRY },
        Rule { key: "postalcode", holds: |wish| wish.zip.is_none() || in_us(wish), problem: US },
        Rule {
            key: "ASN",
            holds: |wish| wish.asn.is_none() || wish.country.is_none(),
            problem: "does not go with a country",
        },
    ],
};

/// `PASSWORD_country-ca_city-toronto_session-abc12345_lifetime-10m`.
///
/// `forcerandom` would let another place stand in for one that has no exit, which is the one
/// thing that must not happen.
pub(super) static IPROYAL: Table = Table {
    place: Place::Password,
    prefixes: &[],
    keys: &[
        Key::new("country", Says::Country),
        Key::new("state", Says::State(StateForm::Words(Words::Squeezed))),
        Key::new("city", Says::City(Words::Squeezed)),
        Key::new("session", Says::Session),
        Key::new("lifetime", Says::Ttl(TtlForm::Unit)),
        Key::new("killswitch", Says::Switch),
        Key::new("region", Says::Refused),
        Key::new("isp", Says::Refused),
        Key::new("streaming", Says::Refused),
        Key::new("forcerandom", Says::Refused),
        Key::new("skipispstatic", Says::Refused),
        Key::new("skipipslist", Says::Refused),
    ],
    rules: &[
        Rule {
            key: "state",
            holds: |wish| wish.state.is_none() || wish.country.is_some(),
            problem: COUNTRY,
        },
        Rule { key: "city", holds: city_in_country, problem: COUNTRY },
    ],
};

const COUNTRY: &str = "needs a country";
const US: &str = "is for the United States only, and needs them as the country";

fn in_us(wish: &Wish) -> bool {
    wish.country.is_some_and(|country| Some(country) == Country::parse("us"))
}

fn city_in_country(wish: &Wish) -> bool {
    wish.city.is_none() || wish.country.is_some()
}

fn is_anywhere(wish: &Wish) -> bool {
    let places = [&wish.continent, &wish.state, &wish.city, &wish.zip];
    wish.country.is_none() && places.into_iter().all(Option::is_none)
}
