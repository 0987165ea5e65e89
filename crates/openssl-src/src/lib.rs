//! OpenSSL for the build of openssl-sys: the system's if its headers and libraries are there,
//! otherwise OpenSSL 4.0, compiled.
//!
//! The system's takes no minutes to compile, and gets its security updates from the distribution.
//! `OPENSSL_NO_VENDOR=0` compiles it nevertheless, for a binary that needs no OpenSSL of the
//! machine that it runs on. (With `OPENSSL_NO_VENDOR=1`, openssl-sys searches by itself and does
//! not use this crate.)

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest series that is taken from the system.
const OLDEST_MAJOR: u32 = 3;

/// What openssl-sys calls.
#[derive(Default)]
pub struct Build {
    openssl_dir: Option<PathBuf>,
}

/// Where the headers and the libraries are.
pub struct Artifacts {
    include_dir: PathBuf,
    lib_dir: PathBuf,
}

impl Build {
    /// A build with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The folder in which a compiled OpenSSL looks for its configuration.
    pub fn openssl_dir(&mut self, path: impl AsRef<Path>) -> &mut Self {
        self.openssl_dir = Some(path.as_ref().to_path_buf());
        self
    }

    /// Finds the system's OpenSSL, or compiles one.
    pub fn build(&mut self) -> Artifacts {
        system().unwrap_or_else(|| {
            let mut build = vendored::Build::new();
            if let Some(folder) = &self.openssl_dir {
                build.openssl_dir(folder);
            }
            let compiled = build.build();
            Artifacts {
                include_dir: compiled.include_dir().to_path_buf(),
                lib_dir: compiled.lib_dir().to_path_buf(),
            }
        })
    }
}

impl Artifacts {
    /// The folder with `openssl/ssl.h`.
    pub fn include_dir(&self) -> &Path {
        &self.include_dir
    }

    /// The folder with libssl and libcrypto.
    pub fn lib_dir(&self) -> &Path {
        &self.lib_dir
    }
}

/// The system's OpenSSL, as the C compiler finds it.
fn system() -> Option<Artifacts> {
    let is_native = env::var_os("TARGET") == env::var_os("HOST");
    // Only an explicit 0 gets here: openssl-sys handles the other values.
    if !is_native || env::var_os("OPENSSL_NO_VENDOR").is_some() {
        return None;
    }
    let header = header()?;
    // Another version, or none, is another build.
    println!("cargo:rerun-if-changed={}", header.display());
    let (ssl, crypto) = (library("libssl.so")?, library("libcrypto.so")?);
    let lib_dir = ssl.parent()?.to_path_buf();
    (crypto.parent()? == lib_dir).then_some(Artifacts {
        include_dir: header.parent()?.parent()?.to_path_buf(),
        lib_dir,
    })
}

fn compiler() -> Command {
    Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

/// The header that states the version, if the version will do.
fn header() -> Option<PathBuf> {
    let mut child = compiler()
        .args(["-E", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // ssl.h includes the other headers: a part of them is not enough.
    let program = "#include <openssl/ssl.h>\nmajor OPENSSL_VERSION_MAJOR\n";
    child.stdin.take()?.write_all(program.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    output.status.success().then_some(())?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// The path of `opensslv.h` in the output of the preprocessor.
fn parse(preprocessed: &str) -> Option<PathBuf> {
    // The compiler may put the value of a macro into a line of its own, behind a line marker.
    let (_, behind) = preprocessed.rsplit_once("\nmajor")?;
    let major: String = behind.lines().filter(|line| !line.starts_with('#')).collect();
    let path = preprocessed
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.split('"').nth(1))
        .find(|path| path.ends_with("/openssl/opensslv.h"))?;
    (major.trim().parse::<u32>().ok()? >= OLDEST_MAJOR).then(|| path.into())
}

/// Where the linker finds a library.
fn library(name: &str) -> Option<PathBuf> {
    let output = compiler().arg(format!("-print-file-name={name}")).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    // The name alone: not found.
    path.is_absolute().then_some(())?;
    Some(normal(&path))
}

/// The path without `..`, which the compiler prints: `/usr/lib/gcc/x86_64-linux-gnu/12/../../../x`.
fn normal(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    folder.map_or_else(
        || path.to_path_buf(),
        |folder| folder.join(path.file_name().unwrap_or_default()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_supported_series_is_found() {
        let of = |major: &str| {
            format!(
                "# 1 \"<stdin>\"\n# 1 \"/usr/include/openssl/ssl.h\" 1 3 4\n\
                 # 1 \"/usr/include/x86_64-linux-gnu/openssl/opensslv.h\" 1 3 4\n# 3 \"<stdin>\"\nmajor\n\
                 # 2 \"<stdin>\" 3 4\n     {major}\n"
            )
        };
        let path = Some(PathBuf::from("/usr/include/x86_64-linux-gnu/openssl/opensslv.h"));
        assert_eq!((parse(&of("3")), parse(&of("4"))), (path.clone(), path));
        for other in ["1", "OPENSSL_VERSION_MAJOR", ""] {
            assert_eq!(parse(&of(other)), None, "{other}");
        }
        assert_eq!(parse("major 3\n"), None);
    }
}
