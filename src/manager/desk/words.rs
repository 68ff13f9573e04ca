//! What a desk asks for, what it is told, and what it has to tell.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::cache::Cache;
use super::super::probe::Target;
use super::super::reconcile::Rules;
use crate::acm::error::AcmError;
use crate::acm::list::{Filter, Listing};
use crate::acm::primitive::{Caller, Outcome, Primitive, Tenure};
use crate::acm::words::BindingKey;
use crate::base::time::Time;
use crate::beacon::message::Answer;
use crate::beacon::words::Words;

/// What the I/O side is to do at a switch. The result comes back by [`Desk::done`](super::Desk::done).
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    /// Connect, and subscribe to its events if it has any.
    Connect,
    /// Claim a tenure.
    Claim,
    /// List.
    List(Filter),
    /// Perform these, unless it is later than `start_by`: then we may have been stopped, and another leads.
    Apply {
        /// Under this tenure.
        caller: Caller,
        /// In this order.
        list: Vec<Primitive>,
        /// Begin no later.
        start_by: Time,
    },
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Done {
    /// Connected, or why not.
    Connect(Result<(), AcmError>),
    /// The tenure.
    Claim(Result<Tenure, AcmError>),
    /// The rows.
    List(Result<Listing, AcmError>),
    /// The outcomes.
    Apply(Result<Vec<Outcome>, AcmError>),
}

/// What a desk has to tell the manager.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A switch's answer about a binding somebody may wait for.
    Answered(BindingKey, Answer, Option<Words>),
    /// Servers to be looked at.
    Probe(BTreeSet<Target>),
    /// It granted this.
    Granted(Tenure),
    /// It keeps no epoch.
    Unfenced,
    /// It has granted a newer epoch to another.
    Fenced(AcmError),
    /// It cannot be reached.
    Lost(AcmError),
    /// It is reached.
    Reached,
    /// This was done there without an agent waiting for it.
    Repaired(Primitive),
    /// It refused.
    Refused(Primitive, AcmError),
}

/// What a desk needs to know of the rest.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What is wanted.
    pub cache: &'a Cache,
    /// The rules.
    pub rules: Rules<'a>,
    /// Until when a write may begin.
    pub may_write_until: Time,
    /// From one List to the next.
    pub reconcile: Duration,
    /// How long another leader may be unheard.
    pub heartbeat: Duration,
}
