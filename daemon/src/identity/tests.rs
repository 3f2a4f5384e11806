//! The room as a whole, on a real catalog.
