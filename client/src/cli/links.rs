//! Where an object is read and played, with a key or with a signed link.

use super::{Context, args::Share, tick};
use crate::term::{
    human,
    table::{Column, Table},
    text::Text,
    theme::{BOLD, DIM, PLAIN, WARN},
};
use nebula_client::{
    Client, Error, Exit, Remote,
    api::{CreateLink, Link, Urls, routes},
};
use serde_json::json;

/// How long the link of a player works: longer than any film with its pauses.
const PLAYER_LINK_S: u64 = 24 * 3600;

/// Prints an object's addresses; signed ones when a time is given.
pub async fn url(cx: &Context, object: &Remote, expires_in_s: Option<u64>) -> Result<Exit, Error> {
    let client = cx.client()?;
    if object.is_folder() {
        return Err(Error::Usage {
            message: format!("{object} is not one object."),
            hint: Some(format!("nebula share {object}")),
        });
    }
    let found = client.object(&object.bucket, &object.key, None).await?;
    let Some(details) = found else {
        return Err(super::rm::nothing_at(object));
    };
    let (urls, expires_at_ms) = match expires_in_s {
        None => (details.urls, None),
        Some(expires) => {
            let link = make(&client, object, expires).await?;
            (link.urls.unwrap_or_default(), Some(link.expires_at_ms))
        }
    };
    print(cx, &client, &urls, expires_at_ms, None);
    Ok(Exit::Ok)
}

/// Makes, lists or revokes signed links.
pub async fn share(cx: &Context, args: &Share) -> Result<Exit, Error> {
    let client = cx.client()?;
    if args.list {
        return list(cx, &client).await;
    }
    if let Some(id) = &args.revoke {
        client.delete_link(id).await?;
        cx.done(
            &json!({"revoked": id}),
            Text::plain(format!("Link {id} works no more")),
        );
        return Ok(Exit::Ok);
    }
    let what = args.what.as_ref().ok_or_else(|| Error::Usage {
        message: "Share what?".into(),
        hint: Some("nebula share BUCKET:KEY".into()),
    })?;
    if !what.is_folder()
        && client
            .object(&what.bucket, &what.key, None)
            .await?
            .is_none()
    {
        return Err(super::rm::nothing_at(what));
    }
    let link = make(&client, what, args.expires).await?;
    let urls = link.urls.clone().unwrap_or_default();
    print(cx, &client, &urls, Some(link.expires_at_ms), Some(&link));
    cx.next("revoke it", &format!("nebula share --revoke {}", link.id));
    Ok(Exit::Ok)
}

/// Makes a signed link for an object or for everything below a folder.
pub async fn make(client: &Client, what: &Remote, expires_in_s: u64) -> Result<Link, Error> {
    let folder = what.is_folder();
    client
        .create_link(&CreateLink {
            bucket: what.bucket.clone(),
            key: (!folder).then(|| what.key.clone()),
            prefix: folder.then(|| what.key.clone()),
            expires_in_s,
        })
        .await
}

/// Where a player reads an object that may be on its way yet: signed, unless the tailnet knows this machine.
pub async fn for_player(client: &Client, object: &Remote) -> Result<Urls, Error> {
    if client.has_credentials() {
        let link = make(client, object, PLAYER_LINK_S).await?;
        return Ok(link.urls.unwrap_or_default());
    }
    Ok(Urls {
        file: routes::file(&object.bucket, &object.key),
        hls: Some(routes::hls_master(&object.bucket, &object.key)),
        ..Urls::default()
    })
}

fn print(
    cx: &Context,
    client: &Client,
    urls: &Urls,
    expires_at_ms: Option<i64>,
    link: Option<&Link>,
) {
    let file = client.absolute(&urls.file);
    let hls = urls.hls.as_deref().map(|h| client.absolute(h));
    if cx.global.json {
        super::print_json(
            &json!({"file": file, "hls": hls, "expires_at_ms": expires_at_ms,
            "id": link.map(|l| &l.id)}),
        );
        return;
    }
    // Bare lines in a pipe: the file first, as scripts take the first line.
    if !crate::term::on_terminal() {
        anstream::println!("{file}");
        if let Some(hls) = hls {
            anstream::println!("{hls}");
        }
        return;
    }
    let line = |label, address: &str| Text::styled(DIM, label).and(PLAIN, address);
    anstream::println!("{}", line("file  ", &file));
    if let Some(hls) = hls {
        anstream::println!("{}", line("hls   ", &hls));
    }
    if let Some(at) = expires_at_ms {
        let note = format!("Opens without a key; ends {}.", human::age(at));
        anstream::println!("{}", tick(Text::styled(DIM, note)));
    }
}

async fn list(cx: &Context, client: &Client) -> Result<Exit, Error> {
    let links = client.all_links().await?;
    if cx.global.json {
        for l in &links {
            super::print_json(l);
        }
        return Ok(Exit::Ok);
    }
    if links.is_empty() {
        anstream::println!("There are no links.");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        Column::Left("Id"),
        Column::Gives("Opens"),
        Column::Left("Ends"),
        Column::Left("Made"),
    ]);
    let now = human::now_ms();
    for link in &links {
        let what = link.key.as_deref().or(link.prefix.as_deref()).unwrap_or("");
        let over = link.expires_at_ms < now;
        table.row([
            Text::styled(BOLD, &link.id),
            Text::plain(format!("{}:{what}", link.bucket)),
            Text::styled(
                if over { WARN } else { PLAIN },
                human::age(link.expires_at_ms),
            ),
            Text::styled(DIM, human::age(link.created_at_ms)),
        ]);
    }
    table.print("Links", &human::count(links.len() as u64, "link"));
    Ok(Exit::Ok)
}
