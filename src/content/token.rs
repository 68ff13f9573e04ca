//! Persistence cookies: what a client carries to come back to its server.
//!
//! A token names a binding by a pseudonym: a keyed hash of its share ([`acm::rules::share`](crate::acm::rules::share)),
//! so that it says nothing about addresses, survives a change of ports, and means the same on every switch that has the
//! keys. It is authenticated together with its service and the cookie's name, so that it is worth nothing elsewhere.
//! Tokens are made when members change; with a request one is only read: decoded, authenticated in constant time, and
//! only then looked up among the members there are. So a forged token, one of a removed binding and none at all come to
//! the same: the scheduler decides.
//!
//! A token does not expire: it gives its bearer nothing but the server it could get by asking often enough. New keys end
//! old tokens; the key before the current one is accepted still.
//!
//! ```text
//! base64url( key id (1) | pseudonym (8) | HMAC-SHA-256 truncated to 128 bits (16) )
//! ```

use ahash::{AHashMap, AHashSet};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::acm::rules::{InsertCookie, SameSite};
use crate::acm::words::ServiceKey;

const PSEUDONYM: usize = 8;
const TAG: usize = 16;
const LEN: usize = 1 + PSEUDONYM + TAG;
/// Characters of a token.
pub const TOKEN_LEN: usize = LEN.div_ceil(3) * 4 - 2;

/// A secret that tokens are made with.
#[derive(Clone)]
pub struct Key {
    /// Tells it from others; successive keys have successive numbers.
    pub id: u8,
    /// 256 random bits.
    pub secret: [u8; 32],
}

impl Key {
    /// The key that a secret text makes. Its number is made from it too, so that switches with the same secrets agree.
    pub fn of_secret(text: &[u8]) -> Key {
        let number = Sha256::new_with_prefix(b"acm cookie key number\0").chain_update(text).finalize()[0];
        let secret = Sha256::new_with_prefix(b"acm cookie key\0").chain_update(text).finalize();
        Key { id: number, secret: secret.into() }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key {{ id: {}, .. }}", self.id)
    }
}

/// The key in use, and the one before it.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Makes tokens.
    pub current: Key,
    /// Reads tokens made before; of another id.
    pub previous: Option<Key>,
}

/// The tokens of one group's members.
pub struct Tokens {
    readers: Vec<KeyReader>,
    /// Of each member that was given, its token under the current key.
    made: AHashMap<u64, [u8; TOKEN_LEN]>,
}

/// What is needed to read the tokens of one key.
struct KeyReader {
    id: u8,
    /// These have taken in the service and the cookie's name: of tokens, and of members.
    mac: Hmac<Sha256>,
    names: Hmac<Sha256>,
    members: AHashMap<[u8; PSEUDONYM], u64>,
}

impl Tokens {
    /// For a service and a cookie, without members.
    pub fn new(keys: &Keys, service: &ServiceKey, cookie: &str) -> Tokens {
        let all = std::iter::once(&keys.current).chain(&keys.previous);
        Tokens { readers: all.map(|key| KeyReader::new(key, service, cookie)).collect(), made: AHashMap::new() }
    }

    /// The members are those with these shares. Makes tokens for the new ones, some microseconds each.
    pub fn set_members(&mut self, shares: &[u64]) {
        let wanted: AHashSet<u64> = shares.iter().copied().collect();
        self.made.retain(|share, _| wanted.contains(share));
        self.readers.iter_mut().for_each(|reader| reader.members.retain(|_, share| wanted.contains(share)));
        for share in wanted {
            if self.made.contains_key(&share) {
                continue;
            }
            for (reader, is_current) in self.readers.iter_mut().zip([true, false]) {
                let pseudonym = reader.pseudonym(share);
                reader.members.insert(pseudonym, share);
                if is_current {
                    self.made.insert(share, reader.token(&pseudonym));
                }
            }
        }
    }

