//! What holds for every configuration: expanding is idempotent and keeps the meaning, and no text
//! stops the reading.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tollgate_config::{Config, expand, parse};

fn origin() -> &'static Path {
    Path::new("proxy.yaml")
}

/// Any configuration for a guest.
fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("JSON has no such number", |number| {
            serde_json::Number::from_f64(number).map(Value::from)
        }),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Any key without a `$`, which stands for itself in a key and not always in a text.
fn key() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|key| key.replace('$', "_"))
}

/// Any text, its `${` escaped so that it means itself.
fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "on", "no", "1", "1e3", "~", "", "$", "${", "$${", "- a", "a: b", "#", "\u{85}", "\u{feff}",
    ]);
    prop_oneof![any::<String>(), odd.prop_map(str::to_owned)].prop_map(|text| text.replace("${", "$${"))
}

fn keys(parts: Vec<(&'static str, Option<Value>)>) -> Value {
    let written = parts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(written.collect::<Map<_, _>>())
}

fn maybe<T: std::fmt::Debug + Clone>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(strategy)
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::sample::select(words).prop_map(Value::from)
}

fn filter() -> BoxedStrategy<Value> {
    let small = prop_oneof![data(), Just(json!({ "header": "x" })), Just(json!({ "header": "y" }))];
    let spent = (maybe(one_of(&["5ms", "10ms", "1000ms"])), maybe(one_of(&["64MiB", "1GiB", "100kB"])));
    let bounds = (maybe(one_of(&["off", "20%", "100.0%"])), maybe(one_of(&["off", "90%", "90.0%", "64KiB"])));
    let budget = (spent, bounds).prop_map(|((time, memory), (share, recycle))| {
        keys(vec![("time", time), ("memory", memory), ("recycle", recycle), ("share", share)])
    });
    let vm_id = maybe(text().prop_map(Value::from));
    let reach = (maybe(allow()), maybe(quota()), maybe(pauses()));
    let words = (maybe(on_error()), maybe(one_of(&["lenient", "strict"])));
    let parts = (module(), maybe(small), vm_id, words, maybe(budget), reach, swaps());
    parts
        .prop_map(|(module, config, vm_id, (on_error, errors), budget, (allow, quota, pauses), swaps)| {
            let mut filter = keys(vec![
                ("config", config),
                ("vm_id", vm_id),
                ("guest_errors", errors),
                ("on_error", on_error),
                ("budget", budget),
                ("allow", allow),
                ("quota", quota),
            ]);
            merge(&mut filter, pauses);
            merge(&mut filter, Some(module));
            merge(&mut filter, Some(swaps));
            filter
        })
        // What is not behind a pointer, a chain of filters multiplies on the stack.
        .boxed()
}

/// A module alone or with its rules, its hash behind its path or beside it.
fn module() -> impl Strategy<Value = Value> {
    let path = prop::sample::select(vec!["addh.wasm", "other/addh.wasm", "hdr.wasm", "my filter.wasm", "x.y.wasm"]);
    let hash = |digit: &str| digit.repeat(64);
    let pin =
        prop::sample::select(vec![String::new(), format!("@sha256:{}", hash("a")), format!("@sha256:{}", hash("A"))]);
    let key = maybe(prop::sample::select(vec![hash("a"), hash("A")]).prop_map(Value::from));
    let canary = maybe(
        one_of(&["next.wasm", "next.wasm@sha256:bad"])
            .prop_map(move |next| Value::from(next.as_str().unwrap_or_default().replace("bad", &"b".repeat(64)))),
    );
    let rules = (
        canary,
        maybe(one_of(&["5%", "5.0%", "0.5%"])),
        maybe(one_of(&["10m", "600s"])),
        maybe(Just(json!({ "failures": "1%" }))),
    );
    let rules = rules.prop_map(|(canary, share, after, rollback)| {
        keys(vec![("share", share), ("promote_after", after), ("rollback_on", rollback), ("canary", canary)])
    });
    (path, pin, key, maybe(rules)).prop_map(|(path, pin, sha256, rules)| {
        let stable = Value::from(format!("{path}{pin}"));
        let wasm = match rules {
            None => stable,
            Some(rules) => {
                let mut wasm = keys(vec![("stable", Some(stable))]);
                merge(&mut wasm, Some(rules));
                wasm
            }
        };
        keys(vec![("sha256", sha256), ("wasm", Some(wasm))])
    })
}

