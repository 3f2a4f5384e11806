//! Lists come in pages, each of which says how to ask for the next.

use serde::{Deserialize, Serialize};

/// How many items a page holds when the caller does not say.
pub const DEFAULT_PAGE_ITEMS: u32 = 100;

/// The most items a page ever holds; a larger `limit` is lowered to this.
pub const MAX_PAGE_ITEMS: u32 = 1000;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "PageOf{T}"))]
pub struct Page<T> {
    /// The items, in the list's own order.
    pub items: Vec<T>,
    /// The cursor of the next page; absent on the last one. Opaque: only ever hand it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page that is the whole list.
    pub fn last(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// The query of a plain list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct PageQuery {
    /// Where to go on: the `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most this many items, 1 to [`MAX_PAGE_ITEMS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl PageQuery {
    /// How many items to answer with: the caller's wish within the bounds.
    pub fn limit_items(&self) -> u32 {
        clamp_limit(self.limit)
    }
}

/// The caller's wish within the bounds of a page.
pub(crate) fn clamp_limit(limit: Option<u32>) -> u32 {
    limit.unwrap_or(DEFAULT_PAGE_ITEMS).clamp(1, MAX_PAGE_ITEMS)
}
