//! The OpenAPI document, made from the routes and the contract's types when the crate is compiled.

use utoipa::OpenApi;

use super::handlers;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ACM switch",
        description = "Active Connection Management: Add, Remove, Force Remove, List and Drop for a load-balancing \
                       switch. On a Unix socket no token is needed; on TCP every route needs a bearer token. Errors \
                       are problem documents (RFC 9457) that carry the error as data and name the field at fault.",
    ),
    paths(
        handlers::apply,
        handlers::add,
        handlers::remove,
        handlers::force_remove,
        handlers::drop_new,
        handlers::set_service,
        handlers::remove_service,
        handlers::claim,
        handlers::list,
        handlers::events,
        handlers::stats,
        handlers::capture,
        handlers::metrics,
        handlers::openapi,
    ),
    modifiers(&Bearer),
    security((), ("bearer" = []))
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::super::schema::path;
    use super::*;
    use crate::acm::primitive::{Add, DropNew, ForceRemove, Primitive, Remove, RemoveService, SetService};

    fn parses<T: DeserializeOwned>(example: &Value) -> Result<(), String> {
        serde_json::from_value::<T>(example.clone()).map(drop).map_err(|why| format!("{example}: {why}"))
    }

    #[test]
    fn every_route_is_described_and_every_example_is_accepted() {
        let document = serde_json::to_value(document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let capture = format!("{}{{port}}", path::CAPTURE);
        let reads = [path::LIST, path::EVENTS, path::STATS, &capture, path::METRICS, path::OPENAPI];
        type Check = fn(&Value) -> Result<(), String>;
        let changes: [(&str, Check); 8] = [
            (path::APPLY, parses::<Vec<Primitive>>),
            (path::ADD, parses::<Add>),
            (path::REMOVE, parses::<Remove>),
            (path::FORCE_REMOVE, parses::<ForceRemove>),
            (path::DROP, parses::<DropNew>),
            (path::SET_SERVICE, parses::<SetService>),
            (path::REMOVE_SERVICE, parses::<RemoveService>),
            (path::CLAIM, parses::<super::super::schema::Claim>),
        ];
        assert_eq!(paths.len(), reads.len() + changes.len());
        for path in reads {
            assert!(paths[path]["get"].is_object(), "{path}");
        }
        for (path, check) in changes {
            let example = &paths[path]["post"]["requestBody"]["content"]["application/json"]["example"];
            assert!(!example.is_null(), "{path} has no example");
            check(example).unwrap();
        }
    }

    #[test]
    fn every_reference_is_defined() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    members.values().for_each(|inner| references(inner, found));
                }
                Value::Array(members) => members.iter().for_each(|inner| references(inner, found)),
                _ => {}
            }
        }
        let document = serde_json::to_value(document()).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
