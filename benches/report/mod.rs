//! Where the figures go: to the terminal, and between two comments of a document, so that the prose around them stays;
//! plots into `plots` beside it.

#![allow(dead_code, reason = "each benchmark uses its part")]

pub mod plot;
mod svg;
pub mod table;

use std::path::{Path, PathBuf};

/// Writes what was measured, or computed.
pub struct Report {
    to: Option<PathBuf>,
    document: &'static str,
    /// What the comments begin with.
    mark: &'static str,
}

impl Report {
    /// Into this document of a folder, or only to the terminal; `mark` is what its comments begin with.
    pub fn new(to: Option<&Path>, document: &'static str, mark: &'static str) -> Self {
        Self {
            to: to.map(Path::to_owned),
            document,
            mark,
        }
    }

    /// Writes the text of a section, in the place of what was there.
    pub fn section(&self, name: &str, text: &str) {
        println!("\n== {name}\n\n{}", text.trim_end());
        let Some(folder) = &self.to else {
            return;
        };
        let path = folder.join(self.document);
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::create_dir_all(folder).expect("the folder can be made");
        std::fs::write(&path, self.replaced(&old, name, text)).expect("the document can be written");
        println!("\nwritten to {} ({})", path.display(), self.begin(name));
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

    fn begin(&self, name: &str) -> String {
        format!("<!-- {}:{name} -->", self.mark)
    }

    /// The document with another text between the comments of `name`; where they are missing, they come to its end.
    fn replaced(&self, document: &str, name: &str, text: &str) -> String {
        let (begin, end) = (self.begin(name), format!("<!-- /{}:{name} -->", self.mark));
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
}
