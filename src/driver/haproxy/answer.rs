//! What HAProxy says, read: messages with a severity, `show info`, `show servers state`, `show stat` as CSV.
//!
//! Pure, and total: whatever the bytes, the result is a value or an error with the words that did not fit. Columns are
//! found by name, since each version adds some. An answer that breaks off is an error, never a shorter table.
//! Formats: HAProxy's management guide, sections 9.1 (CSV) and 9.3 (commands); `set severity-output number` puts
//! `[LEVEL]: ` before each message, with syslog's levels.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::base::text::quoted;

/// A HAProxy version, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u16,
    pub(super) minor: u16,
}

/// The first that adds and deletes servers at run time without `experimental-mode`: 2.5 had to be asked twice.
pub(super) const OLDEST: Version = Version { major: 2, minor: 6 };

/// What `show info` says that we need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    /// Its version.
    pub(super) version: Version,
    /// The version in HAProxy's words.
    pub(super) version_text: String,
    /// Connections it has accepted since it started, this one included.
    pub(super) connections: u64,
}

/// Reads `show info`; `None`: that is not what HAProxy says.
pub(super) fn info(answer: &str) -> Option<Info> {
    let field = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    field("Name").filter(|name| *name == "HAProxy")?;
    let version_text = field("Version")?;
    let mut numbers = version_text.split(|c: char| !c.is_ascii_digit());
    let version = Version { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? };
    let connections = field("CumConns")?.parse().ok()?;
    Some(Info { version, version_text: version_text.chars().take(80).collect(), connections })
}

/// The backends and their numbers, from `show stat -1 2 -1`.
///
/// # Errors
/// When it is not complete.
pub(super) fn backends(answer: &str) -> Result<BTreeMap<String, u32>, NotATable> {
    let rows = csv(statistics(answer)?)?;
    rows.iter().map(|row| Ok((row.text("pxname")?.to_owned(), row.number("iid")?))).collect()
}

/// The statistics in an answer, which every answer of ours ends with.
fn statistics(answer: &str) -> Result<&str, NotATable> {
    // A table ends with an empty line; one that does not was cut off.
    if !answer.ends_with("\n\n") {
        return Err("it breaks off".into());
    }
    let at = answer.find("# pxname,").ok_or("there are no statistics in it")?;
    Ok(&answer[at..])
}

/// What HAProxy objects to in a changing command, in its own words; `None`: it did as it was told.
pub(super) fn complaint(answer: &str) -> Option<String> {
    let lines = answer.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let message = lines.map(severity).find(|(level, text)| !is_fine(*level, text));
    message.map(|(_, text)| text.chars().take(300).collect())
}

/// The complaint in an answer that should be a table, where text without a severity is no complaint.
pub(super) fn objection(answer: &str) -> Option<String> {
    complaint(answer.lines().find(|line| severity(line).0.is_some())?)
}

/// A line's severity, if it has one, and its text.
fn severity(line: &str) -> (Option<u8>, &str) {
    let split = || {
        let (level, text) = line.strip_prefix('[')?.split_once("]: ")?;
        Some((level.parse().ok()?, text))
    };
    split().map_or((None, line), |(level, text)| (Some(level), text))
}

/// Notice and below. An unknown command is announced as information.
fn is_fine(level: Option<u8>, text: &str) -> bool {
    level.is_some_and(|level| level >= 5) && !text.starts_with("Unknown command")
}

/// Why a table was not believed.
pub(super) type NotATable = String;

/// One server, both tables joined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// Number within its backend.
    pub(super) id: u32,
    /// Name.
    pub(super) name: String,
    /// Address and port; `None` when it has none (not resolved yet, or a Unix socket).
    pub(super) address: Option<SocketAddr>,
    /// `srv_admin_state`: bits of maintenance and drain.
    pub(super) admin: u32,
    /// `srv_op_state`: 0 stopped, 1 starting, 2 running, 3 stopping.
    pub(super) operation: u32,
    /// Weight now, 0 to 256.
    pub(super) weight: u16,
    /// Connection limit.
    pub(super) max_conns: Option<u32>,
    /// Sessions now.
    pub(super) sessions: u64,
    /// Requests that wait for it.
    pub(super) queued: u64,
    /// Sessions since it was added.
    pub(super) total: u64,
    /// The last check's short result (`INI`, `L4OK`, `L4CON`), empty without checks.
    pub(super) check: String,
    /// The last check's result in words, if there are any.
    pub(super) check_words: String,
}

