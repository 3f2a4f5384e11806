//! Stories of an upload with `tus_async_client`, told to the tests in one line of JSON.
//!
//! `STORY ENDPOINT FILE BUCKET KEY`, with the header `Authorization` in a variable of that name:
//! `upload` sends the file in pieces of a MiB and tries again while that fails, `terminate` creates, deletes and looks.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client as Http, Url};
use tus_async_client::{Client, HttpHandler};

const PIECE_BYTES: usize = 1 << 20;
const TRIES_MAX: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [story, endpoint, file, bucket, key] = &arguments[..] else {
        return Err("wanted: STORY ENDPOINT FILE BUCKET KEY".into());
    };
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, std::env::var("AUTHORIZATION")?.parse()?);
    let http = Http::builder().default_headers(headers).build()?;
    let client = Client::new(HttpHandler::new(Arc::new(http)));
    let file = Path::new(file);
    let about = [("bucket", bucket), ("filename", key)];
    let about: HashMap<_, _> = about
        .map(|(name, value)| (name.into(), value.clone()))
        .into();
    let location = client.create_with_metadata(endpoint, file, about).await?;
    // As RFC 3986 has it: the client gives the header as it is.
    let address = Url::parse(endpoint)?.join(&location)?;
    match story.as_str() {
        "upload" => upload(&client, address.as_str(), file).await,
        "terminate" => terminate(&client, address.as_str()).await,
        other => Err(format!("no story {other}").into()),
    }
}

async fn upload(client: &Client, address: &str, file: &Path) -> Result<()> {
    let mut tries = 1;
    while let Err(error) = client
        .upload_with_chunk_size(address, file, PIECE_BYTES)
        .await
    {
        if tries == TRIES_MAX {
            return Err(error.into());
        }
        tries += 1;
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    let info = client.get_info(address).await?;
    println!(
        "{{\"tries\": {tries}, \"bytes\": {}, \"length\": {}}}",
        info.bytes_uploaded,
        info.total_size.unwrap_or(0)
    );
    Ok(())
}

async fn terminate(client: &Client, address: &str) -> Result<()> {
    let before = client.get_info(address).await?;
    client.delete(address).await?;
    let is_gone = client.get_info(address).await.is_err();
    println!(
        "{{\"before\": {}, \"gone\": {is_gone}}}",
        before.bytes_uploaded
    );
    Ok(())
}