    /// The token of a member, by its share.
    pub fn of(&self, share: u64) -> Option<&str> {
        // Base64 is ASCII.
        std::str::from_utf8(self.made.get(&share)?).ok()
    }

    /// The share of the member that a cookie's value names, if it is a token of ours and the member is there.
    pub fn read(&self, value: &[u8]) -> Option<u64> {
        let mut token = [0; LEN];
        if value.len() != TOKEN_LEN || BASE64URL_NOPAD.decode_mut(value, &mut token).ok()? != LEN {
            return None;
        }
        let (id, rest) = token.split_first()?;
        let (pseudonym, tag) = rest.split_first_chunk::<PSEUDONYM>()?;
        let reader = self.readers.iter().find(|reader| reader.id == *id)?;
        let mut mac = reader.mac.clone();
        mac.update(pseudonym);
        mac.verify_truncated_left(tag).ok()?;
        reader.members.get(pseudonym).copied()
    }
}

impl KeyReader {
    fn new(key: &Key, service: &ServiceKey, cookie: &str) -> KeyReader {
        let mac = |purpose: u8| {
            // A key shorter than a block is filled up with zeroes (RFC 2104, section 2).
            let mut block = [0; 64];
            block[..key.secret.len()].copy_from_slice(&key.secret);
            let mut mac: Hmac<Sha256> = Hmac::new(&block.into());
            // The purpose is one byte and texts end with NUL, which neither has: no two inputs are the same bytes.
            mac.update(&[purpose, key.id]);
            mac.update(service.to_string().as_bytes());
            mac.update(&[0]);
            mac.update(cookie.as_bytes());
            mac.update(&[0]);
            mac
        };
        KeyReader { id: key.id, mac: mac(b't'), names: mac(b'n'), members: AHashMap::new() }
    }

    fn pseudonym(&self, share: u64) -> [u8; PSEUDONYM] {
        let mut mac = self.names.clone();
        mac.update(&share.to_be_bytes());
        let mut short = [0; PSEUDONYM];
        short.copy_from_slice(&mac.finalize().into_bytes()[..PSEUDONYM]);
        short
    }

    fn token(&self, pseudonym: &[u8; PSEUDONYM]) -> [u8; TOKEN_LEN] {
        let mut mac = self.mac.clone();
        mac.update(pseudonym);
        let tag = mac.finalize().into_bytes();
        let mut token = [0; LEN];
        token[0] = self.id;
        token[1..=PSEUDONYM].copy_from_slice(pseudonym);
        token[1 + PSEUDONYM..].copy_from_slice(&tag[..TAG]);
        let mut text = [0; TOKEN_LEN];
        BASE64URL_NOPAD.encode_mut(&token, &mut text);
        text
    }
}

