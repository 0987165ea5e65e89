//! Token ids: the `jti` claim (RFC 7519 §4.1.7), a UUIDv7 (RFC 9562 §5.7).
//!
//! The id contains the millisecond of issue, so a not-before can be finer than `iat`. Its 74 random
//! bits make it unique across restarts and instances and impossible to guess
//! (docs/protocol.md#p30). Ids increase with time, so every insert goes to the end of the table's
//! index.

use std::fmt;

use aws_lc_rs::rand;

use crate::time::UnixMillis;

/// The id of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(u128);

/// Length of a token id as text, in characters.
pub const TEXT_LENGTH: usize = 36;

impl TokenId {
    /// Builds an id from the time of issue and ten random bytes.
    pub fn new(now: UnixMillis, random: [u8; 10]) -> Self {
        let millis = (now.0.max(0) as u128) & 0xffff_ffff_ffff;
        let mut bits = [0u8; 16];
        bits[6..].copy_from_slice(&random);
        let mut value = u128::from_be_bytes(bits);
        value &= !(0xf << 76 | 0b11 << 62);
        value |= 7 << 76 | 0b10 << 62;
        Self(millis << 80 | value)
    }

    /// Parses the 36 lower-case characters that [`TokenId::text`] returns. Any other text is not a
    /// token id.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_LENGTH {
            return None;
        }
        let mut value: u128 = 0;
        for (at, byte) in text.bytes().enumerate() {
            let digit = match byte {
                b'-' if matches!(at, 8 | 13 | 18 | 23) => continue,
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            value = value << 4 | u128::from(digit);
        }
        let id = Self(value);
        (id.text() == text.as_bytes()).then_some(id)
    }

    /// The last eight bits. They are random, so they spread ids evenly.
    pub fn low_byte(self) -> usize {
        (self.0 & 0xff) as usize
    }

    /// When the token was issued.
    pub fn issued_at(self) -> UnixMillis {
        UnixMillis((self.0 >> 80) as i64)
    }

    /// The canonical text: `xxxxxxxx-xxxx-7xxx-yxxx-xxxxxxxxxxxx`.
    pub fn text(self) -> [u8; TEXT_LENGTH] {
        let digits: [[u8; 8]; 4] = [96, 64, 32, 0].map(|shift| hex((self.0 >> shift) as u32));
        let digits = digits.as_flattened();
        let mut text = [b'-'; TEXT_LENGTH];
        for (from, to, length) in [(0, 0, 8), (8, 9, 4), (12, 14, 4), (16, 19, 4), (20, 24, 12)] {
            text[to..to + length].copy_from_slice(&digits[from..from + length]);
        }
        text
    }
}

/// The eight hexadecimal digits of a word, all at a time.
fn hex(word: u32) -> [u8; 8] {
    const fn repeated(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let word = u64::from(word);
    let word = (word << 16 | word) & 0x0000_FFFF_0000_FFFF;
    let word = (word << 8 | word) & 0x00FF_00FF_00FF_00FF;
    let digits = (word << 4 | word) & repeated(0x0F);
    // 1 in each byte whose digit is a letter.
    let letters = ((digits + repeated(6)) >> 4) & repeated(1);
    (digits + repeated(b'0') + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        f.write_str(std::str::from_utf8(&text).expect("hexadecimal digits and hyphens are ASCII"))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Generates token ids. Each worker has its own, so nothing is shared or locked.
///
/// Random bytes are read from the operating system in blocks: one system call per token would cost
/// more than the rest of the id.
pub struct TokenIdSource {
    block: [u8; 1000],
    used: usize,
}

impl TokenIdSource {
    /// A source with an empty block, which the first id fills.
    pub fn new() -> Self {
        Self {
            block: [0; 1000],
            used: 1000,
        }
    }

    /// The next id.
    pub fn next(&mut self, now: UnixMillis) -> TokenId {
        if self.used == self.block.len() {
            rand::fill(&mut self.block).expect("the operating system's randomness is available once it has booted");
            self.used = 0;
        }
        let mut random = [0; 10];
        random.copy_from_slice(&self.block[self.used..self.used + 10]);
        self.used += 10;
        TokenId::new(now, random)
    }
}

impl Default for TokenIdSource {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn p30_an_id_is_a_version_7_uuid_that_carries_its_millisecond() {
        let now = UnixMillis(0x0123_4567_89ab);
        assert_eq!(
            TokenId::new(now, [0xff; 10]).to_string(),
            "01234567-89ab-7fff-bfff-ffffffffffff"
        );
        assert_eq!(
            TokenId::new(now, [0; 10]).to_string(),
            "01234567-89ab-7000-8000-000000000000"
        );
        assert_eq!(TokenId::new(now, [9; 10]).issued_at(), now);
    }

    #[test]
    fn p30_ids_do_not_repeat() {
        let mut source = TokenIdSource::new();
        let ids: HashSet<TokenId> = (0..10_000).map(|_| source.next(UnixMillis(1))).collect();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn p38_only_the_canonical_text_parses() {
        let id = TokenId::new(UnixMillis(1_700_000_000_000), [0xab; 10]);
        let text = id.to_string();
        assert_eq!(TokenId::parse(&text), Some(id));
        for bad in [
            text.to_uppercase(),
            text.replace('-', "0"),
            format!("{text} "),
            text.replacen('-', "a", 1),
            String::new(),
        ] {
            assert_eq!(TokenId::parse(&bad), None, "{bad}");
        }
    }
}
