//! What the cache does for requests, in the log and in labels alike.

/// What the cache did for a request that it was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// It gave what was fresh.
    Hit,
    /// It gave what was stale, as its terms or the client allow.
    Stale,
    /// It gave what was stale, in place of an error or of a server that is away (RFC 5861 §4).
    StaleIfError,
    /// It gave what a server said is still right.
    Revalidated,
    /// It gave what was being fetched for another one.
    Collapsed,
    /// Nothing that was kept could be used.
    Miss,
    /// Nothing was looked for: another method, or a request with content.
    Bypass,
}

impl CacheResult {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::StaleIfError,
        Self::Revalidated,
        Self::Collapsed,
        Self::Miss,
        Self::Bypass,
    ];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::StaleIfError => "stale_if_error",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}
