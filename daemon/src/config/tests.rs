#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    [("HOME", "/home/nobody")]
        .into_iter()
        .chain(pairs.iter().copied())
        .collect()
}

/// Loads `text` as a file and returns the message, which must be an error.
fn refusal(text: &str, pairs: &[(&str, &str)]) -> ConfigError {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nebula.toml");
    fs::write(&path, text).unwrap();
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    load(&flags, &environment(pairs)).unwrap_err()
}

/// Lines of the documented file whose `# ` hides a key, with the `# ` taken away.
fn with_examples() -> String {
    DOCUMENTED
        .lines()
        .map(|line| {
            let example = line.strip_prefix("# ").filter(|rest| {
                rest.starts_with("[[")
                    || rest.split_once(" = ").is_some_and(|(key, _)| {
                        key.bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                    })
            });
            example.unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_documented_file_is_the_default() {
    let parsed: Config = toml::from_str(DOCUMENTED).unwrap();
    assert_eq!(parsed, Config::default());
}

#[test]
fn the_documented_file_names_every_key() {
    let everything: serde_json::Value = toml::from_str::<toml::Value>(&with_examples())
        .unwrap()
        .try_into()
        .unwrap();
    let _strict: Config = toml::from_str(&with_examples()).unwrap();
    let entry = WebhookConfig {
        name: String::new(),
        url: String::new(),
        secret: String::new(),
    };
    let structs = serde_json::to_value(Config {
        webhook: vec![entry],
        ..Config::default()
    })
    .unwrap();
    for (section, keys) in structs.as_object().unwrap() {
        let (keys, described) = match keys.get(0) {
            Some(entry) => (entry, &everything[section][0]),
            None => (keys, &everything[section]),
        };
        for key in keys.as_object().unwrap().keys() {
            assert!(
                described.get(key).is_some(),
                "packaging/nebula.toml does not describe {section}.{key}"
            );
        }
    }
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nebula.toml");
    fs::write(
        &path,
        "[server]\nlisten = \"127.0.0.1:1\"\n[log]\nfilter = \"warn\"\n",
    )
    .unwrap();
    let mut flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    let none = environment(&[]);
    let config = load(&flags, &none).unwrap();
    assert_eq!(config.server.listen.port(), 1);
    assert_eq!(config.log.filter, "warn");
    assert_eq!(config.server.drain_s, 30);
    assert_eq!(
        config.data.dir,
        PathBuf::from("/home/nobody/.local/share/nebula")
    );

    let some = environment(&[
        ("NEBULA_LISTEN", "127.0.0.1:2"),
        ("NEBULA_DATA_DIR", "/from/env"),
        ("NEBULA_LOG", "debug"),
        ("STATE_DIRECTORY", "/var/lib/nebula:/var/lib/other"),
    ]);
    let config = load(&flags, &some).unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.data.dir, PathBuf::from("/from/env"));
    assert_eq!(config.log.filter, "debug");

    flags.listen = Some("127.0.0.1:3".parse().unwrap());
    flags.data_dir = Some("/from/flag".into());
    let config = load(&flags, &some).unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.data.dir, PathBuf::from("/from/flag"));
    assert_eq!(
        config.secrets.database_url.expose(),
        "sqlite:///from/flag/nebula.db"
    );
}

#[test]
fn the_data_directory_defaults_to_what_systemd_gave() {
    let given = environment(&[("STATE_DIRECTORY", "/var/lib/nebula:/var/lib/other")]);
    let config = load(&Flags::default(), &given).unwrap();
    assert_eq!(config.data.dir, PathBuf::from("/var/lib/nebula"));
    let home = environment(&[("XDG_DATA_HOME", "/data")]);
    let config = load(&Flags::default(), &home).unwrap();
    assert_eq!(config.data.dir, PathBuf::from("/data/nebula"));
}

#[test]
fn a_misspelt_key_gets_file_line_and_cure() {
    let message = refusal("[server]\n\nlistne = \"127.0.0.1:1\"\n", &[]).to_string();
    assert!(message.contains("nebula.toml, line 3"), "{message}");
    assert!(message.contains("unknown key `listne`"), "{message}");
    assert!(message.contains("did you mean `listen`?"), "{message}");
}

#[test]
fn every_bad_value_names_its_line() {
    for (text, line, key) in [
        ("[server]\nlisten = \"nowhere\"\n", 2, "server.listen"),
        ("[server]\nlisten = 8000\n", 2, "server.listen"),
        ("[server]\ndrain_s = 99999\n", 2, "server.drain_s"),
        ("[server]\ndomain = \"http://x\"\n", 2, "server.domain"),
        (
            "[server]\npublic_url = \"example.org\"\n",
            2,
            "server.public_url",
        ),
        (
            "[server]\ntrusted_origins = [\"https://tv.example.org/app\"]\n",
            2,
            "server.trusted_origins",
        ),
        ("[data]\n\ndir = \"here\"\n", 3, "data.dir"),
        ("[database]\nurl = \"mysql://x\"\n", 2, "database.url"),
        (
            "[database]\nurl = \"postgres://u:p@h/d\"\n",
            2,
            "database.url",
        ),
        (
            "[database]\nurl = \"env:NOT_SET_ANYWHERE\"\n",
            2,
            "database.url",
        ),
        ("[database]\nurl = \"credential:db\"\n", 2, "database.url"),
        ("[queue]\nredis_url = \"http://x\"\n", 2, "queue.redis_url"),
        (
            "[worker]\nacceleration = \"cuda\"\n",
            2,
            "worker.acceleration",
        ),
        ("[worker]\nmemory_mib = -1\n", 2, "worker.memory_mib"),
        ("[media]\ninbox = \"No\"\n", 2, "media.inbox"),
        (
            "[media]\nladder = [{ name = \"a\", height = 3, video_bps = 1 }]\n",
            2,
            "media.ladder",
        ),
        ("[log]\nfilter = \"a=b=c\"\n", 2, "log.filter"),
        (
            "[limits]\nconnections_max = 0\n",
            2,
            "limits.connections_max",
        ),
        (
            "[[webhook]]\nname = \"a\"\nurl = \"https://h\"\nsecret = \"env:X\"\n",
            3,
            "webhook.1.url",
        ),
        (
            "[[webhook]]\nname = \"a\"\nurl = \"http://h\"\nsecret = \"plain-and-long-enough\"\n",
            4,
            "webhook.1.secret",
        ),
        (
            "[[webhook]]\nname = \"a\"\nurl = \"http://h\"\nsecret = \"env:X\"\n[[webhook]]\nname = \"a\"\nurl = \"http://h\"\nsecret = \"env:X\"\n",
            6,
            "webhook.2.name",
        ),
        (
            "[[webhook]]\nname = \"a\"\nurl = \"http://h\"\nsecret = \"env:NOT_SET_ANYWHERE\"\n",
            4,
            "webhook.1.secret",
        ),
    ] {
        let error = refusal(text, &[]);
        let shown = error.to_string();
        assert!(shown.contains(&format!("line {line}\n")), "{text}: {shown}");
        assert_eq!(error.key, key, "{text}: {shown}");
        assert!(!error.cure.is_empty(), "{text}");
    }
}

#[test]
fn broken_files_never_panic() {
    for text in [
        "[",
        "a",
        "[server",
        "= 1",
        "[server]\nlisten = \"",
        "server = 3",
        "\u{0}",
        "[nowhere]",
    ] {
        let shown = refusal(text, &[]).to_string();
        assert!(shown.contains("nebula.toml"), "{shown}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let flags = Flags {
        config: Some("/nowhere/nebula.toml".into()),
        ..Flags::default()
    };
    let shown = load(&flags, &environment(&[])).unwrap_err().to_string();
    assert!(shown.contains("/nowhere/nebula.toml"), "{shown}");
}

#[test]
fn an_unknown_variable_is_refused_but_those_of_others_are_not() {
    let error = load(&Flags::default(), &environment(&[("NEBULA_LISTN", "x")])).unwrap_err();
    assert!(error.cure.contains("NEBULA_LISTEN"), "{error}");
    let others = environment(&[
        ("NEBULA_ACCESS_KEY", "x"),
        ("NEBULA_SECRET_KEY", "x"),
        ("NEBULA_PROFILE", "x"),
        ("NEBULA_SAMPLES", "x"),
    ]);
    load(&Flags::default(), &others).unwrap();
}

#[test]
fn a_bad_variable_is_named_instead_of_the_file() {
    let shown = refusal("", &[("NEBULA_LISTEN", "nowhere")]).to_string();
    assert!(shown.contains("variable NEBULA_LISTEN"), "{shown}");
    let shown = refusal("", &[("NEBULA_DATABASE_URL", "mysql://u:hidden@h")]).to_string();
    assert!(shown.contains("variable NEBULA_DATABASE_URL"), "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn secrets_are_followed_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("db"), "postgres://u:hidden@h/d\n").unwrap();
    let path = dir.path().join("nebula.toml");
    fs::write(
        &path,
        "[database]\nurl = \"credential:db\"\n[queue]\nredis_url = \"env:THE_REDIS\"\n",
    )
    .unwrap();
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    let given = environment(&[
        ("CREDENTIALS_DIRECTORY", dir.path().to_str().unwrap()),
        ("THE_REDIS", "redis://:hidden@h"),
        ("NEBULA_ROOT_ACCESS_KEY", "root"),
        ("NEBULA_ROOT_SECRET_KEY", "hidden-secret"),
    ]);
    let config = load(&flags, &given).unwrap();
    assert_eq!(
        config.secrets.database_url.expose(),
        "postgres://u:hidden@h/d"
    );
    assert_eq!(
        config.secrets.redis_url.as_ref().unwrap().expose(),
        "redis://:hidden@h"
    );
    assert_eq!(config.secrets.root.as_ref().unwrap().access_key, "root");
    let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn half_a_root_key_pair_is_refused() {
    let error = refusal("", &[("NEBULA_ROOT_ACCESS_KEY", "root")]);
    assert_eq!(error.key, "identity.root_secret_key");
}

#[test]
fn a_root_key_that_the_house_would_not_take_is_refused_before_it_opens() {
    let secret = ("NEBULA_ROOT_SECRET_KEY", "0123456789abcdef");
    for (id, fits) in [
        ("abc", false),
        ("ab cd", false),
        ("ab/cd", false),
        ("abcd", true),
    ] {
        let given = environment(&[("NEBULA_ROOT_ACCESS_KEY", id), secret]);
        let outcome = load(&Flags::default(), &given);
        match outcome {
            Ok(_) => assert!(fits, "{id}"),
            Err(error) => {
                assert!(!fits, "{id}: {error:?}");
                assert_eq!(error.key, "identity.root_access_key");
            }
        }
    }
}

#[test]
fn an_unusable_directory_is_refused_with_its_cure() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let flags = Flags {
        data_dir: Some(dir.path().join("file/below")),
        ..Flags::default()
    };
    let config = load(&flags, &environment(&[])).unwrap();
    let error = config.prepare_data_dir().unwrap_err();
    assert_eq!(error.key, "data.dir");
    assert!(error.cure.contains("--data-dir"), "{error}");

    let flags = Flags {
        data_dir: Some(dir.path().join("new/below")),
        ..Flags::default()
    };
    load(&flags, &environment(&[]))
        .unwrap()
        .prepare_data_dir()
        .unwrap();
    assert_eq!(
        fs::read_dir(dir.path().join("new/below")).unwrap().count(),
        0
    );
}
