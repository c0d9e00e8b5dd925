//! The words for what went wrong, in logs and labels alike.

/// Kinds of failure: the error types of RFC 9209 §2.3, then ours for what happens between the
/// client and the proxy. A kind is known by its index, see [`failure_index`].
pub const FAILURE_NAMES: [&str; 56] = [
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
    "request_header_section_size",
    "request_target_size",
    "request_body_size",
    "request_content_coding",
    "request_timeout",
    "expectation_failed",
    "http_version",
    "method_not_allowed",
    "misdirected_request",
    "authentication_required",
    "rate_limited",
    "client_closed",
    "client_too_slow",
    "client_tls_failed",
    "socks_error",
    "tunnel_idle_timeout",
    "unwanted_status",
    "exit_wish_refused",
    "exit_not_found",
    "exits_unavailable",
    "exit_failed",
    "session_lost",
    "quota_exceeded",
    "other",
];

/// Reasons for which policy refuses a connection or a request.
pub const REFUSAL_NAMES: [&str; 17] = [
    "client_not_allowed",
    "connections_per_client",
    "credentials_missing",
    "credentials_wrong",
    "client_certificate",
    "port_not_allowed",
    "denied_by_rule",
    "address_closed",
    "own_listener",
    "admin_listener",
    "rate_limit",
    "forward_auth",
    "http2_abuse",
    "wish",
    "quota",
    "brute_force",
    "other",
];

/// The index of a name in [`FAILURE_NAMES`]. In a `const`, a name that is not there does not
/// compile:
///
/// ```
/// const REFUSED: u8 = telemetry::failure_index("connection_refused").unwrap();
/// # assert_eq!(telemetry::FAILURE_NAMES[REFUSED as usize], "connection_refused");
/// ```
pub const fn failure_index(name: &str) -> Option<u8> {
    index(&FAILURE_NAMES, name)
}

/// The index of a name in [`REFUSAL_NAMES`].
pub const fn refusal_index(name: &str) -> Option<u8> {
    index(&REFUSAL_NAMES, name)
}

const fn index(names: &[&str], name: &str) -> Option<u8> {
    let mut i = 0;
    while i < names.len() {
        if is_same(names[i].as_bytes(), name.as_bytes()) {
            return Some(i as u8);
        }
        i += 1;
    }
    None
}

/// `==` is not to be had in a `const fn`.
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_index() {
        for (i, name) in FAILURE_NAMES.iter().enumerate() {
            assert_eq!(failure_index(name), Some(i as u8));
        }
        for (i, name) in REFUSAL_NAMES.iter().enumerate() {
            assert_eq!(refusal_index(name), Some(i as u8));
        }
        assert_eq!(failure_index("dns"), None);
        assert_eq!(failure_index("dns_errors"), None);
        assert_eq!((FAILURE_NAMES.last(), REFUSAL_NAMES.last()), (Some(&"other"), Some(&"other")));
    }
}
