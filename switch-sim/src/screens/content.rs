//! `show csw-policy`, `show csw-rule`, and blocks of the configuration shown as they are.

use super::texts::Text;
use crate::chassis::device::Device;
use crate::slb::block::BlockKind;

/// Blocks of a kind, as they stand in the configuration.
pub(crate) fn blocks(device: &Device, kind: BlockKind) -> Vec<String> {
    let mut screen = Vec::new();
    for (_, block) in device.config.blocks(kind) {
        device.templates.write(&mut screen, Text::BlockHead, &[&block.header]);
        for (_, line) in block.lines.iter() {
            device.templates.write(&mut screen, Text::BlockLine, &[&line]);
        }
    }
    screen
}

/// `show csw-policy [NAME]`: the rules of each policy with how often they decided.
pub(crate) fn policies(device: &Device, wanted: Option<&str>) -> Vec<String> {
    let mut screen = Vec::new();
    for (name, block) in device.config.blocks(BlockKind::CswPolicy) {
        if wanted.is_some_and(|wanted| wanted != name.as_str()) {
            continue;
        }
        device.templates.write(&mut screen, Text::PolicyHead, &[name]);
        for (key, line) in block.lines.iter() {
            // What becomes of the request is decided once; other lines of the rule only shape that.
            let decides = ["forward", "reset-client", "redirect"].iter().any(|action| key.ends_with(action));
            let rule = key.strip_prefix("match \"").and_then(|rest| rest.split('"').next()).filter(|_| decides);
            let hits = rule.map_or(0, |rule| device.balancer.rule_hits(rule));
            device.templates.write(&mut screen, Text::PolicyRow, &[&line, &hits]);
        }
    }
    screen
}

/// `show csw-rule [NAME]`.
pub(crate) fn rules(device: &Device, wanted: Option<&str>) -> Vec<String> {
    let wanted = wanted.map(|name| format!("csw-rule \"{name}\""));
    let lines = device.config.system().iter().filter(|(key, _)| key.starts_with("csw-rule "));
    let lines = lines.filter(|(key, _)| wanted.as_ref().is_none_or(|wanted| wanted == key));
    lines.flat_map(|(_, line)| device.templates.lines(Text::BlockHead, &[&line])).collect()
}
