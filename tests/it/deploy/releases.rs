//! A bare repository with the package's hooks, a working copy to push from, and binaries for its commits.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nebula_daemon::telemetry::build;

use super::stand_in::StandIn;

/// A commit of the working copy.
pub struct Release(String);

impl Release {
    pub fn commit(&self) -> &str {
        &self.0
    }

    /// Its build id.
    pub fn id(&self) -> &str {
        &self.0[..12]
    }
}

/// What is wrong with the binaries of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// There are none, and nothing that could build them.
    NoBinary,
    /// They were built from another commit.
    WrongBuild,
    /// They claim to be the right ones, but what serves is another build.
    WrongBuildWhenServing,
    CheckFails,
    NeverReady,
    DiesAtStart,
}

/// What a push came to.
pub struct Push {
    pub accepted: bool,
    pub said: String,
}

pub struct Repository {
    work: PathBuf,
    bare: PathBuf,
    root: PathBuf,
    path: String,
}

impl Repository {
    pub fn beside(manager: &StandIn) -> Self {
        let folder = manager.folder();
        let this = Self {
            work: folder.join("work"),
            bare: folder.join("nebula.git"),
            root: manager.root(),
            path: manager.search_path(),
        };
        for path in ["releases", "requests", "results", "prebuilt"] {
            fs::create_dir_all(this.root.join(path)).expect("a directory");
        }
        git(
            folder,
            &[
                "init",
                "--quiet",
                "--bare",
                "--initial-branch=main",
                "nebula.git",
            ],
        );
        git(
            folder,
            &["init", "--quiet", "--initial-branch=main", "work"],
        );
        let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../git-hooks");
        for hook in ["pre-receive", "post-receive"] {
            let target = this.bare.join("hooks").join(hook);
            symlink(
                fs::canonicalize(hooks.join(hook)).expect("the hook"),
                target,
            )
            .expect("a link");
        }
        fs::write(
            this.bare.join("nebula-deploy.conf"),
            format!(
                "NEBULA_DEPLOY_ROOT={}\nNEBULA_DEPLOY_WAIT_S=60\n",
                this.root.display()
            ),
        )
        .expect("the settings");
        // Old branches go back and forth in these tests.
        git(&this.bare, &["config", "receive.denyDeletes", "false"]);
        this
    }

    pub fn commit(&self, words: &str) -> Release {
        fs::write(self.work.join("README"), words).expect("a file");
        git(&self.work, &["add", "README"]);
        git(&self.work, &["commit", "--quiet", "-m", words]);
        Release(git(&self.work, &["rev-parse", "HEAD"]))
    }

    /// Puts binaries for a commit where the hook looks for prebuilt ones.
    pub fn provide(&self, release: &Release, flaw: Flaw) {
        let folder = self.root.join("prebuilt").join(release.commit());
        if flaw == Flaw::NoBinary {
            return;
        }
        fs::create_dir_all(&folder).expect("a directory");
        let right = nebulad_of_build(release.id());
        let wrapper = |role: &str, body: &str| {
            format!(
                "#!/bin/sh\ncase \"$1\" in {role}) {body} ;; esac\nexec \"$(dirname \"$(readlink -f \"$0\")\")/nebulad-real\" \"$@\"\n"
            )
        };
        let real = folder.join("nebulad-real");
        let script = match flaw {
            Flaw::None | Flaw::NoBinary => None,
            Flaw::WrongBuild => {
                executable(&folder.join("nebulad"), &nebulad_of_build("0123456789ab"));
                executable(&folder.join("nebula-worker"), b"#!/bin/sh\n");
                return;
            }
            Flaw::WrongBuildWhenServing => {
                let liar = wrapper(
                    "--version",
                    &format!("echo \"nebulad 0.1.0 ({})\"; exit 0", release.id()),
                );
                executable(&real, &nebulad_of_build("0123456789ab"));
                Some(liar)
            }
            Flaw::CheckFails => Some(wrapper("check", "echo 'FAIL  the disk is on fire'; exit 1")),
            Flaw::NeverReady => Some(wrapper("serve", "exec sleep 600")),
            Flaw::DiesAtStart => Some(wrapper("serve", "exit 3")),
        };
        match script {
            None => executable(&folder.join("nebulad"), &right),
            Some(script) => {
                if !real.exists() {
                    executable(&real, &right);
                }
                // The hook copies two files; the wrapper finds the third by an absolute path.
                let script = script.replace(
                    "\"$(dirname \"$(readlink -f \"$0\")\")/nebulad-real\"",
                    &real.display().to_string(),
                );
                executable(&folder.join("nebulad"), script.as_bytes());
            }
        }
        executable(&folder.join("nebula-worker"), b"#!/bin/sh\n");
    }

    pub fn push(&self, release: &Release) -> Push {
        self.push_to(release, "refs/heads/main")
    }

    pub fn push_to(&self, release: &Release, reference: &str) -> Push {
        self.push_spec(&format!("+{}:{reference}", release.commit()))
    }

    pub fn remove_main(&self) -> Push {
        self.push_spec(":refs/heads/main")
    }

    fn push_spec(&self, spec: &str) -> Push {
        let bare = self.bare.to_str().expect("UTF-8");
        let output = command(&self.work, &["push", bare, spec])
            // No toolchain: a commit without prebuilt binaries has nothing to run.
            .env("PATH", &self.path)
            .output()
            .expect("git runs");
        Push {
            accepted: output.status.success(),
            said: words(&output),
        }
    }

    /// Where the link to the live release points.
    pub fn live(&self) -> Option<String> {
        let target = fs::read_link(self.root.join("releases/current")).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    pub fn has_release(&self, id: &str) -> bool {
        self.root.join("releases").join(id).exists()
    }

    /// The commit that the bare repository's main is at.
    pub fn main(&self) -> String {
        git(&self.bare, &["rev-parse", "refs/heads/main"])
    }
}

/// The real daemon with another build id in it: what a build of another commit would be.
fn nebulad_of_build(id: &str) -> Vec<u8> {
    let path = nebula_tests::binary("nebulad");
    let mut program = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let ours = build::ID.as_bytes();
    assert_eq!(ours.len(), id.len(), "both ids have twelve digits");
    let places: Vec<usize> = program
        .windows(ours.len())
        .enumerate()
        .filter_map(|(at, found)| (found == ours).then_some(at))
        .collect();
    assert!(
        !places.is_empty(),
        "nebulad is of another build than these tests: cargo build --bins"
    );
    for at in places {
        program[at..at + ours.len()].copy_from_slice(id.as_bytes());
    }
    program
}

fn executable(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a program");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .envs([
            ("GIT_AUTHOR_NAME", "Test"),
            ("GIT_AUTHOR_EMAIL", "test@example.org"),
        ])
        .envs([
            ("GIT_COMMITTER_NAME", "Test"),
            ("GIT_COMMITTER_EMAIL", "test@example.org"),
        ]);
    command
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, arguments).output().expect("git runs");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        words(&output)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
