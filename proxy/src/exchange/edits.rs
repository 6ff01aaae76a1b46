//! What the configuration changes of the heads of an exchange, after the filters: fields both ways, and path and host on the
//! way to the upstream. Filters and the access log keep to what the client sent.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use tollgate_config::{self as config, PathChange, PathRewrite, Rewrite};

use crate::error::Reason;
use crate::exchange::head::RequestHead;

/// See the module.
#[derive(Debug, Default)]
pub struct Edits {
    request: FieldEdits,
    response: FieldEdits,
    rewrite: Option<Box<Rewrite>>,
}

impl Edits {
    /// Those of a listener and of a route, in this order; `None` where there are none.
    pub fn new<'a>(
        headers: impl Iterator<Item = &'a config::HeaderEdits>,
        rewrite: Option<&Rewrite>,
    ) -> Option<Box<Self>> {
        let mut edits = Self { rewrite: rewrite.cloned().map(Box::new), ..Self::default() };
        for said in headers {
            edits.request.extend(&said.request);
            edits.response.extend(&said.response);
        }
        (!edits.is_empty()).then(|| Box::new(edits))
    }

    /// Has a field in every answer, beside those that are there.
    pub fn mark_answers(edits: &mut Option<Box<Self>>, name: HeaderName, value: HeaderValue) {
        edits.get_or_insert_default().response.0.push(Edit::Add(name, value));
    }

    fn is_empty(&self) -> bool {
        self.request.0.is_empty() && self.response.0.is_empty() && self.rewrite.is_none()
    }

    /// The request as the upstream gets it.
    pub fn request(&self, head: &mut RequestHead) -> Result<(), Reason> {
        if let Some(rewrite) = &self.rewrite {
            rewrite_path(rewrite, head)?;
            rewrite_host(rewrite, head)?;
        }
        self.request.apply(&mut head.fields.map);
        Ok(())
    }

    /// The answer as the client gets it.
    pub fn response(&self, fields: &mut HeaderMap) {
        self.response.apply(fields);
    }
}

fn rewrite_path(rewrite: &Rewrite, head: &mut RequestHead) -> Result<(), Reason> {
    let path = head.path.path();
    let fresh = match &rewrite.path {
        None => return Ok(()),
        // `*` is the whole server and no path of it.
        Some(_) if !path.starts_with('/') => return Ok(()),
        Some(PathRewrite::Change(change)) => changed(change, path),
        Some(PathRewrite::Regex { pattern, with }) => pattern.replace_all(path, with.as_str()).into_owned(),
    };
    head.path = with_query(fresh, head.path.query()).ok_or(Reason::Internal("the rewritten path is no path"))?;
    Ok(())
}

fn rewrite_host(rewrite: &Rewrite, head: &mut RequestHead) -> Result<(), Reason> {
    if let Some(host) = &rewrite.host {
        let authority = Authority::try_from(host.as_str());
        head.authority = authority.map_err(|_| Reason::Internal("the rewritten host is no host"))?;
    }
    Ok(())
}

/// A path with what the configuration puts in its place. A path that does not begin with what is replaced stays: it is not
/// one that the route matches.
pub fn changed(change: &PathChange, path: &str) -> String {
    match change {
        PathChange::Whole(path) => path.clone(),
        PathChange::Prefix { matched, with } => match path.strip_prefix(matched.as_str()) {
            Some("") if with.is_empty() => "/".to_owned(),
            Some(rest) => format!("{with}{rest}"),
            None => path.to_owned(),
        },
    }
}

/// A path and the query behind it; `None` for what cannot be sent.
fn with_query(mut path: String, query: Option<&str>) -> Option<PathAndQuery> {
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return None;
    }
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::try_from(path).ok()
}

/// Changes of fields, in the order in which they are made.
#[derive(Debug, Default)]
struct FieldEdits(Vec<Edit>);

#[derive(Debug)]
enum Edit {
    Remove(HeaderName),
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
}

impl FieldEdits {
    fn extend(&mut self, said: &config::FieldEdits) {
        self.0.extend(said.remove.iter().filter_map(|name| HeaderName::try_from(name).ok()).map(Edit::Remove));
        self.0.extend(fields(&said.set).map(|(name, value)| Edit::Set(name, value)));
        self.0.extend(fields(&said.add).map(|(name, value)| Edit::Add(name, value)));
    }

    fn apply(&self, map: &mut HeaderMap) {
        for edit in &self.0 {
            match edit {
                Edit::Remove(name) => drop(map.remove(name)),
                Edit::Set(name, value) => drop(map.insert(name, value.clone())),
                Edit::Add(name, value) => drop(map.append(name, value.clone())),
            }
        }
    }
}

/// Fields of a configuration, which has none that could not be sent.
pub fn fields(said: &[(String, String)]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let field = |(name, value): &(String, String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    said.iter().filter_map(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(matched: &str, with: &str, path: &str) -> String {
        changed(&PathChange::Prefix { matched: matched.to_owned(), with: with.to_owned() }, path)
    }

    #[test]
    fn a_prefix_is_replaced_and_the_rest_stays() {
        assert_eq!(prefix("/v1", "/v2", "/v1"), "/v2");
        assert_eq!(prefix("/v1", "/v2", "/v1/"), "/v2/");
        assert_eq!(prefix("/v1", "/v2", "/v1/a//b"), "/v2/a//b");
        assert_eq!(prefix("/v1", "", "/v1"), "/");
        assert_eq!(prefix("/v1", "", "/v1/a"), "/a");
        assert_eq!(prefix("", "/app", "/"), "/app/");
        assert_eq!(prefix("", "", "/a"), "/a");
        assert_eq!(prefix("/v1", "/v2", "/other"), "/other");
    }

    #[test]
    fn a_query_stays_and_nothing_becomes_one() {
        let path = |path: &str, query| with_query(path.to_owned(), query).map(|path| path.to_string());

        assert_eq!(path("/a", Some("b?c=d")).as_deref(), Some("/a?b?c=d"));
        assert_eq!(path("/a", Some("")).as_deref(), Some("/a?"));
        assert_eq!(path("/a?b", None), None);
        assert_eq!(path("a", None), None);
        assert_eq!(path("/a b", None), None);
        assert_eq!(path("", None), None);
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let mut edits = FieldEdits::default();
        edits.extend(&config::FieldEdits {
            remove: vec!["a".to_owned(), "b".to_owned()],
            set: pair("a", "2"),
            add: pair("a", "3"),
        });
        let mut map = HeaderMap::new();
        for (name, value) in [("a", "1"), ("a", "1"), ("b", "1"), ("c", "1")] {
            map.append(name, value.parse().unwrap());
        }

        edits.apply(&mut map);

        let values: Vec<_> = map.get_all("a").iter().collect();
        assert_eq!(values, ["2", "3"]);
        assert!(!map.contains_key("b") && map.contains_key("c"));
    }
}