/// A backend and its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenBackend {
    /// Its number; changes when HAProxy is configured anew.
    pub(super) id: u32,
    /// Its `balance` algorithm, empty if HAProxy does not say it.
    pub(super) algorithm: String,
    /// Sessions since it started.
    pub(super) total: u64,
    /// Its servers, in HAProxy's order.
    pub(super) servers: Vec<Seen>,
}

/// Reads the answer to `show servers state B;show stat NUMBER 6 -1`.
///
/// # Errors
/// When it is not complete, not about this backend, or the two tables disagree about which servers there are.
pub(super) fn backend(name: &str, answer: &str) -> Result<SeenBackend, NotATable> {
    let statistics = statistics(answer)?;
    let states = &answer[..answer.len() - statistics.len()];
    let states = servers_state(states)?;
    let mut by_id: HashMap<u32, Row<'_>> =
        states.into_iter().map(|row| Ok((row.number("srv_id")?, row))).collect::<Result<_, NotATable>>()?;
    let mut found = None;
    let mut servers = Vec::with_capacity(by_id.len());
    for row in csv(statistics)? {
        if row.text("pxname")? != name {
            return Err(format!("it is about {}", quoted(row.text("pxname")?)));
        }
        match row.text("type")? {
            "1" => found = Some((row.number("iid")?, row.optional("algo").to_owned(), row.number("stot")?)),
            "2" => {
                let id = row.number("sid")?;
                let state = by_id.remove(&id).ok_or_else(|| format!("server {id} is in one table only"))?;
                servers.push(joined(id, &state, &row)?);
            }
            _ => {}
        }
    }
    if let Some(id) = by_id.keys().next() {
        return Err(format!("server {id} is in one table only"));
    }
    let (id, algorithm, total) = found.ok_or_else(|| format!("there is no line for the backend `{name}`"))?;
    Ok(SeenBackend { id, algorithm, total, servers })
}

fn joined(id: u32, state: &Row<'_>, stat: &Row<'_>) -> Result<Seen, NotATable> {
    let name = state.text("srv_name")?;
    if stat.text("svname")? != name {
        return Err(format!("server {id} has two names"));
    }
    let address = match (state.text("srv_addr")?.parse::<IpAddr>(), state.number::<u16>("srv_port")?) {
        (Ok(ip), port) if port != 0 => Some(SocketAddr::new(ip, port)),
        _ => None,
    };
    // `* ` before it: the next check is under way.
    let check = stat.optional("check_status").trim_start_matches("* ");
    let words = [stat.optional("check_desc"), stat.optional("last_chk")];
    let words: Vec<_> = words.into_iter().filter(|words| !words.is_empty()).collect();
    Ok(Seen {
        id,
        name: name.to_owned(),
        address,
        admin: state.number("srv_admin_state")?,
        operation: state.number("srv_op_state")?,
        weight: state.number("srv_uweight")?,
        max_conns: match stat.optional("slim") {
            "" => None,
            _ => Some(stat.number("slim")?).filter(|limit| *limit != 0),
        },
        sessions: stat.number("scur")?,
        queued: stat.number("qcur")?,
        total: stat.number("stot")?,
        check: check.chars().take(40).collect(),
        check_words: words.join(": ").chars().take(300).collect(),
    })
}

/// A row and the names of its columns.
struct Row<'a> {
    columns: std::rc::Rc<Vec<&'a str>>,
    cells: Vec<std::borrow::Cow<'a, str>>,
}

impl Row<'_> {
    /// A column's text; empty if there is no such column.
    fn optional(&self, column: &str) -> &str {
        let place = self.columns.iter().position(|name| *name == column);
        place.and_then(|place| self.cells.get(place)).map_or("", |cell| cell.trim())
    }

    fn text(&self, column: &str) -> Result<&str, NotATable> {
        match self.optional(column) {
            "" => Err(format!("a row has no `{column}`")),
            text => Ok(text),
        }
    }

    fn number<T: std::str::FromStr>(&self, column: &str) -> Result<T, NotATable> {
        let text = self.text(column)?;
        text.parse().map_err(|_| format!("{} is not a {column}", quoted(text)))
    }
}

