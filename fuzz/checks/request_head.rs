//! A request's head.

use acm_switch::content::head::{HeadReader, Limits, Step, read};

/// Small, so that the bounds are met.
const LIMITS: Limits = Limits { head: 2_000, fields: 20 };

/// Checks what must hold for any bytes.
pub fn check(data: &[u8]) {
    let whole = read(data, LIMITS);
    for stride in [1, 7] {
        assert_eq!(in_pieces(data, stride), whole, "cut into pieces of {stride}");
    }
    let Step::Head(map) = whole else { return };
    assert!(map.len() <= data.len() && map.len() <= usize::from(LIMITS.head), "within what came");
    let head = map.view(data);
    assert!(head.bytes().ends_with(b"\r\n\r\n"), "a head ends with an empty line");
    // What a plain reader of lines sees is what the rules see.
    let text = &head.bytes()[..head.bytes().len() - 4];
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request = lines.find(|line| !line.is_empty()).expect("a request line");
    let mut words = request.split(|byte| *byte == b' ');
    assert_eq!((words.next(), words.next()), (Some(head.method()), Some(head.target())), "method and target");
    let fields: Vec<(&[u8], &[u8])> = head.fields().collect();
    let plain: Vec<(&[u8], &[u8])> = lines
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').expect("a colon in every field");
            (&line[..colon], line[colon + 1..].trim_ascii())
        })
        .collect();
    assert_eq!(fields, plain, "fields");
    let mut room = vec![0; map.len()];
    if let Ok(path) = head.normal_path(&mut room) {
        let is_rooted = path.first() == Some(&b'/') || matches!(path, b"*" | b"");
        let dots = path.split(|byte| *byte == b'/').any(|part| part == b".." || part == b".");
        assert!(is_rooted && !dots && !path.contains(&0), "normalised: {:?}", String::from_utf8_lossy(path));
    }
}

fn in_pieces(data: &[u8], stride: usize) -> Step {
    let mut reader = HeadReader::new(LIMITS);
    let mut step = reader.advance(&data[..0]);
    for end in (0..data.len()).step_by(stride).skip(1).chain([data.len()]) {
        step = match step {
            Step::More => reader.advance(&data[..end]),
            over => return over,
        };
    }
    step
}
