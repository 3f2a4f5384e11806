//! What a start says to the person at the terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use crate::config::Config;
use crate::identity::RootKey;

/// Prints the addresses, the first key pair when it was made just now, and what to type next.
pub(super) fn print(config: &Config, listen: &[String], root: &RootKey) {
    let text = text(config, listen, root, std::io::stdout().is_terminal());
    // Nobody is at the other end when this fails, and nothing depends on it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn text(config: &Config, listen: &[String], root: &RootKey, colour: bool) -> String {
    let paint = |code: &str, text: &str| {
        if colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    };
    let url = config.server.public_url.clone().unwrap_or_else(|| {
        let first = listen.first().map_or("127.0.0.1:8000", String::as_str);
        format!("http://{first}")
    });
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("a String takes every write");
    line(String::new());
    line(format!(
        "  {}  {}",
        paint("1;36", "Nebula"),
        paint(
            "2",
            &format!(
                "{} · data in {}",
                crate::telemetry::build::VERSION_AND_ID,
                config.data.dir.display()
            )
        )
    ));
    line(String::new());
    line(format!("  Console    {}", paint("1", &format!("{url}/-/"))));
    line(format!(
        "  S3         {}   {}",
        paint("1", &url),
        paint("2", "region us-east-1, path style")
    ));
    line(format!(
        "  Uploads    {}   {}",
        paint("1", &format!("{url}/-/tus/")),
        paint("2", "tus 1.0")
    ));
    line(String::new());
    match root {
        RootKey::Created { id, secret, file } => {
            line(format!("  Access key {}", paint("1;32", id.as_str())));
            line(format!("  Secret key {}", paint("1;32", secret.reveal())));
            line(format!(
                "  {}",
                paint("2", &format!("Shown once; kept in {}", file.display()))
            ));
        }
        RootKey::Preset { id } => line(format!(
            "  Access key {}   {}",
            paint("1", id.as_str()),
            paint("2", "as the configuration says")
        )),
        RootKey::Kept { id } => {
            let file = config.in_data_dir(crate::identity::ROOT_CREDENTIALS_FILE);
            line(format!(
                "  Access key {}   {}",
                paint("1", id.as_str()),
                paint("2", &format!("its secret is in {}", file.display()))
            ));
        }
    }
    line(String::new());
    line("  Next, in another terminal:".to_owned());
    if let Some(dir) = unknown_to_path() {
        line(format!("    export PATH=\"{dir}:$PATH\""));
    }
    line(format!("    nebula login {url}"));
    line("    nebula mb films".to_owned());
    line("    nebula push FILM.mp4 films:".to_owned());
    line("    nebula play FILM".to_owned());
    line(String::new());
    out
}

/// Where `nebula` lies beside this program, when a shell would not find it by name.
fn unknown_to_path() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let dir = program.parent()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = dir.join("nebula").exists();
    let known = std::env::split_paths(&path).any(|place| place.join("nebula").exists());
    (beside && !known).then(|| dir.display().to_string())
}
