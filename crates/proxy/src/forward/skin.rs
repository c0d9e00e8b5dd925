//! Errors in the words of other gateways, for clients that were written for them.
//!
//! Status and fields are a vendor's as far as its documentation tells them; `Proxy-Status`
//! (RFC 9209) stands beside them in every skin. What a vendor has no word for keeps our status.

use config::Skin;

use crate::failure::{Failure, Kind};
use crate::respond::{Answer, proxy_status};

/// What a skin says of a failure: a status, and a vendor's code.
struct Words {
    status: u16,
    code: &'static str,
}

/// Puts an answer about a failure into the words of a vendor.
pub(crate) fn dress(answer: &mut Answer<'_>, failure: &Failure, skin: Skin) {
    let words = match skin {
        Skin::Native => return,
        Skin::BrightData => bright_data(failure),
        Skin::Oxylabs => oxylabs(failure.kind),
        Skin::Apify => apify(failure.kind),
    };
    answer.status = words.status;
    let detail = match &*failure.detail {
        "" => failure.kind.name().to_owned(),
        detail => clean(detail),
    };
    match skin {
        Skin::BrightData => {
            answer.fields.push(("x-brd-error", detail.into()));
            if words.code.is_empty() {
                return;
            }
            answer.fields.push(("x-brd-err-code", words.code.into()));
            let coded = format!("{}: {}", words.code, failure.detail);
            let status = proxy_status(&Failure { detail: coded.into(), ..failure.clone() });
            answer.fields.retain(|(name, _)| *name != "Proxy-Status");
            answer.fields.push(("Proxy-Status", status.into()));
        }
        // The field is theirs for errors of the gateway, and absent for those of the target.
        Skin::Oxylabs if is_ours(failure.kind) => {
            answer.fields.push(("X-Error-Description", detail.into()));
        }
        _ => {}
    }
}

/// Words of ours, fit for the value of a field.
fn clean(detail: &str) -> String {
    detail.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

/// Whether the gateway made the error, not the target or the way to it.
fn is_ours(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::RequestError
            | Kind::Denied
            | Kind::IpProhibited
            | Kind::Unauthenticated
            | Kind::RateLimited
            | Kind::WishRefused
            | Kind::QuotaExceeded
            | Kind::NoExit
            | Kind::ExitsUnavailable
            | Kind::ExitFailed
            | Kind::SessionLost
            | Kind::ConnectionLimit
            | Kind::InternalError
    )
}

fn bright_data(failure: &Failure) -> Words {
    let (status, code) = match failure.kind {
        Kind::Unauthenticated if failure.detail == crate::gate::NONE_SHOWN => (407, "client_10010"),
        Kind::Unauthenticated => (407, "client_10000"),
        Kind::NoExit => (400, "client_10061"),
        Kind::Denied if failure.detail == "port_not_allowed" => (403, "policy_20020"),
        Kind::Denied => (403, "client_10260"),
        Kind::IpProhibited => (403, "policy_20050"),
        Kind::RateLimited => (429, "client_10110"),
        Kind::QuotaExceeded => (502, "client_10100"),
        Kind::ClientGone => (499, "client_10140"),
        Kind::DnsError | Kind::DnsTimeout => (502, "target_40001"),
        kind => (kind.status(), ""),
    };
    Words { status, code }
}

fn oxylabs(kind: Kind) -> Words {
    let status = match kind {
        Kind::RequestError | Kind::WishRefused => 400,
        Kind::Denied | Kind::IpProhibited => 403,
        Kind::Unauthenticated | Kind::QuotaExceeded => 407,
        Kind::RateLimited => 429,
        Kind::NoExit | Kind::ExitsUnavailable | Kind::ExitFailed | Kind::SessionLost => 502,
        Kind::DnsError
        | Kind::DnsTimeout
        | Kind::ConnectionRefused
        | Kind::ConnectionTerminated => 503,
        Kind::ConnectionTimeout | Kind::IpUnroutable | Kind::Unavailable => 504,
        kind => kind.status(),
    };
    Words { status, code: "" }
}

fn apify(kind: Kind) -> Words {
    let status = match kind {
        Kind::ExitFailed | Kind::ExitsUnavailable | Kind::NoExit | Kind::SessionLost => 590,
        Kind::ProtocolError | Kind::ResponseHeadTooLarge => 592,
        Kind::DnsError | Kind::DnsTimeout => 593,
        Kind::ConnectionRefused => 594,
        Kind::ConnectionTerminated | Kind::ResponseIncomplete => 595,
        Kind::IpUnroutable
        | Kind::Unavailable
        | Kind::TlsProtocolError
        | Kind::TlsCertificateError
        | Kind::TlsAlert => 599,
        Kind::ConnectionTimeout | Kind::ReadTimeout | Kind::ResponseTimeout => 504,
        kind => kind.status(),
    };
    Words { status, code: "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dressed(kind: Kind, detail: &'static str, skin: Skin) -> (u16, Vec<(String, String)>) {
        let failure = Failure::with(kind, detail);
        let mut answer = Answer::of(&failure, None);
        dress(&mut answer, &failure, skin);
        let fields = answer.fields.iter().map(|(n, v)| ((*n).to_owned(), v.to_string())).collect();
        (answer.status, fields)
    }

    fn field(fields: &[(String, String)], name: &str) -> Option<String> {
        fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn without_a_skin_nothing_changes() {
        let (status, fields) = dressed(Kind::NoExit, "country", Skin::Native);
        assert_eq!((status, fields.len()), (502, 1));
        let status = field(&fields, "Proxy-Status").unwrap();
        assert_eq!(status, "bifrons; error=exit_not_found; details=\"country\"");
    }

    #[test]
    fn bright_data_has_codes_and_proxy_status() {
        let (status, fields) = dressed(Kind::NoExit, "country", Skin::BrightData);
        assert_eq!(status, 400);
        assert_eq!(field(&fields, "x-brd-err-code").as_deref(), Some("client_10061"));
        let status = field(&fields, "Proxy-Status").unwrap();
        assert_eq!(status, "bifrons; error=exit_not_found; details=\"client_10061: country\"");
        assert_eq!(fields.iter().filter(|(name, _)| name == "Proxy-Status").count(), 1);
        assert_eq!(dressed(Kind::QuotaExceeded, "", Skin::BrightData).0, 502);
    }

    #[test]
    fn oxylabs_tells_errors_of_the_gateway_from_those_of_targets() {
        let (status, fields) = dressed(Kind::QuotaExceeded, "quota of the day", Skin::Oxylabs);
        assert_eq!(status, 407);
        assert_eq!(field(&fields, "X-Error-Description").as_deref(), Some("quota of the day"));
        let (status, fields) = dressed(Kind::ConnectionRefused, "", Skin::Oxylabs);
        assert_eq!((status, field(&fields, "X-Error-Description")), (503, None));
    }

    #[test]
    fn apify_has_statuses_of_its_own() {
        assert_eq!(dressed(Kind::DnsError, "", Skin::Apify).0, 593);
        assert_eq!(dressed(Kind::ConnectionRefused, "", Skin::Apify).0, 594);
        assert_eq!(dressed(Kind::ExitFailed, "", Skin::Apify).0, 590);
    }
}
