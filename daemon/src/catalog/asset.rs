//! Rows of `asset`.
