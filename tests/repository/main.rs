//! What must be true of the files of this repository: the layers of `src`, the example configuration, `ops/` and what the
//! documents say of it.

mod architecture;
mod example_config;
mod ops;
mod rust_version;
