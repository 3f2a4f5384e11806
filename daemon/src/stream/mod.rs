//! The streaming door: files, HLS, links.
