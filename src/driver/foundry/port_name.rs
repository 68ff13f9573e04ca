//! Ports as a ServerIron writes them: some by name, the rest by number.

/// Well-known ports that the box shows by name, whatever was typed. The driver types numbers and reads both.
const NAMED: &[(u16, &str)] = &[
    (21, "ftp"),
    (22, "ssh"),
    (23, "telnet"),
    (25, "smtp"),
    (53, "dns"),
    (69, "tftp"),
    (80, "http"),
    (109, "pop2"),
    (110, "pop3"),
    (119, "nntp"),
    (123, "ntp"),
    (143, "imap4"),
    (161, "snmp"),
    (179, "bgp"),
    (389, "ldap"),
    (443, "ssl"),
    (443, "https"),
    (554, "rtsp"),
    (636, "ldaps"),
    (993, "imap4s"),
    (995, "pop3s"),
    (1645, "radius-old"),
    (1755, "mms"),
    (1812, "radius"),
    (3389, "rdp"),
    (5060, "sip"),
    (5061, "sips"),
    (7070, "pnm"),
];

/// What a port on the box is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PortWord {
    /// A port.
    Number(u16),
    /// `default`: every port that is not configured by itself.
    Default,
}

/// Reads a port; `None` for a name nobody told us about.
pub(super) fn read(word: &str) -> Option<PortWord> {
    if word.eq_ignore_ascii_case("default") {
        return Some(PortWord::Default);
    }
    if word.bytes().all(|b| b.is_ascii_digit()) {
        return word.parse().ok().filter(|port| *port != 0).map(PortWord::Number);
    }
    NAMED.iter().find(|(_, name)| name.eq_ignore_ascii_case(word)).map(|(port, _)| PortWord::Number(*port))
}

/// Whether the box checks this port's protocol by itself (L7), where the contract asks for a handshake only.
pub(super) fn is_http(port: u16) -> bool {
    port == 80
}

/// Whether the box knows that this port is TCP's without a port profile. A port it does not know is checked as UDP's,
/// so that a dead server looks alive, until a profile says otherwise.
pub(super) fn is_known(port: u16) -> bool {
    NAMED.iter().any(|(known, _)| *known == port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(read("http"), Some(PortWord::Number(80)));
        assert_eq!(read("SSL"), Some(PortWord::Number(443)));
        assert_eq!(read("8080"), Some(PortWord::Number(8080)));
        assert_eq!(read("default"), Some(PortWord::Default));
        for bad in ["", "0", "65536", "-1", "gopherish", "80x"] {
            assert_eq!(read(bad).filter(|word| *word != PortWord::Number(0)), None, "{bad}");
        }
    }
}
