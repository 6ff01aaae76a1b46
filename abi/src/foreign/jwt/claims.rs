//! The claims that are checked here: `exp`, `nbf`, `iss`, `aud`. All others are the guest's.

use serde::Deserialize;

use super::super::messages::JwtVerifyArguments;
use super::Refused;

/// How far clocks may differ.
const LEEWAY: f64 = 60.0;

/// What a token claims. A claim given twice is refused by the parser, so nobody can read another one than was checked.
#[derive(Deserialize)]
pub(super) struct Claims {
    /// RFC 7519, section 2: a number of seconds, possibly with a fraction.
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    /// Whether the token counts at `now` and for what `args` names.
    pub(super) fn check(&self, args: &JwtVerifyArguments, now: u64) -> Result<(), Refused> {
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 stay exact for millions of years")]
        let now = now as f64;
        match self.exp {
            None if !args.without_expiry => return Err(Refused("the token has no exp")),
            // RFC 7519, section 4.1.4: not accepted on or after this time.
            Some(exp) if now >= exp + LEEWAY => return Err(Refused("the token is expired")),
            _ => {}
        }
        if self.nbf.is_some_and(|nbf| now < nbf - LEEWAY) {
            return Err(Refused("the token is not valid yet"));
        }
        if !args.issuers.is_empty() && !self.is_by(&args.issuers) {
            return Err(Refused("the issuer is not allowed"));
        }
        if !args.audiences.is_empty() && !self.is_for(&args.audiences) {
            return Err(Refused("the token is for another audience"));
        }
        Ok(())
    }

    fn is_by(&self, issuers: &[String]) -> bool {
        self.iss.as_ref().is_some_and(|iss| issuers.contains(iss))
    }

    fn is_for(&self, audiences: &[String]) -> bool {
        match &self.aud {
            None => false,
            Some(Audience::One(aud)) => audiences.contains(aud),
            Some(Audience::Many(all)) => all.iter().any(|aud| audiences.contains(aud)),
        }
    }
}
