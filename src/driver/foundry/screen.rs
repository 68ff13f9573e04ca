//! The tables of `show server real` and `show server virtual`: states and counters.
//!
//! Two layouts are known, that of the XL and that of the ADX, and others may exist. So fields are found by label and
//! columns by title, never by position. A table without its end, or whose rows lack columns, is not believed.

use std::collections::HashMap;

use super::port_name::{self, PortWord};
use crate::base::addr::Mac;
use crate::base::id::Name;
use crate::ironware::read::rule_name;
use crate::ironware::words;

/// Why a table is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its table of {table} cannot be believed: {why}")]
pub(super) struct Unbelievable {
    table: &'static str,
    why: String,
}

/// The state of a real server's port, in the box's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PortState {
    /// Takes connections.
    Active,
    /// Its checks fail.
    Failed,
    /// A check was missed.
    Suspect,
    /// Its checks have not ended.
    Testing,
    /// Waits for its first check.
    Enabled,
    /// `port P disable`.
    Disabled,
    /// Bound to nothing.
    Unbound,
    /// Unbound or deleted; connections finish.
    Leaving,
    /// A word we do not know.
    Other(String),
}

impl PortState {
    /// Words of the XL and codes of the ADX.
    fn read(word: &str) -> PortState {
        match word.to_ascii_lowercase().as_str() {
            "active" | "act" => PortState::Active,
            "failed" | "fal" => PortState::Failed,
            "suspect" | "sus" => PortState::Suspect,
            "testing" | "test" | "tst" => PortState::Testing,
            "enabled" | "enb" => PortState::Enabled,
            "disabled" | "dis" => PortState::Disabled,
            "unbnd" | "unb" | "unbound" => PortState::Unbound,
            "aw_unbnd" | "awu" | "aw_del" | "awd" | "grace_dn" | "gdn" | "shutdown" => PortState::Leaving,
            other => PortState::Other(other.chars().take(20).collect()),
        }
    }
}

/// A row of a table of ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PortRow {
    pub(super) state: PortState,
    /// Live connections.
    pub(super) current: u64,
    /// Connections so far.
    pub(super) total: u64,
}

/// A server's part of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ServerRow {
    pub(super) mac: Option<Mac>,
    pub(super) ports: HashMap<u16, PortRow>,
}

/// Reads `show csw-policy NAME`: the rules' names in the contract, with how often each decided. Rows are known by the words
/// of a line that decides, and the count is the last number behind them.
pub(super) fn read_hits(answer: &str) -> HashMap<Name, u64> {
    let mut hits = HashMap::new();
    for line in answer.lines() {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let ["match", rule, "forward" | "reset-client" | "redirect", .., count] = words.as_slice()
            && let (Ok(rule), Ok(count)) = (rule_name(rule), count.parse())
        {
            hits.insert(rule, count);
        }
    }
    hits
}

/// Servers by name.
pub(super) type Table = HashMap<String, ServerRow>;

/// Reads `show server real`, of all or of one.
///
/// # Errors
/// If it is not whole.
pub(super) fn read_reals(answer: &str) -> Result<Table, Unbelievable> {
    Reader { table: "real servers", ends_with_total: true, ..Reader::default() }.read(answer)
}

/// Reads `show server virtual`.
///
/// # Errors
/// If it is not whole.
pub(super) fn read_virtuals(answer: &str) -> Result<Table, Unbelievable> {
    Reader { table: "virtual servers", ..Reader::default() }.read(answer)
}

/// Where the columns are that we read.
#[derive(Debug, Clone, Copy)]
struct Columns {
    state: usize,
    current: usize,
    total: usize,
}

impl Columns {
    /// Finds them in a line of titles.
    fn of(line: &str) -> Option<Columns> {
        let titles: Vec<&str> = line.split_ascii_whitespace().collect();
        let place = |names: &[&str]| titles.iter().position(|title| names.contains(title));
        if titles.first() != Some(&"Port") {
            return None;
        }
        Some(Columns {
            state: place(&["State", "St"])?,
            current: place(&["CurConn", "CurrConn"])?,
            total: place(&["TotConn", "TotalConn"])?,
        })
    }
}

#[derive(Default)]
struct Reader {
    table: &'static str,
    /// Each server's part ends with its sum.
    ends_with_total: bool,
    rows: Table,
    current: Option<(String, ServerRow)>,
    columns: Option<Columns>,
}

