//! Rows of `audit`.
