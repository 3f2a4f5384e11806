//! Getting to know a node: login, logout, profiles, whoami.

use super::{Context, credentials_of_environment, tick};
use crate::term::{
    prompt::{self, NoAnswer},
    table::{Column, Table},
    text::Text,
    theme::{BOLD, DIM, GOOD, NAME, PLAIN},
};
use nebula_client::{
    Client, Credentials, Error, Exit,
    profile::{Profile, Profiles},
};
use serde_json::json;

/// Tries what it has (environment, tailnet), asks for the key pair otherwise, and keeps what works.
pub async fn login(cx: &Context, url: &str) -> Result<Exit, Error> {
    let nobody = Client::new(url, None)?;
    let found = nobody.discovery().await;
    match found {
        Ok(d) if d.product == nebula_client::api::discovery::PRODUCT => {}
        Ok(d) => {
            return Err(Error::NotNebula {
                url: nobody.origin(),
                reason: format!("it says it is '{}'", d.product),
            });
        }
        Err(Error::NotFound(_)) => {
            return Err(Error::NotNebula {
                url: nobody.origin(),
                reason: "it has no /.well-known/nebula".into(),
            });
        }
        Err(e) => return Err(e),
    }
    let mut credentials = credentials_of_environment();
    let mut answer = match &credentials {
        Some(c) => Client::new(url, Some(c.clone()))?.status().await,
        None => nobody.status().await,
    };
    if credentials.is_none() && matches!(answer, Err(Error::NeedsLogin { .. })) {
        let asked = ask_key_pair(&nobody.origin())?;
        answer = Client::new(url, Some(asked.clone()))?.status().await;
        credentials = Some(asked);
    }
    let status = answer.map_err(|e| match e {
        Error::NeedsLogin { url, .. } => Error::NeedsLogin {
            reason: "it does not take this key pair.".into(),
            url,
        },
        other => other,
    })?;
    let mut profiles = Profiles::load()?;
    let name = match &cx.global.profile {
        Some(name) => name.clone(),
        None => profile_name(&profiles, &nobody),
    };
    let (access_key, secret_key) = match credentials {
        Some(c) => (Some(c.access_key), Some(c.secret_key)),
        None => (None, None),
    };
    profiles.put(
        &name,
        Profile {
            url: nobody.origin(),
            access_key,
            secret_key,
        },
    );
    profiles.save()?;
    let line = Text::plain("Logged in to ")
        .and(NAME, &status.node)
        .and(PLAIN, format!(" as {} ", status.me.actor))
        .and(
            DIM,
            format!("({}, profile {name})", status.me.role.as_str()),
        );
    cx.done(
        &json!({"profile": name, "url": nobody.origin(), "node": status.node, "me": status.me}),
        line,
    );
    cx.next("next", "nebula mb films");
    Ok(Exit::Ok)
}

fn ask_key_pair(origin: &str) -> Result<Credentials, Error> {
    let ask = |question: &str, hidden| {
        prompt::ask(question, hidden).map_err(|no| match no {
            NoAnswer::NoTerminal => Error::NeedsLogin {
                url: origin.to_owned(),
                reason: "there is no terminal to ask for the key pair; set NEBULA_ACCESS_KEY and NEBULA_SECRET_KEY.".into(),
            },
            NoAnswer::Interrupted => Error::NeedsLogin {
                url: origin.to_owned(),
                reason: "no key pair was given.".into(),
            },
            NoAnswer::Failed(e) => Error::local("ask at", "/dev/tty", e),
        })
    };
    let access_key = ask("Access key: ", false)?;
    let secret_key = ask("Secret key (not shown): ", true)?;
    Ok(Credentials {
        access_key,
        secret_key,
    })
}

/// The profile that already points there, else one named after the host.
fn profile_name(profiles: &Profiles, client: &Client) -> String {
    let origin = client.origin();
    let known = profiles.profiles.iter().find(|(_, p)| p.url == origin);
    if let Some((name, _)) = known {
        return name.clone();
    }
    let host = origin.split("://").nth(1).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let base = if host == "localhost" || host.starts_with("127.") || host.starts_with('[') {
        "local"
    } else if host.parse::<std::net::Ipv4Addr>().is_ok() {
        host
    } else {
        host.split('.').next().unwrap_or("node")
    };
    let taken = |name: &str| profiles.profiles.contains_key(name);
    let mut name = base.to_owned();
    for number in 2.. {
        if !taken(&name) {
            break;
        }
        name = format!("{base}-{number}");
    }
    name
}

/// Forgets a profile.
pub fn logout(cx: &Context, name: Option<&str>) -> Result<Exit, Error> {
    let mut profiles = Profiles::load()?;
    let name = profiles
        .pick(name.or(cx.global.profile.as_deref()))?
        .0
        .to_owned();
    profiles.remove(&name);
    profiles.save()?;
    let mut line = Text::plain("Forgot profile ").and(NAME, &name);
    if let Some(current) = &profiles.current {
        line = line.and(DIM, format!(" (now current: {current})"));
    }
    cx.done(&json!({"forgot": name, "current": profiles.current}), line);
    Ok(Exit::Ok)
}

/// Lists the profiles, or changes to one.
pub fn profiles(cx: &Context, name: Option<&str>) -> Result<Exit, Error> {
    let mut profiles = Profiles::load()?;
    if let Some(name) = name {
        let (name, profile) = profiles.pick(Some(name))?;
        let line = Text::plain("Now talking to ")
            .and(NAME, name)
            .and(DIM, format!(" ({})", profile.url));
        let value = json!({"current": name, "url": profile.url});
        profiles.current = Some(name.to_owned());
        profiles.save()?;
        cx.done(&value, line);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        Column::Left(""),
        Column::Left("Profile"),
        Column::Gives("Node"),
        Column::Left("Access key"),
    ]);
    for (name, profile) in &profiles.profiles {
        let current = profiles.current.as_ref() == Some(name);
        if cx.global.json {
            super::print_json(
                &json!({"name": name, "url": profile.url, "current": current,
                "access_key": profile.access_key}),
            );
        }
        table.row([
            Text::styled(GOOD, if current { "●" } else { " " }),
            Text::styled(if current { BOLD } else { PLAIN }, name),
            Text::plain(&profile.url),
            match &profile.access_key {
                Some(key) => Text::plain(key),
                None => Text::styled(DIM, "tailnet"),
            },
        ]);
    }
    if cx.global.json {
        return Ok(Exit::Ok);
    }
    if table.is_empty() {
        anstream::println!("There is no profile yet.");
        cx.next("next", "nebula login http://127.0.0.1:8000");
    } else {
        table.print("Profiles", "");
    }
    Ok(Exit::Ok)
}

/// Says who the node takes us for.
pub async fn whoami(cx: &Context) -> Result<Exit, Error> {
    let client = cx.client()?;
    let status = client.status().await?;
    if cx.global.json {
        super::print_json(&json!({"url": client.origin(), "node": status.node, "me": status.me}));
        return Ok(Exit::Ok);
    }
    let line = Text::styled(BOLD, &status.me.actor)
        .and(PLAIN, " on ")
        .and(NAME, &status.node)
        .and(DIM, format!(" ({})", client.origin()));
    anstream::println!("{}", tick(line));
    let line = Text::styled(DIM, "  role ")
        .and(PLAIN, status.me.role.as_str())
        .and(DIM, "  by ")
        .and(PLAIN, &status.me.rule);
    anstream::println!("{line}");
    Ok(Exit::Ok)
}
