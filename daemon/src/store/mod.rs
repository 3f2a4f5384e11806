//! Catalog and blob made one.