/// Writes a `Set-Cookie` line (RFC 6265, section 4.1) with its CRLF.
pub fn write_set_cookie(cookie: &InsertCookie, token: &str, out: &mut Vec<u8>) {
    let mut line = format!("Set-Cookie: {}={token}; Path=/", cookie.name);
    if let Some(age) = cookie.max_age {
        line += &format!("; Max-Age={}", age.0.as_secs());
    }
    for (wanted, attribute) in [(cookie.http_only, "; HttpOnly"), (cookie.secure, "; Secure")] {
        line += if wanted { attribute } else { "" };
    }
    line += match cookie.same_site {
        SameSite::Lax => "; SameSite=Lax\r\n",
        SameSite::Strict => "; SameSite=Strict\r\n",
        SameSite::None => "; SameSite=None\r\n",
    };
    out.extend_from_slice(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::span::Span;

    fn key(id: u8) -> Key {
        Key { id, secret: [id; 32] }
    }

    fn keys(current: u8, previous: Option<u8>) -> Keys {
        Keys { current: key(current), previous: previous.map(key) }
    }

    fn web() -> ServiceKey {
        "10.0.0.100:80".parse().unwrap()
    }

    fn tokens(keys: &Keys) -> Tokens {
        with_members(Tokens::new(keys, &web(), "acm"), &[11, 12, 13])
    }

    fn with_members(mut tokens: Tokens, shares: &[u64]) -> Tokens {
        tokens.set_members(shares);
        tokens
    }

    #[test]
    fn a_token_leads_back() {
        let tokens = tokens(&keys(1, None));
        for share in [11, 12, 13] {
            let token = tokens.of(share).unwrap();
            assert_eq!((token.len(), tokens.read(token.as_bytes())), (TOKEN_LEN, Some(share)));
        }
        assert_eq!(tokens.of(14), None);
        let mut other = with_members(Tokens::new(&keys(1, None), &web(), "acm"), &[12, 13]);
        assert_eq!(other.read(tokens.of(11).unwrap().as_bytes()), None, "removed");
        assert_eq!(other.of(12), tokens.of(12), "the same on every switch with the keys");
        other.set_members(&[13, 11]);
        assert_eq!(other.read(tokens.of(11).unwrap().as_bytes()), Some(11), "back again");
        assert_eq!((other.of(12), other.read(tokens.of(12).unwrap().as_bytes())), (None, None));
    }

    #[test]
    fn no_bit_can_be_changed() {
        let tokens = tokens(&keys(1, None));
        let token = tokens.of(11).unwrap().as_bytes();
        for at in 0..token.len() {
            for other in b'!'..=b'~' {
                let mut forged = token.to_vec();
                forged[at] = other;
                assert!(forged == token || tokens.read(&forged).is_none(), "{}", String::from_utf8_lossy(&forged));
            }
        }
        for wrong in [&b""[..], b"x", &token[1..], &[token, b"A"].concat(), &[b' '; TOKEN_LEN], &[0xff; TOKEN_LEN]] {
            assert_eq!(tokens.read(wrong), None);
        }
    }

    #[test]
    fn a_token_is_of_one_service_one_cookie_and_one_key() {
        let mine = tokens(&keys(1, None));
        let token = mine.of(11).unwrap().as_bytes();
        let read = |keys: &Keys, service: &str, cookie: &str| {
            with_members(Tokens::new(keys, &service.parse().unwrap(), cookie), &[11]).read(token)
        };
        assert_eq!(read(&keys(1, None), "10.0.0.100:80", "acm"), Some(11));
        assert_eq!(read(&keys(2, Some(1)), "10.0.0.100:80", "acm"), Some(11));
        assert_eq!(read(&keys(3, Some(2)), "10.0.0.100:80", "acm"), None);
        assert_eq!(read(&keys(1, None), "10.0.0.100:81", "acm"), None);
        assert_eq!(read(&keys(1, None), "10.0.0.100:80", "other"), None);
        let same_id = Keys { current: Key { id: 1, secret: [9; 32] }, previous: None };
        assert_eq!(read(&same_id, "10.0.0.100:80", "acm"), None);
    }

    #[test]
    fn the_cookie_has_the_attributes_asked_for() {
        let plain = InsertCookie {
            name: "acm".into(),
            max_age: None,
            http_only: true,
            secure: false,
            same_site: SameSite::Lax,
        };
        let line = |cookie: &InsertCookie| {
            let mut out = Vec::new();
            write_set_cookie(cookie, "T", &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line(&plain), "Set-Cookie: acm=T; Path=/; HttpOnly; SameSite=Lax\r\n");
        let all = InsertCookie {
            max_age: Some(Span::secs(3600)),
            http_only: false,
            secure: true,
            same_site: SameSite::None,
            ..plain
        };
        assert_eq!(line(&all), "Set-Cookie: acm=T; Path=/; Max-Age=3600; Secure; SameSite=None\r\n");
    }

    #[test]
    fn a_secret_makes_one_key() {
        let [a, b, other] = [&b"secret"[..], b"secret", b"secreT"].map(Key::of_secret);
        assert_eq!((a.id, a.secret), (b.id, b.secret));
        assert_ne!(a.secret, other.secret);
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", key(7)), "Key { id: 7, .. }");
    }
}
