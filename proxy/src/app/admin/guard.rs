//! Who is answered: which names a request may come by, what it has to say, and which pages in browsers may not ask.
//!
//! | the address is | `/live`, `/ready` | other reading | changes |
//! |---|---|---|---|
//! | loopback | a name of this machine | a name of this machine | that, and the token where there is one |
//! | beyond loopback | any name | the token | the token |
//!
//! Names keep out pages that point a name of their own here (DNS rebinding); whoever says the token may use any name.
//! A change that a browser says comes from another site is refused in any case, for browsers send those by themselves.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderValue, Request, StatusCode};
use tollgate_config::Token;

use super::page::Access;

/// Where a browser says from where it asks.
const FETCH_SITE: &str = "sec-fetch-site";

/// What decides.
#[derive(Debug)]
pub(super) struct Guard<'a> {
    /// Where the endpoints are.
    pub(super) bound: Option<SocketAddr>,
    /// What has to be said.
    pub(super) token: Option<&'a Token>,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It comes by a name that may be anybody's.
    Name,
    /// A page of another site sends it.
    Site,
    /// It does not say the token.
    Token,
}

impl Denied {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Name | Self::Site => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Name => {
                "admin answers only requests to localhost, a loopback address or the address it is bound to\n"
            }
            Self::Site => "admin takes no changes that a page of another site asks for\n",
            Self::Token => "admin wants its token: authorization: Bearer TOKEN\n",
        }
    }
}

impl Guard<'_> {
    /// Whether a page for `access` is answered.
    pub(super) fn check(&self, request: &Request<()>, access: Access) -> Result<(), Denied> {
        let says_token = self.token.is_some_and(|token| says(request, token));
        let beyond = self.is_beyond_loopback();
        let open = access == Access::Open && beyond;
        if !says_token && !open && !names_this_machine(request, self.bound) {
            return Err(Denied::Name);
        }
        if access == Access::Change && is_foreign(request) {
            return Err(Denied::Site);
        }
        let wants_token = match access {
            Access::Open => false,
            Access::Read => beyond,
            Access::Change => beyond || self.token.is_some(),
        };
        if wants_token && !says_token { Err(Denied::Token) } else { Ok(()) }
    }

    /// True when others than this machine may reach the address, or nobody knows.
    fn is_beyond_loopback(&self) -> bool {
        self.bound.is_none_or(|bound| !bound.ip().to_canonical().is_loopback())
    }
}

/// Whether the request says the token, once.
fn says(request: &Request<()>, token: &Token) -> bool {
    let Some(said) = only(request, AUTHORIZATION) else { return false };
    let Some((scheme, said)) = said.as_bytes().split_at_checked("bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && token.matches(said.trim_ascii())
}

/// Whether a browser says that a page of another origin asks.
fn is_foreign(request: &Request<()>) -> bool {
    let own = authority(request);
    let is_ours = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        origin.zip(own.as_ref()).is_some_and(|((_, origin), own)| origin.eq_ignore_ascii_case(own.as_str()))
    };
    let is_here = |site: &HeaderValue| site == "same-origin" || site == "none";
    let fields = request.headers();
    !fields.get_all(ORIGIN).iter().all(is_ours) || !fields.get_all(FETCH_SITE).iter().all(is_here)
}

/// Whether the request names this machine in a way that no foreign DNS entry can.
///
/// The port is not compared: forwarded ports differ from the bound one.
fn names_this_machine(request: &Request<()>, bound: Option<SocketAddr>) -> bool {
    let Some(authority) = authority(request) else { return false };
    let host = authority.host();
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    address.to_canonical().is_loopback() || bound.is_some_and(|bound| bound.ip() == address)
}

/// What the request is sent to; an absolute target counts in place of the field.
fn authority(request: &Request<()>) -> Option<Authority> {
    let field = only(request, HOST);
    if field.is_none() && request.headers().contains_key(HOST) {
        return None;
    }
    let of_field = || field.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    request.uri().authority().cloned().or_else(of_field)
}

