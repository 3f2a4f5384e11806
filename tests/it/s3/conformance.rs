//! The public suite of S3 tests, ceph/s3-tests, and the list of those that pass: it only grows.
//!
//! The suite is fetched by `make conformance` and not kept here; without it the test is skipped, loudly.
//! `tests/conformance/names.txt` holds every name of the scope, with `+` when it must pass and `-` when it does not yet;
//! `tests/CONFORMANCE.md` shows the sums.
//! `NEBULA_ACCEPT=1` adds to the list what passes by now and draws the table anew; a name never leaves the list that way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nebula_tests::{Appliance, Setup};
use tokio::process::Command;

/// What of the suite is measured: all but what speaks of other services, of other servers' own additions, or waits for days to pass.
const SCOPE: &str = "not bucket_logging and not bucket_logging_cleanup and not cloud_transition and not cloud_restore \
    and not lifecycle_expiration and not lifecycle_transition and not storage_class and not appendobject \
    and not test_of_sts and not webidentity_test and not auth_aws2 and not iam_account and not s3website_redirect_location";
/// One test may take so long; encryption without optimisation is slow.
const TEST_SECONDS: u32 = 600;
/// The whole suite may take so long; on a quiet machine it takes a few minutes.
const SUITE_LIMIT: Duration = Duration::from_secs(25 * 60);

/// Areas by words of a test's name; the first that fits counts.
const AREAS: &[(&str, &[&str])] = &[
    ("Lifecycle", &["lifecycle"]),
    ("Object lock", &["object_lock", "retention", "legal_hold"]),
    ("Encryption", &["encrypt", "sse", "kms", "_enc_"]),
    ("POST forms", &["post_object"]),
    ("CORS", &["cors"]),
    ("Checksums", &["checksum", "crc", "sha256"]),
    ("Tagging", &["tagging", "tagset", "_tags", "_tag"]),
    (
        "Policies, public access",
        &[
            "policy",
            "public_access",
            "block_public",
            "ignore_public",
            "publicaccess",
        ],
    ),
    (
        "Access control lists, ownership",
        &[
            "acl",
            "grant",
            "access_bucket",
            "ownership",
            "bucket_owner",
            "object_writer",
            "not_owned",
        ],
    ),
    (
        "Conditions",
        &[
            "ifmatch",
            "ifnone",
            "if_match",
            "if_none",
            "ifmodified",
            "ifunmod",
            "ifnonmatch",
            "_if_",
        ],
    ),
    ("Versions", &["version", "delete_marker"]),
    (
        "Uploads in parts",
        &["multipart", "upload_part", "_part", "resend", "mpu"],
    ),
    (
        "Presigned and anonymous",
        &["presign", "raw_", "anonymous", "anon_", "expire"],
    ),
    ("Copies", &["copy"]),
    ("Ranges", &["range"]),
    (
        "Deletions of many",
        &["multi_object_delete", "multi_objectv2", "delete_objects"],
    ),
    ("Listings", &["list"]),
    (
        "Signatures and headers",
        &[
            "bad_",
            "unreadable",
            "header",
            "date",
            "contentlength",
            "100_continue",
            "expected_",
        ],
    ),
    ("Buckets", &["bucket"]),
    ("Objects", &[""]),
];

/// Every name of the scope, and whether it must pass.
type Names = BTreeMap<String, bool>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn names() -> Names {
    let text = std::fs::read_to_string(folder().join("conformance/names.txt")).unwrap();
    let read = |line: &str| {
        let (sign, name) = line.split_once(' ')?;
        Some((name.to_owned(), sign == "+"))
    };
    text.lines().filter_map(read).collect()
}

/// The table of the page.
fn table(names: &Names) -> String {
    let mut areas: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut sum = (0, 0);
    for (name, passes) in names {
        let fits = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let area = AREAS.iter().find(|(_, words)| fits(words)).unwrap().0;
        for count in [areas.entry(area).or_default(), &mut sum] {
            count.0 += usize::from(*passes);
            count.1 += 1;
        }
    }
    let mut table = "| area | passed | of |\n|---|---:|---:|\n".to_owned();
    for (area, _) in AREAS {
        if let Some((passed, of)) = areas.get(area) {
            writeln!(table, "| {area} | {passed} | {of} |").unwrap();
        }
    }
    writeln!(table, "| **all** | **{}** | **{}** |", sum.0, sum.1).unwrap();
    table
}

/// The page with this table in it.
fn with_table(page: &str, table: &str) -> String {
    let (head, rest) = page.split_once("<!-- table -->\n").unwrap();
    let (_, tail) = rest.split_once("<!-- end -->").unwrap();
    format!("{head}<!-- table -->\n{table}<!-- end -->{tail}")
}

fn accepts() -> bool {
    std::env::var_os("NEBULA_ACCEPT").is_some_and(|value| value == "1")
}

