//! The property `node`: how the proxy introduces itself, whole as Envoy's `envoy.config.core.v3.Node` and part by part.
//!
//! Three fields of that message are known here, and those of `google.protobuf.Struct`; a general encoder would be more
//! than they need.

use serde_json::{Map, Value};
use tollgate_abi::{VecHeaderMap, pairs};
use tollgate_config as config;

/// The node, encoded once.
#[derive(Debug, Default)]
pub struct Node {
    wire: Vec<u8>,
    said: config::Node,
}

impl Node {
    /// What the configuration says.
    pub fn new(said: &config::Node) -> Self {
        let mut wire = Vec::new();
        for (field, value) in [(1, &said.id), (2, &said.cluster)] {
            // proto3: a field with its default value is left out.
            if !value.is_empty() {
                push(&mut wire, field, value.as_bytes());
            }
        }
        if !said.metadata.is_empty() {
            push(&mut wire, 3, &structure(&said.metadata));
        }
        Self { wire, said: said.clone() }
    }

    /// The value at a path, with or without `xds` before it.
    pub fn find(&self, path: &[&[u8]]) -> Option<Vec<u8>> {
        match path {
            [b"xds", b"node", rest @ ..] | [b"node", rest @ ..] => self.part(rest),
            _ => None,
        }
    }

    fn part(&self, path: &[&[u8]]) -> Option<Vec<u8>> {
        match path {
            [] => Some(self.wire.clone()),
            [b"id"] => Some(self.said.id.clone().into_bytes()),
            [b"cluster"] => Some(self.said.cluster.clone().into_bytes()),
            [b"metadata"] => Some(of_map(&self.said.metadata)),
            [b"metadata", name, rest @ ..] => below(self.said.metadata.get(std::str::from_utf8(name).ok()?)?, rest),
            _ => None,
        }
    }
}

/// Descends by names and, in lists, by decimal places.
fn below(value: &Value, path: &[&[u8]]) -> Option<Vec<u8>> {
    let Some((first, rest)) = path.split_first() else { return of_value(value) };
    let first = std::str::from_utf8(first).ok()?;
    match value {
        Value::Object(map) => below(map.get(first)?, rest),
        Value::Array(list) => below(list.get(first.parse::<usize>().ok()?)?, rest),
        _ => None,
    }
}

/// A value as filters read it; null has none.
fn of_value(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::Bool(truth) => Some(vec![u8::from(*truth)]),
        Value::Number(number) => Some(number.as_f64()?.to_le_bytes().to_vec()),
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(list) => {
            let items = list.iter().map(|item| (of_value(item).unwrap_or_default(), []));
            Some(pairs::encode(&VecHeaderMap::new(items)))
        }
        Value::Object(map) => Some(of_map(map)),
    }
}

fn of_map(map: &Map<String, Value>) -> Vec<u8> {
    let entries = map.iter().map(|(name, value)| (name, of_value(value).unwrap_or_default()));
    pairs::encode(&VecHeaderMap::new(entries))
}

/// `google.protobuf.Struct`.
fn structure(map: &Map<String, Value>) -> Vec<u8> {
    let mut wire = Vec::new();
    for (name, value) in map {
        let mut entry = Vec::new();
        push(&mut entry, 1, name.as_bytes());
        push(&mut entry, 2, &wire_value(value));
        push(&mut wire, 1, &entry);
    }
    wire
}

/// `google.protobuf.Value`. Its fields are a choice, so the one that is meant is written whatever its value.
fn wire_value(value: &Value) -> Vec<u8> {
    let mut wire = Vec::new();
    match value {
        Value::Null => wire.extend([1 << 3, 0]),
        Value::Number(number) => {
            wire.push(2 << 3 | 1);
            wire.extend(number.as_f64().unwrap_or_default().to_le_bytes());
        }
        Value::String(text) => push(&mut wire, 3, text.as_bytes()),
        Value::Bool(truth) => wire.extend([4 << 3, u8::from(*truth)]),
        Value::Object(map) => push(&mut wire, 5, &structure(map)),
        Value::Array(list) => {
            let mut items = Vec::new();
            list.iter().for_each(|item| push(&mut items, 1, &wire_value(item)));
            push(&mut wire, 6, &items);
        }
    }
    wire
}

