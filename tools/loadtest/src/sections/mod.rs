//! The sections: what is compared, how it is measured and how it is printed.

pub mod backends;
pub mod before_after;
pub mod database;
pub mod durability;
pub mod instances;
pub mod measure;
mod table;
