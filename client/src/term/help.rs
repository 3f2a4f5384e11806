//! Help and usage errors in boxes, for any `clap` command.
//!
//! [`dress`] walks the command tree once and hands the drawn pages to clap, which then shows them
//! wherever it would have shown its own. Lines `$ command  # what it does` of a command's
//! `after_help` become its box of examples.

use super::{
    boxed::{self, Row},
    text::Text,
    theme::{BAD, BOLD, DIM, KIND, NAME, PLAIN, TYPE_THIS},
};
use clap::{
    Arg, ArgAction, Command,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};
use nebula_client::Error;
use std::fmt::Write as _;

/// Boxes of subcommands, in order: title and names.
pub type Groups = &'static [(&'static str, &'static [&'static str])];

/// Replaces the help of a command and of all below it.
pub fn dress(mut command: Command, groups: Groups, width: usize) -> Command {
    command.build();
    let path = command.get_name().to_owned();
    dress_below(command, groups, width, &path)
}

fn dress_below(command: Command, groups: Groups, width: usize, path: &str) -> Command {
    let page = page(&command, path, groups, width);
    let names: Vec<String> = command
        .get_subcommands()
        .map(|s| s.get_name().to_owned())
        .collect();
    let mut command = command.override_help(StyledStr::from(page));
    for name in names {
        let path = format!("{path} {name}");
        command = command.mut_subcommand(name, |sub| dress_below(sub, &[], width, &path));
    }
    command
}

fn page(command: &Command, path: &str, groups: Groups, width: usize) -> String {
    let args: Vec<&Arg> = command
        .get_arguments()
        .filter(|a| !a.is_hide_set())
        .collect();
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) =
        args.into_iter().partition(|a| a.is_positional());
    let mut out = String::from("\n");
    let usage = Text::styled(KIND, "Usage: ").and(BOLD, usage(command, path, &positional));
    for line in usage.wrapped(width - 2) {
        let _ = writeln!(out, " {line}");
    }
    out.push('\n');
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        for paragraph in about.to_string().lines() {
            for line in Text::plain(paragraph).wrapped(width - 2) {
                let _ = writeln!(out, " {line}");
            }
        }
        out.push('\n');
    }
    let rows: Vec<Row> = positional.iter().map(|a| positional_row(a)).collect();
    draw(&mut out, "Arguments", &rows, width, 0);
    commands(&mut out, command, groups, width);
    let mut headings: Vec<&str> = Vec::new();
    for arg in &options {
        let heading = heading(arg);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    // Its own options first, those of every command last.
    headings.sort_by_key(|h| *h == GLOBAL);
    for heading in headings {
        let rows: Vec<Row> = options
            .iter()
            .filter(|a| self::heading(a) == heading)
            .map(|a| option_row(a))
            .collect();
        draw(&mut out, heading, &rows, width, 0);
    }
    examples(&mut out, command, width);
    out
}

/// The heading of the options that every command takes.
pub const GLOBAL: &str = "Everywhere";

fn heading(arg: &Arg) -> &str {
    match arg.get_id().as_str() {
        "help" | "version" => GLOBAL,
        _ => arg.get_help_heading().unwrap_or("Options"),
    }
}

fn usage(command: &Command, path: &str, positional: &[&Arg]) -> String {
    let mut usage = format!("{path} [OPTIONS]");
    for arg in positional {
        let many = matches!(arg.get_action(), ArgAction::Append);
        let name = placeholder(arg) + if many { "…" } else { "" };
        let _ = if arg.is_required_set() {
            write!(usage, " {name}")
        } else {
            write!(usage, " [{name}]")
        };
    }
    if command.has_subcommands() {
        usage += if command.is_subcommand_required_set() {
            " COMMAND"
        } else {
            " [COMMAND]"
        };
    }
    usage
}

fn commands(out: &mut String, command: &Command, groups: Groups, width: usize) {
    let visible: Vec<&Command> = command
        .get_subcommands()
        .filter(|s| !s.is_hide_set() && s.get_name() != "help")
        .collect();
    let row = |s: &Command| {
        let about = s.get_about().map(ToString::to_string).unwrap_or_default();
        Row::new(Text::styled(NAME, s.get_name()), about)
    };
    let widest = visible
        .iter()
        .map(|s| s.get_name().len())
        .max()
        .unwrap_or(0);
    for (title, names) in groups {
        let find = |name: &&str| visible.iter().find(|s| s.get_name() == *name);
        let rows: Vec<Row> = names
            .iter()
            .filter_map(|n| find(n).map(|s| row(s)))
            .collect();
        draw(out, title, &rows, width, widest);
    }
    let rest: Vec<Row> = visible
        .iter()
        .filter(|s| {
            !groups
                .iter()
                .any(|(_, names)| names.contains(&s.get_name()))
        })
        .map(|s| row(s))
        .collect();
    draw(out, "Commands", &rest, width, widest);
}

