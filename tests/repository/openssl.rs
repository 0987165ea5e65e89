//! The OpenSSL that is compiled where the system has none is supported by its authors.

use mintage::clock::Clock;

/// The series of OpenSSL, and the second of Unix time from which each is no longer supported, at the
/// latest (<https://openssl-library.org/policies/releasestrat/>).
const END_OF_LIFE: [(&str, u64); 3] = [
    // 2026-11-01
    ("3.6", 1_793_491_200),
    // 2027-05-01
    ("4.0", 1_809_129_600),
    // 2030-04-01
    ("3.5", 1_901_232_000),
];

/// When a series of OpenSSL ends, by the version of the crate that contains it: `400.0.2+4.0.3`.
fn end_of_life(version: &str) -> Option<u64> {
    let (_, openssl) = version.split_once('+')?;
    let (series, _) = openssl.rsplit_once('.')?;
    let (_, seconds) = END_OF_LIFE.iter().find(|(name, _)| *name == series)?;
    Some(*seconds)
}

#[test]
fn the_compiled_openssl_is_of_a_supported_series() {
    let lock = include_str!("../../Cargo.lock");
    let packages = lock
        .split("[[package]]\n")
        .filter(|package| package.starts_with("name = \"openssl-src\"\n"));
    let versions = packages.filter_map(|package| package.lines().find_map(|line| line.strip_prefix("version = ")));
    let compiled: Vec<&str> = versions
        .map(|version| version.trim_matches('"'))
        .filter(|version| version.contains('+'))
        .collect();
    assert_eq!(compiled.len(), 1, "{compiled:?}");
    let end = end_of_life(compiled[0]).unwrap_or_else(|| panic!("add the series of {} to this test", compiled[0]));
    assert!(
        end > Clock::System.now().seconds() as u64,
        "{} is past its end of life: take a newer series (docs/adr, record 38)",
        compiled[0]
    );
}

#[test]
fn a_series_that_has_ended_is_noticed() {
    let ends = |version: &str| end_of_life(version).map(|end| end < 1_796_000_000);
    assert_eq!(ends("300.6.1+3.6.3"), Some(true));
    assert_eq!(ends("400.0.2+4.0.3"), Some(false));
    assert_eq!(ends("500.0.0+5.0.0"), None);
}
