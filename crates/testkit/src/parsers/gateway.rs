//! What gateways ask `/validate` about: the path and the host of a request.

use mintage::gateway::host::{Host, MAX_HOST, normal_host};
use mintage::gateway::path::{NormalPath, normal_path};
use url::Url;

use super::escapes::unescaped;

/// A path: what is accepted can be read in one way only, and has one canonical form.
pub fn path(data: &[u8]) {
    let Ok(target) = std::str::from_utf8(data) else {
        return;
    };
    let plain = target.strip_prefix('/').is_some_and(|inner| {
        let letters = |segment: &str| !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric());
        inner.split('/').all(letters)
    });
    let Ok(path) = normal_path(target) else {
        assert!(!plain, "there is only one way to read {target:?}");
        return;
    };
    assert_eq!(
        path.as_str(),
        target.split('?').next().unwrap(),
        "the query alone is cut off"
    );
    let segments = segments(path);
    let (last, others) = segments.split_last().expect("what follows the first slash");
    assert!(
        others.iter().all(|segment| !segment.is_empty()),
        "an empty segment in {target:?}"
    );
    for segment in others.iter().chain([last]) {
        assert!(![".", ".."].contains(&segment.as_str()), "a dot segment in {target:?}");
        let ambiguous = |c: char| c.is_control() || ['/', '\\', ';', '?', '#', '%'].contains(&c);
        assert!(!segment.contains(ambiguous), "more than one way to read {target:?}");
    }
    let canonical = path.canonical();
    let again = normal_path(&canonical).expect("a canonical path is accepted");
    assert_eq!(again.canonical(), canonical, "the canonical form is its own");
    assert_eq!(self::segments(again), segments, "it means the same");
    // A browser's reading, which resolves dots, turns backslashes and escapes what it must.
    let url = Url::parse(&format!("http://a.example{canonical}")).unwrap();
    assert_eq!(url.path(), canonical);
    let url = Url::parse(&format!("http://a.example{}", path.as_str())).unwrap();
    let read: Option<Vec<String>> = url.path()[1..]
        .split('/')
        .map(|segment| unescaped(segment.as_bytes(), false))
        .collect();
    assert_eq!(read, Some(segments));
}

fn segments(path: NormalPath<'_>) -> Vec<String> {
    path.segments().map(|segment| segment.into_owned()).collect()
}

/// A host: its normal form is its own, in lower case and without a port, whatever case and port it
/// came with.
pub fn host(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let normal = |text: &str| normal_host(text, &mut [0; MAX_HOST]).ok().map(str::to_owned);
    let rule = Host::parse(text);
    let Some(host) = normal(text) else {
        assert!(rule.is_none(), "a rule for what no request can name: {text:?}");
        return;
    };
    assert_eq!(normal(&host).as_ref(), Some(&host), "the normal form is its own");
    assert!((1..=MAX_HOST).contains(&host.len()));
    assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()), "{host:?}");
    match host.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
        Some(inner) => assert!(
            inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok()),
            "{host:?}"
        ),
        None => {
            let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            assert!(
                host.chars().all(good) && host.split('.').all(|label| !label.is_empty()),
                "{host:?}"
            );
        }
    }
    assert_eq!(
        normal(&host.to_ascii_uppercase()).as_ref(),
        Some(&host),
        "case does not count"
    );
    assert_eq!(
        normal(&format!("{host}:8443")).as_ref(),
        Some(&host),
        "the port does not count"
    );
    let has_port = text[text.rfind(']').unwrap_or(0)..].contains(':');
    assert_eq!(rule.is_some(), !has_port, "a rule has no port: {text:?}");
    assert!(rule.is_none_or(|rule| rule.as_str() == host));
}
