//! `ServiceTable`: everything a switch was told and has observed about bindings, as one immutable value.
//!
//! A table is always valid: the only way to a new one is a [`Draft`], whose every step validates, and a draft that
//! met an error is dropped whole. Versions share structure (persistent maps of `Arc`s), so a change costs a few
//! hundred nanoseconds whatever the size of the rest. Callers: `ModelSwitch` and `LocalSwitch` make tables, the
//! plane reads them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use imbl::OrdMap;

use super::error::AcmError;
use super::words::{Binding, BindingKey, Service, ServiceKey};
use crate::base::addr::is_host_address;
use crate::base::id::Generation;
use crate::base::limits::{
    BINDINGS_MAX, BINDINGS_PER_SERVICE_MAX, DROPS_PER_SERVICE_MAX, GROUPS_PER_SERVICE_MAX, RULES_PER_SERVICE_MAX,
    SERVICES_MAX,
};

/// A valid set of services and bindings.
#[derive(Debug, Clone, Default)]
pub struct ServiceTable {
    generation: Generation,
    services: OrdMap<ServiceKey, Arc<Service>>,
    /// How many services each virtual address has.
    vips: OrdMap<IpAddr, u32>,
    /// How many bindings each real's address has.
    reals: OrdMap<IpAddr, u32>,
    bindings: usize,
}

impl ServiceTable {
    /// Which table this is.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// One service.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// One binding.
    pub fn binding(&self, key: &BindingKey) -> Option<&Arc<Binding>> {
        self.services.get(&key.service)?.bindings.get(&key.real)
    }

    /// All services in order of their keys.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// True if some service has this virtual address.
    pub fn is_vip(&self, ip: IpAddr) -> bool {
        self.vips.contains_key(&ip)
    }

    /// True if some binding's real has this address.
    pub fn is_real(&self, ip: IpAddr) -> bool {
        self.reals.contains_key(&ip)
    }

    /// The virtual addresses in order.
    pub fn vips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.vips.keys().copied()
    }

    /// Virtual addresses that are here and were not in `before`; cheap when the two share structure.
    pub fn vips_since<'a>(&'a self, before: &'a ServiceTable) -> impl Iterator<Item = IpAddr> + 'a {
        before.vips.diff(&self.vips).filter_map(|change| match change {
            imbl::ordmap::DiffItem::Add(ip, _) => Some(*ip),
            _ => None,
        })
    }

    /// Services that differ from those in `before`; cheap when the two share structure.
    pub fn services_since<'a>(&'a self, before: &'a ServiceTable) -> impl Iterator<Item = ServiceChange<'a>> + 'a {
        before.services.diff(&self.services).map(|change| match change {
            imbl::ordmap::DiffItem::Add(_, new) => ServiceChange { old: None, new: Some(new) },
            imbl::ordmap::DiffItem::Remove(_, old) => ServiceChange { old: Some(old), new: None },
            imbl::ordmap::DiffItem::Update { old: (_, old), new: (_, new) } => {
                ServiceChange { old: Some(old), new: Some(new) }
            }
        })
    }

    /// How many bindings there are.
    pub fn binding_count(&self) -> usize {
        self.bindings
    }

    /// Begins a change.
    pub fn edit(&self) -> Draft {
        Draft { table: self.clone(), changed: false }
    }
}

/// A service that two tables disagree about.
#[derive(Debug, Clone, Copy)]
pub struct ServiceChange<'a> {
    /// What it was; `None` if new.
    pub old: Option<&'a Arc<Service>>,
    /// What it is; `None` if gone.
    pub new: Option<&'a Arc<Service>>,
}

/// A binding that two versions of a service disagree about.
#[derive(Debug, Clone, Copy)]
pub struct BindingChange<'a> {
    /// What it was; `None` if new.
    pub old: Option<&'a Arc<Binding>>,
    /// What it is; `None` if gone.
    pub new: Option<&'a Arc<Binding>>,
}

impl<'a> ServiceChange<'a> {
    /// The bindings that differ; cheap when the two versions share structure.
    pub fn bindings(self) -> Box<dyn Iterator<Item = BindingChange<'a>> + 'a> {
        let only_new = |new| BindingChange { old: None, new: Some(new) };
        let only_old = |old| BindingChange { old: Some(old), new: None };
        match (self.old, self.new) {
            (None, None) => Box::new(std::iter::empty()),
            (None, Some(new)) => Box::new(new.bindings.values().map(only_new)),
            (Some(old), None) => Box::new(old.bindings.values().map(only_old)),
            (Some(old), Some(new)) => Box::new(old.bindings.diff(&new.bindings).map(move |change| match change {
                imbl::ordmap::DiffItem::Add(_, new) => only_new(new),
                imbl::ordmap::DiffItem::Remove(_, old) => only_old(old),
                imbl::ordmap::DiffItem::Update { old: (_, old), new: (_, new) } => {
                    BindingChange { old: Some(old), new: Some(new) }
                }
            })),
        }
    }
}

/// A change in the making. Each step validates against the whole; [`Draft::finish`] gives the next generation.
#[derive(Debug, Clone)]
pub struct Draft {
    table: ServiceTable,
    changed: bool,
}

impl Draft {
    /// The table as it would be now, still under the old generation.
    pub fn table(&self) -> &ServiceTable {
        &self.table
    }

