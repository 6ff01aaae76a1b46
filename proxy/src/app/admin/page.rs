//! Which page of the admin endpoints a request is for, and how it is asked for. Nothing is answered here.

use crate::percent;

/// What `/` and every unknown path say.
pub(super) const ENDPOINTS: &str = "\
GET  /live                     200 while every worker comes round, 503 with the ones that are stuck
GET  /ready                    200 when it takes traffic, 503 with the reason when not; ?verbose says more
GET  /metrics                  Prometheus text; also at /stats/prometheus
GET  /config_dump              the configuration in its long form, secrets redacted
GET  /clusters                 every endpoint with its health; ?text for people
GET  /filters                  every filter; ?text for people
GET  /filters/NAME             all about one: generations, workers, last error, history; ?text for people
PUT  /filters/NAME/module      makes the module in the body ready, which changes nothing yet
POST /filters/NAME/promote     the uploaded module serves, or else the canary
POST /filters/NAME/canary      the uploaded module is tried with ?share=5% of exchanges
POST /filters/NAME/rollback    the canary goes, or else the generation before serves again
POST /reload                   reads the configuration and every module again

promote and canary take ?sha256=DIGEST, and then do nothing when another module was uploaded meanwhile.
";

/// One of the endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// The list of all.
    Root,
    /// Whether the process lives.
    Live,
    /// Whether it takes traffic.
    Ready,
    /// What it counts.
    Metrics,
    /// What it runs with.
    ConfigDump,
    /// Every endpoint.
    Clusters,
    /// Every plugin.
    Filters,
    /// One plugin.
    Filter(String),
    /// Something to be done.
    Change(Change),
}

/// What can be asked to be done, most of it to a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The body is a module for it.
    Upload(String),
    /// What was uploaded serves.
    Promote(String),
    /// What was uploaded is tried.
    Canary(String),
    /// What served before serves again.
    Rollback(String),
    /// Everything is read again.
    Reload,
}

/// Whom a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody who reaches the address: probes of health.
    Open,
    /// Operators who look.
    Read,
    /// Operators who change something.
    Change,
}

impl Page {
    /// The page of a path; names in it may be percent-encoded.
    pub(super) fn of(path: &str) -> Option<Self> {
        let parts: Vec<_> = path.strip_prefix('/')?.split('/').collect();
        let name = |text: &str| percent::decoded(text.as_bytes());
        Some(match parts.as_slice() {
            [""] => Self::Root,
            ["live"] => Self::Live,
            ["ready"] => Self::Ready,
            ["metrics"] | ["stats", "prometheus"] => Self::Metrics,
            ["config_dump"] => Self::ConfigDump,
            ["clusters"] => Self::Clusters,
            ["filters"] => Self::Filters,
            ["filters", filter] => Self::Filter(name(filter)),
            ["filters", filter, "module"] => Self::Change(Change::Upload(name(filter))),
            ["filters", filter, "promote"] => Self::Change(Change::Promote(name(filter))),
            ["filters", filter, "canary"] => Self::Change(Change::Canary(name(filter))),
            ["filters", filter, "rollback"] => Self::Change(Change::Rollback(name(filter))),
            ["reload"] => Self::Change(Change::Reload),
            _ => return None,
        })
    }

    /// The methods that it takes, as `allow` lists them.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Change(Change::Upload(_)) => "PUT",
            Self::Change(_) => "POST",
            _ => "GET, HEAD",
        }
    }

    /// Whom it is for.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Live | Self::Ready => Access::Open,
            Self::Change(_) => Access::Change,
            _ => Access::Read,
        }
    }
}

/// The value of a parameter of a query, decoded; a percent sign may come as it is. The first one counts.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut words = query?.split('&').map(|word| word.split_once('=').unwrap_or((word, "")));
    words.find(|(known, _)| *known == name).map(|(_, value)| percent::decoded(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_is_encoded_in_a_path() {
        assert_eq!(Page::of("/filters/a%2Fb"), Some(Page::Filter("a/b".to_owned())));
        assert_eq!(Page::of("/filters/a%2fb/promote"), Some(Page::Change(Change::Promote("a/b".to_owned()))));
        assert_eq!(Page::of("/filters/a/b"), None);
    }

    #[test]
    fn a_path_that_is_almost_one_is_none() {
        for path in ["", "*", "live", "/live/", "//live", "/filters/a/module/", "/reload/a", "/Live"] {
            assert_eq!(Page::of(path), None, "{path}");
        }
    }

    #[test]
    fn a_share_may_have_its_sign_encoded_or_not() {
        for query in ["share=5%", "share=5%25", "text&share=5%25&share=6%"] {
            assert_eq!(parameter(Some(query), "share").as_deref(), Some("5%"), "{query}");
        }
        assert_eq!(parameter(Some("text"), "text").as_deref(), Some(""));
        assert_eq!(parameter(Some("shares=5%"), "share"), None);
        assert_eq!(parameter(None, "share"), None);
    }
}
