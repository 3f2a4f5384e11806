//! The user unit of systemd that keeps a folder watched.

use crate::{Error, xdg};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the unit runs.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its name, with `.service`.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Unit {
    /// The unit that runs `program` with these arguments for a folder and its destination.
    pub fn new(program: &Path, arguments: &[String], folder: &Path, destination: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(folder.as_os_str().as_encoded_bytes());
        hasher.update(&[0]);
        hasher.update(destination.as_bytes());
        let name = format!("nebula-watch-{}.service", &hasher.finalize().to_hex()[..12]);
        let program = program.to_string_lossy();
        let words = std::iter::once(program.as_ref()).chain(arguments.iter().map(String::as_str));
        let command: Vec<String> = words.map(quoted).collect();
        let shown = format!("{} to {destination}", folder.display()).replace('%', "%%");
        let text = format!(
            "[Unit]\n\
             Description=Nebula: what settles in {shown}\n\
             After=network-online.target\n\
             \n\
             [Service]\n\
             ExecStart={}\n\
             Restart=always\n\
             RestartSec=10\n\
             # Being told to end is no failure: the next start goes on.\n\
             SuccessExitStatus=130\n\
             NoNewPrivileges=yes\n\
             Nice=5\n\
             \n\
             [Install]\n\
             WantedBy=default.target\n",
            command.join(" ")
        );
        Self { name, text }
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        xdg::user_units_dir().join(&self.name)
    }

    /// Writes it. Blocks.
    pub fn write(&self) -> Result<PathBuf, Error> {
        let path = self.path();
        let fail = |e| Error::local("write", &path, e);
        fs::create_dir_all(xdg::user_units_dir()).map_err(fail)?;
        fs::write(&path, &self.text).map_err(fail)?;
        Ok(path)
    }

    /// Removes it; whether it was there. Blocks.
    pub fn remove(&self) -> Result<bool, Error> {
        match fs::remove_file(self.path()) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::local("delete", self.path(), e)),
        }
    }
}

/// One word of `ExecStart=` (systemd.service(5), "Command lines").
fn quoted(word: &str) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_program_as_they_are() {
        assert_eq!(
            quoted(r#"/a b/50% $x "y" \z"#),
            r#""/a b/50%% $$x \"y\" \\z""#
        );
    }
}
