//! Paths in normal form, the only ones that the forward-auth policy authorizes.
//!
//! The gateway forwards a path, and an upstream serves one. Their parsers disagree about dots,
//! slashes, escapes and parameters. If they read a path differently, a token for a weakly protected
//! route can reach a strongly protected one. So nothing is repaired here: a path that is not in
//! normal form is rejected, whatever it might mean.

use std::borrow::Cow;
use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::encoding::from_hex;

/// A path in normal form, still escaped, without its query. Begins with a slash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NormalPath<'a>(&'a str);

/// Why a path is rejected as ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectedPath {
    /// Does not begin with a slash: `*`, an authority, or a whole URL.
    NoSlash,
    /// A segment is `.` or `..`.
    DotSegment,
    /// Two slashes in a row.
    EmptySegment,
    /// A backslash, which some parsers read as a slash.
    Backslash,
    /// A `;`, which some parsers cut off with the rest of the segment.
    Parameter,
    /// A `#`, which some parsers cut off with the rest of the path.
    Fragment,
    /// A control character, a space, or an unescaped character outside ASCII.
    Character,
    /// A `%` without two hexadecimal digits, or escaped bytes that are not UTF-8.
    BadEscape,
    /// An escaped special character: `/ \ . % ; ? #` or a control character.
    AmbiguousEscape,
    /// A segment begins or ends with an escaped space, which some file systems and parsers cut off.
    OuterSpace,
    /// Escaped text that some parsers replace: it changes by Unicode normalization (NFKC), has an
    /// invisible character, or a space other than U+0020.
    Unnormalized,
}

impl RejectedPath {
    /// The reason as text. It contains nothing of the path.
    pub fn text(self) -> &'static str {
        match self {
            Self::NoSlash => "the path does not begin with a slash",
            Self::DotSegment => "the path has a segment . or ..",
            Self::EmptySegment => "the path has two slashes in a row",
            Self::Backslash => "the path has a backslash",
            Self::Parameter => "the path has a semicolon",
            Self::Fragment => "the path has a number sign",
            Self::Character => "the path has a space, a control character or an unescaped character outside ASCII",
            Self::BadEscape => "the path has an escape that cannot be decoded",
            Self::AmbiguousEscape => "the path escapes a special character",
            Self::OuterSpace => "the path has a space at the beginning or end of a segment",
            Self::Unnormalized => "the path has characters that Unicode normalization changes, or invisible ones",
        }
    }
}

impl fmt::Display for RejectedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for RejectedPath {}

/// The path of a request target in origin form, `/path?query`. The query is cut off and ignored.
///
/// # Errors
/// [`RejectedPath`] for every path that is not in normal form.
pub fn normal_path(target: &str) -> Result<NormalPath<'_>, RejectedPath> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let inner = path.strip_prefix('/').ok_or(RejectedPath::NoSlash)?;
    let mut segments = inner.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(RejectedPath::EmptySegment);
        }
        check(segment)?;
    }
    Ok(NormalPath(path))
}

