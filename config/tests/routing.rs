//! What routes and the marking of requests mean once they are checked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use tollgate_config::{
    ClusterId, Config, FieldEdits, ForwardFor, HeaderEdits, Http, PathChange, PathRewrite, PathSpelling, Redirect,
    Respond, Rewrite, Route, Scheme, Target, Trust, Underscores, ValueMatch, parse,
};

fn config() -> Config {
    let text = fs::read_to_string("tests/good/routing.yaml").unwrap();
    parse(&text, Path::new("proxy.yaml")).unwrap_or_else(|faults| panic!("{faults}"))
}

fn routes(config: &Config) -> &[Route] {
    &config.listeners[0].routes
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_target_without_weight_is_left_out_and_one_alone_is_no_split() {
    let config = config();

    assert_eq!(routes(&config)[0].target, Target::Split(vec![(ClusterId(0), 90), (ClusterId(1), 10)]));
    assert_eq!(routes(&config)[3].target, Target::Cluster(ClusterId(0)));
    assert_eq!(config.clusters[2].name, "127.0.0.1:80");
}

#[test]
fn a_route_may_ask_for_a_value_an_expression_presence_or_absence() {
    let config = config();
    let matcher = &routes(&config)[0].matcher;

    let [(a, equal), (b, regex), (c, present)] = matcher.headers.as_slice() else { panic!("{matcher:?}") };
    let [(escaped, value), (d, absent)] = matcher.query.as_slice() else { panic!("{matcher:?}") };

    assert_eq!([a, b, c, escaped, d], ["x-a", "x-b", "x-c", "a b", "d"]);
    assert!(matches!(equal, ValueMatch::Equal(text) if text == "b") && matches!(present, ValueMatch::Present));
    assert!(matches!(regex, ValueMatch::Regex(regex) if regex.is_match("v12") && !regex.is_match("v12x")));
    assert!(matches!(value, ValueMatch::Equal(text) if text == "c") && matches!(absent, ValueMatch::Absent));
}

#[test]
fn a_rewrite_takes_the_place_of_what_the_route_matches() {
    let config = config();
    let rewrite = |route: usize| routes(&config)[route].rewrite.as_deref().unwrap();

    let Rewrite { path: Some(PathRewrite::Change(prefix)), host } = rewrite(1) else { panic!("{:?}", rewrite(1)) };
    assert_eq!(*prefix, PathChange::Prefix { matched: "/v1".to_owned(), with: "/api/v1".to_owned() });
    assert_eq!(host.as_deref(), Some("app.local:8080"));
    let Some(PathRewrite::Regex { pattern, with }) = &rewrite(2).path else { panic!("{:?}", rewrite(2)) };
    assert_eq!((pattern.as_str(), with.as_str()), ("^/users/([0-9]+)", "/u/$1"));
    assert!(matches!(&rewrite(3).path, Some(PathRewrite::Change(PathChange::Whole(path))) if path == "/new/"));
}

#[test]
fn a_route_answers_or_sends_clients_elsewhere() {
    let config = config();
    let target = |route: usize| &routes(&config)[route].target;

    let down = Respond { status: 503, headers: vec![pair("retry-after", "60")], body: "back soon\n".to_owned() };
    assert_eq!(*target(4), Target::Respond(Box::new(down)));
    let moved = Redirect {
        status: 308,
        scheme: Some(Scheme::Https),
        host: Some("www.example.com".to_owned()),
        port: Some(8443),
        path: None,
    };
    assert_eq!(*target(6), Target::Redirect(Box::new(moved)));
    let prefix = PathChange::Prefix { matched: "/docs".to_owned(), with: "/manual".to_owned() };
    assert!(matches!(target(7), Target::Redirect(said) if said.status == 302 && said.path == Some(prefix)));
    let whole = Some(PathChange::Whole("/".to_owned()));
    assert!(matches!(target(8), Target::Redirect(said) if said.path == whole));
}

#[test]
fn a_route_has_bounds_of_its_own_where_they_are_written() {
    let config = config();
    let bounds = |route: usize| {
        let Route { idle_timeout, request_timeout, stream, .. } = routes(&config)[route];
        (idle_timeout, request_timeout, stream)
    };

    assert_eq!(bounds(1), (Some(Duration::from_secs(90)), Some(Duration::from_secs(3600)), false));
    assert_eq!((bounds(2), bounds(3)), ((None, None, true), (None, None, false)));
}

#[test]
fn headers_are_changed_by_listeners_and_by_routes() {
    let config = config();
    let listener = &config.listeners[0];

    let response = FieldEdits {
        remove: vec!["server".to_owned(), "x-powered-by".to_owned()],
        set: Vec::new(),
        add: vec![pair("vary", "origin")],
    };
    let request = FieldEdits { set: vec![pair("x-edge", "1")], ..FieldEdits::default() };
    assert_eq!(listener.headers, HeaderEdits { request, response });
    let own = listener.routes[0].headers.as_deref().unwrap();
    assert_eq!(own.request.add, [pair("x-canary", "tollgate-config")]);
    assert_eq!(listener.routes[1].headers, None);
}

#[test]
fn requests_are_marked_as_is_said_and_nobody_is_trusted_otherwise() {
    let config = config();
    let http = |listener: usize| &config.listeners[listener].http;

    let Http { forwarded, request_ids, via, underscores, path } = http(0);
    assert_eq!((forwarded.fields, forwarded.standard), (ForwardFor::Replace, true));
    assert_eq!((*request_ids, *via, *underscores, *path), (false, true, Underscores::Drop, PathSpelling::Keep));
    let Trust::Networks(networks) = &forwarded.trust else { panic!("{forwarded:?}") };
    let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]);
    assert_eq!(*http(1), Http::default());
    assert_eq!((&http(1).forwarded.trust, http(1).request_ids, http(1).via), (&Trust::Nobody, true, false));
    assert_eq!(http(2).forwarded.trust, Trust::Hops(2));
}

#[test]
fn a_hundred_thousand_routes_are_read() {
    let mut text = String::from("listen: 127.0.0.1:0\nroutes:\n");
    for number in 0..100_000 {
        text.push_str(&format!("- {{ name: route-{number}, match: {{ host: svc-{number}.example.com, path: /v1/{number} }}, to: 'http://10.0.0.1:80' }}\n"));
    }

    let config = parse(&text, Path::new("proxy.yaml")).unwrap_or_else(|faults| panic!("{faults}"));

    assert_eq!((config.listeners[0].routes.len(), config.clusters.len()), (100_000, 1));
}
