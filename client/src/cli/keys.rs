//! Access keys.

use super::{Context, args::KeysCommand};
use crate::term::{
    box_width, boxed, human,
    table::{Column, Table},
    text::Text,
    theme::{BOLD, DIM, GOOD, PLAIN, TYPE_THIS, WARN},
};
use nebula_client::{
    Client, Error, Exit,
    api::{AccessKey, CreateKey},
};
use serde_json::json;

/// Lists, makes or deletes.
pub async fn run(cx: &Context, command: Option<KeysCommand>) -> Result<Exit, Error> {
    let client = cx.client()?;
    match command {
        None | Some(KeysCommand::List) => list(cx, &client).await,
        Some(KeysCommand::Create {
            name,
            grants,
            expires,
        }) => {
            let key = CreateKey {
                name,
                grants,
                expires_in_s: expires,
            };
            create(cx, &client, &key).await
        }
        Some(KeysCommand::Rm { id }) => {
            client.delete_key(&id).await?;
            cx.done(
                &json!({"deleted": id}),
                Text::plain(format!("Key {id} works no more")),
            );
            Ok(Exit::Ok)
        }
    }
}

fn grants(key: &AccessKey) -> String {
    if key.root {
        return "everything (root)".into();
    }
    let grants: Vec<String> = key
        .grants
        .iter()
        .map(|g| format!("{}:{}", g.bucket, g.role.as_str()))
        .collect();
    grants.join(", ")
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
        Column::Left("Made"),
        Column::Left("Last used"),
        Column::Left("Ends"),
    ]);
    let now = human::now_ms();
    for key in &keys {
        let ends = match key.expires_at_ms {
            None => Text::styled(DIM, "never"),
            Some(at) if at < now => Text::styled(WARN, human::age(at)),
            Some(at) => Text::plain(human::age(at)),
        };
        table.row([
            Text::styled(BOLD, &key.id),
            Text::plain(&key.name),
            Text::plain(grants(key)),
            Text::styled(DIM, human::age(key.created_at_ms)),
            Text::styled(DIM, key.last_used_at_ms.map_or("never".into(), human::age)),
            ends,
        ]);
    }
    table.print("Access keys", &human::count(keys.len() as u64, "key"));
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
