//! `nebula`: the command line of a Nebula node.
//!
//! Grammar in [`cli::args`], one file per verb in [`cli`], looks in [`term`];
//! everything that talks to the node is in the library.

#![forbid(unsafe_code)]

mod cli;
mod term;

use clap::{CommandFactory as _, FromArgMatches as _, error::ErrorKind};
use cli::args::{Cli, Colour, Command, GROUPS};
use nebula_client::{Error, Exit};
use serde_json::json;
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};
use term::{
    boxed, help,
    text::Text,
    theme::{BAD, BAD_BOLD, DIM, PLAIN, TYPE_THIS, WARN},
};

fn main() -> ExitCode {
    let width = term::box_width();
    let matches = help::dress(Cli::command(), GROUPS, width).try_get_matches();
    let cli = match matches.and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(e) => return code(not_parsed(&e, width)),
    };
    match cli.global.color {
        Colour::Auto => {}
        Colour::Always => anstream::ColorChoice::Always.write_global(),
        Colour::Never => anstream::ColorChoice::Never.write_global(),
    }
    let json = cli.global.json;
    let goes_on = can_go_on(&cli.command);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => {
            let error = Error::local("start", "the runtime", e);
            return code(failed(&error, json, width));
        }
    };
    let end = runtime.block_on(async {
        tokio::select! {
            end = cli::run(cli) => end,
            () = interrupted() => Ok(Exit::Interrupted),
        }
    });
    // A read of standard input or of the terminal may still block; it must not hold us back.
    runtime.shutdown_background();
    code(match end {
        Ok(Exit::Interrupted) => {
            interrupted_line(goes_on, json);
            Exit::Interrupted
        }
        Ok(exit) => exit,
        Err(error) => failed(&error, json, width),
    })
}

/// Whether the same command, run again, goes on where this one stopped: a stream cannot be read again.
fn can_go_on(command: &Command) -> bool {
    let is_stream = |path: &PathBuf| path == Path::new("-");
    match command {
        Command::Push(args) => !args.paths.iter().any(is_stream),
        Command::Pull(args) => !is_stream(&args.to),
        Command::Sync(_) => true,
        _ => false,
    }
}

/// Says how to go on, as the command that was typed.
fn interrupted_line(goes_on: bool, json: bool) {
    if !goes_on {
        return;
    }
    let words: Vec<String> = std::env::args()
        .skip(1)
        .map(|word| term::human::shell(&word))
        .collect();
    let command = format!("nebula {}", words.join(" "));
    if json {
        anstream::eprintln!("{}", json!({"type": "interrupted", "go_on": command}));
        return;
    }
    let line = Text::styled(WARN, "Interrupted.")
        .and(PLAIN, " What was transferred is kept; go on with  ")
        .and(TYPE_THIS, command);
    anstream::eprintln!("\r\n{line}");
}

/// Ctrl-C, or being told to end. What is under way is dropped: every transfer can go on later.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

fn code(exit: Exit) -> ExitCode {
    let _ = std::io::stdout().flush();
    ExitCode::from(exit as u8)
}

/// Help and versions are no failure; the rest is boxed.
fn not_parsed(error: &clap::Error, width: usize) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            anstream::print!("{}", error.render().ansi());
            Exit::Ok
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            anstream::eprint!("{}", error.render().ansi());
            Exit::Usage
        }
        _ => {
            let command = command_path();
            anstream::eprint!("{}", help::usage_error(error, &command, width));
            Exit::Usage
        }
    }
}

/// `nebula push` out of the arguments, for the pointer to its help.
fn command_path() -> String {
    let mut path = String::from("nebula");
    let mut command = Cli::command();
    for word in std::env::args().skip(1) {
        let Some(sub) = command.find_subcommand(&word).cloned() else {
            continue;
        };
        path = format!("{path} {word}");
        command = sub;
    }
    path
}

/// A failure, boxed with what to do next, or as JSON on standard error.
fn failed(error: &Error, json: bool, width: usize) -> Exit {
    let exit = error.exit();
    if json {
        let object = json!({"error": {
            "code": error.code(),
            "message": error.to_string(),
            "hint": error.hint(),
            "request_id": error.problem().and_then(|p| p.request_id.as_deref()),
            "exit": exit as u8,
        }});
        anstream::eprintln!("{object}");
        return exit;
    }
    let mut body = vec![Text::plain(error.to_string())];
    if let Some(hint) = error.hint() {
        body.push(next_step(&hint));
    }
    if let Some(id) = error.problem().and_then(|p| p.request_id.as_deref()) {
        body.push(Text::styled(
            DIM,
            format!("The node's log has it as request {id}."),
        ));
    }
    anstream::eprint!("{}", boxed::paragraphs("Error", &body, width, BAD));
    exit
}

/// A hint, with the command in it standing out.
fn next_step(hint: &str) -> Text {
    match hint.find("nebula ") {
        Some(at) => Text::plain(&hint[..at]).and(TYPE_THIS, &hint[at..]),
        None => Text::styled(PLAIN, hint),
    }
}

/// One line for one of several things that failed.
fn failed_line(what: &str, error: &Error) -> Text {
    Text::styled(BAD_BOLD, "✗ ").and(PLAIN, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_in_one_box_and_has_an_example() {
        for sub in Cli::command().get_subcommands() {
            let name = sub.get_name();
            let boxes = GROUPS.iter().filter(|g| g.1.contains(&name)).count();
            assert_eq!(boxes, 1, "{name}");
            let after = sub.get_after_help().map(ToString::to_string);
            assert!(after.is_some_and(|a| a.contains("$ nebula")), "{name}");
        }
    }

    #[test]
    fn help_fits_its_width() {
        use unicode_width::UnicodeWidthStr as _;
        for width in [40, 80, 100] {
            let mut command = help::dress(Cli::command(), GROUPS, width);
            let mut pages = vec![command.render_help().to_string()];
            for name in ["push", "jobs", "keys", "login"] {
                let sub = command.find_subcommand_mut(name).expect("a command");
                pages.push(sub.render_help().to_string());
            }
            for page in pages {
                let page = anstream::adapter::strip_str(&page).to_string();
                for line in page.lines() {
                    let fits = line.width() <= width;
                    let framed = line.starts_with(['╭', '│', '╰']);
                    assert!(
                        fits && (!framed || line.width() == width),
                        "{width}: {line}"
                    );
                }
            }
        }
    }
}
