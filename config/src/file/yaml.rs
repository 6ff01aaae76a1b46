//! YAML 1.2 text into a tree in which every key and value knows its place.
//! What keys there are is not known here; only what YAML allows and what is bounded.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::Number;

use crate::error::Code;
use crate::file::plain::{Plain, plain};
use crate::report::{Report, Spot};

/// Bytes of text a configuration may have.
pub(crate) const TEXT: usize = 32 << 20;
/// Values a configuration may have, those repeated by aliases included.
const NODES: usize = 1_000_000;
/// How deep values may be nested.
const DEPTH: usize = 64;

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) spot: Spot,
    pub(crate) kind: Kind,
}

/// What a value is, by the core schema of YAML 1.2.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key with its place; its text is taken as written, whatever type YAML would give it.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) spot: Spot,
}

impl Node {
    /// What a person would call the value.
    pub(crate) fn described(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".into(),
            Kind::Bool(value) => format!("{value}"),
            Kind::Number(number) => format!("the number {number}"),
            Kind::Text(_) => "text".into(),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a mapping".into(),
        }
    }

    fn children(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        match &self.kind {
            Kind::List(items) => Box::new(items.iter()),
            Kind::Map(entries) => Box::new(entries.iter().map(|(_, value)| value)),
            _ => Box::new(std::iter::empty()),
        }
    }

    fn nodes(&self) -> usize {
        1 + self.children().map(Node::nodes).sum::<usize>()
    }

    fn height(&self) -> usize {
        1 + self.children().map(Node::height).max().unwrap_or(0)
    }
}

/// A fault after which the text makes no sense any more.
struct Stop;

/// The tree of the text under report; `None` when it cannot be understood, which is reported.
pub(crate) fn tree(report: &mut Report<'_>) -> Option<Node> {
    let text = report.text();
    if text.len() > TEXT {
        report.fault(Code::TooLarge, Spot::default(), too_large(text.len() as u64));
        return None;
    }
    let mut options = Options::default();
    // A directive could only ask for another YAML than 1.2.
    options.disallow_directives = true;
    options.flow_nesting_limit = DEPTH * 2;
    options.block_nesting_limit = DEPTH * 2;
    let mut builder = Builder { report, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    for event in Parser::new_from_str_with_options(text, options) {
        builder.event(event).ok()?;
    }
    Some(builder.root.unwrap_or(Node { spot: Spot::default(), kind: Kind::Null }))
}

/// The sentence for a text of so many bytes.
pub(crate) fn too_large(bytes: u64) -> String {
    format!("a configuration may have {} MiB of text, this one has {bytes} bytes", TEXT >> 20)
}

/// A list or mapping whose end has not come.
struct Open {
    spot: Spot,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<Key>, seen: HashSet<String> },
}

struct Builder<'b, 't> {
    report: &'b mut Report<'t>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_, '_> {
    fn event(&mut self, event: Result<(Event<'_>, Span), ScanError>) -> Result<(), Stop> {
        let (event, span) = match event {
            Ok(found) => found,
            Err(error) => return self.syntax(&error),
        };
        let spot = spot(&span);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                self.stop(Code::NotYaml, spot, "a configuration is one document; remove what follows \"---\"")
            }
            Event::Alias(anchor) => self.alias(anchor, spot),
            Event::Scalar(text, style, anchor, tag) => {
                self.untagged(&tag, &span);
                self.scalar(&text, style, anchor, spot)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.untagged(&tag, &span);
                self.begin(anchor, spot, Inside::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.untagged(&tag, &span);
                let inside = Inside::Map { entries: Vec::new(), key: None, seen: HashSet::new() };
                self.begin(anchor, spot, inside)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => Ok(()),
        }
    }

    fn syntax(&mut self, error: &ScanError) -> Result<(), Stop> {
        let mark = error.marker();
        let spot = Spot { line: mark.line(), column: mark.col() + 1, width: 1 };
        // The parser reads ahead, so that its own bound can be met before ours.
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return self.too_deep(spot);
        }
        let line = self.report.text().lines().nth(mark.line().saturating_sub(1)).unwrap_or_default();
        let advice = if line.contains("${") { "; text with ${…} needs quotes between braces" } else { "" };
        self.stop(Code::NotYaml, spot, format!("this is not YAML: {}{advice}", error.info()))
    }

