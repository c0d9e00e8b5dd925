//! The states of the United States by their two letters, for the vendors who write them so.

/// Two letters, and the name as labels have it. With the capital's district.
const STATES: [(&str, &str); 51] = [
    ("al", "alabama"),
    ("ak", "alaska"),
    ("az", "arizona"),
    ("ar", "arkansas"),
    ("ca", "california"),
    ("co", "colorado"),
    ("ct", "connecticut"),
    ("de", "delaware"),
    ("dc", "district_of_columbia"),
    ("fl", "florida"),
    ("ga", "georgia"),
    ("hi", "hawaii"),
    ("id", "idaho"),
    ("il", "illinois"),
    ("in", "indiana"),
    ("ia", "iowa"),
    ("ks", "kansas"),
    ("ky", "kentucky"),
    ("la", "louisiana"),
    ("me", "maine"),
    ("md", "maryland"),
    ("ma", "massachusetts"),
    ("mi", "michigan"),
    ("mn", "minnesota"),
    ("ms", "mississippi"),
    ("mo", "missouri"),
    ("mt", "montana"),
    ("ne", "nebraska"),
    ("nv", "nevada"),
    ("nh", "new_hampshire"),
    ("nj", "new_jersey"),
    ("nm", "new_mexico"),
    ("ny", "new_york"),
    ("nc", "north_carolina"),
    ("nd", "north_dakota"),
    ("oh", "ohio"),
    ("ok", "oklahoma"),
    ("or", "oregon"),
    ("pa", "pennsylvania"),
    ("ri", "rhode_island"),
    ("sc", "south_carolina"),
    ("sd", "south_dakota"),
    ("tn", "tennessee"),
    ("tx", "texas"),
    ("ut", "utah"),
    ("vt", "vermont"),
    ("va", "virginia"),
    ("wa", "washington"),
    ("wv", "west_virginia"),
    ("wi", "wisconsin"),
    ("wy", "wyoming"),
];

/// The name of a state.
pub(super) fn name(code: &str) -> Option<&'static str> {
    STATES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// Its two letters.
pub(super) fn code(name: &str) -> Option<&'static str> {
    STATES.iter().find(|(_, known)| *known == name).map(|(code, _)| *code)
}