fn on_error() -> impl Strategy<Value = Value> {
    let policy = || one_of(&["deny", "skip"]);
    let each = (maybe(policy()), maybe(policy()), maybe(policy()), maybe(policy()));
    let each = each.prop_map(|(load, trap, deadline, memory)| {
        keys(vec![("memory", memory), ("load", load), ("trap", trap), ("deadline", deadline)])
    });
    prop_oneof![policy(), each]
}

/// How a filter is replaced; filters of one `vm_id` have to agree about `state`, so it is one word for all.
fn swaps() -> impl Strategy<Value = Value> {
    let path = maybe(one_of(&["/", "/a?b=c"]));
    let host = maybe(one_of(&["Api.Local", "api.local:80"]));
    let request = (path, host, maybe(text().prop_map(Value::from)))
        .prop_map(|(path, host, body)| keys(vec![("path", path), ("host", host), ("body", body)]));
    let expect = prop_oneof![
        Just(json!({ "status": 200 })),
        Just(json!({ "headers": { "X-A": "b" } })),
        Just(json!({ "upstream_headers": { "x-a": "b" }, "status": 403 })),
    ];
    let test = (maybe(request), expect)
        .prop_map(|(request, expect)| keys(vec![("expect", Some(expect)), ("request", request)]));
    let tests = prop::collection::vec(test, 0..3).prop_map(Value::from);
    (maybe(one_of(&["worker", "request"])), maybe(one_of(&["keep"])), maybe(tests)).prop_map(
        |(isolation, state, tests)| keys(vec![("isolation", isolation), ("selftest", tests), ("state", state)]),
    )
}

/// What a filter may reach, of the clusters that every generated configuration defines.
fn allow() -> impl Strategy<Value = Value> {
    let calls = prop::collection::vec(one_of(&["app", "grpc"]), 0..3).prop_map(Value::from);
    let resolve = prop::collection::vec(one_of(&["Idp.Local", "idp.local.", "*.Example.com", "*"]), 0..3);
    (maybe(calls), maybe(resolve.prop_map(Value::from)))
        .prop_map(|(calls, resolve)| keys(vec![("resolve", resolve), ("calls", calls)]))
}

fn quota() -> impl Strategy<Value = Value> {
    let sizes = (maybe(one_of(&["1024KiB", "1MiB", "16MiB"])), maybe(one_of(&["4096B", "1kB", "64KiB"])));
    let counts = (maybe(0u32..3), maybe(1u32..1_000_000), maybe(prop::sample::select(vec![0u32, 64, 1_000])));
    let timeout = maybe(one_of(&["5s", "5000ms", "300s"]));
    (sizes, counts, timeout).prop_map(|((data, line), (callouts, lines, properties), timeout)| {
        keys(vec![
            ("callout_timeout", timeout),
            ("shared_data", data),
            ("log_line", line),
            ("callouts", callouts.map(Value::from)),
            ("log_lines", lines.map(Value::from)),
            ("properties", properties.map(Value::from)),
        ])
    })
}

fn pauses() -> impl Strategy<Value = Value> {
    let abi = maybe(one_of(&["0.1.0", "0.2.0", "0.2.1"]));
    let timeout = maybe(one_of(&["60s", "1m", "1ms"]));
    let words = (maybe(one_of(&["message", "headers"])), maybe(one_of(&["skip", "call"])));
    (abi, timeout, words).prop_map(|(abi, timeout, (header_pause, empty_body))| {
        keys(vec![("abi", abi), ("pause_timeout", timeout), ("header_pause", header_pause), ("empty_body", empty_body)])
    })
}

/// Adds the keys of a mapping to another.
fn merge(into: &mut Value, from: Option<Value>) {
    if let (Value::Object(into), Some(Value::Object(from))) = (into, from) {
        into.extend(from);
    }
}

/// Names of filters that every generated configuration defines.
const FILTERS: &[&str] = &["hdr", "addh", "addh-2"];

fn chain() -> impl Strategy<Value = Value> {
    let entry = prop_oneof![
        one_of(FILTERS),
        (one_of(FILTERS), maybe(data())).prop_map(|(name, config)| keys(vec![("use", Some(name)), ("config", config)])),
        filter(),
    ];
    prop::collection::vec(entry, 0..4).prop_map(Value::from)
}

