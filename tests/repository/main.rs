//! Checks of the files of this repository: the architecture of `src`, the example configuration,
//! `ops/` and the documents about it.

mod architecture;
mod bounds;
mod example_config;
mod faq;
mod hardening;
mod man;
mod openssl;
mod ops;
mod rust_version;
mod security;
