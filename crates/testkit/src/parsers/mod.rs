//! The parsers of foreign input, each with what must hold of any input: the fuzz targets and
//! `tests/parsers` run these.
//!
//! A function takes whatever bytes there are, and panics when its parser breaks a rule: when what
//! is accepted means something else to an independent reader, is not the same after it is written
//! and read again, or should have been rejected.

mod escapes;
mod gateway;
mod import;
mod lists;
mod oauth;
mod prometheus;
mod token;

pub use gateway::{host, path};
pub use import::{import_csv, import_hydra, import_keycloak};
pub use lists::{cursor, if_match};
pub use oauth::{basic, form, json};
pub use prometheus::prometheus;
pub use token::{bearer, jwt};

/// A parser with its rules.
pub struct Parser {
    /// The name of its fuzz target and of the folder of its seeds.
    pub name: &'static str,
    /// Parses these bytes, and panics when a rule is broken.
    pub check: fn(&[u8]),
}

/// Every parser of foreign input.
pub const PARSERS: [Parser; 13] = [
    Parser {
        name: "form",
        check: form,
    },
    Parser {
        name: "basic",
        check: basic,
    },
    Parser {
        name: "json",
        check: json,
    },
    Parser {
        name: "path",
        check: path,
    },
    Parser {
        name: "host",
        check: host,
    },
    Parser {
        name: "bearer",
        check: bearer,
    },
    Parser {
        name: "jwt",
        check: jwt,
    },
    Parser {
        name: "if_match",
        check: if_match,
    },
    Parser {
        name: "cursor",
        check: cursor,
    },
    Parser {
        name: "import_hydra",
        check: import_hydra,
    },
    Parser {
        name: "import_keycloak",
        check: import_keycloak,
    },
    Parser {
        name: "import_csv",
        check: import_csv,
    },
    Parser {
        name: "prometheus",
        check: prometheus,
    },
];
