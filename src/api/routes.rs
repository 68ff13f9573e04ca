//! From a request to the function that answers it: who may call, which path, which method, how large a body.
//!
//! On TCP nothing at all is said to a caller without a token, not even whether a path exists. A panic in a handler
//! is answered 500 and ends nothing else.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, Request};
use tokio::sync::watch;

use super::auth::{Scope, Tokens};
use super::handlers;
use super::refusal::Refusal;
use super::reply::Answer;
use super::schema::{BODY_MAX, EPOCH, LIST_BODY_MAX, MANAGER, path};
use super::task::BODY_PATIENCE;
use crate::acm::error::AcmError;
use crate::acm::primitive::{Caller, Tenure};
use crate::acm::switch::InspectableSwitch;

/// What every request of one listener has in common.
pub(super) struct Context {
    pub(super) switch: Arc<dyn InspectableSwitch>,
    /// Tokens that are asked for; `None` on a Unix socket.
    pub(super) tokens: Option<Arc<Tokens>>,
    pub(super) stopping: watch::Receiver<bool>,
}

/// One request, admitted.
pub(super) struct Call<'a> {
    pub(super) context: &'a Context,
    pub(super) parts: Parts,
    scope: Scope,
    body: Incoming,
}

/// Answers one request, whatever happens. `accepted` is set once the caller has shown that he may call.
pub(super) async fn answer(context: &Context, accepted: &AtomicBool, request: Request<Incoming>) -> Answer {
    let mut answering = pin!(async {
        let (parts, body) = request.into_parts();
        let scope = admit(context, &parts)?;
        accepted.store(true, Ordering::Relaxed);
        dispatch(Call { context, parts, scope, body }).await
    });
    let outcome = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx))) {
        Ok(poll) => poll,
        // The panic's own words are in the log; the future is not polled again.
        Err(_) => Poll::Ready(Err(Refusal::Http { status: 500, detail: "the switch met a fault of its own".into() })),
    })
    .await;
    outcome.unwrap_or_else(Refusal::into_answer)
}

fn admit(context: &Context, parts: &Parts) -> Result<Scope, Refusal> {
    let Some(tokens) = &context.tokens else { return Ok(Scope::Full) };
    let mut presented = parts.headers.get_all(AUTHORIZATION).iter();
    match (presented.next(), presented.next()) {
        (Some(value), None) => tokens.scope_of(value.as_bytes()).ok_or(Refusal::Unauthenticated),
        _ => Err(Refusal::Unauthenticated),
    }
}

async fn dispatch(call: Call<'_>) -> Result<Answer, Refusal> {
    let wanted = call.parts.uri.path().to_owned();
    match wanted.as_str() {
        path::APPLY => handlers::apply(call.changes()?).await,
        path::ADD => handlers::add(call.changes()?).await,
        path::REMOVE => handlers::remove(call.changes()?).await,
        path::FORCE_REMOVE => handlers::force_remove(call.changes()?).await,
        path::DROP => handlers::drop_new(call.changes()?).await,
        path::SET_SERVICE => handlers::set_service(call.changes()?).await,
        path::REMOVE_SERVICE => handlers::remove_service(call.changes()?).await,
        path::CLAIM => handlers::claim(call.changes()?).await,
        path::LIST => handlers::list(call.reads()?).await,
        path::EVENTS => handlers::events(call.reads()?).await,
        path::STATS => handlers::stats(call.reads()?).await,
        path::METRICS => handlers::metrics(call.reads()?).await,
        path::OPENAPI => handlers::openapi(call.reads()?),
        other => match other.strip_prefix(path::CAPTURE) {
            Some(port) if !port.is_empty() && !port.contains('/') => handlers::capture(call.reads()?, port).await,
            _ => Err(Refusal::no_such_route()),
        },
    }
}

impl<'a> Call<'a> {
    fn changes(self) -> Result<Call<'a>, Refusal> {
        if self.parts.method != Method::POST {
            return Err(Refusal::Method("POST"));
        }
        self.full_scope()?;
        Ok(self)
    }

    fn reads(self) -> Result<Call<'a>, Refusal> {
        if self.parts.method != Method::GET { Err(Refusal::Method("GET")) } else { Ok(self) }
    }

    /// Refuses a read-only token.
    pub(super) fn full_scope(&self) -> Result<(), Refusal> {
        match self.scope {
            Scope::Full => Ok(()),
            Scope::ReadOnly => Err(AcmError::Forbidden { why: "this token is read-only".into() }.into()),
        }
    }

    /// The tenure the caller acts under, from the two headers, which come together or not at all.
    pub(super) fn caller(&self) -> Result<Caller, Refusal> {
        let of = |name: &str| {
            let mut values = self.parts.headers.get_all(name).iter();
            match (values.next().map(|value| value.to_str()), values.next()) {
                (None, _) => Ok(None),
                (Some(Ok(value)), None) => Ok(Some(value)),
                _ => Err(Refusal::from(AcmError::invalid(name, "must be given once, in ASCII"))),
            }
        };
        match (of(EPOCH)?, of(MANAGER)?) {
            (None, None) => Ok(Caller { tenure: None }),
            (Some(epoch), Some(manager)) => {
                let epoch = epoch.parse().map_err(|_| AcmError::invalid(EPOCH, "must be a whole number"))?;
                let manager = manager
                    .parse()
                    .map_err(|why: crate::base::id::NotAName| AcmError::invalid(MANAGER, why.to_string()))?;
                Ok(Caller { tenure: Some(Tenure { epoch, manager }) })
            }
            (Some(_), None) => Err(AcmError::invalid(MANAGER, "is missing; it goes with acm-epoch").into()),
            (None, Some(_)) => Err(AcmError::invalid(EPOCH, "is missing; it goes with acm-manager").into()),
        }
    }

    /// The whole body of a primitive.
    pub(super) async fn body(self) -> Result<Bytes, Refusal> {
        self.body_up_to(BODY_MAX).await
    }

    /// The whole body of a list.
    pub(super) async fn list_body(self) -> Result<Bytes, Refusal> {
        self.body_up_to(LIST_BODY_MAX).await
    }

    async fn body_up_to(self, max: usize) -> Result<Bytes, Refusal> {
        self.check_json()?;
        let too_large = || Refusal::Http { status: 413, detail: format!("the body is larger than {max} bytes") };
        if self.body.size_hint().lower() > max as u64 {
            return Err(too_large());
        }
        match tokio::time::timeout(BODY_PATIENCE, Limited::new(self.body, max).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(why)) if why.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(why)) => Err(Refusal::malformed(format!("the body broke off: {why}"))),
            Err(_) => {
                Err(Refusal::Http { status: 408, detail: format!("the body did not arrive within {BODY_PATIENCE:?}") })
            }
        }
    }

    /// A body is JSON; a caller who names another type means something else.
    fn check_json(&self) -> Result<(), Refusal> {
        let Some(named) = self.parts.headers.get(CONTENT_TYPE) else { return Ok(()) };
        let named = named.to_str().unwrap_or_default();
        let essence = named.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        Err(Refusal::Http { status: 415, detail: "send content-type: application/json".into() })
    }
}
