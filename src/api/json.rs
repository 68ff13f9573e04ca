//! Reading what callers send: bodies and query strings. Strict, and every refusal names the field.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::refusal::Refusal;
use super::schema::unescape;
use crate::acm::error::AcmError;
use crate::base::text::{cut, with_cut};

/// Reads a body. Malformed JSON is 400; well-formed JSON that says something wrong is `Invalid`, naming the field.
///
/// # Errors
/// [`Refusal`].
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|why| explain::<T>(body, &why))
}

/// Reads a body that must be an object. (serde would take an array for a struct as well.)
///
/// # Errors
/// [`Refusal`].
pub(super) fn read_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => Err(Refusal::Acm(AcmError::invalid("body", "must be a JSON object"))),
        _ => read(body),
    }
}

fn explain<T: DeserializeOwned>(body: &[u8], why: &serde_json::Error) -> Refusal {
    if !why.is_data() {
        return Refusal::malformed(format!("the body is not JSON: {why}"));
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Refusal::malformed(format!("the body is not JSON: {why}"));
    };
    if let Some(said) = error_of::<T>(&value) {
        let field = blame(&value, &said, &error_of::<T>).unwrap_or_else(|| "body".to_owned());
        return Refusal::Acm(AcmError::invalid(&field, repeating_little(&said, &value)));
    }
    // Only the text is wrong: a field stands there twice. serde_json ends its sentence with the place in the text,
    // which says less than the field's name.
    let said = why.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said);
    let field = named(said).map_or("body".to_owned(), cut);
    Refusal::Acm(AcmError::invalid(&field, repeating_little(said, &value)))
}

