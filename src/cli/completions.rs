//! `mintage completions`: prints a completion script for a shell.

use super::Failure;

#[derive(clap::Args)]
pub struct Arguments {
    /// Shell that the script is for
    shell: clap_complete::Shell,
}

pub fn run(command: &mut clap::Command, arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "mintage", &mut script);
    super::print(&String::from_utf8_lossy(&script));
    Ok(())
}
