//! Continents: their codes and names, and the countries on them.

use config::Country;

/// Codes, and names in the words of the vendors.
const CONTINENTS: [(&str, &[&str]); 7] = [
    ("af", &["africa"]),
    ("an", &["antarctica"]),
    ("as", &["asia"]),
    ("eu", &["europe"]),
    ("na", &["north_america"]),
    ("oc", &["oceania", "australia"]),
    ("sa", &["south_america"]),
];

/// The countries on each, by the codes of ISO 3166-1 and with Kosovo (`XK`). Those on two are
/// where the United Nations' regions have them.
const COUNTRIES: [(&str, &str); 7] = [
    (
        "af",
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW IO KE KM LR LS LY \
         MA MG ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TF TG TN TZ UG YT ZA \
         ZM ZW",
    ),
    ("an", "AQ BV GS HM"),
    (
        "as",
        "AE AF AM AZ BD BH BN BT CN CY GE HK ID IL IN IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM \
         MN MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TL TM TR TW UZ VN YE",
    ),
    (
        "eu",
        "AD AL AT AX BA BE BG BY CH CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT \
         LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    (
        "na",
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI \
         PA PM PR SV SX TC TT US VC VG VI",
    ),
    ("oc", "AS AU CC CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV UM VU WF WS"),
    ("sa", "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

/// The continent of a country, as [`crate::Wish::continent`] has it; `None` for letters that are
/// no country's.
#[must_use]
pub fn continent_of(country: Country) -> Option<&'static str> {
    let on = |list: &str| list.split(' ').any(|code| code == country.as_str());
    COUNTRIES.iter().find(|(_, list)| on(list)).map(|(code, _)| *code)
}

/// The code of a continent by its code or a name, in lower case.
#[must_use]
pub fn continent_code(text: &str) -> Option<&'static str> {
    let found = CONTINENTS.iter().find(|(code, names)| *code == text || names.contains(&text));
    found.map(|(code, _)| *code)
}