/// What was said, with every text of the body that it repeats cut if it is long.
fn repeating_little(said: &str, value: &Value) -> String {
    match value {
        Value::String(text) => with_cut(said, text),
        Value::Array(members) => members.iter().fold(said.to_owned(), |said, inner| repeating_little(&said, inner)),
        Value::Object(members) => {
            members.iter().fold(said.to_owned(), |said, (key, inner)| repeating_little(&with_cut(&said, key), inner))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => said.to_owned(),
    }
}

fn error_of<T: DeserializeOwned>(value: &Value) -> Option<String> {
    serde_json::from_value::<T>(value.clone()).err().map(|why| why.to_string())
}

/// Most members an object can have and still be searched; no body of ours has as many.
const SEARCHED_MAX: usize = 32;

/// The member that says which primitive an object is.
const TAG: &str = "op";

/// The field at fault, as a path such as `health.interval` or `[3].rules[0].then`.
///
/// serde does not say which field a wrong value was in. But it stops at the first wrong one: the field whose
/// removal changes the complaint is the one complained about, and a list is wrong because of its first wrong member,
/// which is wrong for a list of one as well.
fn blame(value: &Value, said: &str, fails: &dyn Fn(&Value) -> Option<String>) -> Option<String> {
    match value {
        Value::Array(members) => members.iter().enumerate().find_map(|(index, member)| {
            let alone = |changed: &Value| fails(&Value::Array(vec![changed.clone()]));
            let said = alone(member)?;
            Some(joined(&format!("[{index}]"), blame(member, &said, &alone)))
        }),
        Value::Object(members) if members.len() <= SEARCHED_MAX => {
            // Without its tag nothing of a primitive can be read, so the complaint changes whatever was wrong.
            let (tags, fields): (Vec<_>, Vec<_>) = members.iter().partition(|(key, _)| *key == TAG);
            let mut members = fields.into_iter().chain(tags);
            let found = members.find_map(|(key, inner)| blame_member(value, key, inner, said, fails));
            found.or_else(|| named(said).map(cut))
        }
        _ => None,
    }
}

/// The path through this member of an object, if it is the one at fault.
fn blame_member(
    object: &Value,
    key: &str,
    inner: &Value,
    said: &str,
    fails: &dyn Fn(&Value) -> Option<String>,
) -> Option<String> {
    let mut without = object.clone();
    without.as_object_mut()?.remove(key);
    let complaint = fails(&without);
    let now_missing = complaint.as_deref().and_then(named) == Some(key) && said.starts_with("missing");
    if complaint.as_deref() == Some(said) || now_missing {
        return None;
    }
    let within = |changed: &Value| {
        let mut with = object.clone();
        with[key] = changed.clone();
        fails(&with)
    };
    Some(joined(&cut(key), blame(inner, said, &within)))
}

fn joined(outer: &str, inner: Option<String>) -> String {
    match inner {
        None => outer.to_owned(),
        Some(inner) if inner.starts_with('[') => format!("{outer}{inner}"),
        Some(inner) => format!("{outer}.{inner}"),
    }
}

/// The name serde itself gives: "missing field `x`", "unknown field `x`", "duplicate field `x`".
fn named(said: &str) -> Option<&str> {
    let (kind, rest) = said.split_once(" field `")?;
    ["missing", "unknown", "duplicate"].contains(&kind).then(|| rest.split('`').next()).flatten()
}

/// A query string taken apart. What is not taken out by [`Query::done`] is an error: a misspelt filter must not
/// answer with everything.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes a query apart.
    ///
    /// # Errors
    /// A broken escape, or a parameter given twice.
    pub(super) fn parse(text: Option<&str>) -> Result<Query, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (unescape(name), unescape(value)) else {
                return Err(Refusal::malformed("the query has a broken % escape".to_owned()));
            };
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Refusal::Acm(AcmError::invalid(&cut(&name), "given twice")));
            }
            pairs.push((name, value));
        }
        Ok(Query(pairs))
    }

    /// Takes one parameter out.
    ///
    /// # Errors
    /// `Invalid`, naming it, when its value is not a `T`.
    pub(super) fn take<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, Refusal> {
        let Some(at) = self.0.iter().position(|(known, _)| known == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(at);
        value.parse().map(Some).map_err(|why: T::Err| Refusal::Acm(AcmError::invalid(name, why.to_string())))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `Invalid`, naming the first parameter nobody took.
    pub(super) fn done(self) -> Result<(), Refusal> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::Acm(AcmError::invalid(&cut(&name), "unknown parameter"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acm::primitive::{Add, DropNew, Primitive};

    fn field_of<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        match read::<T>(text.as_bytes()).unwrap_err() {
            Refusal::Acm(AcmError::Invalid { field, .. }) => field,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn wrong_values_name_their_field() {
        let add = |rest: &str| format!(r#"{{"service":"10.0.0.100:80","real":"10.0.0.11:80",{rest}}}"#);
        for (rest, field) in [
            (r#""wieght":1"#, "wieght"),
            (r#""weight":-1"#, "weight"),
            (r#""weight":1e30"#, "weight"),
            (r#""weight":"1""#, "weight"),
            (r#""real":"10.0.0.12:80""#, "real"),
            (r#""lease":"soon""#, "lease"),
            (r#""owner":"a b""#, "owner"),
            (r#""health":{"interval":"x"}"#, "health.interval"),
            (r#""health":{"http":{"path":"/","status":70000}}"#, "health.http.status"),
            (r#""health":{"depth":"l9"}"#, "health.depth"),
            (r#""health":{"dept":"l4"}"#, "health.dept"),
        ] {
            assert_eq!(field_of::<Add>(&add(rest)), field, "{rest}");
        }
        assert_eq!(field_of::<Add>(r#"{"service":"10.0.0.100:80"}"#), "real");
        assert_eq!(field_of::<Add>(r#"{"service":"10.0.0.100","real":"10.0.0.11:80"}"#), "service");
        assert_eq!(field_of::<DropNew>(r#"{"service":"10.0.0.100:80","fraction":1.5}"#), "fraction");
        assert_eq!(field_of::<Add>("[]"), "body");
        assert_eq!(field_of::<Add>(&add(&format!("\"{}\":1", "w".repeat(5000)))), "w".repeat(80) + "…");
        assert_eq!(field_of::<Add>("7"), "body");
    }

    #[test]
    fn long_values_are_not_repeated() {
        let long = "x\n".repeat(5000);
        for field in ["lease", "owner", "weight", &long] {
            let add = serde_json::json!({"service": "10.0.0.100:80", "real": "10.0.0.11:80", field: &long});
            let Refusal::Acm(refused) = read::<Add>(add.to_string().as_bytes()).unwrap_err() else { panic!("{field}") };
            let said = refused.to_string();
            assert!(said.chars().count() < 600 && !said.contains('\n') && said.contains('…'), "{said}");
        }
    }

    #[test]
    fn a_list_names_its_member() {
        let good = r#"{"op":"remove-service","service":"10.0.0.100:80"}"#;
        let list = |bad: &str| format!("[{good},{bad},{good}]");
        for (bad, field) in [
            (r#"{"op":"drop","service":"10.0.0.100:80","fraction":1.5}"#, "[1].fraction"),
            (r#"{"op":"drop","service":"10.0.0.100:80"}"#, "[1].fraction"),
            (r#"{"op":"dorp","service":"10.0.0.100:80"}"#, "[1].op"),
            (r#"{"service":"10.0.0.100:80"}"#, "[1].op"),
            (r#"{"op":"remove","service":"10.0.0.100:80","real":7}"#, "[1].real"),
            (r#"{"op":"add","service":"10.0.0.100:80","real":"10.0.0.11:80","weight":-1}"#, "[1].weight"),
            ("7", "[1]"),
        ] {
            assert_eq!(field_of::<Vec<Primitive>>(&list(bad)), field, "{bad}");
        }
        assert_eq!(field_of::<Vec<Primitive>>("{}"), "body");
        let rule = r#"{"name":"r","when":[{"path":{"prefix":"/"}},{"path":{"prefx":"/"}}],"then":"reset"}"#;
        let set = format!(r#"{{"op":"set-service","service":"10.0.0.100:80","rules":[{rule}]}}"#);
        assert_eq!(field_of::<Vec<Primitive>>(&list(&set)), "[1].rules[0].when[1].path.prefx");
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "{", "{]", "\u{0}", r#"{"weight":1e999}"#, "{} {}", deep.as_str()] {
            let refusal = read::<Add>(text.as_bytes()).unwrap_err();
            assert!(matches!(refusal, Refusal::Http { status: 400, .. } | Refusal::Acm(_)), "{refusal:?}");
        }
        assert!(matches!(read::<Add>(b"\xff\xfe").unwrap_err(), Refusal::Http { status: 400, .. }));
    }

    #[test]
    fn queries_are_strict() {
        let mut query = Query::parse(Some("service=10.0.0.100:53/udp&group=a%2Db&x=1")).unwrap();
        assert_eq!(query.take::<String>("group").unwrap().as_deref(), Some("a-b"));
        assert_eq!(query.take::<String>("service").unwrap().as_deref(), Some("10.0.0.100:53/udp"));
        assert_eq!(query.take::<u8>("absent").unwrap(), None);
        assert!(matches!(query.done(), Err(Refusal::Acm(AcmError::Invalid { field, .. })) if field == "x"));
        assert!(Query::parse(Some("a=1&a=2")).is_err());
        assert!(Query::parse(Some("a=%")).is_err());
        assert!(Query::parse(Some("a=x")).unwrap().take::<u8>("a").is_err());
    }
}
