//! Writes JSON strings and numbers into a buffer (RFC 8259 §7).
//!
//! Tokens and responses have a few fixed members, so these are written one after the other. A
//! general serializer takes several times as long.

/// Appends a string with its quotes, escaped where necessary.
pub fn text(buffer: &mut Vec<u8>, text: &str) {
    if text.bytes().fold(false, |found, byte| found | must_be_escaped(byte)) {
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

fn must_be_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_and_number_is_written_as_serde_writes_it(word in "\\PC{0,8}|[\\x00-\\x7f]{0,8}", whole: i64) {
            let mut written = Vec::new();
            text(&mut written, &word);
            written.push(b',');
            number(&mut written, whole);
            let expected = format!("{},{whole}", serde_json::to_string(&word).unwrap());
            prop_assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
