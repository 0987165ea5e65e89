//! `cargo run --release -p capacity`: the load of a hundred instances and a million clients on one
//! PostgreSQL, computed from costs that were measured on one instance. Prints the computed tables
//! of `docs/scaling.md`; `-- SECTION` prints one section.
//!
//! Rates are per second, times are seconds and sizes are bytes, unless a name says otherwise.
//! Random numbers are the same in every run, and so is the output. [`inputs`] holds every external
//! figure.

mod benchmarks;
mod cache;
mod cluster;
mod feed;
mod format;
mod inputs;
mod last_used;
mod popularity;
mod random;
mod records;
#[cfg(test)]
mod simulated;
mod tables;

fn main() {
    let wanted: Vec<String> = std::env::args_os()
        .skip(1)
        .filter_map(|argument| argument.into_string().ok())
        .collect();
    let names = tables::SECTIONS.map(|(name, _)| name);
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        eprintln!("`{unknown}` is not a section: expected one of {}", names.join(", "));
        std::process::exit(2);
    }
    for (name, print) in tables::SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("## {name}\n\n{}", print());
        }
    }
}
