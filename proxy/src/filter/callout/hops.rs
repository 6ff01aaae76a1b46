//! The guard against callouts that come back as requests: each one carries how many led to it, one of another.
//!
//! Callouts that one exchange makes one after the other do not add up. What a guest says of the count on its callout is left
//! out. A client can claim a count, and hurts only itself: an exchange whose callout is refused for it is answered with 508,
//! whatever the filter makes of the refusal.

use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_abi::{CalloutRefusal, LocalResponse};

use crate::exchange::lent::Lent;

/// The field that carries the count, in decimal digits.
pub const HOPS: HeaderName = HeaderName::from_static("x-tollgate-callout-hops");

/// The most callouts in a row: more are taken for a loop.
pub const MOST: u8 = 4;

/// How many callouts led to a request. What is no number counts as too many.
pub fn of(fields: &HeaderMap) -> u8 {
    let number = |value: &HeaderValue| value.to_str().ok()?.parse::<u8>().ok();
    fields.get_all(HOPS).iter().map(|value| number(value).unwrap_or(u8::MAX)).max().unwrap_or(0)
}

/// How many callouts led to an exchange; a connection does not say.
pub fn of_lent(lent: &Lent) -> u8 {
    match lent {
        Lent::Http(stream) => stream.facts.hops,
        Lent::Tcp(_) => 0,
    }
}

/// Whatever the guest makes of a callout that was refused because it goes round, this exchange goes no further.
pub fn end_loop(lent: &mut Lent) {
    if let Lent::Http(stream) = lent
        && stream.may_respond
    {
        let holder = stream.holder;
        stream.wishes.respond.get_or_insert_with(|| Box::new((holder, loop_detected())));
    }
}

/// What the next callout carries, after `hops` of them.
pub fn next(hops: u8) -> Result<u8, CalloutRefusal> {
    match hops {
        0..MOST => Ok(hops + 1),
        _ => Err(CalloutRefusal::Invalid(format!("{MOST} callouts led to this one already, which looks like a loop"))),
    }
}

/// What the client gets whose exchange would go round: RFC 5842 §7.2.
fn loop_detected() -> LocalResponse {
    LocalResponse {
        status: 508,
        details: b"callout_loop".to_vec(),
        headers: Vec::new(),
        body: b"tollgate: 508 loop detected\n".to_vec(),
        grpc_status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(values: &[&str]) -> u8 {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(HOPS, value.parse().unwrap());
        }
        of(&fields)
    }

    #[test]
    fn the_largest_count_holds_and_nonsense_is_too_many() {
        assert_eq!(hops(&[]), 0);
        assert_eq!(hops(&["3", "1"]), 3);
        for nonsense in ["", "-1", "256", "one", "1, 2", "1e1"] {
            assert_eq!(hops(&["1", nonsense]), u8::MAX, "{nonsense}");
        }
    }

    #[test]
    fn the_fourth_hop_is_the_last() {
        assert_eq!(next(0), Ok(1));
        assert_eq!(next(3), Ok(4));
        assert!(next(4).is_err() && next(u8::MAX).is_err());
    }
}
