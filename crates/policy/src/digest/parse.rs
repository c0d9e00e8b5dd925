//! What a client shows: `Digest` and parameters (RFC 7616 §3.4, RFC 9110 §11.4).

use std::fmt;

/// Longest value that is read, in bytes. Names, realms and targets have to fit.
pub const MAX_VALUE: usize = 16 * 1024;

/// By what a response is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// What is asked for first.
    Sha256,
    /// For clients that know nothing else; also where nothing is said (RFC 7616 §3.4).
    Md5,
}

impl Algorithm {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// Hexadecimal digits of a response.
    fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Md5 => 32,
        }
    }
}

/// Digest credentials as a client sent them. `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    realm: String,
    nonce: String,
    uri: String,
    response: String,
    client_nonce: String,
    count: u32,
    count_text: String,
    algorithm: Algorithm,
}

impl Credentials {
    /// The user name, free of control characters, perhaps with wishes in it.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// How the response was made.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    pub(super) fn response(&self) -> &str {
        &self.response
    }

    pub(super) fn client_nonce(&self) -> &str {
        &self.client_nonce
    }

    pub(super) fn count(&self) -> u64 {
        self.count.into()
    }

    pub(super) fn count_text(&self) -> &str {
        &self.count_text
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Why a field value holds no Digest credentials that could be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestError {
    /// Another authentication scheme, or none.
    OtherScheme,
    /// Longer than [`MAX_VALUE`].
    TooLong,
    /// Not a list of parameters.
    Malformed,
    /// A parameter that is there twice.
    Repeated,
    /// A parameter that is needed and not there.
    Missing,
    /// `nc` is not eight hexadecimal digits, or zero.
    Count,
    /// `response` is not as long as the algorithm makes it.
    Response,
    /// An algorithm that was not offered.
    Algorithm,
    /// A `qop` other than `auth`.
    Quality,
    /// The name is hashed, which was not offered.
    HashedName,
    /// A control character, or what is not UTF-8.
    Text,
}

impl DigestError {
    /// In words, for `Proxy-Status` details and logs. Quotes nothing of the value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherScheme => "the scheme is not Digest",
            Self::TooLong => "the credentials are too long",
            Self::Malformed => "the credentials are no list of parameters",
            Self::Repeated => "a parameter of the credentials is there twice",
            Self::Missing => "a parameter of the credentials is missing",
            Self::Count => "nc is not eight hexadecimal digits",
            Self::Response => "the response is not what the algorithm makes",
            Self::Algorithm => "the algorithm was not offered",
            Self::Quality => "qop is not auth",
            Self::HashedName => "the user name is hashed",
            Self::Text => "the credentials hold what is no text",
        }
    }
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for DigestError {}

/// Whether a value is meant to be Digest credentials.
#[must_use]
pub fn is_digest(value: &[u8]) -> bool {
    after_scheme(value).is_some()
}

/// Reads the value of `Proxy-Authorization`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(value: &[u8]) -> Result<Credentials, DigestError> {
    let rest = after_scheme(value).ok_or(DigestError::OtherScheme)?;
    if rest.len() > MAX_VALUE {
        return Err(DigestError::TooLong);
    }
    let rest = std::str::from_utf8(rest).map_err(|_| DigestError::Text)?;
    if rest.chars().any(|char| char.is_control() && char != '\t') {
        return Err(DigestError::Text);
    }
    let mut parameters = Parameters::default();
    let mut reader = Reader { rest };
    reader.skip_space();
    while let Some((name, value)) = reader.parameter()? {
        parameters.put(name, value)?;
    }
    parameters.finish()
}

/// What follows `Digest` and at least one space; the scheme is case-insensitive.
fn after_scheme(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let (scheme, rest) = value.split_at_checked(b"Digest".len())?;
    let spaced = rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    (scheme.eq_ignore_ascii_case(b"Digest") && spaced).then_some(rest)
}

/// Those that count; others are read and left alone (RFC 7616 §3.4: `auth-param`).
#[derive(Default)]
struct Parameters {
    username: Option<String>,
    extended: Option<String>,
    realm: Option<String>,
    nonce: Option<String>,
    uri: Option<String>,
    response: Option<String>,
    cnonce: Option<String>,
    nc: Option<String>,
    qop: Option<String>,
    algorithm: Option<String>,
    userhash: Option<String>,
}

