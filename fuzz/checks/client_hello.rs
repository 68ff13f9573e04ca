//! The TLS client hello.

use acm_switch::content::hello::{Step, read};

const MAX: usize = 4_000;

/// Checks what must hold for any bytes.
pub fn check(data: &[u8]) {
    let mut room = vec![0; MAX];
    let whole = describe(read(data, MAX, &mut room));
    // What has come so far never says something that more of it takes back.
    for end in (0..data.len()).step_by(1 + data.len() / 64) {
        let mut room = vec![0; MAX];
        let part = describe(read(&data[..end], MAX, &mut room));
        assert!(part == "more" || part == whole, "after {end} bytes {part}, after all {whole}");
    }
    if let Some(split) = in_two_records(data) {
        let mut room = vec![0; MAX];
        let again = describe(read(&split, MAX, &mut room));
        assert!(again == whole || whole == "more", "in one record {whole}, in two {again}");
    }
}

fn describe(step: Step<'_>) -> String {
    match step {
        Step::More => "more".into(),
        Step::NotTls => "not TLS".into(),
        Step::Refused(why) => why.as_str().into(),
        Step::Hello(hello) => {
            let protocols: Vec<&[u8]> = hello.protocols().collect();
            format!("{:?} {protocols:?}", hello.server_name)
        }
    }
}

/// The same handshake message, cut into two records, if it is one whole record that can be.
fn in_two_records(data: &[u8]) -> Option<Vec<u8>> {
    let [22, major, minor, high, low, ..] = data else { return None };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let message = data.get(5..5 + len).filter(|_| data.len() == 5 + len && len >= 10 && data.len() + 5 < MAX)?;
    let cut = 5.max(usize::from(message[9]) % len);
    let mut split = Vec::with_capacity(data.len() + 5);
    for part in [&message[..cut], &message[cut..]] {
        split.extend([22, *major, *minor]);
        split.extend((part.len() as u16).to_be_bytes());
        split.extend(part);
    }
    Some(split)
}