fn check(segment: &str) -> Result<(), RejectedPath> {
    if matches!(segment, "." | "..") {
        return Err(RejectedPath::DotSegment);
    }
    let mut escapes_text = false;
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => return Err(RejectedPath::Backslash),
            b';' => return Err(RejectedPath::Parameter),
            b'#' => return Err(RejectedPath::Fragment),
            0..=b' ' | 0x7f.. => return Err(RejectedPath::Character),
            b'%' => {
                let digits = bytes.next().zip(bytes.next());
                let escaped = digits.and_then(|(high, low)| from_hex(high, low));
                match escaped.ok_or(RejectedPath::BadEscape)? {
                    b'/' | b'\\' | b'.' | b'%' | b';' | b'?' | b'#' | 0..=0x1f | 0x7f => {
                        return Err(RejectedPath::AmbiguousEscape);
                    }
                    0x80.. => escapes_text = true,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    if escapes_text {
        // An overlong encoding of `.` or `/` is not UTF-8, and neither is text in another charset.
        let text = String::from_utf8(unescape(segment)).map_err(|_| RejectedPath::BadEscape)?;
        if text.contains(char::is_control) {
            return Err(RejectedPath::AmbiguousEscape);
        }
        if !is_normalized(&text) {
            return Err(RejectedPath::Unnormalized);
        }
    }
    // Last, and after no other check than the one above: see `normal_path_of_0_1`.
    match segment.starts_with("%20") || segment.ends_with("%20") {
        true => Err(RejectedPath::OuterSpace),
        false => Ok(()),
    }
}

/// Whether no common treatment of Unicode text changes `text`: NFKC, which turns `．` (U+FF0E) into
/// a dot, the removal of invisible characters, and that of outer spaces.
fn is_normalized(text: &str) -> bool {
    let replaced =
        |c: char| CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) || (c.is_whitespace() && c != ' ');
    ComposingNormalizerBorrowed::new_nfkc().is_normalized(text) && !text.contains(replaced)
}

/// As [`normal_path`] of version 0.1, which accepted text outside its normal form. Only for stored
/// routes: none of them may stop the start.
///
/// # Errors
/// As [`normal_path`] of that version.
pub(super) fn normal_path_of_0_1(path: &str) -> Result<(), RejectedPath> {
    match normal_path(path) {
        Err(RejectedPath::OuterSpace | RejectedPath::Unnormalized) => {
            // Each segment alone, because the first one that is rejected hides the others. Within a
            // segment, these are the last checks.
            let accepted = |checked: Result<(), RejectedPath>| match checked {
                Err(RejectedPath::OuterSpace | RejectedPath::Unnormalized) => Ok(()),
                other => other,
            };
            path[1..].split('/').map(check).try_for_each(accepted)
        }
        other => other.map(|_| ()),
    }
}

/// Decodes escapes once and copies everything else.
fn unescape(segment: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [byte, tail @ ..] = rest {
        let escape = match tail {
            [high, low, ..] if *byte == b'%' => from_hex(*high, *low),
            _ => None,
        };
        decoded.push(escape.unwrap_or(*byte));
        rest = if escape.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

/// The characters escaped in a canonical path: those that a segment must not contain unescaped (RFC
/// 3986 §3.3), and `;`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'\'');

impl<'a> NormalPath<'a> {
    /// The path as received, without its query.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The decoded segments. The last one is empty if the path ends with a slash.
    pub fn segments(self) -> impl Iterator<Item = Cow<'a, str>> {
        self.0[1..].split('/').map(decoded)
    }

    /// The same path with the fewest escapes. All spellings of a path have the same canonical form.
    pub fn canonical(self) -> String {
        let mut text = String::with_capacity(self.0.len());
        for segment in self.segments() {
            text.push('/');
            text.extend(utf8_percent_encode(&segment, ESCAPED));
        }
        text
    }
}

impl fmt::Debug for NormalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NormalPath({:?})", self.0)
    }
}

