//! The node: how the proxy introduces itself to its filters.
//! Nothing in the proxy itself depends on it.

use serde_json::{Map, Value};

/// What filters read about the proxy they run in; empty unless written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// The name of this proxy.
    pub id: String,
    /// The name of the group of proxies it belongs to.
    pub cluster: String,
    /// Anything else, its keys in the order written.
    pub metadata: Map<String, Value>,
}
