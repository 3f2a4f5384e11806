//! Access keys.

use super::{
    Context,
    args::{Bound, KeysCommand},
    quota,
};
use crate::term::{
    box_width, boxed, human,
    table::{Column, Table},
    text::Text,
    theme::{BOLD, DIM, GOOD, PLAIN, TYPE_THIS, WARN},
};
use nebula_client::{
    Client, Error, Exit,
    api::{AccessKey, CreateKey, CreateSession, PatchKey, Quota},
};
use serde_json::json;

/// Lists, makes or deletes.
pub async fn run(cx: &Context, command: Option<KeysCommand>) -> Result<Exit, Error> {
    let client = cx.client()?;
    match command {
        Some(KeysCommand::List { temporary: true }) => lent(cx, &client).await,
        None | Some(KeysCommand::List { .. }) => list(cx, &client).await,
        Some(KeysCommand::Create {
            name,
            grants,
            worker,
            size,
            expires,
        }) => {
            let key = CreateKey {
                name,
                grants,
                worker,
                quota: Quota {
                    size_bytes: size.and_then(|Bound(n)| n),
                    objects: None,
                },
                expires_in_s: expires,
            };
            create(cx, &client, &key).await
        }
        Some(KeysCommand::Disable { id }) => switch(cx, &client, &id, true).await,
        Some(KeysCommand::Enable { id }) => switch(cx, &client, &id, false).await,
        Some(KeysCommand::Temp {
            name,
            grants,
            policy,
            life,
        }) => {
            let policy = match policy {
                None => None,
                Some(path) => Some(
                    std::fs::read_to_string(&path)
                        .map_err(|source| Error::local("read", &path, source))?,
                ),
            };
            let session = CreateSession {
                name,
                grants,
                policy,
                expires_in_s: Some(life),
            };
            temporary(cx, &client, &session).await
        }
        Some(KeysCommand::Rm { id }) => {
            if id.starts_with("NET") {
                client.delete_session(&id).await?;
            } else {
                client.delete_key(&id).await?;
            }
            cx.done(
                &json!({"deleted": id}),
                Text::plain(format!("Key {id} works no more")),
            );
            Ok(Exit::Ok)
        }
    }
}

async fn switch(cx: &Context, client: &Client, id: &str, off: bool) -> Result<Exit, Error> {
    let patch = PatchKey {
        disabled: Some(off),
        ..PatchKey::default()
    };
    let key = client.patch_key(id, &patch).await?;
    let word = if off {
        "is switched off"
    } else {
        "works again"
    };
    cx.done(&key, Text::plain(format!("Key {id} {word}")));
    Ok(Exit::Ok)
}

fn grants(key: &AccessKey) -> String {
    if key.root {
        return "everything (root)".into();
    }
    let grants = key.grants.iter().map(|g| {
        let below = if g.prefixes.is_empty() { "" } else { "/" };
        let prefixes = g.prefixes.join("|");
        format!("{}{below}{prefixes}:{}", g.bucket, g.role.as_str())
    });
    let worker = key.worker.then(|| "worker".to_owned());
    grants.chain(worker).collect::<Vec<_>>().join(", ")
}

async fn list(cx: &Context, client: &Client) -> Result<Exit, Error> {
    let keys = client.all_keys().await?;
    if cx.global.json {
        for k in &keys {
            super::print_json(k);
        }
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        Column::Left("Access key"),
        Column::Gives("Name"),
        Column::Gives("Grants"),
        Column::Right("Holds"),
        Column::Left("Made"),
        Column::Left("Last used"),
        Column::Left("Ends"),
    ]);
    let now = human::now_ms();
    for key in &keys {
        let ends = match key.expires_at_ms {
            _ if key.disabled => Text::styled(WARN, "switched off"),
            None => Text::styled(DIM, "never"),
            Some(at) if at < now => Text::styled(WARN, human::age(at)),
            Some(at) => Text::plain(human::age(at)),
        };
        table.row([
            Text::styled(BOLD, &key.id),
            Text::plain(&key.name),
            Text::plain(grants(key)),
            quota::size(key.usage, key.quota),
            Text::styled(DIM, human::age(key.created_at_ms)),
            Text::styled(DIM, key.last_used_at_ms.map_or("never".into(), human::age)),
            ends,
        ]);
    }
    table.print("Access keys", &human::count(keys.len() as u64, "key"));
    Ok(Exit::Ok)
}

async fn lent(cx: &Context, client: &Client) -> Result<Exit, Error> {
    let sessions = client.all_sessions().await?;
    if cx.global.json {
        for session in &sessions {
            super::print_json(session);
        }
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        Column::Left("Temporary key"),
        Column::Gives("Name"),
        Column::Left("Of"),
        Column::Left("Made"),
        Column::Left("Last used"),
        Column::Left("Ends"),
    ]);
    for one in &sessions {
        table.row([
            Text::styled(BOLD, &one.id),
            Text::plain(&one.name),
            Text::plain(&one.parent),
            Text::styled(DIM, human::age(one.created_at_ms)),
            Text::styled(DIM, one.last_used_at_ms.map_or("never".into(), human::age)),
            Text::plain(human::age(one.expires_at_ms)),
        ]);
    }
    table.print(
        "Temporary keys",
        &human::count(sessions.len() as u64, "key"),
    );
    Ok(Exit::Ok)
}

async fn create(cx: &Context, client: &Client, key: &CreateKey) -> Result<Exit, Error> {
    let created = client.create_key(key).await?;
    if cx.global.json {
        super::print_json(&created);
        return Ok(Exit::Ok);
    }
    let body = [
        Text::styled(DIM, "Access key  ").and(BOLD, &created.key.id),
        Text::styled(DIM, "Secret key  ").and(TYPE_THIS, &created.secret),
        Text::styled(DIM, "Grants      ").and(PLAIN, grants(&created.key)),
        Text::default(),
        Text::styled(WARN, "The secret is shown this once."),
    ];
    let title = if key.name.is_empty() {
        "New key"
    } else {
        &key.name
    };
    anstream::print!("{}", boxed::lines(title, "", &body, box_width(), GOOD));
    Ok(Exit::Ok)
}

async fn temporary(cx: &Context, client: &Client, new: &CreateSession) -> Result<Exit, Error> {
    let created = client.create_session(new).await?;
    if cx.global.json {
        super::print_json(&created);
        return Ok(Exit::Ok);
    }
    // Lines that a shell can read: eval "$(nebula keys temp)".
    println!("export AWS_ACCESS_KEY_ID={}", created.id);
    println!("export AWS_SECRET_ACCESS_KEY={}", created.secret);
    println!("export AWS_SESSION_TOKEN={}", created.token);
    let ends = human::age(created.expires_at_ms);
    anstream::eprintln!("Shown this once; it ends {ends}.");
    Ok(Exit::Ok)
}