/// Writes or compares the page.
fn page_shows(names: &Names) {
    let path = folder().join("CONFORMANCE.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let drawn = with_table(&page, &table(names));
    if accepts() {
        std::fs::write(path, drawn).unwrap();
    } else {
        assert_eq!(
            page, drawn,
            "tests/CONFORMANCE.md and names.txt differ; draw it anew with NEBULA_ACCEPT=1"
        );
    }
}

#[test]
fn the_page_shows_the_sums_of_the_list() {
    page_shows(&names());
}

/// The suite and its Python, where they are.
fn suite() -> Option<(PathBuf, PathBuf)> {
    let target = folder().parent().unwrap().join("target");
    let place =
        std::env::var_os("NEBULA_S3_TESTS").map_or_else(|| target.join("s3-tests"), PathBuf::from);
    let python = place.join("venv/bin/python");
    (place.join("s3tests/functional/test_s3.py").exists() && python.exists())
        .then_some((place, python))
}

/// A key with an identity of its own, as the suite's users have it.
async fn user(appliance: &Appliance, name: &str) -> (String, String) {
    let mut command =
        Command::from(appliance.role(&["keys", "create", "--name", name, "--role", "own"]));
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of = |words: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(words));
        line.unwrap_or_else(|| panic!("no {words}: {text}"))
            .trim()
            .to_owned()
    };
    (of("Access key"), of("Secret key"))
}

/// The suite's configuration: `main` and `alt` are two users; the other sections must be there and repeat them.
async fn configuration(appliance: &Appliance) -> String {
    let (host, port) = appliance.address().rsplit_once(':').unwrap();
    let mut text = format!(
        "[DEFAULT]\nhost = {host}\nport = {port}\nis_secure = False\nssl_verify = False\n\
         [fixtures]\nbucket prefix = t-{{random}}-\niam name prefix = t-\niam path prefix = /t/\n"
    );
    let (main, alt) = (user(appliance, "main").await, user(appliance, "alt").await);
    for (section, (id, secret)) in [
        ("s3 main", &main),
        ("s3 alt", &alt),
        ("s3 tenant", &main),
        ("iam", &main),
        ("iam root", &main),
        ("iam alt root", &alt),
    ] {
        let owner = appliance
            .s3_as(id, secret)
            .list_buckets()
            .send()
            .await
            .unwrap()
            .owner
            .unwrap();
        let (user, shown) = (owner.id.unwrap(), owner.display_name.unwrap());
        write!(
            text,
            "[{section}]\nuser_id = {user}\ndisplay_name = {shown}\nemail = {id}@example.com\n\
             access_key = {id}\nsecret_key = {secret}\napi_name =\ntenant =\nlc_debug_interval = 10\n"
        )
        .unwrap();
    }
    text
}

#[tokio::test]
async fn the_public_suite_passes_where_it_passed_before() {
    let Some((suite, python)) = suite() else {
        println!("SKIPPED: the public S3 suite is not here; fetch it with: make conformance");
        return;
    };
    let appliance = Setup::default().start().await;
    let place = tempfile::tempdir().unwrap();
    let (settings, results) = (
        place.path().join("s3tests.conf"),
        place.path().join("results"),
    );
    std::fs::write(&settings, configuration(&appliance).await).unwrap();
    let modules = [suite.as_path(), &folder().join("conformance")].map(Path::to_owned);
    let run = Command::new(python)
        .args([
            "-m",
            "pytest",
            "-q",
            "-p",
            "nebula_conformance",
            "-p",
            "no:cacheprovider",
            "--tb=line",
            "-n",
            "4",
        ])
        // A worker whose test hangs is replaced; interrupting it would end the whole run.
        .arg(format!("--timeout={TEST_SECONDS}"))
        .arg("--timeout-method=thread")
        .args([
            "-m",
            SCOPE,
            "s3tests/functional/test_s3.py",
            "s3tests/functional/test_headers.py",
        ])
        .current_dir(&suite)
        .env("PYTHONPATH", std::env::join_paths(modules).unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("S3TEST_CONF", &settings)
        .env("NEBULA_CONFORMANCE_RESULTS", &results)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", place.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SUITE_LIMIT, run)
        .await
        .expect("the suite ends in good time")
        .unwrap();
    let results = std::fs::read_to_string(&results).unwrap_or_default();
    assert!(
        !results.is_empty(),
        "the suite did not run: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    judge(&results);
}

/// Holds the results against the list.
fn judge(results: &str) {
    let mut names = names();
    let (mut lost, mut gained) = (String::new(), Vec::new());
    for line in results.lines() {
        let (sign, rest) = line.split_once(' ').unwrap();
        let (name, why) = rest.split_once(' ').unwrap_or((rest, ""));
        let must = names.get(name).copied().unwrap_or(false);
        match (sign == "+", must) {
            (false, true) => writeln!(lost, "  {name}: {why}").unwrap(),
            (true, false) => gained.push(name.to_owned()),
            _ => {}
        }
        names.entry(name.to_owned()).or_insert(false);
    }
    for (name, must) in &names {
        if *must
            && !results
                .lines()
                .any(|line| line.split(' ').nth(1) == Some(name))
        {
            writeln!(lost, "  {name}: the suite did not run it").unwrap();
        }
    }
    if accepts() {
        for name in &gained {
            names.insert(name.clone(), true);
        }
        let list: String = names
            .iter()
            .map(|(name, passes)| format!("{} {name}\n", if *passes { '+' } else { '-' }))
            .collect();
        std::fs::write(folder().join("conformance/names.txt"), list).unwrap();
        page_shows(&names);
    } else if !gained.is_empty() {
        println!(
            "{} tests pass that the list does not hold; add them with NEBULA_ACCEPT=1:\n  {}",
            gained.len(),
            gained.join("\n  ")
        );
    }
    assert!(lost.is_empty(), "these passed before:\n{lost}");
}
