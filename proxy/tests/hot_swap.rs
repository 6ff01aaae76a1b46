//! Swapping a filter's module while exchanges run: everyone sees one generation, and a bad module changes nothing.

#[path = "common/common.rs"]
mod common;

use common::modules::Guest;
use common::proxy::TestProxy;
use common::swaps::speaker;
use common::until;
use tollgate::app::reload::{Done, Order, Refused};

fn proxy(guest: &Guest, settings: &str) -> TestProxy {
    TestProxy::with(&format!(
        "filters: {{ f: {{ wasm: {:?}{settings} }} }}\nroutes: [{{ to: echo, filters: [f] }}]",
        guest.path()
    ))
}

fn speaks(proxy: &TestProxy) -> String {
    proxy.get("/").field("x-by").unwrap_or_default().to_owned()
}

#[test]
fn an_uploaded_module_serves_once_it_is_promoted() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy(&guest, "");
    assert_eq!(speaks(&proxy), "one");

    assert_eq!(proxy.order(Order::Stage("f".into(), speaker("two"))).unwrap(), Done::Staged);
    assert_eq!(speaks(&proxy), "one");
    assert_eq!(proxy.order(Order::Promote("f".into())).unwrap(), Done::Serving);

    assert_eq!(speaks(&proxy), "two");
    assert_eq!(proxy.plugin("f").serving.unwrap().number, 2);
}

#[test]
fn a_rollback_brings_the_module_before_back() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy(&guest, "");
    proxy.order(Order::Stage("f".into(), speaker("two"))).unwrap();
    proxy.order(Order::Promote("f".into())).unwrap();

    assert_eq!(proxy.order(Order::Rollback("f".into())).unwrap(), Done::Serving);

    assert_eq!(speaks(&proxy), "one");
    assert!(matches!(proxy.order(Order::Rollback("f".into())), Err(Refused::Nothing(..))));
}

#[test]
fn a_replaced_generation_is_gone_when_its_last_exchange_is() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy(&guest, "");
    speaks(&proxy);

    guest.replace(&speaker("two"));
    assert_eq!(proxy.order(Order::Look(vec![guest.path().into()])).unwrap(), Done::Serving);

    until("only the new generation has a VM", || {
        proxy.plugin("f").draining.is_empty() && proxy.metric("tollgate_filter_instances", &[]) == 1.0
    });
    assert_eq!(speaks(&proxy), "two");
}
