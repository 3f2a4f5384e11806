//! What the node has already is not sent again.
//!
//! Under the same key: size and hash are compared.
//! Under another name that the caller may read: the node makes the object of the content it has, by its hash.
//! A short file is hashed before anything is sent; a long one while it is on its way, so that a new file never waits for its hash.

use super::{Pushed, source::Source, tus::Target};
use crate::{
    Client, Error,
    transfer::{self, Observer, Step, Verified},
};
use nebula_api::{ClaimContent, ObjectDetails};
use std::collections::BTreeMap;

/// Sending less than this costs no more than asking.
const ASKED_FROM_BYTES: u64 = 256 << 10;
/// Files up to here are hashed before they are sent: a fraction of a second.
const HASHED_FIRST_TO_BYTES: u64 = 256 << 20;

/// A look for content that is there already.
pub(super) struct Look<'a> {
    pub(super) client: &'a Client,
    pub(super) target: &'a Target,
    pub(super) observer: &'a dyn Observer,
}

impl Look<'_> {
    /// Before anything is sent: under this key; and, where the hash is quick to make, under any other.
    pub(super) async fn before(&self, source: &Source) -> Result<Option<Pushed>, Error> {
        let there = match self
            .client
            .object(&self.target.bucket, &self.target.key, None)
            .await
        {
            Ok(there) => there,
            // Who may write but not read finds nothing out; a passing failure is the upload's to wait for.
            Err(Error::Refused(_)) => None,
            Err(e) if e.is_passing() => None,
            Err(e) => return Err(e),
        };
        let size_bytes = source.size_bytes();
        let same_size = there.filter(|there| there.object.size_bytes == size_bytes);
        if let Some(object) = same_size
            && let Some(hash) = &object.blake3
        {
            self.observer.step(Step::Comparing);
            let blake3 = source.hash().await?;
            if blake3.eq_ignore_ascii_case(hash) {
                return Ok(Some(found(object, blake3, false)));
            }
        }
        if (ASKED_FROM_BYTES..=HASHED_FIRST_TO_BYTES).contains(&size_bytes) {
            return self.claim(source).await;
        }
        Ok(None)
    }

    /// While a long file is on its way: ends when the node made the object of what it has, and otherwise never.
    pub(super) async fn beside(&self, source: &Source) -> Pushed {
        if source.size_bytes() > HASHED_FIRST_TO_BYTES
            && let Ok(Some(there)) = self.claim(source).await
        {
            return there;
        }
        std::future::pending().await
    }

    /// Asks the node to make the object of content that it has.
    async fn claim(&self, source: &Source) -> Result<Option<Pushed>, Error> {
        let blake3 = source.hash().await?;
        source.check_unchanged().await?;
        let mtime = self.target.modified_ns.map(transfer::mtime_text);
        let claim = ClaimContent {
            bucket: self.target.bucket.clone(),
            key: self.target.key.clone(),
            size_bytes: source.size_bytes(),
            content_type: Some(self.target.content_type.clone()),
            metadata: mtime
                .map(|mtime| BTreeMap::from([(transfer::MTIME.to_owned(), mtime)]))
                .unwrap_or_default(),
        };
        Ok(match self.client.claim_content(&blake3, &claim).await {
            Ok(object) => object.map(|object| found(object, blake3, true)),
            // Whatever is wrong, sending will say it better, or succeed.
            Err(_) => None,
        })
    }
}

fn found(object: ObjectDetails, blake3: String, copied: bool) -> Pushed {
    Pushed {
        object,
        blake3,
        verified: Verified::Hash,
        sent_bytes: 0,
        was_there: !copied,
        copied,
    }
}
