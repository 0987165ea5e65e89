//! Writes JSON strings and numbers into a buffer (RFC 8259 §7).
//!
//! Tokens and responses have a few fixed members, so these are written one after the other. A
//! general serializer takes several times as long.

/// Appends a string with its quotes, escaped where necessary.
pub fn text(buffer: &mut Vec<u8>, text: &str) {
    if may_need_escape(text.as_bytes()) {
        return serde_json::to_writer(buffer, text)
            .expect("writing to a Vec cannot fail, and a string is always valid JSON");
    }
    buffer.push(b'"');
    buffer.extend_from_slice(text.as_bytes());
    buffer.push(b'"');
}

/// Appends the words of a text as an array. They are separated by single spaces and need no escaping.
pub fn words(buffer: &mut Vec<u8>, text: &str) {
    buffer.extend_from_slice(b"[\"");
    for byte in text.bytes() {
        match byte {
            b' ' => buffer.extend_from_slice(b"\",\""),
            byte => buffer.push(byte),
        }
    }
    buffer.extend_from_slice(b"\"]");
}

/// Appends an integer.
pub fn number(buffer: &mut Vec<u8>, number: i64) {
    buffer.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A byte in each byte of a word.
const fn repeated(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Whether one of these bytes is a control character, a quote or a backslash. Eight at a time: the
/// texts of a token are too short for vectors.
fn may_need_escape(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().any(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\'));
    };
    let (words, _) = bytes.as_chunks::<8>();
    // The last word overlaps the one before it.
    let words = words.iter().chain([last]).map(|word| u64::from_ne_bytes(*word));
    words.fold(0, |found, word| found | escapes(word)) != 0
}

/// Not 0 if one of the bytes must be escaped.
fn escapes(word: u64) -> u64 {
    // The highest bit of a byte is set by the subtraction if it was below the limit. A borrow can
    // set it in the byte above one that was.
    let below = |word: u64, limit: u8| word.wrapping_sub(repeated(limit)) & !word;
    let is = |byte: u8| below(word ^ repeated(byte), 1);
    (below(word, b' ') | is(b'"') | is(b'\\')) & repeated(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_and_number_is_written_as_serde_writes_it(word in "\\PC{0,20}|[\\x00-\\x7f]{0,20}|[a-z]{0,20}[\\x00-\\x7f][a-z]{0,20}", whole: i64) {
            let mut written = Vec::new();
            text(&mut written, &word);
            written.push(b',');
            number(&mut written, whole);
            let expected = format!("{},{whole}", serde_json::to_string(&word).unwrap());
            prop_assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