impl Reader {
    fn wrong<T>(&self, why: impl Into<String>) -> Result<T, Unbelievable> {
        Err(Unbelievable { table: self.table, why: why.into() })
    }

    fn read(mut self, answer: &str) -> Result<Table, Unbelievable> {
        for line in answer.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.line(line)?;
        }
        self.end_of_server(!self.ends_with_total)?;
        Ok(self.rows)
    }

    fn line(&mut self, line: &str) -> Result<(), Unbelievable> {
        if let Some(name) = value_of(line, "Name").filter(|_| line.starts_with("Name")) {
            self.end_of_server(!self.ends_with_total)?;
            self.current = Some((name.to_owned(), ServerRow::default()));
        } else if let Some(columns) = Columns::of(line) {
            self.columns = Some(columns);
            return Ok(());
        }
        let Some((name, row)) = &mut self.current else { return Ok(()) };
        if let Some(mac) = value_of(line, "Mac-addr").or_else(|| value_of(line, "Mac")) {
            row.mac = read_mac(mac);
        }
        let Some(columns) = self.columns else { return Ok(()) };
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["Server", "Total", ..] => return self.end_of_server(true),
            [first, ..] if first.starts_with("--") => {}
            [port, ..] => {
                let name = name.clone();
                let row = port_row(&words, columns);
                match (port_name::read(port), row) {
                    (Some(PortWord::Number(port)), Some(row)) => self.insert(&name, port, row)?,
                    (Some(PortWord::Default), Some(_)) => {}
                    (Some(_), None) => return self.wrong(format!("`{line}` of `{name}` breaks off")),
                    // A port name of foreign configuration; or a line of labels, or something new.
                    (None, _) => {}
                }
            }
            [] => {}
        }
        Ok(())
    }

    fn insert(&mut self, name: &str, port: u16, row: PortRow) -> Result<(), Unbelievable> {
        let Some((_, server)) = &mut self.current else { return Ok(()) };
        match server.ports.insert(port, row) {
            None => Ok(()),
            Some(_) => self.wrong(format!("port {port} of `{name}` is there twice")),
        }
    }

    /// A server's part is over; `whole` says that nothing is missing.
    fn end_of_server(&mut self, whole: bool) -> Result<(), Unbelievable> {
        self.columns = None;
        let Some((name, row)) = self.current.take() else { return Ok(()) };
        if !whole {
            return self.wrong(format!("the part about `{name}` breaks off"));
        }
        if self.rows.contains_key(&name) {
            return self.wrong(format!("`{name}` is there twice"));
        }
        self.rows.insert(name, row);
        Ok(())
    }
}

fn port_row(words: &[&str], columns: Columns) -> Option<PortRow> {
    Some(PortRow {
        state: PortState::read(words.get(columns.state)?),
        current: words.get(columns.current)?.parse().ok()?,
        total: words.get(columns.total)?.parse().ok()?,
    })
}

/// The word behind `LABEL:` or `LABEL :`.
fn value_of<'a>(line: &'a str, label: &str) -> Option<&'a str> {
    let mut rest = line;
    loop {
        let at = rest.find(label)?;
        let begins_a_word = at == 0 || rest.as_bytes()[at - 1].is_ascii_whitespace();
        let behind = &rest[at + label.len()..];
        if let Some(value) = behind.trim_start().strip_prefix(':').filter(|_| begins_a_word) {
            return value.split_ascii_whitespace().next();
        }
        rest = behind;
    }
}

