//! The host that a connection asks for: seldom another one than the last time, so that it is taken apart once.

use std::cell::RefCell;

use bytes::Bytes;
use http::HeaderValue;
use http::uri::Authority;

use crate::error::Reason;

/// The host that was asked for last, as a field and as an authority.
#[derive(Debug, Default)]
pub struct Host(RefCell<Option<(HeaderValue, Authority)>>);

impl Host {
    /// What a Host field or `:authority` names.
    ///
    /// # Errors
    /// For what is no host with a port, or without.
    pub fn authority(&self, text: &[u8]) -> Result<Authority, Reason> {
        if let Some((_, authority)) = self.0.borrow().as_ref().filter(|(known, _)| known == text) {
            return Ok(authority.clone());
        }
        // A copy, because a connection must not keep the buffer that it was read into.
        let text = Bytes::copy_from_slice(text);
        let invalid = || Reason::BadRequest("host_invalid");
        let authority = Authority::from_maybe_shared(text.clone()).map_err(|_| invalid())?;
        let authority = super::checked(authority)?;
        let field = HeaderValue::from_maybe_shared(text).map_err(|_| invalid())?;
        self.0.replace(Some((field, authority.clone())));
        Ok(authority)
    }

    /// An authority as a field has it. None of its bytes is one that a field cannot have.
    pub fn field(&self, authority: &Authority) -> Option<HeaderValue> {
        match &*self.0.borrow() {
            Some((field, _)) if field == authority.as_str() => Some(field.clone()),
            _ => HeaderValue::from_str(authority.as_str()).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_alternate_are_told_apart_and_refused_ones_are_not_remembered() {
        let host = Host::default();
        for text in ["a", "a", "A", "a:1", "a"] {
            let authority = host.authority(text.as_bytes()).unwrap();
            assert_eq!((authority.as_str(), host.field(&authority).unwrap().to_str().unwrap()), (text, text));
        }
        for text in ["u@a", "a b", ""] {
            let refused = [(); 2].map(|()| host.authority(text.as_bytes()).is_err());
            assert_eq!(refused, [true, true], "{text}");
        }
        assert_eq!(host.field(&Authority::from_static("b:2")).unwrap(), "b:2");
    }
}