/// `show servers state`: a version, a head that begins with `#`, and a row a line, all separated by spaces.
fn servers_state(text: &str) -> Result<Vec<Row<'_>>, NotATable> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    match lines.next() {
        Some("1") => {}
        Some(other) => return Err(format!("{} is not the version of a table of servers", quoted(other))),
        None => return Err("there is no table of servers in it".into()),
    }
    let head = lines.next().and_then(|line| line.strip_prefix("# ")).ok_or("the table of servers has no head")?;
    let columns = std::rc::Rc::new(head.split(' ').collect::<Vec<_>>());
    let row = |line| {
        cut(line, &columns, Row { columns: columns.clone(), cells: str::split(line, ' ').map(Into::into).collect() })
    };
    lines.map(row).collect()
}

/// A row with fewer cells than columns was cut off.
fn cut<'a>(line: &str, columns: &[&str], row: Row<'a>) -> Result<Row<'a>, NotATable> {
    if row.cells.len() < columns.len() {
        return Err(format!("the row {} breaks off", quoted(line)));
    }
    Ok(row)
}

/// `show stat`: a head that begins with `# `, and a row a line. A cell with a comma or a quote in it stands in quotes,
/// its own quotes doubled (RFC 4180); HAProxy writes no line end into a cell.
fn csv(text: &str) -> Result<Vec<Row<'_>>, NotATable> {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let head = lines.next().and_then(|line| line.strip_prefix("# ")).ok_or("the statistics have no head")?;
    let columns = std::rc::Rc::new(head.split(',').collect::<Vec<_>>());
    lines.map(|line| cut(line, &columns, Row { columns: columns.clone(), cells: cells(line)? })).collect()
}

fn cells(line: &str) -> Result<Vec<std::borrow::Cow<'_, str>>, NotATable> {
    let mut found = Vec::new();
    let mut rest = line;
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            None => rest.split_once(',').map_or((rest.into(), None), |(cell, after)| (cell.into(), Some(after))),
            Some(inside) => {
                let end = closing_quote(inside).ok_or_else(|| format!("a quote is not closed in {}", quoted(line)))?;
                let after = &inside[end + 1..];
                let after = match after.strip_prefix(',') {
                    None if after.is_empty() => None,
                    None => return Err(format!("text after a quote in {}", quoted(line))),
                    some => some,
                };
                (inside[..end].replace("\"\"", "\"").into(), after)
            }
        };
        found.push(cell);
        match after {
            None => return Ok(found),
            Some(after) => rest = after,
        }
    }
}