/// `0010.db12.3456`; all zeroes while it is not known.
fn read_mac(word: &str) -> Option<Mac> {
    let digits: Vec<u8> = word.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut octets = [0u8; 6];
    if digits.len() != 12 {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Mac(octets)).filter(|mac| *mac != Mac::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    const XL: &str = "\
Real Servers Info

Name : rs1                              Mac-addr: 0010.db12.3456
IP:207.95.7.1        Range:1        State:Active           Max-conn:1000000
Least-con Wt:0       Resp-time Wt:0
Src-nat (cfg:op):0:0 Dest-nat (cfg:op):0:0
Remote server : No   Dynamic : No   Server-resets:0
Mem:server: 02009eae Mem:mac: 045a3714

Port     State   Ms CurConn TotConn Rx-pkts Tx-pkts Rx-octet Tx-octet Reas
----     -----   -- ------- ------- ------- ------- -------- -------- ----
http     active  0  3       17      0       0       0        0        0
8080     aw_unbnd 0 1       2       0       0       0        0        0
default  unbnd   0  0       0       0       0       0        0        0

Server   Total      4       19      0       0       0        0        0

Name : rs2                              Mac-addr: 0000.0000.0000
Port     State   Ms CurConn TotConn Rx-pkts Tx-pkts Rx-octet Tx-octet Reas
443      failed  0  0       0       0       0       0        0        0
Server   Total      0       0       0       0       0        0        0
";

    const ADX: &str = "\
Real Servers Info
========================
State(St) - ACT:active, ENB:enabled, FAL:failed, TST:test, DIS:disabled,
            UNK:unknown, UNB:unbind, AWU:await-unbind, AWD:await-delete
            HLD:held-down

Name: rs1               State: Active            Cost: 0       IP:10.10.10.1:   1
Mac: 0010.db12.3456     Weight: 0/0              MaxConn: 2000000
SrcNAT: not-cfg, not-op DstNAT: not-cfg, not-op

Port    St  Ms CurConn TotConn Rx-pkts  Tx-pkts  Rx-octet   Tx-octet   Reas
----    --  -- ------- ------- -------  -------  --------   --------   ----
default UNB 0  0       0       0        0        0          0          0
http    ACT 0  5       6       0        0        0          0          0
81      HLD 0  0       0       0        0        0          0          0

Server  Total  0       0       0        0        0          0          0
";

    const VIRTUAL: &str = "\
Virtual Servers Info

Name: v100          State: Enabled      IP:10.10.10.100:   1
Pred: least-conn    ACL-Id: 0           TotalConn: 0

Port    State   Sticky Concur Proxy DSR  CurConn TotConn PeakConn
----    -----   ------ ------ ----- ---  ------- ------- --------
http    enabled NO     NO     NO    NO   1       9       4
default enabled NO     NO     NO    NO   0       0       0

Name: v101          State: Enabled      IP:10.10.10.101:   1
";

    fn row(state: PortState, current: u64, total: u64) -> PortRow {
        PortRow { state, current, total }
    }

    #[test]
    fn the_layout_of_the_xl() {
        let table = read_reals(XL).unwrap();
        assert_eq!(table.len(), 2);
        assert_eq!(table["rs1"].mac, "00:10:db:12:34:56".parse().ok());
        assert_eq!(table["rs1"].ports[&80], row(PortState::Active, 3, 17));
        assert_eq!(table["rs1"].ports[&8080], row(PortState::Leaving, 1, 2));
        assert_eq!(table["rs1"].ports.len(), 2);
        assert_eq!((table["rs2"].mac, &table["rs2"].ports[&443].state), (None, &PortState::Failed));
    }

    #[test]
    fn the_layout_of_the_adx() {
        let table = read_reals(ADX).unwrap();
        assert_eq!(table["rs1"].ports[&80], row(PortState::Active, 5, 6));
        assert_eq!(table["rs1"].ports[&81].state, PortState::Other("hld".into()));
        assert!(table["rs1"].mac.is_some());
    }

    #[test]
    fn virtual_servers() {
        let table = read_virtuals(VIRTUAL).unwrap();
        assert_eq!((table["v100"].ports[&80].total, table["v101"].ports.len()), (9, 0));
    }

    #[test]
    fn nothing_is_an_empty_table() {
        assert!(read_reals("Real Servers Info\n").unwrap().is_empty());
        assert!(read_reals("").unwrap().is_empty());
    }

    #[test]
    fn what_breaks_off_is_not_believed() {
        let refused = |text: &str| read_reals(text).expect_err(text).to_string();
        let cut = XL.rsplit_once("Server   Total").unwrap().0;
        assert!(refused(cut).contains("`rs2` breaks off"));
        let row = "active  0  3       17      0       0       0        0        0";
        assert!(refused(&XL.replace(row, "active  0  3")).contains("breaks off"));
        assert!(refused(&format!("{XL}{XL}")).contains("twice"));
        assert!(refused(&XL.replace("8080 ", "http ")).contains("port 80 of `rs1` is there twice"));
    }
}
