//! Rows of `access_key`.
