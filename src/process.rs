//! The process itself: it leaves no core dump, and a panic prints no value (G8).
//!
//! A core dump contains private keys, secrets and tokens. So may the message of a panic: `unwrap`
//! prints the error, and an invalid slice prints the text.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use rustix::io;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Forbids core dumps, for every way in which the process may be started.
///
/// On Linux, the process also becomes undumpable, because a crash handler that core dumps are piped
/// to ignores the limit on their size. As a consequence, only root can trace the process or read
/// its memory, environment and descriptors.
///
/// # Errors
/// The system refuses. The process can go on.
pub fn forbid_core_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let result = setrlimit(Resource::Core, none);
    // Both are tried, because each is of use without the other.
    #[cfg(target_os = "linux")]
    let result = result.and(rustix::process::set_dumpable_behavior(
        rustix::process::DumpableBehavior::NotDumpable,
    ));
    result
}

/// Replaces what a panic prints, in every thread.
///
/// The message is printed if it is a literal. All others are withheld, because they may contain any
/// value; the location says enough. With `RUST_BACKTRACE`, a backtrace follows.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(report));
}

fn report(panic: &PanicHookInfo<'_>) {
    let location = panic
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    if log::log_enabled!(log::Level::Error) {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        // A formatted message is a `String`.
        let reason = panic.payload().downcast_ref::<&'static str>().unwrap_or(&"withheld");
        log::error!(location, thread, reason; "panic");
    } else {
        eprintln!("mintage: internal error at {location}: report it");
    }
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        eprintln!("{trace}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_dumps_are_forbidden() {
        forbid_core_dumps().unwrap();
        let limit = rustix::process::getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        #[cfg(target_os = "linux")]
        assert!(matches!(
            rustix::process::dumpable_behavior(),
            Ok(rustix::process::DumpableBehavior::NotDumpable)
        ));
    }
}
