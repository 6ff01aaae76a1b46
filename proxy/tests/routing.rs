//! Which route a request takes, asked over real sockets. What a route does with it is asked elsewhere.

#[path = "common/common.rs"]
mod common;

use common::client::Client;
use common::h2;
use common::origin::Origin;
use common::proxy::TestProxy;

/// A route to an origin that answers with its name.
struct Named {
    origins: Vec<Origin>,
    routes: String,
}

impl Named {
    /// Routes in this order; each is a name and its match in YAML's flow style.
    fn routes(list: &[(&str, &str)]) -> Named {
        let mut named = Named { origins: Vec::new(), routes: String::new() };
        for (name, matcher) in list {
            let origin = Origin::saying(name);
            named.routes.push_str(&format!("- {{ name: {name}, match: {matcher}, to: {:?} }}\n", origin.url()));
            named.origins.push(origin);
        }
        named
    }

    fn proxy(&self) -> TestProxy {
        TestProxy::with(&format!("routes:\n{}", self.routes))
    }
}

/// Who answers a request with these first lines.
fn who(proxy: &TestProxy, start: &str, host: &str) -> String {
    let answer = proxy.send(format!("{start} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
    if answer.status() == 200 { answer.text().to_owned() } else { answer.status().to_string() }
}

#[test]
fn the_most_specific_path_wins_whatever_the_order() {
    let named = Named::routes(&[
        ("regex", "{ regex: \"^/v[0-9]+/x\" }"),
        ("all", "{ path: / }"),
        ("prefix", "{ path: /v1 }"),
        ("longer", "{ path: /v1/long }"),
        ("exact", "{ exact: /v1/long/one }"),
    ]);
    let proxy = named.proxy();

    let asked = ["/v1/long/one", "/v1/long/two", "/v1", "/v1/x", "/v1x", "/"];
    let answers = asked.map(|path| who(&proxy, &format!("GET {path}"), "a"));

    assert_eq!(answers, ["exact", "longer", "prefix", "prefix", "all", "all"]);
}

#[test]
fn a_host_wins_over_a_path_and_an_exact_host_over_a_wildcard() {
    let named = Named::routes(&[
        ("any", "{ exact: /x }"),
        ("wide", "{ host: \"*.example.com\" }"),
        ("narrow", "{ host: \"*.a.example.com\" }"),
        ("exact", "{ host: b.a.example.com }"),
    ]);
    let proxy = named.proxy();

    let hosts = ["b.a.example.com", "c.a.example.com", "c.example.com", "example.com"];
    let answers = hosts.map(|host| who(&proxy, "GET /x", host));

    assert_eq!(answers, ["exact", "narrow", "wide", "any"]);
}

#[test]
fn neither_the_port_nor_the_case_of_a_host_matters() {
    let named = Named::routes(&[("app", "{ host: app.example.com }")]);
    let proxy = named.proxy();

    let answers =
        ["app.example.com:8080", "APP.Example.COM", "app.example.com:"].map(|host| who(&proxy, "GET /", host));

    assert_eq!(answers, ["app", "app", "app"]);
}

#[test]
fn the_host_of_an_absolute_target_replaces_the_field() {
    let named = Named::routes(&[("one", "{ host: one.example }"), ("two", "{ host: two.example }")]);
    let proxy = named.proxy();

    let answer = who(&proxy, "GET http://one.example/", "two.example");

    assert_eq!(answer, "one");
    assert_eq!(named.origins[0].request().field("host"), Some("one.example"));
}

#[test]
fn method_header_and_query_narrow_a_match() {
    let named = Named::routes(&[
        ("all", "{ path: / }"),
        ("post", "{ path: /, method: [POST, PUT] }"),
        ("header", "{ path: /, headers: { x-tier: gold } }"),
        ("query", "{ path: /, query: { v: \"2\" } }"),
    ]);
    let proxy = named.proxy();

    let plain = who(&proxy, "GET /", "a");
    let put = who(&proxy, "PUT /", "a");
    let gold = proxy.ask("/", "x-tier: gold\r\n");
    let silver = proxy.ask("/", "x-tier: silver\r\n");
    let second = who(&proxy, "GET /?a=1&v=2", "a");

    assert_eq!((plain.as_str(), put.as_str(), second.as_str()), ("all", "post", "query"));
    assert_eq!((gold.text(), silver.text()), ("header", "all"));
}

#[test]
fn of_two_equal_routes_the_first_written_wins() {
    let named = Named::routes(&[("first", "{ regex: \"^/a\" }"), ("second", "{ regex: \"a$\" }")]);
    let proxy = named.proxy();

    let answer = who(&proxy, "GET /a", "x");

    assert_eq!(answer, "first");
}

#[test]
fn no_route_is_answered_with_404_and_the_connection_stays() {
    let named = Named::routes(&[("a", "{ path: /a }")]);
    let proxy = named.proxy();
    let mut client = proxy.client();

    client.send("GET /b HTTP/1.1\r\nhost: x\r\n\r\n");
    let lost = client.answer();
    client.send("GET /a HTTP/1.1\r\nhost: x\r\n\r\n");
    let found = client.answer();

    assert_eq!((lost.status(), lost.text()), (404, "tollgate: 404 not found\n"));
    assert_eq!((found.status(), found.text()), (200, "a"));
}

#[test]
fn every_listener_has_its_own_routes() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let proxy = TestProxy::with(&format!(
        "listeners:\n\
         - {{ name: first, listen: \"127.0.0.1:0\", routes: [{{ to: {:?} }}] }}\n\
         - {{ name: second, listen: \"[::1]:0\", routes: [{{ match: {{ path: /two }}, to: {:?} }}] }}\n",
        one.url(),
        two.url()
    ));
    let ask = |listener: &str, path: &str| {
        let mut client = Client::connect(proxy.address_of(listener));
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        client.answer()
    };

    let answers = [ask("first", "/two"), ask("second", "/two"), ask("second", "/one")];

    assert_eq!([answers[0].text(), answers[1].text()], ["one", "two"]);
    assert_eq!(answers[2].status(), 404);
    proxy.counts("tollgate_connections_total", &["listener=\"second\""], 2.0);
}

#[test]
fn http2_requests_are_routed_by_authority() {
    let named = Named::routes(&[("one", "{ host: one.example }"), ("test", "{ host: test }")]);
    let proxy = named.proxy();

    let answer = h2::exchange(proxy.address(), h2::get("/a?b=c"));

    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"test"[..]));
    let request = named.origins[1].request();
    assert_eq!(request.start, "GET /a?b=c HTTP/1.1");
    assert_eq!(request.field("host"), Some("test"));
}

#[test]
fn several_workers_serve_one_address() {
    for balance in ["kernel", "even"] {
        let proxy = TestProxy::with(&format!(
            "workers: 3\nlisteners: [{{ name: l, listen: \"127.0.0.1:0\", balance: {balance}, routes: [{{ to: echo }}] }}]"
        ));
        let mut clients: Vec<_> = (0..12).map(|_| proxy.client()).collect();

        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        }

        let statuses: Vec<_> = clients.iter_mut().map(|client| client.answer().status()).collect();
        assert_eq!(statuses, [200; 12]);
        proxy.counts("tollgate_http_requests_total", &["class=\"2xx\""], 12.0);
    }
}
