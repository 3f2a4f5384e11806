//! Owners as answers show them: the id by which policies and lists name them, and what they are called.

use std::collections::HashMap;

use s3s::dto::{Initiator, Owner};

use super::request::identity;
use crate::identity::account_of;

/// What an account is called: the name of its key, else its id.
pub(super) async fn display_name(account: &str) -> String {
    let account = account_of(account);
    let known = match identity() {
        Some(identity) => identity.display_name(account).await.ok().flatten(),
        None => None,
    };
    known.unwrap_or_else(|| account.to_owned())
}

/// One owner.
pub(super) async fn owner(account: &str) -> Owner {
    Owner {
        display_name: Some(display_name(account).await),
        id: Some(account_of(account).to_owned()),
    }
}

/// Whoever began an upload.
pub(super) fn initiator(owner: &Owner) -> Initiator {
    Initiator {
        display_name: owner.display_name.clone(),
        id: owner.id.clone(),
    }
}

/// The owners of a page, each looked up once.
#[derive(Default)]
pub(super) struct Owners(HashMap<String, String>);

impl Owners {
    /// Looks up what these are called.
    pub(super) async fn of(accounts: impl Iterator<Item = &str>) -> Self {
        let mut names = HashMap::new();
        for account in accounts {
            if !names.contains_key(account) {
                names.insert(account.to_owned(), display_name(account).await);
            }
        }
        Self(names)
    }

    /// One of them.
    pub(super) fn owner(&self, account: &str) -> Owner {
        let name = self
            .0
            .get(account)
            .map_or(account_of(account), String::as_str);
        Owner {
            display_name: Some(name.to_owned()),
            id: Some(account_of(account).to_owned()),
        }
    }
}
