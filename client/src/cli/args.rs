//! The command line's grammar, with an example for each verb.

pub use super::transfers::{Pull, Push, Sync};
use crate::term::{help::GLOBAL, help::Groups, human};
use clap::{Args, Parser, Subcommand, ValueEnum};
use nebula_client::{
    Remote,
    api::{Grant, JobState, Role},
};

/// The boxes of `nebula --help`.
pub const GROUPS: Groups = &[
    (
        "Library",
        &[
            "push", "pull", "sync", "library", "play", "ls", "rm", "versions", "undelete", "url",
            "share",
        ],
    ),
    ("Buckets", &["mb", "rb", "quota"]),
    (
        "Node",
        &[
            "status", "streams", "jobs", "uploads", "keys", "drain", "open",
        ],
    ),
    (
        "You",
        &["login", "logout", "profiles", "whoami", "completions"],
    ),
];

#[derive(Debug, Parser)]
#[command(
    name = "nebula",
    version,
    about = "Store, stream and share your media from a box you own.",
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = "$ nebula login http://127.0.0.1:8000 # once; asks for the key pair\n\
        $ nebula mb films # a bucket\n\
        $ nebula push ~/Movies/film.mkv films: # resumable, verified\n\
        $ nebula play film # playable a second later"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = GLOBAL)]