fn route() -> impl Strategy<Value = Value> {
    let to = one_of(&["echo", "app", "http://127.0.0.1:8080", "http://App/", "http://[::1]:81", "https://App"]);
    let path = prop_oneof![
        one_of(&["/", "/v1", "/v1/", "//"]).prop_map(|path| ("path", Some(path))),
        one_of(&["/", "/v1/"]).prop_map(|path| ("exact", Some(path))),
        one_of(&["^/y", ".*", "^/v[0-9]{1,2}$"]).prop_map(|path| ("regex", Some(path))),
        Just(("path", None)),
    ];
    let method = maybe(prop_oneof![one_of(&["GET"]), Just(json!(["GET", "POST"]))]);
    let headers = maybe(text().prop_map(|value| json!({ "X-Any": value })));
    let matcher = (path, maybe(one_of(&["api.local", "*.Example.com", "*"])), method, headers).prop_map(
        |(path, host, method, headers)| keys(vec![path, ("host", host), ("method", method), ("headers", headers)]),
    );
    let timeout = maybe(one_of(&["15s", "15000ms", "1h", "90m"]));
    (maybe(matcher), to, timeout, maybe(chain())).prop_map(|(matcher, to, timeout, filters)| {
        keys(vec![("to", Some(to)), ("match", matcher), ("timeout", timeout), ("filters", filters)])
    })
}

fn routes() -> impl Strategy<Value = Value> {
    prop::collection::vec(route(), 0..4).prop_map(Value::from)
}

fn listener() -> impl Strategy<Value = Value> {
    let limits = maybe(Just(json!({ "headers": 7, "idle_timeout": "60s" })));
    let http =
        (routes(), maybe(chain())).prop_map(|(routes, filters)| vec![("filters", filters), ("routes", Some(routes))]);
    let serves = prop_oneof![2 => http, 1 => tcp().prop_map(|tcp| vec![("tcp", Some(tcp))])];
    let way = (maybe(one_of(&["kernel", "even"])), maybe(intercept()), maybe(one_of(&["inbound", "outbound"])));
    (serves, way, limits).prop_map(|(serves, (balance, intercept, direction), limits)| {
        let own = vec![("listen", Some("127.0.0.1:0".into())), ("balance", balance), ("limits", limits)];
        let way = [("intercept", intercept), ("direction", direction)];
        keys(own.into_iter().chain(way).chain(serves).collect())
    })
}

fn intercept() -> impl Strategy<Value = Value> {
    let by = || one_of(&["redirect", "tproxy"]);
    let allow = maybe(prop_oneof![Just(json!([])), Just(json!(["loopback"])), Just(json!(["link_local", "loopback"]))]);
    let whole = (by(), maybe(one_of(&["original", "loopback"])), allow, maybe((1u32..).prop_map(Value::from)));
    let whole = whole.prop_map(|(by, reach, allow, mark)| {
        keys(vec![("by", Some(by)), ("reach", reach), ("allow", allow), ("mark", mark)])
    });
    prop_oneof![by(), whole]
}

fn tcp() -> impl Strategy<Value = Value> {
    let to = one_of(&["app", "tcp://App:80", "tcp://[::1]:81", "tcp://127.0.0.1:8080"]);
    (to, maybe(chain())).prop_map(|(to, filters)| keys(vec![("filters", filters), ("to", Some(to))]))
}

/// What the proxy is called, with any data.
fn node() -> impl Strategy<Value = Value> {
    let name = || maybe(text().prop_map(Value::from));
    let metadata = maybe((key(), data()).prop_map(|(key, value)| Value::Object(Map::from_iter([(key, value)]))));
    (name(), name(), metadata)
        .prop_map(|(id, cluster, metadata)| keys(vec![("metadata", metadata), ("id", id), ("cluster", cluster)]))
}

