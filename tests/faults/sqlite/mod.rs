//! Faults of SQLite, of the file system under it, and of the process itself.

mod site;
mod strace;

mod killed;
mod revoked;
mod sync;
