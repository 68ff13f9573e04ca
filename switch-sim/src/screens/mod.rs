//! What the device prints: the template file ([`template`]), the sections it has ([`texts`]), and the screens.

pub(crate) mod caches;
pub(crate) mod content;
pub(crate) mod running_config;
pub(crate) mod server_bind;
pub(crate) mod server_real;
pub(crate) mod server_tables;
pub(crate) mod server_virtual;
pub(crate) mod system;
pub mod template;
pub mod texts;

pub use template::Templates;
pub use texts::Text;

use crate::slb::change::Refusal;
use crate::slb::words::NAME_MAX;
use crate::terminal;

/// What terminals of a device with these templates say.
pub fn terminal(templates: &Templates) -> terminal::Texts {
    terminal::Texts {
        more: templates.word(Text::More, &[]),
        login_failed: templates.word(Text::LoginFailed, &[]),
        line_too_long: templates.word(Text::LineTooLong, &[&terminal::LINE_MAX]),
    }
}

/// How the device says why it refuses.
pub fn refusal(templates: &Templates, refusal: &Refusal) -> Vec<String> {
    let say = |text, values: &[&dyn std::fmt::Display]| templates.lines(text, values);
    match refusal {
        Refusal::NameTooLong { name } => say(Text::NameTooLong, &[name, &NAME_MAX]),
        Refusal::BadName { name } => say(Text::BadName, &[name]),
        Refusal::RealExists { name } => say(Text::RealExists, &[name]),
        Refusal::VirtualExists { name } => say(Text::VirtualExists, &[name]),
        Refusal::AddressInUse { address, by } => say(Text::AddressInUse, &[address, by]),
        Refusal::BadAddress { address } => say(Text::BadAddress, &[address]),
        Refusal::NoSuchReal { name } => say(Text::NoSuchReal, &[name]),
        Refusal::RealLeaving { name } => say(Text::RealLeaving, &[name]),
        Refusal::NoSuchVirtual { name } => say(Text::NoSuchVirtual, &[name]),
        Refusal::NoSuchPort { server, port } => say(Text::NoSuchPort, &[port, server]),
        Refusal::AlreadyBound { real, port } => say(Text::AlreadyBound, &[real, port]),
        Refusal::NotBound { real, port } => say(Text::NotBound, &[real, port]),
        Refusal::DefaultPort => say(Text::DefaultPort, &[]),
        Refusal::NoSuchBlock { kind, name } => say(Text::NoSuchBlock, &[&kind.noun(), name]),
        Refusal::Full { what, max } => say(Text::Full, &[what, max]),
        Refusal::Unsupported { what } => say(Text::Unsupported, &[what]),
        Refusal::Failed { why } => say(Text::Failed, &[why]),
    }
}