pub struct Global {
    /// The profile to use instead of the current one
    #[arg(
        long,
        short = 'P',
        global = true,
        env = "NEBULA_PROFILE",
        value_name = "NAME"
    )]
    pub profile: Option<String>,
    /// Machine-readable: one JSON object per line
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,
    /// Say only what went wrong
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get to know a node and keep the key for it
    #[command(
        after_help = "$ nebula login http://127.0.0.1:8000 # asks for access key and secret\n\
        $ nebula login nas --profile home # a name of your own\n\
        $ NEBULA_ACCESS_KEY=… NEBULA_SECRET_KEY=… nebula login nas # asks nothing\n\
        On a tailnet that the node trusts no key is needed."
    )]
    Login {
        /// The node's address
        #[arg(
            value_name = "URL",
            env = "NEBULA_URL",
            default_value = "http://127.0.0.1:8000"
        )]
        url: String,
    },
    /// Forget a profile and its key
    #[command(
        after_help = "$ nebula logout # the current profile\n$ nebula logout work # another one"
    )]
    Logout {
        /// The profile; the current one if not given
        #[arg(value_name = "PROFILE")]
        name: Option<String>,
    },
    /// List the profiles, or change to another one
    #[command(
        after_help = "$ nebula profiles # which there are\n$ nebula profiles work # change to one"
    )]
    Profiles {
        /// Make this profile the current one
        #[arg(value_name = "PROFILE")]
        name: Option<String>,
    },
    /// Who the node takes you for
    #[command(after_help = "$ nebula whoami")]
    Whoami,
    /// Make a bucket
    #[command(
        after_help = "$ nebula mb films\n$ nebula mb notes --versioning # keep what is overwritten\n\
        $ nebula mb records --lock # versions that can be locked"
    )]
    Mb(Mb),
    /// Remove a bucket
    #[command(
        after_help = "$ nebula rb old # an empty one\n$ nebula rb old --force # with everything in it"
    )]
    Rb {
        /// The bucket
        #[arg(value_name = "BUCKET", value_parser = bucket)]
        bucket: String,
        /// Delete what is in it first
        #[arg(long, short)]
        force: bool,
    },
    /// List buckets, folders and objects
    #[command(
        after_help = "$ nebula ls # buckets\n$ nebula ls films: # what is in one\n\
        $ nebula ls films:series/ --recursive # everything below a folder\n\
        $ nebula ls films: --json | jq -r .key # for scripts"
    )]
    Ls(Ls),
    /// Upload files and folders; goes on where it was interrupted
    #[command(after_help = "$ nebula push film.mkv films:\n\
        $ nebula push film.mkv films:2024/better-name.mkv\n\
        $ nebula push ~/Movies films: # as Movies/…\n\
        $ nebula push ~/Movies/ films: # only what is in it\n\
        $ nebula push *.mkv films:2024/ # what the shell finds\n\
        $ tar c photos | nebula push - backup:photos.tar # standard input\n\
        $ nebula push --watch ~/Recordings films: # each file once it has settled\n\
        $ nebula push --watch --install ~/Recordings films: # for good, as a user unit of systemd\n\
        Run the same command again after an interruption, a week later if need be: what is there is not sent again.\n\
        Links to files are followed; links to folders, pipes and devices are left out.")]
    Push(Push),
    /// Download objects and folders; goes on where it was interrupted
    #[command(after_help = "$ nebula pull films:film.mkv # into this folder\n\
        $ nebula pull films:film.mkv ~/Movies/\n\
        $ nebula pull films:series/ ~/Movies # a whole folder\n\
        $ nebula pull backup:photos.tar - | tar x # standard output\n\
        Run the same command again after an interruption: what is here is not fetched again.")]
    Pull(Pull),
    /// Make a folder and a part of a bucket equal, one way
    #[command(
        after_help = "$ nebula sync ~/Photos photos: # what the bucket lacks or has older\n\
        $ nebula sync photos:2024/ ~/Photos/2024 # and back\n\
        $ nebula sync ~/Photos photos: --delete --dry-run # look first\n\
        $ nebula sync ~/Raw raw: --include '*.mov' --exclude 'cache/**'\n\
        Nothing is deleted unless --delete is given; a file that differs is replaced."
    )]
    Sync(Sync),
    /// Delete objects
    #[command(
        after_help = "$ nebula rm films:film.mkv\n$ nebula rm films:series/ --recursive # a whole folder"
    )]
    Rm(Rm),
    /// List the versions of an object, newest first
    #[command(after_help = "$ nebula versions notes:todo.txt\n\
        $ nebula mb notes --versioning # what keeps them")]
    Versions {
        /// The object
        #[arg(value_name = "BUCKET:KEY")]
        object: Remote,
    },
    /// Bring back a deleted object, or an old version of one
    #[command(
        after_help = "$ nebula undelete notes:todo.txt # what was deleted last\n\
        $ nebula undelete notes:todo.txt --version ID # this one, on top of the others"
    )]
    Undelete {
        /// The object
        #[arg(value_name = "BUCKET:KEY")]
        object: Remote,
        /// The version to put on top again
        #[arg(long, value_name = "ID")]
        version: Option<String>,
    },
    /// Show or bound how much buckets and keys hold
    #[command(after_help = "$ nebula quota # all buckets and keys\n\
        $ nebula quota films: --size 500G\n\
        $ nebula quota --key ID --size 10G --objects 100000\n\
        $ nebula quota films: --size none # no bound")]
    Quota(QuotaArgs),
    /// Print where an object is read and played
    #[command(after_help = "$ nebula url films:film.mkv # needs your key to open\n\
        $ nebula url films:film.mkv --link # opens for everyone, for a day")]
    Url {
        /// The object
        #[arg(value_name = "BUCKET:KEY")]
        object: Remote,
        /// Make signed links that need no key
        #[arg(long, short)]
        link: bool,
        /// How long the signed links work
        #[arg(long, value_name = "TIME", default_value = "1d", value_parser = human::parse_span)]
        expires: u64,
    },
    /// Make a signed link, list those there are, or revoke one
    #[command(after_help = "$ nebula share films:film.mkv # a link for a week\n\
        $ nebula share films:series/ --expires 12h # everything below a folder\n\
        $ nebula share --list\n$ nebula share --revoke ID # stops working at once")]
    Share(Share),
    /// Play something: part of its title is enough
    #[command(after_help = "$ nebula play bigbuck # finds 'Big Buck Bunny'\n\
        $ nebula play films:film.mkv --player vlc\n\
        $ nebula play bunny --explain --as kodi # what such a player is given, and why\n\
        $ mpv \"$(nebula play bunny --print)\" # your own player")]
    Play(super::play::Play),
    /// Films and series on the node
    #[command(after_help = "$ nebula library # the newest first\n\
        $ nebula library bunny # what has these words\n\
        $ nebula library --series 'Some Show' # its episodes in order")]
    Library(super::library::Library),
    /// Who watches at this moment, what reaches them, and why
    #[command(after_help = "$ nebula streams\n$ nebula streams --json | jq -r .key")]
    Streams,
    /// Follow, cancel and retry what the node is working on
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "$ nebula jobs # the latest\n$ nebula jobs --watch # live\n\
            $ nebula jobs --state failed\n$ nebula jobs retry ID"
    )]
    Jobs(Jobs),
    /// Empty a disk while the node serves, so that it can be removed
    #[command(after_help = "$ nebula drain # which are being emptied, and how far\n\
        $ nebula drain usb # begin; it goes on by itself, over restarts too\n\
        $ nebula drain usb --rate 50M --wait\n\
        $ nebula drain usb --cancel # let new files go there again")]
    Drain(DrainArgs),
    /// Follow unfinished uploads, and give them up
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "$ nebula uploads # those that are not finished\n$ nebula uploads --watch # live, with speed\n\
            $ nebula uploads cancel ID # what it received is removed"
    )]
    Uploads(super::uploads::Uploads),
    /// The node at a glance: space, jobs, hardware
    #[command(after_help = "$ nebula status\n$ nebula status --json | jq .storage.free_bytes")]
    Status,
    /// List, make and delete access keys
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "$ nebula keys\n$ nebula keys create --name tv --grant films:read\n\
            $ nebula keys create --name backup --grant 'backup-*:write' --expires 90d\n\
            $ nebula keys disable ID # for now\n$ nebula keys rm ID # for good"
    )]
    Keys(Keys),
    /// Open the node's console in the browser
    #[command(after_help = "$ nebula open\n$ nebula open --print # only the address")]
    Open {
        /// Print the address instead
        #[arg(long)]
        print: bool,
    },
    /// Print the completions for a shell
    #[command(
        after_help = "$ nebula completions bash > ~/.local/share/bash-completion/completions/nebula\n\
        $ nebula completions zsh > ~/.zfunc/_nebula\n\
        $ nebula completions fish > ~/.config/fish/completions/nebula.fish"
    )]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct Mb {
    /// The bucket's name
    #[arg(value_name = "BUCKET", value_parser = bucket)]
    pub bucket: String,
    /// Keep what is overwritten or deleted as versions
    #[arg(long)]
    pub versioning: bool,
    /// Let versions be locked against deletion, for ever; keeps versions
    #[arg(long)]
    pub lock: bool,
    /// Acknowledge before bytes are on disk; for what can be made again
    #[arg(long)]
    pub relaxed: bool,
}