/// The value of a field that is there once.
fn only(request: &Request<()>, name: http::HeaderName) -> Option<&HeaderValue> {
    let mut values = request.headers().get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 9901);
    const BEYOND: ([u8; 4], u16) = ([192, 0, 2, 7], 9901);
    const TOKEN: &str = "0123456789abcdef";

    fn checked(bound: ([u8; 4], u16), token: bool, access: Access, fields: &[(&str, &str)]) -> Result<(), Denied> {
        let token = token.then(|| Token::new(TOKEN.into()).unwrap());
        let request =
            fields.iter().fold(Request::builder().uri("/"), |request, (name, value)| request.header(*name, *value));
        let guard = Guard { bound: Some(bound.into()), token: token.as_ref() };
        guard.check(&request.body(()).unwrap(), access)
    }

    #[test]
    fn the_bound_address_is_a_name_of_this_machine() {
        let host = |host| [("host", host), ("authorization", "Bearer no")];

        assert_eq!(checked(BEYOND, true, Access::Read, &host("192.0.2.7:1")), Err(Denied::Token));
        assert_eq!(checked(BEYOND, true, Access::Read, &host("192.0.2.8:1")), Err(Denied::Name));
    }

    #[test]
    fn whoever_says_the_token_may_use_any_name() {
        for bound in [LOOPBACK, BEYOND] {
            for access in [Access::Open, Access::Read, Access::Change] {
                for says in ["Bearer 0123456789abcdef", "bearer  0123456789abcdef"] {
                    let fields = [("host", "proxy.example"), ("authorization", says)];

                    assert_eq!(checked(bound, true, access, &fields), Ok(()), "{bound:?} {access:?} {says}");
                }
            }
        }
    }

    #[test]
    fn probes_beyond_loopback_need_no_name_and_no_token() {
        assert_eq!(checked(BEYOND, true, Access::Open, &[("host", "pod.example")]), Ok(()));
        assert_eq!(checked(LOOPBACK, true, Access::Open, &[("host", "pod.example")]), Err(Denied::Name));
    }

    #[test]
    fn on_loopback_the_token_is_for_changes() {
        let host = [("host", "localhost")];

        assert_eq!(checked(LOOPBACK, true, Access::Read, &host), Ok(()));
        assert_eq!(checked(LOOPBACK, true, Access::Change, &host), Err(Denied::Token));
        assert_eq!(checked(LOOPBACK, false, Access::Change, &host), Ok(()));
    }

    #[test]
    fn a_token_that_is_not_said_as_it_should_be_is_none() {
        for says in ["", "Bearer", "Bearer ", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer 0123456789abcdeF"] {
            let fields = [("host", "localhost"), ("authorization", says)];

            assert_eq!(checked(LOOPBACK, true, Access::Change, &fields), Err(Denied::Token), "{says}");
        }
        let twice =
            [("host", "localhost"), ("authorization", "Bearer 0123456789abcdef"), ("authorization", "Bearer x")];
        assert_eq!(checked(LOOPBACK, true, Access::Change, &twice), Err(Denied::Token));
    }

    #[test]
    fn pages_of_other_sites_change_nothing_even_with_the_token() {
        let said =
            |name, value| [("host", "localhost:9901"), ("authorization", "Bearer 0123456789abcdef"), (name, value)];

        for (name, value) in [
            ("origin", "http://evil.example"),
            ("origin", "http://localhost:3000"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let fields = said(name, value);

            assert_eq!(checked(LOOPBACK, true, Access::Change, &fields), Err(Denied::Site), "{name}: {value}");
            assert_eq!(checked(LOOPBACK, true, Access::Read, &fields), Ok(()));
        }
        for (name, value) in
            [("origin", "http://localhost:9901"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]
        {
            assert_eq!(checked(LOOPBACK, true, Access::Change, &said(name, value)), Ok(()), "{name}: {value}");
        }
    }
}
