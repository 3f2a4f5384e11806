//! The node itself, access keys and signed links.

use super::{Client, pages::collect};
use crate::Error;
use nebula_api::{
    AccessKey, BeginDrain, CreateKey, CreateLink, CreateSession, CreatedKey, CreatedSession,
    Discovery, Drain, Link, MAX_PAGE_ITEMS, Page, PageQuery, PatchKey, Session, Status, routes,
};
use reqwest::Method;

impl Client {
    /// What the node says about its doors, without any credentials.
    pub async fn discovery(&self) -> Result<Discovery, Error> {
        self.get(routes::DISCOVERY, &()).await
    }

    /// The node at a glance, and who it takes us for.
    pub async fn status(&self) -> Result<Status, Error> {
        self.get(routes::STATUS, &()).await
    }

    /// One page of access keys.
    pub async fn keys(&self, query: &PageQuery) -> Result<Page<AccessKey>, Error> {
        self.get(routes::KEYS, query).await
    }

    /// Every access key.
    pub async fn all_keys(&self) -> Result<Vec<AccessKey>, Error> {
        collect(|cursor| async move {
            let limit = Some(MAX_PAGE_ITEMS);
            self.keys(&PageQuery { cursor, limit }).await
        })
        .await
    }

    /// Makes an access key; its secret is in this answer and never again.
    pub async fn create_key(&self, key: &CreateKey) -> Result<CreatedKey, Error> {
        self.post(routes::KEYS, key).await
    }

    /// Switches an access key off or on, or bounds what it may store.
    pub async fn patch_key(&self, id: &str, patch: &PatchKey) -> Result<AccessKey, Error> {
        let request = self.request(Method::PATCH, &routes::key(id))?;
        self.json(request.json(patch)).await
    }

    /// Deletes an access key.
    pub async fn delete_key(&self, id: &str) -> Result<(), Error> {
        self.delete(&routes::key(id), &()).await
    }

    /// Makes a temporary key of the caller's own; nothing of it is shown again.
    pub async fn create_session(&self, session: &CreateSession) -> Result<CreatedSession, Error> {
        self.post(routes::SESSIONS, session).await
    }

    /// One page of temporary keys that work.
    pub async fn sessions(&self, query: &PageQuery) -> Result<Page<Session>, Error> {
        self.get(routes::SESSIONS, query).await
    }

    /// Every temporary key that works.
    pub async fn all_sessions(&self) -> Result<Vec<Session>, Error> {
        collect(|cursor| async move {
            let limit = Some(MAX_PAGE_ITEMS);
            self.sessions(&PageQuery { cursor, limit }).await
        })
        .await
    }

    /// Takes a temporary key back.
    pub async fn delete_session(&self, id: &str) -> Result<(), Error> {
        self.delete(&routes::session(id), &()).await
    }

    /// Disks that are being emptied.
    pub async fn drains(&self) -> Result<Vec<Drain>, Error> {
        let page: Page<Drain> = self.get(routes::DRAINS, &()).await?;
        Ok(page.items)
    }

    /// Has a disk emptied while the node serves.
    pub async fn begin_drain(&self, drain: &BeginDrain) -> Result<Drain, Error> {
        self.post(routes::DRAINS, drain).await
    }

    /// Stops emptying a disk.
    pub async fn cancel_drain(&self, disk: &str) -> Result<(), Error> {
        self.delete(&routes::drain(disk), &()).await
    }

    /// One page of signed links.
    pub async fn links(&self, query: &PageQuery) -> Result<Page<Link>, Error> {
        self.get(routes::LINKS, query).await
    }

    /// Every signed link.
    pub async fn all_links(&self) -> Result<Vec<Link>, Error> {
        collect(|cursor| async move {
            let limit = Some(MAX_PAGE_ITEMS);
            self.links(&PageQuery { cursor, limit }).await
        })
        .await
    }

    /// Makes a signed link.
    pub async fn create_link(&self, link: &CreateLink) -> Result<Link, Error> {
        self.post(routes::LINKS, link).await
    }

    /// Revokes a signed link.
    pub async fn delete_link(&self, id: &str) -> Result<(), Error> {
        self.delete(&routes::link(id), &()).await
    }
}