/// The short form or the long one, and everything beside the listeners.
fn configuration() -> impl Strategy<Value = Value> {
    let listeners = prop_oneof![
        routes().prop_map(|routes| (Some(routes), None)),
        prop::collection::vec(listener(), 1..3).prop_map(|listeners| (None, Some(Value::from(listeners)))),
    ];
    let named = (filter(), filter(), filter());
    let admin = maybe(prop_oneof![
        one_of(&["off"]),
        Just(json!({ "listen": "127.0.0.1:9901" })),
        Just(json!({ "token": "0123456789abcdef", "listen": "0.0.0.0:9901" })),
    ]);
    let cache = maybe(prop_oneof![one_of(&["off"]), Just(json!({ "dir": "cache" }))]);
    let watch = maybe(one_of(&["on", "off"]));
    let limits = maybe(prop_oneof![
        Just(json!({ "upgrade_age": "off", "retire_timeout": "300s" })),
        Just(json!({ "upgrade_age": "60m", "compile_memory": "1024MiB", "compile_time": "1s" })),
    ]);
    let dns = maybe(prop_oneof![
        Just(json!({ "resolver": "system", "family": "all" })),
        Just(json!({ "servers": ["10.0.0.10:53", "::1"], "keep": "60m" })),
        Just(json!({ "refresh": "500ms", "family": "ipv4" })),
    ]);
    let log = maybe(prop_oneof![
        Just(json!({ "access_log": { "format": "text" } })),
        Just(json!({ "access_log": { "properties": ["user", "1"] } })),
    ]);
    let around = (admin, log, maybe(1u32..1024), maybe(node()), (cache, watch, limits, dns));
    (listeners, named, around).prop_map(
        |((routes, listeners), named, (admin, log, workers, node, (cache, watch, limits, dns)))| {
            let listen = routes.as_ref().map(|_| "127.0.0.1:0".into());
            keys(vec![
                ("listen", listen),
                ("routes", routes),
                ("listeners", listeners),
                ("filters", Some(json!({ "addh-2": named.0, "hdr": named.1, "addh": named.2 }))),
                ("clusters", Some(clusters())),
                ("node", node),
                ("admin", admin),
                ("telemetry", log),
                ("cache", cache),
                ("limits", limits),
                ("dns", dns),
                ("watch", watch),
                ("workers", workers.map(Value::from)),
            ])
        },
    )
}

/// The clusters that every generated configuration defines.
fn clusters() -> Value {
    let dns = json!({ "servers": ["10.0.0.1:5353"], "refresh": "1m" });
    json!({ "app": { "hosts": ["10.0.0.1:80"], "dns": dns }, "grpc": { "hosts": ["10.0.0.2:80"], "protocol": "h2" } })
}

/// Everything a configuration means, places left out.
fn meaning(config: &Config) -> String {
    let plugins = config.plugins.iter().map(|plugin| {
        let mut plugin = plugin.clone();
        (plugin.place.line, plugin.place.column) = (0, 0);
        plugin
    });
    format!("{:?}", Config { plugins: plugins.collect(), ..config.clone() })
}

proptest! {
    // A failure becomes a test of its own, not a line in a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expanding_twice_changes_nothing(value in configuration()) {
        let once = expand(&value.to_string(), origin()).map_err(|faults| TestCaseError::fail(faults.to_string()))?;

        let twice = expand(&once, origin()).map_err(|faults| TestCaseError::fail(format!("{faults}\n{once}")))?;

        prop_assert_eq!(once, twice);
    }

    #[test]
    fn the_long_form_means_what_the_short_one_means(value in configuration()) {
        let text = value.to_string();
        let long = expand(&text, origin()).map_err(|faults| TestCaseError::fail(faults.to_string()))?;

        let (short, long) = (parse(&text, origin()), parse(&long, origin()));

        prop_assert_eq!(short.map(|config| meaning(&config)), long.map(|config| meaning(&config)));
    }

    #[test]
    fn data_reaches_the_filter_as_the_same_json(value in data()) {
        let config = json!({
            "listen": "127.0.0.1:0",
            "routes": [{ "to": "echo", "filters": [{ "wasm": "a.wasm", "config": { "key": value } }] }],
        });

        let config = parse(&config.to_string(), origin()).map_err(|faults| TestCaseError::fail(faults.to_string()))?;

        let expected = json!({ "key": value }).to_string();
        prop_assert_eq!(String::from_utf8_lossy(&config.plugins[0].config), unescaped(&expected));
    }

    #[test]
    fn no_text_stops_the_reading(text in any::<String>()) {
        let _ = parse(&text, origin()).map_err(|faults| faults.to_string());
    }

    #[test]
    fn no_damage_to_a_configuration_stops_the_reading(value in configuration(), at in any::<prop::sample::Index>(), damage in ".{0,3}") {
        let mut text: Vec<char> = expand(&value.to_string(), origin()).unwrap_or_default().chars().collect();
        let at = at.index(text.len() + 1);
        let end = (at + 2).min(text.len());
        text.splice(at..end, damage.chars());
        let text: String = text.into_iter().collect();

        let _ = parse(&text, origin()).map_err(|faults| faults.to_string());
    }
}

/// The generated texts are escaped; the guest reads what they mean.
fn unescaped(json: &str) -> String {
    json.replace("$${", "${")
}