    fn stop(&mut self, code: Code, spot: Spot, message: impl Into<String>) -> Result<(), Stop> {
        self.report.fault(code, spot, message);
        Err(Stop)
    }

    fn untagged(&mut self, tag: &Option<Cow<'_, Tag>>, span: &Span) {
        if tag.is_some() {
            let spot = spot(&span.tag_span().unwrap_or(*span));
            let message = "tags are not part of this language; write text in quotes, numbers without";
            self.report.fault(Code::NotYaml, spot, message);
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, spot: Spot) -> Result<(), Stop> {
        if let Some(Open { inside: Inside::Map { key: key @ None, seen, .. }, .. }) = self.open.last_mut() {
            *key = Some(Key { text: text.to_owned(), spot });
            if !seen.insert(text.to_owned()) {
                let message = format!("the key {text:?} is written twice");
                self.report.fault(Code::DuplicateKey, spot, message);
            }
            return Ok(());
        }
        let kind = match style {
            ScalarStyle::Plain => self.plain(text, spot),
            _ => Kind::Text(text.to_owned()),
        };
        self.place(Node { spot, kind }, anchor)
    }

    fn plain(&mut self, text: &str, spot: Spot) -> Kind {
        match plain(text) {
            Plain::Null => Kind::Null,
            Plain::Bool(value) => Kind::Bool(value),
            Plain::Number(number) => Kind::Number(number),
            Plain::Text => Kind::Text(text.to_owned()),
            Plain::OutOfRange => {
                let message = format!("the number {text} cannot be represented; quote it to write text");
                self.report.fault(Code::BadValue, spot, message);
                Kind::Null
            }
        }
    }

    fn begin(&mut self, anchor: usize, spot: Spot, inside: Inside) -> Result<(), Stop> {
        if let Some(Open { inside: Inside::Map { key: None, .. }, .. }) = self.open.last() {
            return self.stop(Code::NotYaml, spot, "a key must be a word, not a list or a mapping");
        }
        if self.open.len() == DEPTH {
            return self.too_deep(spot);
        }
        self.open.push(Open { spot, anchor, inside });
        Ok(())
    }

    fn too_deep(&mut self, spot: Spot) -> Result<(), Stop> {
        self.stop(Code::TooLarge, spot, format!("values may be nested {DEPTH} deep, this goes deeper"))
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Open { spot, anchor, inside }) = self.open.pop() else {
            return Ok(());
        };
        let kind = match inside {
            Inside::List(items) => Kind::List(items),
            Inside::Map { entries, .. } => Kind::Map(entries),
        };
        self.place(Node { spot, kind }, anchor)
    }

    fn alias(&mut self, anchor: usize, spot: Spot) -> Result<(), Stop> {
        if let Some(Open { inside: Inside::Map { key: None, .. }, .. }) = self.open.last() {
            return self.stop(Code::NotYaml, spot, "a key must be a word, not an alias");
        }
        let Some(node) = self.anchors.get(&anchor) else {
            return self.stop(Code::NotYaml, spot, "this alias refers to a key, or to the value it is part of");
        };
        if self.open.len() + node.height() > DEPTH {
            return self.too_deep(spot);
        }
        let copies = node.nodes();
        if self.nodes + copies > NODES {
            return self.too_many(spot);
        }
        let node = node.clone();
        self.nodes += copies - 1;
        self.place(node, 0)
    }

    fn too_many(&mut self, spot: Spot) -> Result<(), Stop> {
        let message = format!("a configuration may have {NODES} values, aliases included; this one has more");
        self.stop(Code::TooLarge, spot, message)
    }

    /// Puts a finished value where the text has it, and keeps a copy under its anchor.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > NODES {
            return self.too_many(node.spot);
        }
        if anchor != 0 {
            // The copy is charged too, so that anchors within anchors stay within the bound.
            self.nodes += node.nodes();
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { inside: Inside::List(items), .. }) => items.push(node),
            Some(Open { inside: Inside::Map { entries, key, .. }, .. }) => {
                entries.extend(key.take().map(|key| (key, node)));
            }
        }
        Ok(())
    }
}

/// The spot of a span: all of it on one line, else its first character.
fn spot(span: &Span) -> Spot {
    let same_line = span.start.line() == span.end.line();
    let width = if same_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
    Spot { line: span.start.line(), column: span.start.col() + 1, width: width.max(1) }
}
