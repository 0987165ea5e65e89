//! Errors of the command line, each in one line: the cause, and what was probably meant.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Prints help and version to standard output, and of a usage error one line: the cause, and similar
/// names.
pub fn wrong_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        print!("{error}");
        return ExitCode::SUCCESS;
    }
    eprintln!("mintage: {} (see --help)", cause(error));
    ExitCode::from(2)
}

fn cause(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a subcommand is missing".into();
    }
    if let Some((old, new)) = renamed(error) {
        return format!("`{old}` is now `{new}`");
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ");
    // Missing arguments are listed on the following lines.
    let listed: Vec<&str> = lines.take_while(|line| line.starts_with(['<', '-', '['])).collect();
    let what = [&[what], listed.as_slice()].concat().join(" ");
    match suggestions(error) {
        similar if similar.is_empty() => what,
        similar => format!("{what}: did you mean `{}`?", similar.join("` or `")),
    }
}

/// The names that are similar to an unknown one.
fn suggestions(error: &clap::Error) -> Vec<String> {
    let kinds = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    kinds
        .into_iter()
        .filter_map(|kind| match error.get(kind)? {
            ContextValue::String(name) => Some(vec![name.clone()]),
            ContextValue::Strings(names) => Some(names.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

/// Flags by their former name, and what they are called now.
const RENAMED: [(&str, &str); 2] = [
    ("--serves", "--introspection-audience"),
    ("--no-serves", "--no-introspection-audiences"),
];

/// The flag at fault, if it is a renamed one.
fn renamed(error: &clap::Error) -> Option<(&'static str, &'static str)> {
    match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(flag) if error.kind() == ErrorKind::UnknownArgument => {
            RENAMED.into_iter().find(|(old, _)| old == flag)
        }
        _ => None,
    }
}
