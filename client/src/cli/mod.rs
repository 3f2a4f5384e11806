//! The verbs, one file each, and what they share.

pub mod args;
mod buckets;
mod drain;
mod explain;
mod jobs;
mod keys;
mod library;
mod links;
mod ls;
mod play;
mod pull;
mod push;
mod quota;
mod rm;
mod session;
mod status;
mod sync;
mod transfers;
mod uploads;
mod versions;
mod watch;

use crate::term::{
    self,
    text::Text,
    theme::{DIM, GOOD, TYPE_THIS},
};
use args::{Cli, Command, Global};
use nebula_client::{Client, Credentials, Error, Exit, api::problem::code, profile::Profiles};
use serde::Serialize;

/// How many characters of an id are shown.
const SHORT_ID: usize = 8;

/// What every verb gets: the options of every command, and the node once it is needed.
pub struct Context {
    pub global: Global,
}

/// Runs one command.
pub async fn run(cli: Cli) -> Result<Exit, Error> {
    let cx = Context { global: cli.global };
    match cli.command {
        Command::Login { url } => session::login(&cx, &url).await,
        Command::Logout { name } => session::logout(&cx, name.as_deref()),
        Command::Profiles { name } => session::profiles(&cx, name.as_deref()),
        Command::Whoami => session::whoami(&cx).await,
        Command::Mb(args) => buckets::make(&cx, &args).await,
        Command::Rb { bucket, force } => buckets::remove(&cx, &bucket, force).await,
        Command::Ls(args) => ls::run(&cx, &args).await,
        Command::Push(args) if args.watch => watch::run(&cx, &args).await,
        Command::Push(args) => push::run(&cx, &args).await,
        Command::Pull(args) => pull::run(&cx, &args).await,
        Command::Sync(args) => sync::run(&cx, &args).await,
        Command::Rm(args) => rm::run(&cx, &args).await,
        Command::Versions { object } => versions::list(&cx, &object).await,
        Command::Undelete { object, version } => {
            versions::undelete(&cx, &object, version.as_deref()).await
        }
        Command::Quota(args) => quota::run(&cx, &args).await,
        Command::Url {
            object,
            link,
            expires,
        } => links::url(&cx, &object, link.then_some(expires)).await,
        Command::Share(args) => links::share(&cx, &args).await,
        Command::Play(args) => play::run(&cx, &args).await,
        Command::Jobs(args) => jobs::run(&cx, &args).await,
        Command::Library(args) => library::run(&cx, &args).await,
        Command::Streams => library::streams(&cx).await,
        Command::Uploads(args) => uploads::run(&cx, &args).await,
        Command::Status => status::run(&cx).await,
        Command::Drain(args) => drain::run(&cx, &args).await,
        Command::Keys(args) => keys::run(&cx, args.command).await,
        Command::Open { print } => play::console(&cx, print),
        Command::Completions { shell } => Ok(completions(shell)),
    }
}

fn completions(shell: clap_complete::Shell) -> Exit {
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "nebula", &mut std::io::stdout());
    Exit::Ok
}

impl Context {
    /// The node: of the profile, or of the environment alone (`NEBULA_URL` and a key pair).
    pub fn client(&self) -> Result<Client, Error> {
        if self.global.profile.is_none()
            && let Ok(url) = std::env::var("NEBULA_URL")
        {
            return Client::new(&url, credentials_of_environment());
        }
        let profiles = Profiles::load()?;
        let (_, profile) = profiles.pick(self.global.profile.as_deref())?;
        profile.client()
    }

    /// Says that something worked: JSON for machines, a ticked line for people, nothing when quiet.
    pub fn done(&self, value: &impl Serialize, line: Text) {
        if self.global.json {
            print_json(value);
        } else if !self.global.quiet {
            anstream::println!("{}", tick(line));
        }
    }

    /// Suggests what to type next, to a person only.
    pub fn next(&self, what: &str, command: &str) {
        if !self.global.json && !self.global.quiet && term::on_terminal() {
            let line = Text::styled(DIM, format!("  {what}  ")).and(TYPE_THIS, command);
            anstream::eprintln!("{line}");
        }
    }

    /// Adds "did you mean" to the failure to find a bucket.
    pub async fn or_meant<T>(
        &self,
        client: &Client,
        bucket: &str,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        let mut problem = match result {
            Err(Error::NotFound(problem)) if problem.code == code::BUCKET_NOT_FOUND => problem,
            other => return other,
        };
        let names: Vec<String> = match client.all_buckets().await {
            Ok(buckets) => buckets.into_iter().map(|b| b.name).collect(),
            Err(_) => Vec::new(),
        };
        problem.title = format!("There is no bucket '{bucket}'");
        problem.detail = None;
        problem.hint = Some(match closest(bucket, &names) {
            Some(name) => format!("Did you mean {name}:? Otherwise make it: nebula mb {bucket}"),
            None => format!("nebula mb {bucket}"),
        });
        Err(Error::NotFound(problem))
    }
}

/// Prints one JSON object on a line of its own.
pub fn print_json(value: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(value) {
        anstream::println!("{line}");
    }
}

/// A line with a tick before it.
pub fn tick(line: Text) -> Text {
    Text::styled(GOOD, "✓ ").joined(line)
}

/// The key pair of `NEBULA_ACCESS_KEY` and `NEBULA_SECRET_KEY`, when both are set.
pub fn credentials_of_environment() -> Option<Credentials> {
    let get = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    Some(Credentials {
        access_key: get("NEBULA_ACCESS_KEY")?,
        secret_key: get("NEBULA_SECRET_KEY")?,
    })
}

/// The name that was probably meant.
pub fn closest<'a>(typed: &str, names: &'a [String]) -> Option<&'a str> {
    names
        .iter()
        .map(|name| (strsim::jaro_winkler(typed, name), name.as_str()))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The beginning of an id; commands take it as well.
fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// The one whose id begins like this; `what` says of which kind they are.
fn the_one<T>(
    what: &str,
    id: &str,
    all: Vec<T>,
    id_of: impl Fn(&T) -> &str,
) -> Result<Option<T>, Error> {
    let mut matching = all.into_iter().filter(|one| id_of(one).starts_with(id));
    match (matching.next(), matching.next()) {
        (Some(_), Some(_)) => Err(Error::Usage {
            message: format!("Several {what} are called {id}."),
            hint: Some("Type more of the id.".into()),
        }),
        (one, _) => Ok(one),
    }
}

/// How a transfer of several files ended: one thing alone is told as an error is; of several each had its line.
fn ended(files: usize, failed: usize, first: Option<Error>) -> Result<Exit, Error> {
    match first {
        None => Ok(Exit::Ok),
        Some(error) if files == 0 && failed == 1 => Err(error),
        Some(error) if files == 0 => Ok(error.exit()),
        Some(_) => Ok(Exit::Partly),
    }
}