#[derive(Debug, Args)]
pub struct QuotaArgs {
    /// A bucket; all buckets and keys if nothing is given
    #[arg(value_name = "BUCKET", value_parser = bucket)]
    pub bucket: Option<String>,
    /// An access key instead: what was stored with it, in all buckets
    #[arg(long, value_name = "ID", conflicts_with = "bucket")]
    pub key: Option<String>,
    /// Bytes it may hold, such as 500G; none for no bound
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub size: Option<Bound>,
    /// Objects it may hold, old versions counted; none for no bound
    #[arg(long, value_name = "N", value_parser = number)]
    pub objects: Option<Bound>,
}

/// A bound, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(pub Option<u64>);

#[derive(Debug, Args)]
pub struct Ls {
    /// A bucket, a folder or the beginning of a key; all buckets if not given
    #[arg(value_name = "BUCKET:PREFIX", value_parser = remote_or_bucket)]
    pub path: Option<Remote>,
    /// Everything below, not only this level
    #[arg(long, short)]
    pub recursive: bool,
    /// Types and entity tags too
    #[arg(long, short)]
    pub long: bool,
    /// Every version and delete marker
    #[arg(long)]
    pub versions: bool,
}

#[derive(Debug, Args)]
pub struct Rm {
    /// Objects
    #[arg(value_name = "BUCKET:KEY", required = true)]
    pub objects: Vec<Remote>,
    /// Everything whose key starts like this
    #[arg(long, short)]
    pub recursive: bool,
    /// One version of the object, for good
    #[arg(long, value_name = "ID", conflicts_with = "recursive")]
    pub version: Option<String>,
}

