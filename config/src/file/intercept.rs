//! How a listener comes by connections that were meant for others, as it is said.

use serde_json::Value;

use crate::file::at::At;
use crate::file::read::{Read, Reader, mapping};
use crate::file::write::{View, Write};
use crate::file::yaml::{Kind, Node};
use crate::interception::{self, Mark, Reach, Special};

mapping! {
    /// How connections reach a listener that were meant for other addresses, and where the target `original` leads.
    Interception, "intercept" {
        /// `redirect` for rules with REDIRECT, `tproxy` for rules with TPROXY.
        "by" => by: At<interception::Intercept>,
        /// Which address `original` connects to: the original one, or its port on `loopback`.
        "reach" => reach: Option<At<Reach>>,
        /// Which original destinations are permitted besides ordinary addresses.
        "allow" => allow: Option<Vec<At<Special>>>,
        /// The mark of the sockets that connect to original destinations.
        "mark" => mark: Option<At<Mark>>,
    }
    later []
}

/// The manner alone, or with where it leads.
#[derive(Debug, Clone)]
pub(crate) enum Intercept {
    Alone(At<interception::Intercept>),
    With(Interception),
}

impl Read for Intercept {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Intercept> {
        match node.kind {
            Kind::Map(_) => Interception::read(node, reader).map(Intercept::With),
            _ => At::read(node, reader).map(Intercept::Alone),
        }
    }
}

impl Write for Intercept {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Intercept::Alone(by) => by.write(view),
            Intercept::With(said) => said.write(view),
        }
    }
}
