//! The web console as a person uses it, in a real browser at the width of a phone: signs in, makes a bucket,
//! uploads a film by the picker in requests as short as the node asks for, watches it, signs out.

use std::time::Duration;

use nebula_tests::browser;
use nebula_tests::{Setup, films, within};
use serde_json::json;

/// For all of it.
const LIMIT: Duration = Duration::from_mins(4);
/// The longest request that the node wants.
const CHUNK_BYTES: u64 = 256 << 10;

#[tokio::test]
async fn a_person_signs_in_uploads_a_film_and_watches_it() {
    within(LIMIT, async {
        let Some(driver) = browser::scripts("playwright-core") else {
            return;
        };
        let Some(film) = films::mp4() else { return };
        let limits = format!("[limits]\nupload_chunk_bytes = {CHUNK_BYTES}\n");
        let appliance = Setup::default().config(&limits).start().await;
        let page = reqwest::get(appliance.at("/-/")).await.expect("an answer");
        let policy = page.headers()["content-security-policy"].clone();
        let person = browser::person(&appliance, &driver, "console.mjs").await;
        let Some(mut script) = person else { return };
        assert!(!policy.to_str().expect("plain text").contains("unsafe"));
        script.arg(&film);
        let told = browser::told(&mut script).await;
        println!("the browser: {told}");
        assert_eq!(told["errors"], json!([]), "{told}");
        assert_eq!(told["foreign"], json!([]), "only this node is talked to");
        assert_eq!(
            told["credentials"],
            json!([]),
            "a film's requests carry none"
        );
        assert_eq!(told["early"], json!([]), "large chunks come when needed");
        assert_eq!(told["wide"], json!(0), "nothing sticks out of a phone");
        assert_eq!(told["kept"], json!(false), "signing out forgets the key");
        let size = std::fs::metadata(&film).expect("a film").len();
        let chunks: Vec<u64> = (0..size).step_by(CHUNK_BYTES as usize).collect();
        assert!(chunks.len() > 2, "{size} bytes show nothing");
        assert_eq!(
            told["patches"],
            json!(chunks),
            "no request is longer than the node wants"
        );
        let refused = told["refused"].as_str().expect("words");
        assert!(refused.contains("secret is wrong"), "{told}");
        let length_s = told["played"]["duration_s"].as_f64().expect("a length");
        assert!((length_s - f64::from(films::FILM_S)).abs() < 0.2, "{told}");
    })
    .await;
}
