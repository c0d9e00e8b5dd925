//! Basic credentials (RFC 7617), as `Proxy-Authorization` and `Authorization` carry them.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Longest user name and password together, with their colon, in bytes.
pub const MAX_CREDENTIALS: usize = 4096;

/// Padding is optional, since clients forget it; everything else is as RFC 4648 §4 says.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A user name and a password as a client sent them. Wiped from memory when dropped, and
/// never shown by `Debug`.
pub struct Credentials {
    text: Zeroizing<Vec<u8>>,
    colon: usize,
}

impl Credentials {
    /// The user-id in UTF-8: free of control characters and colons.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        &self.text[..self.colon]
    }

    /// The password in UTF-8: free of control characters.
    #[must_use]
    pub fn password(&self) -> &[u8] {
        &self.text[self.colon + 1..]
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// The token in credentials of the Bearer scheme (RFC 6750 §2.1); `None`: it is another scheme.
#[must_use]
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Why a field value holds no Basic credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BasicError {
    /// Another authentication scheme, or none.
    OtherScheme,
    /// What follows the scheme is not base64 (RFC 4648 §4).
    NotBase64,
    /// There is no colon between user name and password.
    NoColon,
    /// Longer than [`MAX_CREDENTIALS`].
    TooLong,
    /// A control character, which RFC 7617 §2 forbids in both parts.
    ControlCharacter,
}

impl BasicError {
    /// In words, for `Proxy-Status` details and logs. Quotes nothing of the value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherScheme => "the scheme is not Basic",
            Self::NotBase64 => "the credentials are not base64",
            Self::NoColon => "the credentials have no colon",
            Self::TooLong => "the credentials are too long",
            Self::ControlCharacter => "the credentials hold a control character",
        }
    }
}

impl fmt::Display for BasicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for BasicError {}

/// Reads the value of `Proxy-Authorization` or `Authorization` (RFC 9110 §11.4).
///
/// # Errors
/// What is wrong with it.
pub fn parse(value: &[u8]) -> Result<Credentials, BasicError> {
    let encoded = after_scheme(trim(value)).ok_or(BasicError::OtherScheme)?;
    if encoded.len() > MAX_CREDENTIALS.div_ceil(3) * 4 {
        return Err(BasicError::TooLong);
    }
    let mut text = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
    let len = BASE64.decode_slice(encoded, &mut text).map_err(|_| BasicError::NotBase64)?;
    // Nothing is copied by this, so no second copy of the secret is left behind.
    text.truncate(len);
    let text = in_utf8(text);
    if text.len() > MAX_CREDENTIALS {
        return Err(BasicError::TooLong);
    }
    if text.iter().any(u8::is_ascii_control) {
        return Err(BasicError::ControlCharacter);
    }
    let colon = text.iter().position(|byte| *byte == b':').ok_or(BasicError::NoColon)?;
    Ok(Credentials { text, colon })
}

/// What is no UTF-8 is taken for Latin-1, in which many a client sends credentials whatever
/// charset it was asked for (RFC 7617 §2.1 and B.3; Python requests is one).
fn in_utf8(text: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    if std::str::from_utf8(&text).is_ok() {
        return text;
    }
    // Large enough from the start, so that no copy of the secret is left behind.
    let mut converted = Zeroizing::new(String::with_capacity(2 * text.len()));
    converted.extend(text.iter().map(|byte| char::from(*byte)));
    Zeroizing::new(std::mem::take(&mut *converted).into_bytes())
}

/// What follows `Basic` and at least one space; the scheme is case-insensitive.
fn after_scheme(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"Basic".len())?;
    let is_basic = scheme.eq_ignore_ascii_case(b"Basic")
        && rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    is_basic.then(|| trim(rest))
}

/// Without the spaces and tabs around it (OWS, RFC 9110 §5.6.3).
fn trim(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = value.iter().position(is_text).unwrap_or(value.len());
    let end = value.iter().rposition(is_text).map_or(start, |last| last + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests;
