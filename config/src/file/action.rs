//! What a route does besides passing exchanges on, and what it changes of them, as it is said.
//! Values that cannot be sent are refused by their own types.

use regex::Regex;

use crate::bound::Count;
use crate::file::at::At;
use crate::file::read::{Named, mapping};
use crate::file::rule;
use crate::filter::{Authority, FieldValue};
use crate::route::{EditedName, HostName, Moved, Scheme, SentPath};

mapping! {
    /// A condition on a header or a query parameter.
    #[schemars(extend("oneOf" = [{ "required": ["regex"] }, { "required": ["present"] }]))]
    Test, "a condition" {
        /// An expression that is found in the value.
        "regex" => regex: Option<At<Regex>>,
        /// Whether it is there at all.
        "present" => present: Option<At<bool>>,
    }
    later []
    rule rule::of_condition
}

mapping! {
    /// An answer that the route gives itself.
    Respond, "an answer" {
        /// The status.
        "status" => status: At<Count<200, 599>>,
        /// Headers with their values.
        "headers" => headers: Option<Named<EditedName, At<FieldValue>>>,
        /// The body as text.
        "body" => body: Option<At<String>>,
    }
    later []
}

mapping! {
    /// Another place that clients are sent to; what is not written stays as they asked for it, and so does the query.
    #[schemars(extend("anyOf" = [
        { "required": ["scheme"] }, { "required": ["host"] }, { "required": ["port"] },
        { "required": ["path"] }, { "required": ["prefix"] },
    ]))]
    Redirect, "a redirect" {
        /// The scheme.
        "scheme" => scheme: Option<At<Scheme>>,
        /// The host, without a port.
        "host" => host: Option<At<HostName>>,
        /// The port; the usual one of the scheme where a scheme or a host is written.
        "port" => port: Option<At<Count<1, 65535>>>,
        /// The whole path.
        "path" => path: Option<At<SentPath>>,
        /// What stands in place of the path that the route matches.
        "prefix" => prefix: Option<At<SentPath>>,
        /// 301, 302, 303, 307 or 308; 302 unless written.
        "status" => status: Option<At<Moved>>,
    }
    later []
    rule rule::of_redirect
}

mapping! {
    /// What the upstream is asked for instead.
    #[schemars(extend("anyOf" = [{ "required": ["path"] }, { "required": ["regex"] }, { "required": ["host"] }]))]
    Rewrite, "a rewrite" {
        /// What stands in place of the path that the route matches.
        "path" => path: Option<At<SentPath>>,
        /// What stands in place of whatever an expression finds in the path.
        "regex" => regex: Option<Replacement>,
        /// The host, perhaps with a port.
        "host" => host: Option<At<Authority>>,
    }
    later []
    rule rule::of_rewrite
}

mapping! {
    /// An expression with what stands in place of all it finds.
    Replacement, "a rewrite by expression" {
        /// The expression.
        "pattern" => pattern: At<Regex>,
        /// The text in its place, with `$1` for its first group.
        "with" => with: At<String>,
    }
    later []
}

mapping! {
    /// Headers that are changed after the filters, both ways.
    HeaderEdits, "headers" {
        /// Those of requests, as the upstream gets them.
        "request" => request: Option<Edits>,
        /// Those of answers, as the client gets them.
        "response" => response: Option<Edits>,
    }
    later []
}

mapping! {
    /// Headers that are changed: first removed, then set, then added.
    Edits, "changes of headers" {
        /// Headers with the only value that they have from then on.
        "set" => set: Option<Named<EditedName, At<FieldValue>>>,
        /// Headers with a value that they have in addition.
        "add" => add: Option<Named<EditedName, At<FieldValue>>>,
        /// Headers that go.
        "remove" => remove: Option<Vec<At<EditedName>>>,
    }
    later []
}