#[derive(Debug, Args)]
pub struct Share {
    /// An object, a folder/ or a whole bucket:
    #[arg(value_name = "BUCKET:KEY", required_unless_present_any = ["list", "revoke"])]
    pub what: Option<Remote>,
    /// How long it works
    #[arg(long, short, value_name = "TIME", default_value = "7d", value_parser = human::parse_span)]
    pub expires: u64,
    /// List the links there are
    #[arg(long, conflicts_with_all = ["what", "revoke"])]
    pub list: bool,
    /// Make a link stop working
    #[arg(long, value_name = "ID", conflicts_with = "what")]
    pub revoke: Option<String>,
}

#[derive(Debug, Args)]
pub struct Jobs {
    #[command(subcommand)]
    pub command: Option<JobsCommand>,
    /// Keep watching
    #[arg(long, short)]
    pub watch: bool,
    /// Only jobs in this state
    #[arg(long, value_name = "STATE", value_parser = job_state)]
    pub state: Option<JobState>,
    /// Only jobs of this kind, such as index or ladder
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// How many of the latest
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Stop a job
    #[command(after_help = "$ nebula jobs cancel ID")]
    Cancel {
        /// Its id, or the beginning of it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Do a job again that has ended
    #[command(after_help = "$ nebula jobs retry ID")]
    Retry {
        /// Its id, or the beginning of it
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Its name in the configuration; `main` is the data directory's own
    #[arg(value_name = "DISK")]
    pub disk: Option<String>,
    /// Stop, and let new files go there again
    #[arg(long, requires = "disk", conflicts_with_all = ["rate", "wait"])]
    pub cancel: bool,
    /// Bytes per second at most, such as 50M
    #[arg(long, value_name = "SIZE", requires = "disk", value_parser = bytes)]
    pub rate: Option<Bound>,
    /// Return when it is empty, or cannot be emptied
    #[arg(long, requires = "disk")]
    pub wait: bool,
}

#[derive(Debug, Args)]
pub struct Keys {
    #[command(subcommand)]
    pub command: Option<KeysCommand>,
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the access keys
    #[command(name = "ls")]
    List {
        /// Temporary keys that work, instead
        #[arg(long)]
        temporary: bool,
    },
    /// Make an access key; its secret is shown once
    #[command(after_help = "$ nebula keys create --name tv --grant films:read\n\
        $ nebula keys create --name cam --grant films/hall/:write\n\
        $ nebula keys create --name ops --grant '*:admin'\n\
        $ nebula keys create --name gpu-box --worker # transcodes on another machine")]
    Create {
        /// What it is for
        #[arg(long, value_name = "NAME", default_value = "")]
        name: String,
        /// BUCKET:ROLE or BUCKET/PREFIX:ROLE with role own, read, write or admin; the bucket may have * in it
        #[arg(long = "grant", short, value_name = "GRANT", required_unless_present = "worker", value_parser = grant)]
        grants: Vec<Grant>,
        /// For a worker on another machine: it takes jobs and reaches what they need
        #[arg(long)]
        worker: bool,
        /// Bytes that may be stored with it, such as 10G
        #[arg(long, value_name = "SIZE", value_parser = bytes)]
        size: Option<Bound>,
        /// How long it works; for ever if not given
        #[arg(long, value_name = "TIME", value_parser = human::parse_span)]
        expires: Option<u64>,
    },
    /// Switch an access key off for now
    #[command(after_help = "$ nebula keys disable ID")]
    Disable {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Switch an access key on again
    #[command(after_help = "$ nebula keys enable ID")]
    Enable {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Make a temporary key with your own rights, or fewer
    ///
    /// It is an access key id, a secret and a session token, which S3 clients take together.
    #[command(after_help = "$ nebula keys temp --for 1h\n\
        $ nebula keys temp --for 12h --name ci --grant films/2024/:read\n\
        $ nebula keys temp --policy readonly.json # a policy as S3 knows them, without principals")]
    Temp {
        /// What it is for
        #[arg(long, value_name = "NAME", default_value = "")]
        name: String,
        /// BUCKET:ROLE or BUCKET/PREFIX:ROLE, what it may do at most; all that you may if not given
        #[arg(long = "grant", short, value_name = "GRANT", value_parser = grant)]
        grants: Vec<Grant>,
        /// A file with a policy in the JSON of S3's, which must allow whatever it does
        #[arg(long, value_name = "FILE")]
        policy: Option<std::path::PathBuf>,
        /// How long it works, from 15 minutes to 12 hours
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = human::parse_span)]
        life: u64,
    },
    /// Delete an access key, or take a temporary one back
    #[command(after_help = "$ nebula keys rm ID")]
    Rm {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

fn bucket(text: &str) -> Result<String, String> {
    let name = text.strip_suffix(':').unwrap_or(text);
    if nebula_client::remote::is_bucket_name(name) {
        Ok(name.to_owned())
    } else {
        Err("a bucket's name is 3 to 63 of a-z, 0-9, '-' and '.'".into())
    }
}

fn bytes(text: &str) -> Result<Bound, String> {
    match text {
        "none" => Ok(Bound(None)),
        _ => human::parse_size(text).map(|n| Bound(Some(n))),
    }
}

fn number(text: &str) -> Result<Bound, String> {
    match text {
        "none" => Ok(Bound(None)),
        _ => match text.replace(['_', ','], "").parse() {
            Ok(n) => Ok(Bound(Some(n))),
            Err(_) => Err("it is neither a number nor 'none'".into()),
        },
    }
}

/// For `ls`, where nothing local could be meant, the colon may be left out.
fn remote_or_bucket(text: &str) -> Result<Remote, String> {
    if nebula_client::remote::is_bucket_name(text) {
        return Ok(Remote {
            bucket: text.to_owned(),
            key: String::new(),
        });
    }
    text.parse()
        .map_err(|e: nebula_client::Error| e.to_string())
}

fn job_state(text: &str) -> Result<JobState, String> {
    let found = JobState::ALL.into_iter().find(|s| s.as_str() == text);
    found.ok_or_else(|| {
        let all: Vec<&str> = JobState::ALL.iter().map(|s| s.as_str()).collect();
        format!("the states are {}", all.join(", "))
    })
}

fn grant(text: &str) -> Result<Grant, String> {
    let (bucket, role) = text
        .rsplit_once(':')
        .ok_or("it is no grant; films:read and '*:admin' are")?;
    let role = match role {
        "own" => Role::Own,
        "read" => Role::Read,
        "write" => Role::Write,
        "admin" => Role::Admin,
        _ => {
            return Err(format!(
                "'{role}' is no role; own, read, write and admin are"
            ));
        }
    };
    let (bucket, prefix) = bucket.split_once('/').unwrap_or((bucket, ""));
    if bucket.is_empty() {
        return Err("it names no bucket; * stands for all".into());
    }
    Ok(Grant {
        bucket: bucket.to_owned(),
        role,
        prefixes: Some(prefix.to_owned())
            .filter(|prefix| !prefix.is_empty())
            .into_iter()
            .collect(),
    })
}
