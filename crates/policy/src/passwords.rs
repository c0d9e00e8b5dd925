//! How a password is kept, and how one that a client sent is compared with it.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Most memory that checking one password may take: 1 GiB, in KiB as Argon2 counts.
const MAX_ARGON2_MEMORY: u32 = 1024 * 1024;

/// Most passes over that memory.
const MAX_ARGON2_PASSES: u32 = 64;

/// Costs that take less than about 20 s; 31, the algorithm's own limit, takes a day.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=18;

/// A password as it is kept.
pub(crate) enum Stored {
    /// SHA-256 of a password that the configuration has in the clear: comparing digests
    /// takes the same time wherever passwords differ, and whatever their lengths.
    Digest([u8; 32]),
    /// A hash that is slow on purpose.
    Slow(Arc<SlowHash>),
}

/// A hash that takes milliseconds to compare with.
pub(crate) struct SlowHash {
    /// As it was written.
    text: Box<str>,
    kind: Kind,
}

enum Kind {
    /// The text says it all.
    Bcrypt,
    /// Salt and output.
    Argon2 { argon2: Box<Argon2<'static>>, salt: Box<[u8]>, output: Box<[u8]> },
}

/// What comparing takes. Two users of equal cost cannot be told apart by the time it takes
/// to refuse them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    Digest,
    Bcrypt { cost: u32 },
    Argon2 { id: bool, memory: u32, passes: u32, lanes: u32 },
}

/// Why a hash is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashError {
    /// A kind that is too weak today, or unknown to us.
    Kind(&'static str),
    /// Of a known kind, but damaged.
    Malformed(&'static str),
    /// So costly that checking it would take the machine down.
    TooCostly(&'static str),
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "{kind}, which is not accepted"),
            Self::Malformed(kind) => write!(f, "a damaged {kind} hash"),
            Self::TooCostly(limit) => write!(f, "a hash that is too costly ({limit})"),
        }
    }
}

/// What to do about a [`HashError`].
pub(crate) const REMEDY: &str = "make a bcrypt hash with `htpasswd -B FILE NAME` (or \
     `htpasswd -nB NAME`), or an Argon2id hash with `argon2 SALT -id -e`";

impl Stored {
    pub(crate) fn plain(password: &str) -> Self {
        Self::Digest(Sha256::digest(password).into())
    }

    /// Reads a bcrypt or Argon2 hash.
    pub(crate) fn hash(text: &str) -> Result<Self, HashError> {
        let kind = if ["$2y$", "$2a$", "$2b$"].iter().any(|prefix| text.starts_with(prefix)) {
            bcrypt_cost(text)?;
            Kind::Bcrypt
        } else if text.starts_with("$argon2id$") || text.starts_with("$argon2i$") {
            argon2(text)?
        } else {
            return Err(HashError::Kind(name_of_kind(text)));
        };
        Ok(Self::Slow(Arc::new(SlowHash { text: text.into(), kind })))
    }

    pub(crate) fn cost(&self) -> Cost {
        match self {
            Self::Digest(_) => Cost::Digest,
            Self::Slow(hash) => hash.cost(),
        }
    }
}

/// Compares in constant time.
pub(crate) fn is_digest_of(digest: &[u8; 32], password: &[u8]) -> bool {
    let offered: [u8; 32] = Sha256::digest(password).into();
    digest.ct_eq(&offered).into()
}

impl SlowHash {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn cost(&self) -> Cost {
        match &self.kind {
            Kind::Bcrypt => Cost::Bcrypt { cost: bcrypt_cost(&self.text).unwrap_or_default() },
            Kind::Argon2 { argon2, .. } => Cost::Argon2 {
                id: self.text.starts_with("$argon2id$"),
                memory: argon2.params().m_cost(),
                passes: argon2.params().t_cost(),
                lanes: argon2.params().p_cost(),
            },
        }
    }

    /// Whether the password is the one that was hashed. Takes milliseconds, and for Argon2
    /// as much memory as its parameters say.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        match &self.kind {
            // bcrypt ends a password with NUL and repeats it, so "a\0a" would pass for "a".
            Kind::Bcrypt => {
                let same = bcrypt::verify(password, &self.text).unwrap_or(false);
                same && !password.contains(&0)
            }
            Kind::Argon2 { argon2, salt, output } => {
                let mut offered = vec![0; output.len()];
                argon2.hash_password_into(password, salt, &mut offered).is_ok()
                    && bool::from(output.ct_eq(&offered))
            }
        }
    }
}

fn bcrypt_cost(text: &str) -> Result<u32, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Malformed("bcrypt"))?;
    match parts.get_cost() {
        cost if BCRYPT_COSTS.contains(&cost) => Ok(cost),
        _ => Err(HashError::TooCostly("bcrypt cost must be 4 to 18")),
    }
}

/// Reads a PHC string of Argon2.
fn argon2(text: &str) -> Result<Kind, HashError> {
    let malformed = HashError::Malformed("Argon2");
    let hash = PasswordHash::new(text).map_err(|_| malformed)?;
    let algorithm = Algorithm::new(hash.algorithm).map_err(|_| malformed)?;
    // Strings from before version 19 have no version (PHC string format).
    let version = Version::try_from(hash.version.unwrap_or(0x10)).map_err(|_| malformed)?;
    let params = Params::try_from(&hash).map_err(|_| malformed)?;
    let (Some(salt), Some(output)) = (hash.salt, hash.hash) else { return Err(malformed) };
    if params.m_cost() > MAX_ARGON2_MEMORY {
        return Err(HashError::TooCostly("Argon2 memory must be at most 1 GiB"));
    }
    if params.t_cost() > MAX_ARGON2_PASSES {
        return Err(HashError::TooCostly("Argon2 passes must be at most 64"));
    }
    Ok(Kind::Argon2 {
        argon2: Box::new(Argon2::new(algorithm, version, params)),
        salt: salt.as_ref().into(),
        output: output.as_bytes().into(),
    })
}

/// What an unaccepted hash looks like. Never quotes it: it may be a password in the clear.
fn name_of_kind(text: &str) -> &'static str {
    const KINDS: [(&str, &str); 11] = [
        ("$apr1$", "an MD5 hash (apr1)"),
        ("$1$", "an MD5 hash"),
        ("{SHA}", "an unsalted SHA-1 hash"),
        ("{SSHA}", "a SHA-1 hash"),
        ("$5$", "a SHA-256 crypt hash"),
        ("$6$", "a SHA-512 crypt hash"),
        ("$argon2d$", "an Argon2d hash"),
        ("$2x$", "a hash of a broken bcrypt (2x)"),
        ("$y$", "a yescrypt hash"),
        ("$7$", "an scrypt hash"),
        ("{PLAIN}", "a password in the clear"),
    ];
    KINDS
        .iter()
        .find(|(prefix, _)| text.starts_with(prefix))
        .map_or("a DES crypt hash or a password in the clear", |(_, name)| name)
}

#[cfg(test)]
mod tests;