/// Appends a field of bytes with its length.
fn push(wire: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    wire.push(field << 3 | 2);
    let mut length = bytes.len();
    while length > 0x7f {
        wire.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    wire.push(u8::try_from(length).unwrap_or_default());
    wire.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(metadata: serde_json::Value) -> Node {
        let Value::Object(metadata) = metadata else { panic!("metadata is a map") };
        Node::new(&config::Node { id: "n1".to_owned(), cluster: "edge".to_owned(), metadata })
    }

    #[test]
    fn the_whole_node_is_a_message() {
        let node = node(serde_json::json!({ "a": "b", "t": true, "z": null, "l": [1.5], "m": { "k": "v" } }));

        let wire = node.find(&[b"node"]).unwrap();

        let expected: &[u8] = b"\x0a\x02n1\x12\x04edge\x1a\x43\
            \x0a\x08\x0a\x01a\x12\x03\x1a\x01b\
            \x0a\x07\x0a\x01t\x12\x02\x20\x01\
            \x0a\x07\x0a\x01z\x12\x02\x08\x00\
            \x0a\x12\x0a\x01l\x12\x0d\x32\x0b\x0a\x09\x11\0\0\0\0\0\0\xf8\x3f\
            \x0a\x11\x0a\x01m\x12\x0c\x2a\x0a\x0a\x08\x0a\x01k\x12\x03\x1a\x01v";
        assert_eq!(wire, expected);
        assert_eq!(node.find(&[b"xds", b"node"]), Some(wire));
    }

    #[test]
    fn a_long_field_has_a_length_of_several_bytes() {
        let mut wire = Vec::new();

        push(&mut wire, 1, &[b'x'; 300]);

        assert_eq!(wire[..4], [0x0a, 0xac, 0x02, b'x']);
        assert_eq!(wire.len(), 303);
    }

    #[test]
    fn parts_are_found_by_names_and_places_and_nothing_lies_below_a_scalar() {
        let node = node(serde_json::json!({ "a": { "b": ["x", 2] }, "yes": true, "none": null }));
        let find = |path: &[&[u8]]| node.find(path);

        assert_eq!(find(&[b"node", b"id"]), Some(b"n1".to_vec()));
        assert_eq!(find(&[b"xds", b"node", b"cluster"]), Some(b"edge".to_vec()));
        assert_eq!(find(&[b"node", b"metadata", b"a", b"b", b"0"]), Some(b"x".to_vec()));
        assert_eq!(find(&[b"node", b"metadata", b"a", b"b", b"1"]), Some(2.0_f64.to_le_bytes().to_vec()));
        assert_eq!(find(&[b"node", b"metadata", b"yes"]), Some(vec![1]));
        let list = VecHeaderMap::new([(b"x".to_vec(), vec![]), (2.0_f64.to_le_bytes().to_vec(), vec![])]);
        let inner = VecHeaderMap::new([(b"b".to_vec(), pairs::encode(&list))]);
        assert_eq!(find(&[b"node", b"metadata", b"a"]), Some(pairs::encode(&inner)));
        for absent in [
            &[&b"node"[..], b"id", b"x"][..],
            &[b"node", b"metadata", b"none"],
            &[b"node", b"metadata", b"yes", b"x"],
            &[b"node", b"metadata", b"a", b"b", b"2"],
            &[b"node", b"metadata", b"a", b"b", b"-1"],
            &[b"node", b"locality"],
            &[b"xds"],
        ] {
            assert_eq!(find(absent), None, "{absent:?}");
        }
    }
}
