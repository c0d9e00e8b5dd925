//! Where addresses are, by databases in MaxMind's format.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use config::{ConfigError, Country, ExitLabels, Spanned};
use maxminddb::{LookupResult, PathElement, Reader};

/// Databases of countries, cities and autonomous systems (MaxMind DB File Format 2.0). Asked in
/// their order: the first that knows a thing says it.
///
/// They are read into memory: a file that is mapped and then cut short by somebody else would end
/// the process.
#[derive(Default)]
pub struct Geo {
    databases: Vec<Reader<Vec<u8>>>,
}

/// What is known of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The country where it is, not the one where it is registered.
    pub country: Option<Country>,
    /// The largest part of the country, as labels are written.
    pub state: Option<String>,
    /// The city, as labels are written.
    pub city: Option<String>,
    /// The postal code, in lower case.
    pub zip: Option<String>,
    /// The autonomous system.
    pub asn: Option<u32>,
}

impl Geo {
    /// No database: nothing is known of any address.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads these files.
    ///
    /// # Errors
    /// One for each that cannot be read, or is no such database.
    pub fn open(files: &[Spanned<PathBuf>]) -> Result<Self, Vec<ConfigError>> {
        let (mut databases, mut errors) = (Vec::new(), Vec::new());
        for file in files {
            match Reader::open_readfile(&file.value) {
                Ok(reader) => databases.push(reader),
                Err(error) => {
                    let path = file.value.display();
                    let message = format!("cannot use the GeoIP database `{path}`: {error}");
                    errors.push(ConfigError::at(file.span, message, "this file").help(
                        "a file in MaxMind's format (.mmdb) that the user the proxy runs as may read",
                    ));
                }
            }
        }
        if errors.is_empty() { Ok(Self { databases }) } else { Err(errors) }
    }

    /// A database in memory.
    #[cfg(test)]
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self { databases: vec![Reader::from_source(bytes).unwrap()] }
    }

    /// Whether there is no database.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }

    /// The country where an address is; mapped addresses count as IPv4.
    #[must_use]
    pub fn country(&self, address: IpAddr) -> Option<Country> {
        self.records(address).find_map(|record| country_of(&record))
    }

    /// All that is known of an address; `None` if that is nothing.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<Place> {
        let mut place = Place::default();
        for record in self.records(address) {
            let Place { country, state, city, zip, asn } = &mut place;
            *country = country.or_else(|| country_of(&record));
            let name = |path: &[PathElement<'_>]| text(&record, path).and_then(label);
            fill(state, || name(&[key("subdivisions"), PathElement::Index(0), key("names"), EN]));
            fill(city, || name(&[key("city"), key("names"), EN]));
            fill(zip, || text(&record, &[key("postal"), key("code")]).map(str::to_lowercase));
            *asn = asn.or_else(|| {
                record.decode_path(&[key("autonomous_system_number")]).unwrap_or_default()
            });
        }
        (place != Place::default()).then_some(place)
    }

    /// What is known of an address, as labels of an exit.
    #[must_use]
    pub fn labels(&self, address: IpAddr) -> Option<ExitLabels> {
        self.lookup(address).map(ExitLabels::from)
    }

    /// What each database that knows it says of an address. What is damaged says nothing.
    fn records(&self, address: IpAddr) -> impl Iterator<Item = LookupResult<'_, Vec<u8>>> {
        let address = address.to_canonical();
        self.databases.iter().filter_map(move |database| database.lookup(address).ok())
    }
}

impl fmt::Debug for Geo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.databases.iter().map(|one| one.metadata().database_type.as_str());
        f.debug_list().entries(kinds).finish()
    }
}

impl From<Place> for ExitLabels {
    fn from(place: Place) -> Self {
        let Place { country, state, city, zip, asn } = place;
        Self { country, state, city, zip, asn, ..Self::default() }
    }
}

const EN: PathElement<'_> = key("en");

const fn key(name: &str) -> PathElement<'_> {
    PathElement::Key(name)
}

fn fill(place: &mut Option<String>, value: impl FnOnce() -> Option<String>) {
    if place.is_none() {
        *place = value();
    }
}

fn country_of(record: &LookupResult<'_, Vec<u8>>) -> Option<Country> {
    text(record, &[key("country"), key("iso_code")]).and_then(Country::parse)
}

fn text<'d>(record: &LookupResult<'d, Vec<u8>>, path: &[PathElement<'_>]) -> Option<&'d str> {
    record.decode_path(path).unwrap_or_default()
}

/// A name as labels are written: lower case, words joined by `_`; marks within a word are left
/// out (`St. John's` is `st_johns`).
fn label(name: &str) -> Option<String> {
    let mut label = String::with_capacity(name.len());
    for char in name.chars().flat_map(char::to_lowercase) {
        if char.is_alphanumeric() {
            label.push(char);
        } else if !matches!(char, '.' | '\'' | '’') && !label.is_empty() && !label.ends_with('_')
        {
            label.push('_');
        }
    }
    label.truncate(label.trim_end_matches('_').len());
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
pub(crate) mod tests;