/// Where the quote is that is not doubled.
fn closing_quote(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find('"')?;
        if !text[at + 1..].starts_with('"') {
            return Some(at);
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Said by HAProxy 2.6.12, the columns we do not read shortened away.
    const STATE: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port\n\
        3 web 1 static1 127.0.0.1 0 0 1 9001\n3 web 77 acm-2001:db8::1-80 2001:db8::1 2 8 5 80\n3 web 78 dns - 0 32 1 80\n\n";
    const STAT: &str = "# pxname,svname,qcur,scur,slim,stot,iid,sid,type,check_status,last_chk,check_desc,algo,-,\n\
        web,static1,0,0,,0,3,1,2,* L4CON,\"refused, at \"\"connect\"\"\",Layer4 connection problem,,-,\n\
        web,acm-2001:db8::1-80,1,2,7,9,3,77,2,L4OK,,,,-,\nweb,dns,0,0,0,0,3,78,2,,,,,-,\n\
        web,BACKEND,0,2,999,11,3,0,1,,,,roundrobin,-,\n\n";

    fn answer() -> String {
        format!("\n{STATE}{STAT}")
    }

    #[test]
    fn two_tables_make_one_backend() {
        let seen = backend("web", &answer()).unwrap();
        assert_eq!((seen.id, seen.algorithm.as_str(), seen.total, seen.servers.len()), (3, "roundrobin", 11, 3));
        let [down, ours, dns] = &seen.servers[..] else { panic!("{seen:?}") };
        assert_eq!(down.check, "L4CON");
        assert_eq!(down.check_words, "Layer4 connection problem: refused, at \"connect\"");
        assert_eq!(ours.address, Some("[2001:db8::1]:80".parse().unwrap()));
        assert_eq!((ours.sessions, ours.queued, ours.total, ours.max_conns), (2, 1, 9, Some(7)));
        assert_eq!((ours.admin, ours.operation, ours.weight), (8, 2, 5));
        assert_eq!((dns.address, dns.max_conns), (None, None));
    }

    #[test]
    fn a_shorter_table_is_not_believed() {
        let whole = answer();
        // Wherever it breaks off, it is noticed.
        for end in 0..whole.len() {
            assert!(backend("web", &whole[..end]).is_err(), "{}", &whole[..end]);
        }
        let one_less = whole.replace("3 web 1 static1 127.0.0.1 0 0 1 9001\n", "");
        assert_eq!(backend("web", &one_less).unwrap_err(), "server 1 is in one table only");
        let one_more = whole.replace("web,dns,0,0,0,0,3,78,2,,,,,-,\n", "");
        assert_eq!(backend("web", &one_more).unwrap_err(), "server 78 is in one table only");
        assert!(backend("app", &whole).unwrap_err().contains("about `web`"));
    }

    #[test]
    fn backends_have_numbers() {
        let found = backends("\n# pxname,svname,iid,type,\nweb,BACKEND,3,1,\nshop,BACKEND,9,1,\n\n").unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("shop".to_owned(), 9), ("web".to_owned(), 3)]);
        assert!(backends("\n# pxname,svname,iid,type,\nweb,BACKEND,3,1,\n").is_err());
        assert_eq!(objection("\n[3]: Permission denied\n\n").as_deref(), Some("Permission denied"));
        assert_eq!(objection(&answer()), None);
    }

    #[test]
    fn information_is_read() {
        let text = "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nCumConns: 7\n\n";
        let found = info(text).unwrap();
        assert_eq!((found.version, found.connections), (OLDEST, 7));
        let dev = info(&text.replace("2.6.12-1+deb12u4", "3.4-dev5-1")).unwrap();
        assert!(dev.version > OLDEST);
        assert!(info(&text.replace("2.6.12", "2.4.22")).unwrap().version < OLDEST);
        for bad in ["", "Name: nginx\nVersion: 2.6.1\nUptime_sec: 1\n", "Name: HAProxy\nVersion: two\nUptime_sec: 1\n"]
        {
            assert_eq!(info(bad), None, "{bad}");
        }
    }

    #[test]
    fn complaints_are_in_its_own_words() {
        for fine in ["", "\n\n", "\n[6]: New server registered.\n\n", "\n\n[6]: Server deleted.\n"] {
            assert_eq!(complaint(fine), None, "{fine}");
        }
        for (said, words) in [
            ("\n[3]: No such server.\n\n", "No such server."),
            ("\n\n[3]: Permission denied\n\n", "Permission denied"),
            ("[6]: Unknown command, but maybe\n  help\n", "Unknown command, but maybe"),
            ("[6]: New server registered.\n\n[4]: odd\n", "odd"),
            ("HTTP/1.1 400 Bad Request\r\n", "HTTP/1.1 400 Bad Request"),
            ("[x]: what", "[x]: what"),
        ] {
            assert_eq!(complaint(said).as_deref(), Some(words));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = String::from_utf8_lossy(&bytes);
            let _ = (info(&text), backends(&text), objection(&text), complaint(&text), backend("web", &text), cells(&text));
        }

        #[test]
        fn a_damaged_answer_is_read_or_refused(at in 0..1200usize, byte in any::<u8>(), cut in 0..1200usize) {
            let mut bytes = answer().into_bytes();
            let (at, cut) = (at % bytes.len(), cut % bytes.len());
            bytes[at] = byte;
            bytes.remove(cut);
            let text = String::from_utf8_lossy(&bytes);
            let _ = (info(&text), backends(&text), complaint(&text), backend("web", &text));
        }

        #[test]
        fn cells_survive_quoting(row in proptest::collection::vec("[ -~]{0,12}", 1..8)) {
            let quoted: Vec<_> = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            let line = quoted.join(",");
            prop_assert_eq!(cells(&line).unwrap(), row);
        }
    }
}
