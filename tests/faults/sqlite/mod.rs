//! Faults of SQLite, of the file system and of the process itself.

mod site;
mod strace;

mod clock;
mod disk;
mod killed;
mod locked;
mod poison;
mod revoked;
mod stop;
mod sync;
mod unknown;
mod versions;
