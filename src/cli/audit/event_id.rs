//! The number of an audit event on the command line.

pub fn parse(text: &str) -> Result<i64, &'static str> {
    let id = text.parse().ok().filter(|id| *id >= 0);
    id.ok_or("expected a whole number, 0 or more")
}
