//! Escapes, decoded independently of the code under test.

/// `%XX` decoded, and `+` if it stands for a space; `None` for a bad escape or bad UTF-8. Slow and
/// plain: it is what the decoders are compared with.
pub(super) fn unescaped(raw: &[u8], plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        match raw[at] {
            b'%' => {
                let digits = raw.get(at + 1..at + 3)?;
                let digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
                let digits: Option<Vec<u32>> = digits.collect();
                let digits = digits?;
                bytes.push((digits[0] * 16 + digits[1]) as u8);
                at += 3;
                continue;
            }
            b'+' if plus_is_space => bytes.push(b' '),
            byte => bytes.push(byte),
        }
        at += 1;
    }
    String::from_utf8(bytes).ok()
}
