//! The ranges of a primitive's own fields. What depends on the rest of the table is validated by the table.
//!
//! Every implementor calls [`check`] before anything else, so that one call gets one answer from every switch.

use std::time::Duration;

use super::error::AcmError;
use super::primitive::{Add, DropNew, Primitive, SetService};
use super::rules;
use super::table::check_endpoint;
use super::words::{HealthDepth, HealthProfile, HttpCheck};
use crate::base::addr::Protocol;
use crate::base::limits::WEIGHT_MAX;
use crate::base::span::Span;

/// Lease periods accepted: shorter ones flap, longer ones are not leases.
pub const LEASE_RANGE: (Span, Span) = (Span::secs(1), Span::secs(24 * 3600));

/// Checks the fields of a primitive that can be judged alone.
///
/// # Errors
/// `Invalid`, naming the field as it is written in JSON.
pub fn check(primitive: &Primitive) -> Result<(), AcmError> {
    check_endpoint("service", primitive.service().addr)?;
    match primitive {
        Primitive::Add(add) => check_add(add),
        Primitive::Remove(remove) => check_endpoint("real", remove.real),
        Primitive::ForceRemove(remove) => check_endpoint("real", remove.real),
        Primitive::Drop(drop) => check_drop(drop),
        Primitive::SetService(set) => check_set(set),
        Primitive::RemoveService(_) => Ok(()),
    }
}

fn check_add(add: &Add) -> Result<(), AcmError> {
    check_endpoint("real", add.real)?;
    if add.weight.is_some_and(|weight| weight > WEIGHT_MAX) {
        return Err(AcmError::invalid("weight", format!("must be 0 to {WEIGHT_MAX}")));
    }
    if add.max_conns == Some(0) {
        return Err(AcmError::invalid(
            "max_conns",
            "must be at least 1; to take no new connections use weight 0 or Remove",
        ));
    }
    if let Some(lease) = add.lease {
        within("lease", lease, LEASE_RANGE.0, LEASE_RANGE.1)?;
    }
    match &add.health {
        Some(profile) => check_health(profile, add.service.protocol),
        None => Ok(()),
    }
}

fn check_drop(drop: &DropNew) -> Result<(), AcmError> {
    if let Some(prefix) = drop.from {
        if prefix.addr().is_ipv4() != drop.service.addr.is_ipv4() {
            return Err(AcmError::invalid("from", format!("{prefix} is not of the service's address family")));
        }
        if prefix.trunc() != prefix {
            return Err(AcmError::invalid("from", format!("{prefix} has host bits set; write {}", prefix.trunc())));
        }
    }
    if drop.lasts.is_some_and(|span| span.0 < Duration::from_millis(1)) {
        return Err(AcmError::invalid("for", "must be at least 1ms"));
    }
    Ok(())
}

fn check_set(set: &SetService) -> Result<(), AcmError> {
    if let Some(profile) = &set.health {
        check_health(profile, set.service.protocol)?;
    }
    rules::check::check(set)
}

/// Checks a health profile for a service of this protocol.
///
/// # Errors
/// `Invalid` with `health.…` as the field.
pub fn check_health(profile: &HealthProfile, protocol: Protocol) -> Result<(), AcmError> {
    within("health.interval", profile.interval, Span::millis(100), Span::secs(3600))?;
    within("health.timeout", profile.timeout, Span::millis(10), profile.interval)?;
    for (field, value) in [("health.rise", profile.rise), ("health.fall", profile.fall)] {
        if !(1..=100).contains(&value) {
            return Err(AcmError::invalid(field, "must be 1 to 100"));
        }
    }
    let Some(http) = &profile.http else { return Ok(()) };
    if protocol != Protocol::Tcp || profile.depth != HealthDepth::L4 {
        return Err(AcmError::invalid("health.http", "an HTTP check needs a TCP service and depth l4"));
    }
    check_http(http)
}

fn check_http(http: &HttpCheck) -> Result<(), AcmError> {
    let visible =
        |text: &str, max: usize| !text.is_empty() && text.len() <= max && text.bytes().all(|b| b.is_ascii_graphic());
    if !http.path.starts_with('/') || !visible(&http.path, 1024) {
        return Err(AcmError::invalid(
            "health.http.path",
            "must begin with / and have at most 1024 visible ASCII characters",
        ));
    }
    if http.host.as_deref().is_some_and(|host| !visible(host, 255)) {
        return Err(AcmError::invalid("health.http.host", "must be 1 to 255 visible ASCII characters"));
    }
    if !(100..=599).contains(&http.status) {
        return Err(AcmError::invalid("health.http.status", "must be 100 to 599"));
    }
    if http.contains.as_deref().is_some_and(|text| text.is_empty() || text.len() > 256) {
        return Err(AcmError::invalid("health.http.contains", "must have 1 to 256 bytes"));
    }
    Ok(())
}

fn within(field: &str, span: Span, min: Span, max: Span) -> Result<(), AcmError> {
    if span < min || span > max {
        return Err(AcmError::invalid(field, format!("{span} is not from {min} to {max}")));
    }
    Ok(())
}