fn examples(out: &mut String, command: &Command, width: usize) {
    let Some(after) = command.get_after_long_help().or(command.get_after_help()) else {
        return;
    };
    let after = after.to_string();
    let rows: Vec<Row> = after
        .lines()
        .filter_map(|line| line.trim().strip_prefix("$ "))
        .map(|line| {
            let (what, why) = line.split_once(" # ").unwrap_or((line, ""));
            let what = Text::styled(DIM, "$ ").and(TYPE_THIS, what.trim());
            Row::new(what, why.trim())
        })
        .collect();
    draw(out, "Examples", &rows, width, 0);
    for line in after
        .lines()
        .filter(|l| !l.trim().is_empty() && !l.trim().starts_with("$ "))
    {
        for line in Text::styled(DIM, line).wrapped(width - 2) {
            let _ = writeln!(out, " {line}");
        }
    }
}

fn draw(out: &mut String, title: &str, rows: &[Row], width: usize, min_left: usize) {
    if !rows.is_empty() {
        out.push_str(&boxed::rows(title, rows, width, DIM, min_left));
    }
}

fn placeholder(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    if names.is_empty() {
        arg.get_id().to_string().to_uppercase()
    } else {
        let names: Vec<&str> = names.iter().map(clap::builder::Str::as_str).collect();
        names.join(" ")
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn positional_row(arg: &Arg) -> Row {
    let star = if arg.is_required_set() { "* " } else { "  " };
    Row::new(
        Text::styled(BAD, star).and(NAME, placeholder(arg)),
        explanation(arg),
    )
}

fn option_row(arg: &Arg) -> Row {
    let mut left = match arg.get_short() {
        Some(short) => Text::styled(TYPE_THIS, format!("-{short} ")),
        None => Text::plain("   "),
    };
    if let Some(long) = arg.get_long() {
        left = left.and(NAME, format!("--{long}"));
    }
    if takes_value(arg) {
        let choices: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|v| !v.is_hide_set())
            .map(|v| v.get_name().to_owned())
            .collect();
        let kind = if choices.is_empty() {
            format!(" <{}>", placeholder(arg))
        } else {
            format!(" <{}>", choices.join("|"))
        };
        left = left.and(KIND, kind);
    }
    Row::new(left, explanation(arg))
}

fn explanation(arg: &Arg) -> Text {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let mut text = Text::plain(help.replace('\n', " "));
    if let Some(variable) = arg.get_env() {
        text = text.and(DIM, format!(" [env: {}]", variable.to_string_lossy()));
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|v| v.to_string_lossy())
        .collect();
    if !defaults.is_empty() && takes_value(arg) && !arg.is_hide_default_value_set() {
        text = text.and(DIM, format!(" [default: {}]", defaults.join(", ")));
    }
    if arg.is_required_set() {
        text = text.and(BAD, " [required]");
    }
    text
}

/// A usage error: what was wrong, what was probably meant, where the help is.
pub fn usage_error(error: &clap::Error, command: &str, width: usize) -> String {
    let mut body = vec![Text::plain(what_was_wrong(error))];
    let ours = std::error::Error::source(error).and_then(|e| e.downcast_ref::<Error>());
    if let Some(hint) = ours.and_then(Error::hint) {
        body.push(Text::styled(TYPE_THIS, hint));
    }
    for kind in [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ] {
        if let Some(meant) = context(error, kind) {
            body.push(
                Text::plain("Did you mean ")
                    .and(TYPE_THIS, meant)
                    .and(PLAIN, "?"),
            );
        }
    }
    if let Some(choices) = context(error, ContextKind::ValidValue) {
        body.push(Text::styled(DIM, format!("One of: {choices}")));
    }
    let mut out = boxed::paragraphs("Error", &body, width, BAD);
    let help = Text::styled(DIM, " Help: ").and(NAME, format!("{command} --help"));
    let _ = writeln!(out, "{help}");
    out
}

fn what_was_wrong(error: &clap::Error) -> String {
    let arg = context(error, ContextKind::InvalidArg).unwrap_or_default();
    let arg = match arg.strip_prefix('<') {
        Some(positional) => positional.replace('>', "").replace("...", ""),
        None => arg,
    };
    let value = context(error, ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("There is no command '{name}'.")
        }
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            format!("There is no option '{arg}' here.")
        }
        ErrorKind::UnknownArgument => format!("'{arg}' is one argument too many."),
        ErrorKind::MissingRequiredArgument => {
            format!(
                "Missing: {}.",
                arg.replace(['<', '>'], "").replace("...", "…")
            )
        }
        ErrorKind::ArgumentConflict => {
            let prior = context(error, ContextKind::PriorArg).unwrap_or_default();
            format!("'{arg}' and '{prior}' do not go together.")
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => match value {
            // Our own parsers say it in whole sentences.
            Some(value) => {
                if let Some(ours) = std::error::Error::source(error)
                    && ours.is::<Error>()
                {
                    return ours.to_string();
                }
                let why = std::error::Error::source(error);
                let why = why.map_or_else(|| ".".to_owned(), |w| format!(": {w}."));
                format!("'{value}' is no value for {arg}{}", why.replace("..", "."))
            }
            None => format!("{arg} needs a value."),
        },
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    let text = match error.get(kind)? {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        ContextValue::StyledStr(text) => text.to_string(),
        ContextValue::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}
