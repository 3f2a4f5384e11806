//! Walking a list page by page, with a bound.

use crate::Error;
use nebula_api::Page;

/// No walk takes more than this many entries.
pub const MAX_LISTED: usize = 1_000_000;

/// Collects every page of a list, up to [`MAX_LISTED`] entries.
pub(super) async fn collect<T, F, Fut>(mut fetch: F) -> Result<Vec<T>, Error>
where
    F: FnMut(Option<String>) -> Fut,
    Fut: Future<Output = Result<Page<T>, Error>>,
{
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = fetch(cursor).await?;
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || all.len() >= MAX_LISTED {
            return Ok(all);
        }
    }
}
