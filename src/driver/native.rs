//! A switch of this kind, through its API.
//!
//! One keep-alive connection is used again and again; concurrent calls open more, up to [`LINKS_MAX`]. Everything has
//! a time limit. **What is sent twice**: a request that surely was not sent (the connection turned out to be closed),
//! and reads. A changing call that may have arrived is never repeated: its answer would lie (a second Force Remove
//! says `NotFound`), so the caller gets `Unreachable` and can List.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::link::{Failure, Link};
use super::resume::Resumed;
use super::target::Target;
use crate::acm::error::AcmError;
use crate::acm::event::EventId;
use crate::acm::list::{Filter, Listing};
use crate::acm::primitive::{Caller, Outcome, Primitive, Tenure};
use crate::acm::switch::{AcmSwitch, Answer, CaptureStream, EventStream, Inspect, Statistics};
use crate::api::schema::problem::Problem;
use crate::api::schema::{Claim, EPOCH, MANAGER, OutcomeBody, path, path_segment, query_value};
use crate::base::id::Name;

/// Connections of one client, streams not counted. At the bound a call waits for another to end.
pub const LINKS_MAX: usize = 8;
/// How long a call may take from the first byte sent to the last byte read. A switch gives its own workers 5 s.
pub const CALL_PATIENCE: Duration = Duration::from_secs(15);

/// A client of a switch's API. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct NativeClient {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) target: Target,
    authorization: Option<HeaderValue>,
    /// Connections nobody uses right now, the freshest last.
    idle: Mutex<Vec<Link>>,
    places: Semaphore,
}

impl std::fmt::Debug for NativeClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeClient").field("target", &self.inner.target).finish_non_exhaustive()
    }
}

/// What a request is, apart from who sends it.
struct Question<'a> {
    method: Method,
    path: &'a str,
    body: Bytes,
    caller: Option<&'a Caller>,
}

impl<'a> Question<'a> {
    fn get(path: &'a str) -> Question<'a> {
        Question { method: Method::GET, path, body: Bytes::new(), caller: None }
    }

    fn post<T: Serialize>(path: &'a str, body: &T, caller: Option<&'a Caller>) -> Result<Question<'a>, AcmError> {
        let body = serde_json::to_vec(body).map_err(|why| AcmError::invalid("body", why.to_string()))?;
        Ok(Question { method: Method::POST, path, body: body.into(), caller })
    }
}

impl NativeClient {
    /// A client that connects when it is first used. A token is sent with every request.
    pub fn new(target: Target, token: Option<String>) -> NativeClient {
        // A token that cannot stand in a header cannot be one of the switch's: it answers 401.
        let authorization =
            token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok()).map(|mut value| {
                value.set_sensitive(true);
                value
            });
        let (idle, places) = (Mutex::new(Vec::new()), Semaphore::new(LINKS_MAX));
        NativeClient { inner: Arc::new(Inner { target, authorization, idle, places }) }
    }

    async fn ask<T: DeserializeOwned>(&self, question: Question<'_>) -> Result<T, AcmError> {
        match tokio::time::timeout(CALL_PATIENCE, self.inner.exchange(question)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(AcmError::Unreachable { why: format!("{}: no answer within {CALL_PATIENCE:?}", self.inner.target) })
            }
        }
    }
}

