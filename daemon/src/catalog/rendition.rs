//! Rows of `rendition`.