impl Parameters {
    fn put(&mut self, name: &str, value: String) -> Result<(), DigestError> {
        let place = match name.to_ascii_lowercase().as_str() {
            "username" => &mut self.username,
            "username*" => &mut self.extended,
            "realm" => &mut self.realm,
            "nonce" => &mut self.nonce,
            "uri" => &mut self.uri,
            "response" => &mut self.response,
            "cnonce" => &mut self.cnonce,
            "nc" => &mut self.nc,
            "qop" => &mut self.qop,
            "algorithm" => &mut self.algorithm,
            "userhash" => &mut self.userhash,
            _ => return Ok(()),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(DigestError::Repeated),
        }
    }

    fn finish(self) -> Result<Credentials, DigestError> {
        let missing = DigestError::Missing;
        if self.userhash.is_some_and(|value| !value.eq_ignore_ascii_case("false")) {
            return Err(DigestError::HashedName);
        }
        if !self.qop.ok_or(missing)?.eq_ignore_ascii_case("auth") {
            return Err(DigestError::Quality);
        }
        let algorithm = match self.algorithm.as_deref() {
            None => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("MD5") => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => Algorithm::Sha256,
            Some(_) => return Err(DigestError::Algorithm),
        };
        let user = match (self.username, self.extended) {
            // A tab may stand in a quoted string, but not in a name.
            (Some(name), None) if name.chars().any(char::is_control) => {
                return Err(DigestError::Text);
            }
            (Some(name), None) => name,
            (None, Some(extended)) => in_utf8(&extended).ok_or(DigestError::Text)?,
            (Some(_), Some(_)) => return Err(DigestError::Repeated),
            (None, None) => return Err(missing),
        };
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let response = self.response.ok_or(missing)?;
        if response.len() != algorithm.digits() || !is_hex(&response) {
            return Err(DigestError::Response);
        }
        let count_text = self.nc.ok_or(missing)?;
        let digits = count_text.len() == 8 && count_text.bytes().all(|b| b.is_ascii_hexdigit());
        let count = u32::from_str_radix(&count_text, 16).ok().filter(|count| digits && *count > 0);
        Ok(Credentials {
            user,
            realm: self.realm.ok_or(missing)?,
            nonce: self.nonce.ok_or(missing)?,
            uri: self.uri.ok_or(missing)?,
            response,
            client_nonce: self.cnonce.filter(|text| !text.is_empty()).ok_or(missing)?,
            count: count.ok_or(DigestError::Count)?,
            count_text,
            algorithm,
        })
    }
}

/// `UTF-8''b%C3%BCcher` (RFC 8187 §3.2).
fn in_utf8(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("UTF-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok().filter(|name| !name.chars().any(char::is_control))
}

/// Reads parameters one by one.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// The next one; `None` at the end.
    fn parameter(&mut self) -> Result<Option<(&'a str, String)>, DigestError> {
        // Empty elements are no error (RFC 9110 §5.6.1.2).
        while self.take(",") {
            self.skip_space();
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.token()?;
        self.skip_space();
        if !self.take("=") {
            return Err(DigestError::Malformed);
        }
        self.skip_space();
        let value = match self.take("\"") {
            true => self.quoted()?,
            false => self.token()?.to_owned(),
        };
        self.skip_space();
        if !self.rest.is_empty() && !self.rest.starts_with(',') {
            return Err(DigestError::Malformed);
        }
        Ok(Some((name, value)))
    }

    fn token(&mut self) -> Result<&'a str, DigestError> {
        let end = self.rest.bytes().position(|byte| !is_token(byte)).unwrap_or(self.rest.len());
        // What is not a token is ASCII or the first byte of a character, so this is a boundary.
        let (token, rest) = self.rest.split_at_checked(end).ok_or(DigestError::Malformed)?;
        self.rest = rest;
        if token.is_empty() { Err(DigestError::Malformed) } else { Ok(token) }
    }

    /// Behind the first quote of a quoted string.
    fn quoted(&mut self) -> Result<String, DigestError> {
        let mut text = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next().ok_or(DigestError::Malformed)? {
                '"' => break,
                '\\' => text.push(chars.next().ok_or(DigestError::Malformed)?),
                char => text.push(char),
            }
        }
        self.rest = chars.as_str();
        Ok(text)
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