impl Inner {
    async fn exchange<T: DeserializeOwned>(&self, question: Question<'_>) -> Result<T, AcmError> {
        let _place = self.places.acquire().await.map_err(|_| AcmError::Unreachable { why: "closed".into() })?;
        let is_read = question.method == Method::GET;
        let (mut link, response) = match self.idle_link().await {
            None => self.send_fresh(self.request(&question)?).await?,
            Some(mut link) => match link.send(self.request(&question)?).await {
                Ok(response) => (link, response),
                Err(Failure::Unsent(request)) => self.send_fresh(*request).await?,
                Err(Failure::Unknown(_)) if is_read => self.send_fresh(self.request(&question)?).await?,
                Err(Failure::Unknown(why)) => return Err(self.name(why)),
            },
        };
        let status = response.status();
        let body = link.whole(response.into_body()).await.map_err(|why| self.name(why))?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|why| AcmError::Unreachable {
                why: format!("{}: the answer is not what a switch says: {why}", self.target),
            });
        }
        Err(refusal(status.as_u16(), &body))
    }

    /// A connection that is still open, if there is one.
    async fn idle_link(&self) -> Option<Link> {
        loop {
            let mut link = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if link.is_usable().await {
                return Some(link);
            }
        }
    }

    async fn send_fresh(&self, request: Request<Full<Bytes>>) -> Result<(Link, Response<Incoming>), AcmError> {
        let mut link = Link::open(&self.target).await?;
        match link.send(request).await {
            Ok(response) => Ok((link, response)),
            Err(Failure::Unknown(why)) => Err(self.name(why)),
            Err(Failure::Unsent(_)) => Err(AcmError::Unreachable { why: format!("{}: hung up at once", self.target) }),
        }
    }

    fn request(&self, question: &Question<'_>) -> Result<Request<Full<Bytes>>, AcmError> {
        let mut request =
            Request::builder().method(&question.method).uri(question.path).header(HOST, self.target.authority());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if question.method == Method::POST {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(Tenure { epoch, manager }) = question.caller.and_then(|caller| caller.tenure.as_ref()) {
            request = request.header(EPOCH, *epoch).header(MANAGER, manager.as_str());
        }
        request.body(Full::new(question.body.clone())).map_err(|why| AcmError::invalid("request", why.to_string()))
    }

    /// Opens a stream: a connection of its own, and the body of its response.
    pub(super) async fn stream(&self, path: &str) -> Result<(Link, Incoming), AcmError> {
        let opening = async {
            let (mut link, response) = self.send_fresh(self.request(&Question::get(path))?).await?;
            let status = response.status();
            if status.is_success() {
                return Ok((link, response.into_body()));
            }
            let body = link.whole(response.into_body()).await.map_err(|why| self.name(why))?;
            Err(refusal(status.as_u16(), &body))
        };
        match tokio::time::timeout(CALL_PATIENCE, opening).await {
            Ok(opened) => opened,
            Err(_) => {
                Err(AcmError::Unreachable { why: format!("{}: no answer within {CALL_PATIENCE:?}", self.target) })
            }
        }
    }

    /// An error of the connection, with the switch's name before it.
    fn name(&self, error: AcmError) -> AcmError {
        match error {
            AcmError::Unreachable { why } => AcmError::Unreachable { why: format!("{}: {why}", self.target) },
            other => other,
        }
    }
}

/// The error in a response that is not a success.
fn refusal(status: u16, body: &[u8]) -> AcmError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.into_error(),
        // Not our API, or a refusal without words (503 when every place is taken).
        Err(_) => Problem::http(status, "", "no further words").into_error(),
    }
}

/// The query of a filter.
fn list_path(filter: &Filter) -> String {
    let named: [(&str, Option<String>); 5] = [
        ("service", filter.service.map(|service| service.to_string())),
        ("real", filter.real.map(|real| real.to_string())),
        ("group", filter.group.as_ref().map(|group| group.to_string())),
        ("owner", filter.owner.as_ref().map(|owner| owner.to_string())),
        ("state", filter.state.map(|state| state.to_string())),
    ];
    let given = named.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", query_value(&value?))));
    match given.collect::<Vec<_>>().join("&") {
        none if none.is_empty() => path::LIST.to_owned(),
        query => format!("{}?{query}", path::LIST),
    }
}

impl AcmSwitch for NativeClient {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        Box::pin(async move {
            let answers: Vec<OutcomeBody> = self.ask(Question::post(path::APPLY, &list, Some(caller))?).await?;
            if answers.len() != list.len() {
                let why = format!("{} answers to {} primitives", answers.len(), list.len());
                return Err(AcmError::Unreachable { why });
            }
            Ok(answers.into_iter().map(Outcome::from).collect())
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        Box::pin(async move { self.ask(Question::get(&list_path(filter))).await })
    }

    fn events(&self, after: Option<EventId>) -> Answer<'_, Result<EventStream, AcmError>> {
        Box::pin(async move {
            let events = Resumed::open(Arc::clone(&self.inner), after).await?;
            Ok(Box::pin(events) as EventStream)
        })
    }

    fn claim<'a>(&'a self, manager: &'a Name) -> Answer<'a, Result<Tenure, AcmError>> {
        Box::pin(async move {
            let claim = Claim { manager: manager.clone() };
            self.ask(Question::post(path::CLAIM, &claim, None)?).await
        })
    }
}

impl Inspect for NativeClient {
    fn statistics(&self) -> Answer<'_, Result<Statistics, AcmError>> {
        Box::pin(async move { self.ask(Question::get(path::STATS)).await })
    }

    fn capture<'a>(&'a self, port: &'a str) -> Answer<'a, Result<CaptureStream, AcmError>> {
        Box::pin(async move {
            let path = format!("{}{}", path::CAPTURE, path_segment(port));
            let (link, body) = self.inner.stream(&path).await?;
            Ok(Box::pin(Pieces { link, body }) as CaptureStream)
        })
    }
}

/// The body of a capture as a stream. It ends when the connection does: a gap in a capture cannot be filled.
struct Pieces {
    link: Link,
    body: Incoming,
}

impl futures_core::Stream for Pieces {
    type Item = Vec<u8>;

    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Vec<u8>>> {
        let Pieces { link, body } = self.get_mut();
        link.poll_piece(body, cx).map(|piece| piece?.ok().map(|bytes| bytes.to_vec()))
    }
}
