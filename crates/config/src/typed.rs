//! Values that were read: typed, and taken out by type.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::dns::ServerWord;
use crate::model::{
    Budget, ByteLimit, Country, ExitHop, HashKey, HostPattern, Hours, KeyPart, ListSource,
    LogTarget, PathPattern, PathTemplate, Quota, Rotate, TargetPattern,
};
use crate::names::SiteName;
use crate::servers::{RequestUrl, ServerUrl};
use crate::words::{Burst, Per, ProbeWord, RetryOn};

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Typed {
    /// Could not be read, which has been reported.
    Invalid,
    Text(String),
    Integer(u64),
    Flag(bool),
    Duration(Duration),
    ByteLimit(ByteLimit),
    Rate(Option<u64>),
    File(PathBuf),
    LogTarget(LogTarget),
    Socket(SocketAddr),
    Net(IpNet),
    Ports((u16, u16)),
    SiteName(SiteName),
    ServerUrl(ServerUrl),
    PathPattern(PathPattern),
    PathTemplate(PathTemplate),
    Pseudonym(Option<String>),
    Target(TargetPattern),
    HashKey(HashKey),
    Per(Per),
    Probe(ProbeWord),
    RetryOn(RetryOn),
    Statuses(Vec<(u16, u16)>),
    /// So many in this time.
    Frequency((u64, Duration)),
    Burst(Burst),
    RequestUrl(RequestUrl),
    Host(HostPattern),
    Address(IpAddr),
    NameServer(ServerWord),
    Country(Country),
    Quota(Quota),
    Budget(Budget),
    Hours(Hours),
    Hop(ExitHop),
    Source(ListSource),
    Rotate(Rotate),
    /// A field, and what its value contains.
    FieldSign((String, Option<String>)),
    /// `None`: one that is always there.
    KeyPart(Option<KeyPart>),
}

/// Takes a value of one type out of a [`Typed`].
pub(crate) trait FromTyped: Sized {
    /// `None` where the value is of another kind or could not be read.
    fn from_typed(value: &Typed) -> Option<Self>;
}

/// One line for each type, instead of many times the same function.
macro_rules! from_typed {
    ($($type:ty = $variant:ident),* $(,)?) => {$(
        impl FromTyped for $type {
            fn from_typed(value: &Typed) -> Option<Self> {
                match value {
                    Typed::$variant(inner) => Some(inner.clone()),
                    other => {
                        debug_assert_eq!(*other, Typed::Invalid, "the table has another kind");
                        None
                    }
                }
            }
        }
    )*};
}

from_typed! {
    String = Text,
    u64 = Integer,
    bool = Flag,
    Duration = Duration,
    ByteLimit = ByteLimit,
    Option<u64> = Rate,
    PathBuf = File,
    LogTarget = LogTarget,
    SocketAddr = Socket,
    IpNet = Net,
    (u16, u16) = Ports,
    SiteName = SiteName,
    ServerUrl = ServerUrl,
    PathPattern = PathPattern,
    PathTemplate = PathTemplate,
    Option<String> = Pseudonym,
    TargetPattern = Target,
    HashKey = HashKey,
    Per = Per,
    ProbeWord = Probe,
    RetryOn = RetryOn,
    Vec<(u16, u16)> = Statuses,
    (u64, Duration) = Frequency,
    Burst = Burst,
    RequestUrl = RequestUrl,
    HostPattern = Host,
    IpAddr = Address,
    ServerWord = NameServer,
    Country = Country,
    Quota = Quota,
    Budget = Budget,
    Hours = Hours,
    ExitHop = Hop,
    ListSource = Source,
    Rotate = Rotate,
    (String, Option<String>) = FieldSign,
    Option<KeyPart> = KeyPart,
}