    /// True once a step has changed something.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Inserts or replaces a service's own settings; its bindings must be those it already has (or none).
    ///
    /// # Errors
    /// `Invalid` (service address), `Full`.
    pub fn put_service(&mut self, service: Service) -> Result<(), AcmError> {
        let key = service.key;
        check_endpoint("service", key.addr)?;
        if self.table.reals.contains_key(&key.vip()) {
            return Err(AcmError::invalid(
                "service",
                format!("{} is the address of a real server; a virtual address must be of its own", key.vip()),
            ));
        }
        full("drop policies of a service", service.drops.len(), DROPS_PER_SERVICE_MAX)?;
        full("groups of a service", service.groups.len(), GROUPS_PER_SERVICE_MAX)?;
        full("rules of a service", service.rules.len(), RULES_PER_SERVICE_MAX)?;
        let known = self.table.services.get(&key).map(|old| &old.bindings);
        let same_bindings = known.map_or(service.bindings.is_empty(), |bindings| {
            bindings.ptr_eq(&service.bindings) || *bindings == service.bindings
        });
        if !same_bindings {
            return Err(AcmError::invalid("service", "bindings are changed one by one"));
        }
        if !self.table.services.contains_key(&key) {
            full("services", self.table.services.len() + 1, SERVICES_MAX)?;
            *self.table.vips.entry(key.vip()).or_insert(0) += 1;
        }
        self.table.services.insert(key, Arc::new(service));
        self.changed = true;
        Ok(())
    }

    /// Removes a service that has no bindings left. Returns whether it existed.
    ///
    /// # Errors
    /// `Invalid` if it still has bindings.
    pub fn remove_service(&mut self, key: &ServiceKey) -> Result<bool, AcmError> {
        match self.table.services.get(key) {
            None => return Ok(false),
            Some(service) if !service.bindings.is_empty() => {
                return Err(AcmError::invalid(
                    "service",
                    format!("{key} still has {} bindings", service.bindings.len()),
                ));
            }
            Some(_) => {}
        }
        self.table.services.remove(key);
        uncount(&mut self.table.vips, key.vip());
        self.changed = true;
        Ok(true)
    }

    /// Inserts or replaces a binding of a service that exists.
    ///
    /// # Errors
    /// `NotFound` (service), `Invalid` (real), `Full`.
    pub fn put_binding(&mut self, key: &ServiceKey, binding: Binding) -> Result<(), AcmError> {
        let service = self.table.services.get(key).ok_or_else(|| AcmError::not_found(format!("service {key}")))?;
        let is_new = !service.bindings.contains_key(&binding.real);
        if is_new {
            self.check_new_real(service, binding.real)?;
            *self.table.reals.entry(binding.real.ip()).or_insert(0) += 1;
            self.table.bindings += 1;
        }
        if let Some(service) = self.table.services.get_mut(key) {
            Arc::make_mut(service).bindings.insert(binding.real, Arc::new(binding));
        }
        self.changed = true;
        Ok(())
    }

    fn check_new_real(&self, service: &Service, real: SocketAddr) -> Result<(), AcmError> {
        check_endpoint("real", real)?;
        let vip = service.key.vip();
        if real.ip() == vip {
            return Err(AcmError::invalid(
                "real",
                format!("{real} is the virtual address itself; a service cannot be bound to itself"),
            ));
        }
        if real.is_ipv4() != vip.is_ipv4() {
            return Err(AcmError::invalid("real", format!("{real} and {vip} are of different address families")));
        }
        if self.table.is_vip(real.ip()) {
            return Err(AcmError::invalid(
                "real",
                format!("{} is a virtual address of this switch; a real server needs its own", real.ip()),
            ));
        }
        full("bindings of a service", service.bindings.len() + 1, BINDINGS_PER_SERVICE_MAX)?;
        full("bindings", self.table.bindings + 1, BINDINGS_MAX)
    }

    /// Removes a binding. Returns it, if it existed.
    pub fn remove_binding(&mut self, key: &BindingKey) -> Option<Arc<Binding>> {
        let service = self.table.services.get_mut(&key.service)?;
        if !service.bindings.contains_key(&key.real) {
            return None;
        }
        let gone = Arc::make_mut(service).bindings.remove(&key.real);
        uncount(&mut self.table.reals, key.real.ip());
        self.table.bindings -= 1;
        self.changed = true;
        gone
    }

    /// The finished table: one generation later if anything changed, else the old one.
    pub fn finish(mut self) -> ServiceTable {
        if self.changed {
            self.table.generation = self.table.generation.next();
        }
        self.table
    }
}

/// An endpoint must name a host and a port.
///
/// # Errors
/// `Invalid`, naming `field`.
pub fn check_endpoint(field: &str, addr: SocketAddr) -> Result<(), AcmError> {
    if addr.port() == 0 {
        return Err(AcmError::invalid(field, format!("{addr} has port 0; name a port from 1 to 65535")));
    }
    if !is_host_address(addr.ip()) {
        return Err(AcmError::invalid(field, format!("{} is not an address that a host can own", addr.ip())));
    }
    Ok(())
}

fn full(what: &str, would_be: usize, max: usize) -> Result<(), AcmError> {
    if would_be > max {
        return Err(AcmError::Full { what: what.to_owned(), max: max as u64 });
    }
    Ok(())
}

fn uncount(map: &mut OrdMap<IpAddr, u32>, ip: IpAddr) {
    match map.get_mut(&ip) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            map.remove(&ip);
        }
    }
}
