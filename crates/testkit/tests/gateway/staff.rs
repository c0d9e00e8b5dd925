//! A listener for some users, whose exits are in two countries.
#![allow(dead_code, reason = "each test file uses its part")]

use testkit::Proxy;

/// A listener for these users, whose exits are in two countries.
pub fn gateway(users: &str, auth: &str) -> Proxy {
    Proxy::start(&text(users, auth))
}

pub fn text(users: &str, auth: &str) -> String {
    format!(
        r#"
users "staff" {{
    time-zone "UTC"
    {users}
}}
exits "world" {{
    address "127.0.0.2" name="us-1" country="US"
    address "127.0.0.3" name="ca-1" country="CA"
}}
forward "127.0.0.1:0" {{
    auth users="staff" {auth}
    allow "127.0.0.0/8"
    exit "world"
}}
"#
    )
}
