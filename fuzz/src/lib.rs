//! The fuzz targets: one for each parser of foreign input, whose rules are in `testkit::parsers`.

pub use libfuzzer_sys;
pub use testkit;

/// The target of a parser. Built without cargo-fuzz, the program checks the files that are named on
/// its command line.
#[macro_export]
macro_rules! target {
    ($parser:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::testkit::parsers::$parser(data));

        #[cfg(not(fuzzing))]
        fn main() {
            $crate::check_files($crate::testkit::parsers::$parser);
        }
    };
}

/// Checks the files that are named on the command line.
pub fn check_files(check: fn(&[u8])) {
    for file in std::env::args_os().skip(1) {
        check(&std::fs::read(&file).unwrap_or_else(|error| panic!("{file:?} cannot be read: {error}")));
    }
}
