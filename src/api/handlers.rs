//! One function a route: read what was sent, ask the switch, write the answer. Nothing is decided here.

use std::time::Duration;

use hyper::body::Bytes;
use serde::de::DeserializeOwned;

use super::json::{self, Query};
use super::metrics;
use super::openapi;
use super::refusal::Refusal;
use super::reply::{self, Answer, Body, Stop};
use super::routes::Call;
use super::schema::problem::Problem;
use super::schema::{Claim, OutcomeBody, sse, unescape};
use crate::acm::error::AcmError;
use crate::acm::event::EventId;
use crate::acm::list::{Filter, Listing};
use crate::acm::primitive::{Add, Done, DropNew, ForceRemove, Primitive, Remove, RemoveService, SetService, Tenure};
use crate::acm::switch::{Statistics, perform};
use crate::acm::wait;
use crate::base::limits::BATCH_MAX;
use crate::base::span::Span;

/// The longest `wait` accepted: a request holds a connection meanwhile.
pub(super) const WAIT_MAX: Span = Span::secs(3600);

/// Performs a list of primitives in order
///
/// Answers each. One that is refused changes nothing and does not stop the rest. A list with a member that cannot
/// be read is refused whole.
#[utoipa::path(post, path = "/v1/apply", tag = "primitives",
    params(("acm-epoch" = Option<u64>, Header, description = "The epoch of the caller's tenure"),
           ("acm-manager" = Option<String>, Header, description = "The manager of the caller's tenure")),
    request_body(content = Vec<Primitive>, example = json!([
        {"op": "add", "service": "10.0.0.100:80", "real": "10.0.0.11:8080"},
        {"op": "drop", "service": "10.0.0.100:80", "fraction": 0.5, "mode": "shed", "for": "1m"}])),
    responses((status = 200, description = "One outcome a primitive, in order", body = Vec<OutcomeBody>),
              (status = "default", description = "Refused as a whole", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn apply(call: Call<'_>) -> Result<Answer, Refusal> {
    query(&call)?.done()?;
    let (switch, caller) = (&call.context.switch, call.caller()?);
    let list: Vec<Primitive> = json::read(&call.list_body().await?)?;
    if list.len() > BATCH_MAX {
        return Err(AcmError::invalid("body", format!("a list has at most {BATCH_MAX} primitives")).into());
    }
    let outcomes = switch.apply(&caller, list).await?;
    reply::json(&outcomes.into_iter().map(OutcomeBody::from).collect::<Vec<_>>())
}

/// Add: binds a real to a virtual service
///
/// The service is created if new. Repeated, it changes options, refreshes the lease and ends a drain.
#[utoipa::path(post, path = "/v1/add", tag = "primitives",
    params(("wait" = Option<String>, Query, description = "Answer once the binding is active, at most after this", example = "10s")),
    request_body(content = Add, example = json!({"service": "10.0.0.100:80", "real": "10.0.0.11:8080", "weight": 2, "lease": "30s"})),
    responses((status = 200, description = "In force", body = Done),
              (status = "default", description = "Refused; after 504 the binding stays, pending", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn add(call: Call<'_>) -> Result<Answer, Refusal> {
    let patience = patience(&call)?;
    let (switch, caller) = (&*call.context.switch, call.caller()?);
    let add: Add = read(&call.body().await?)?;
    let key = add.key();
    let done = perform(switch, &caller, Primitive::Add(add)).await?;
    if let Some(patience) = patience {
        wait::until_active(switch, &key, patience).await?;
    }
    reply::json(&done)
}

/// Remove: nothing new goes there, existing connections finish
#[utoipa::path(post, path = "/v1/remove", tag = "primitives",
    params(("wait" = Option<String>, Query, description = "Answer once the binding has no connection left, at most after this", example = "1m")),
    request_body(content = Remove, example = json!({"service": "10.0.0.100:80", "real": "10.0.0.11:8080", "deadline": "30s"})),
    responses((status = 200, description = "In force", body = Done),
              (status = "default", description = "Refused; after 504 it drains on", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove(call: Call<'_>) -> Result<Answer, Refusal> {
    let patience = patience(&call)?;
    let (switch, caller) = (&*call.context.switch, call.caller()?);
    let remove: Remove = read(&call.body().await?)?;
    let key = remove.key();
    let done = perform(switch, &caller, Primitive::Remove(remove)).await?;
    if let Some(patience) = patience {
        wait::until_drained(switch, &key, patience).await?;
    }
    reply::json(&done)
}

/// Force Remove: the binding and its connections end now
#[utoipa::path(post, path = "/v1/force-remove", tag = "primitives",
    request_body(content = ForceRemove, example = json!({"service": "10.0.0.100:80", "real": "10.0.0.11:8080"})),
    responses((status = 200, description = "Done; `cut` connections were ended", body = Done),
              (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn force_remove(call: Call<'_>) -> Result<Answer, Refusal> {
    one(call, Primitive::ForceRemove).await
}

/// Drop: refuses a fraction of new connections; 0 clears exactly the policy named
#[utoipa::path(post, path = "/v1/drop", tag = "primitives",
    request_body(content = DropNew, example = json!({"service": "10.0.0.100:80", "fraction": 0.5, "mode": "shed", "from": "198.51.100.0/24", "for": "1m"})),
    responses((status = 200, description = "In force", body = Done),
              (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn drop_new(call: Call<'_>) -> Result<Answer, Refusal> {
    one(call, Primitive::Drop).await
}

/// Sets a service's options; creates the service if new
#[utoipa::path(post, path = "/v1/set-service", tag = "services",
    request_body(content = SetService, example = json!({"service": "10.0.0.100:80", "scheduler": "least-conn",
        "rules": [{"name": "images", "when": [{"path": {"prefix": "/img/"}}, {"method": "GET"}], "then": {"group": "img"}}]})),
    responses((status = 200, description = "In force", body = Done),
              (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn set_service(call: Call<'_>) -> Result<Answer, Refusal> {
    query(&call)?.done()?;
    let (switch, caller) = (&*call.context.switch, call.caller()?);
    // A thousand content rules are as long as a list.
    let set: SetService = read(&call.list_body().await?)?;
    reply::json(&perform(switch, &caller, Primitive::SetService(set)).await?)
}

/// Removes a service; its bindings are Force Removed first
#[utoipa::path(post, path = "/v1/remove-service", tag = "services",
    request_body(content = RemoveService, example = json!({"service": "10.0.0.100:80"})),
    responses((status = 200, description = "In force", body = Done),
              (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_service(call: Call<'_>) -> Result<Answer, Refusal> {
    one(call, Primitive::RemoveService).await
}

/// Claims leadership: grants an epoch above every one granted before
#[utoipa::path(post, path = "/v1/claim", tag = "managers",
    request_body(content = Claim, example = json!({"manager": "m1"})),
    responses((status = 200, description = "Granted; send it along as acm-epoch and acm-manager", body = Tenure),
              (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn claim(call: Call<'_>) -> Result<Answer, Refusal> {
    query(&call)?.done()?;
    let switch = &call.context.switch;
    let claim: Claim = read(&call.body().await?)?;
    reply::json(&switch.claim(&claim.manager).await?)
}

/// List: every binding, as one consistent snapshot
#[utoipa::path(get, path = "/v1/list", tag = "primitives",
    params(("service" = Option<String>, Query, description = "Only this virtual service", example = "10.0.0.100:80"),
           ("real" = Option<String>, Query, description = "Only bindings of this real", example = "10.0.0.11:8080"),
           ("group" = Option<String>, Query, description = "Only this group", example = "default"),
           ("owner" = Option<String>, Query, description = "Only this owner", example = "operator"),
           ("state" = Option<crate::acm::list::State>, Query, description = "Only this state", example = "active")),
    responses((status = 200, description = "Rows in order of service, then real", body = Listing),
              (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Refusal> {
    let mut query = query(&call)?;
    let filter = Filter {
        service: query.take("service")?,
        real: query.take("real")?,
        group: query.take("group")?,
        owner: query.take("owner")?,
        state: query.take("state")?,
    };
    query.done()?;
    reply::json(&call.context.switch.list(&filter).await?)
}

/// Everything that happens to bindings and services, as server-sent events
///
/// Each event has an `id:`; a subscriber that comes back with it as `Last-Event-ID` (or `?after=`) misses nothing,
/// or is told so by an event `lost`. A comment comes every 15 s while nothing happens.
#[utoipa::path(get, path = "/v1/events", tag = "observing",
    params(("after" = Option<String>, Query, description = "Events after this id", example = "5f0c21aa.17"),
           ("last-event-id" = Option<String>, Header, description = "The same, as a browser sends it", example = "5f0c21aa.17")),
    responses((status = 200, description = "A stream; the data of each is an Event", body = crate::acm::event::Event, content_type = "text/event-stream"),
              (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn events(call: Call<'_>) -> Result<Answer, Refusal> {
    let mut query = query(&call)?;
    let mut after: Option<EventId> = query.take("after")?;
    query.done()?;
    // A browser that reconnects repeats the URL and adds the header, which is then the later of the two.
    if let Some(last) = call.parts.headers.get("last-event-id") {
        let last = last.to_str().unwrap_or_default();
        after = Some(last.parse().map_err(|why: String| AcmError::invalid("last-event-id", why))?);
    }
    let events = call.context.switch.events(after).await?;
    Ok(reply::of_type(sse::MEDIA_TYPE, Body::events(events, Stop::new(call.context.stopping.clone()))))
}

/// Counters of the whole switch
#[utoipa::path(get, path = "/v1/stats", tag = "observing",
    responses((status = 200, description = "Counters", body = Statistics),
              (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn stats(call: Call<'_>) -> Result<Answer, Refusal> {
    query(&call)?.done()?;
    reply::json(&call.context.switch.statistics().await?)
}

/// A running capture of a port, as a pcap file without end
#[utoipa::path(get, path = "/v1/capture/{port}", tag = "observing",
    params(("port" = String, Path, description = "The port's name", example = "eth1")),
    responses((status = 200, description = "A pcap file", content_type = "application/vnd.tcpdump.pcap"),
              (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn capture(call: Call<'_>, port: &str) -> Result<Answer, Refusal> {
    // A capture shows what clients and servers say to each other: more than a dashboard may see.
    call.full_scope()?;
    query(&call)?.done()?;
    let port = unescape(port).ok_or_else(|| AcmError::invalid("port", "has a broken % escape"))?;
    let pieces = call.context.switch.capture(&port).await?;
    let stop = Stop::new(call.context.stopping.clone());
    Ok(reply::of_type("application/vnd.tcpdump.pcap", Body::Capture { pieces, stop }))
}

/// Counters as Prometheus metrics
#[utoipa::path(get, path = "/metrics", tag = "observing",
    responses((status = 200, description = "Text exposition format 0.0.4", content_type = "text/plain"),
              (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn metrics(call: Call<'_>) -> Result<Answer, Refusal> {
    query(&call)?.done()?;
    let switch = &call.context.switch;
    let statistics = match switch.statistics().await {
        Ok(statistics) => Some(statistics),
        Err(AcmError::Unsupported { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let listing = switch.list(&Filter::default()).await?;
    let page = metrics::render(&listing, statistics.as_ref());
    Ok(reply::of_type(metrics::MEDIA_TYPE, Body::from(page.into_bytes())))
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "observing",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(super) fn openapi(call: Call<'_>) -> Result<Answer, Refusal> {
    query(&call)?.done()?;
    reply::json(&openapi::document())
}

async fn one<T: DeserializeOwned>(call: Call<'_>, primitive: fn(T) -> Primitive) -> Result<Answer, Refusal> {
    query(&call)?.done()?;
    let (switch, caller) = (&*call.context.switch, call.caller()?);
    let what = read(&call.body().await?)?;
    reply::json(&perform(switch, &caller, primitive(what)).await?)
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    json::read_object(body)
}

fn query(call: &Call<'_>) -> Result<Query, Refusal> {
    Query::parse(call.parts.uri.query())
}

fn patience(call: &Call<'_>) -> Result<Option<Duration>, Refusal> {
    let mut query = query(call)?;
    let wait: Option<Span> = query.take("wait")?;
    query.done()?;
    match wait {
        Some(wait) if wait > WAIT_MAX => Err(AcmError::invalid("wait", format!("must be at most {WAIT_MAX}")).into()),
        wait => Ok(wait.map(|wait| wait.0)),
    }
}