/// A segment of a path that [`normal_path`] accepted, decoded. Borrows if nothing is escaped.
pub(super) fn decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let text = String::from_utf8(unescape(segment)).expect("a path in normal form escapes UTF-8 only");
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segments(target: &str) -> Vec<String> {
        let path = normal_path(target).unwrap_or_else(|rejected| panic!("{target:?}: {rejected}"));
        path.segments().map(Cow::into_owned).collect()
    }

    #[test]
    fn p44_a_path_in_normal_form_is_accepted_unchanged() {
        assert_eq!(segments("/"), [""]);
        assert_eq!(segments("/orders/1"), ["orders", "1"]);
        assert_eq!(segments("/orders/"), ["orders", ""]);
        assert_eq!(segments("/a..b/.well-known/...?"), ["a..b", ".well-known", "..."]);
        assert_eq!(segments("/a@b:c/!$&'()*+,=~-_"), ["a@b:c", "!$&'()*+,=~-_"]);
    }

    #[test]
    fn p44_other_escapes_are_decoded_once() {
        assert_eq!(segments("/%6Frders/a%20b/%C3%A9"), ["orders", "a b", "é"]);
        assert_eq!(segments("/%6frders/%7Bid%7d"), ["orders", "{id}"]);
        assert_eq!(segments("/%e6%97%a5%e6%9c%ac/%d0%b4%d0%b0"), ["日本", "да"]);
    }

    #[test]
    fn p44_the_query_is_ignored() {
        for query in ["", "a=/../b", "%2f;#\\", "é", "?//"] {
            assert_eq!(segments(&format!("/orders?{query}")), ["orders"], "{query}");
        }
    }

    #[test]
    fn p44_an_ambiguous_path_is_rejected() {
        use RejectedPath::*;
        for (target, rejected) in [
            ("", NoSlash),
            ("*", NoSlash),
            ("orders", NoSlash),
            ("?/orders", NoSlash),
            ("http://api.example/orders", NoSlash),
            ("api.example:443", NoSlash),
            ("/.", DotSegment),
            ("/a/./b", DotSegment),
            ("/public/../orders/1", DotSegment),
            ("/a/..", DotSegment),
            ("/..?x", DotSegment),
            ("//", EmptySegment),
            ("//api.example/orders", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a//", EmptySegment),
            ("/a\\b", Backslash),
            ("/public/..\\orders", Backslash),
            ("/a;b", Parameter),
            ("/a;/b", Parameter),
            ("/..;/b", Parameter),
            ("/a#b", Fragment),
            ("/a b", Character),
            ("/a\tb", Character),
            ("/a\0", Character),
            ("/a\x7f", Character),
            ("/é", Character),
            ("/%", BadEscape),
            ("/%4", BadEscape),
            ("/%4/1", BadEscape),
            ("/%zz", BadEscape),
            ("/%+1", BadEscape),
            ("/%u002e", BadEscape),
            ("/%ff", BadEscape),
            ("/%c0%ae%c0%ae/a", BadEscape),
            ("/%e2%82", BadEscape),
            ("/a/%20", OuterSpace),
            ("/%20a/b", OuterSpace),
            ("/a%20/b", OuterSpace),
            ("/a%20?x", OuterSpace),
            ("/%ef%bc%8e%ef%bc%8e/a", Unnormalized),
            ("/%ef%bc%8fa", Unnormalized),
            ("/%ef%bd%81", Unnormalized),
            ("/a%e2%84%80", Unnormalized),
            ("/e%cc%81", Unnormalized),
            ("/a%e2%80%8b", Unnormalized),
            ("/a%c2%ad", Unnormalized),
            ("/%ef%bb%bfa", Unnormalized),
            ("/a%e2%80%ae", Unnormalized),
            ("/a%ef%b8%8f", Unnormalized),
            ("/a%e2%80%a8", Unnormalized),
            ("/a%e1%9a%80b", Unnormalized),
        ] {
            assert_eq!(normal_path(target), Err(rejected), "{target:?}");
        }
        let escapes = [
            "%2f", "%2F", "%5c", "%5C", "%2e", "%2E", "%25", "%00", "%3b", "%3f", "%23", "%0d", "%7f", "%c2%85",
        ];
        for escape in escapes {
            for target in [
                format!("/a{escape}b"),
                format!("/{escape}"),
                format!("/a/{escape}{escape}/b"),
            ] {
                assert_eq!(normal_path(&target), Err(AmbiguousEscape), "{target:?}");
            }
        }
    }

    /// How upstreams are known to read a path. Each reading is a way to reach another path.
    fn lenient_readings(target: &str) -> Vec<Vec<String>> {
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let decode = |text: &str| String::from_utf8_lossy(&unescape(text)).into_owned();
        let nfkc = |text: &str| ComposingNormalizerBorrowed::new_nfkc().normalize(text).into_owned();
        let visible = |text: &str| -> String {
            let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
            text.chars().filter(|c| !ignorable.contains(*c)).collect()
        };
        let trimmed = |text: &str| text.split('/').map(str::trim).collect::<Vec<_>>().join("/");
        let spellings = [
            path.clone(),
            path.split('#').next().unwrap_or_default().to_owned(),
            path.replace('\\', "/"),
            path.split(['\t', '\n', '\r']).collect(),
            path.trim().to_owned(),
            path.split(' ').next().unwrap_or_default().to_owned(),
            without_parameters(&path),
            decode(&path),
            decode(&decode(&path)),
            decode(&path).replace('\\', "/"),
            without_parameters(&decode(&path)),
            nfkc(&decode(&path)),
            visible(&decode(&path)),
            trimmed(&decode(&path)),
            decode(&path)
                .split(['?', '#', '\0'])
                .next()
                .unwrap_or_default()
                .to_owned(),
        ];
        spellings
            .iter()
            .flat_map(|spelling| {
                let unmerged: Vec<&str> = spelling.split('/').skip(1).collect();
                let last = unmerged.len().saturating_sub(1);
                let merged = unmerged.iter().enumerate();
                let merged = merged.filter(|(at, segment)| *at == last || !segment.is_empty());
                let merged: Vec<&str> = merged.map(|(_, segment)| *segment).collect();
                [without_dots(&unmerged), without_dots(&merged)]
            })
            .map(|segments| segments.iter().map(|segment| decode(segment)).collect())
            .collect()
    }

    fn without_parameters(path: &str) -> String {
        let segments = path
            .split('/')
            .map(|segment| segment.split(';').next().unwrap_or_default());
        segments.collect::<Vec<_>>().join("/")
    }

    /// Removes dot segments (RFC 3986 §5.2.4).
    fn without_dots<'a>(segments: &[&'a str]) -> Vec<&'a str> {
        let mut segments_left = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            match *segment {
                "." => {}
                ".." => {
                    segments_left.pop();
                }
                other => {
                    segments_left.push(other);
                    continue;
                }
            }
            if at + 1 == segments.len() {
                segments_left.push("");
            }
        }
        segments_left
    }

    fn hostile_path() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "/",
            "/",
            "/",
            "a",
            "b",
            "orders",
            ".",
            "..",
            "%2e",
            "%2E",
            "%2f",
            "%5C",
            "%25",
            "%252e",
            "%00",
            "%3b",
            "%3f",
            "%23",
            "%20",
            "%41",
            "%6f",
            "%c3%a9",
            "%c0%af",
            "%ff",
            "%",
            "%u",
            "\\",
            ";",
            ";x=1",
            "?",
            "#",
            " ",
            "%ef%bc%8e",
            "%ef%bc%8f",
            "%e2%80%8b",
            "%c2%a0",
            "%cc%81",
            "%e3%80%80",
            "\t",
            "é",
            "+",
            "{id}",
            "*",
            ":",
            "@",
            "http:",
        ]);
        prop::collection::vec(pieces, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn p44_an_accepted_path_reads_the_same_in_every_common_way(target in hostile_path()) {
            if let Ok(path) = normal_path(&target) {
                let ours: Vec<String> = path.segments().map(Cow::into_owned).collect();
                for reading in lenient_readings(&target) {
                    prop_assert_eq!(&reading, &ours, "{}", target);
                }
            }
        }

        #[test]
        fn p44_the_normal_form_of_a_normal_form_is_itself(target in hostile_path()) {
            if let Ok(path) = normal_path(&target) {
                let canonical = path.canonical();
                let again = normal_path(&canonical);
                prop_assert!(again.is_ok(), "{} became {}", target, canonical);
                prop_assert_eq!(again.unwrap().canonical(), canonical.clone());
                let (ours, theirs): (Vec<_>, Vec<_>) = (path.segments().collect(), again.unwrap().segments().collect());
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn p44_any_text_is_parsed_without_a_panic(target in "\\PC{0,40}|[ -~]{0,40}") {
            let _ = normal_path(&target).map(NormalPath::canonical);
        }
    }
}
