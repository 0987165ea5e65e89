//! Where the figures go: to the terminal, and between two comments of `docs/benchmarks.md`, so that the prose around
//! them stays; plots into `docs/plots`.

use std::path::{Path, PathBuf};

/// Writes what was measured.
pub struct Report {
    to: Option<PathBuf>,
}

impl Report {
    /// Into this folder, or only to the terminal.
    pub fn new(to: Option<&Path>) -> Self {
        Self {
            to: to.map(Path::to_owned),
        }
    }

    /// Writes the text of a section, in the place of what was there.
    pub fn section(&self, name: &str, text: &str) {
        println!("\n== {name}\n\n{}", text.trim_end());
        let Some(folder) = &self.to else {
            return;
        };
        let path = folder.join("benchmarks.md");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::create_dir_all(folder).expect("the folder can be made");
        std::fs::write(&path, replaced(&old, name, text)).expect("the document can be written");
        println!("\nwritten to {} ({})", path.display(), begin(name));
    }

    /// Writes a plot; what it gives is the line of Markdown that shows it, nothing if it was not written.
    pub fn plot(&self, name: &str, what: &str, svg: &str) -> String {
        let Some(folder) = &self.to else {
            return String::new();
        };
        let plots = folder.join("plots");
        std::fs::create_dir_all(&plots).expect("the folder can be made");
        std::fs::write(plots.join(format!("{name}.svg")), svg).expect("the plot can be written");
        format!("\n![{what}](plots/{name}.svg)\n")
    }
}

fn begin(name: &str) -> String {
    format!("<!-- matrix:{name} -->")
}

/// The document with another text between the comments of `name`; where they are missing, they come to its end.
fn replaced(document: &str, name: &str, text: &str) -> String {
    let (begin, end) = (begin(name), format!("<!-- /matrix:{name} -->"));
    let section = format!("{begin}\n\n{}\n\n{end}", text.trim());
    let around = document.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    match around {
        Some((before, after)) => format!("{before}{section}{after}"),
        None => format!("{}\n\n## {name}\n\n{section}\n", document.trim_end()),
    }
}
