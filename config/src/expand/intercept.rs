//! How connections are intercepted, with every key spelled.

use crate::file::intercept::{Intercept, Interception};
use crate::interception::Reach;

use super::or;

/// The long form; a mark has no default.
pub(super) fn filled(said: Intercept) -> Interception {
    let said = match said {
        Intercept::Alone(by) => Interception { spot: by.spot, by, reach: None, allow: None, mark: None },
        Intercept::With(said) => said,
    };
    Interception {
        reach: or(said.reach, Reach::default(), said.spot),
        allow: Some(said.allow.unwrap_or_default()),
        ..said
    }
}
