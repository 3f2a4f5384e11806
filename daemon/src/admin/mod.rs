//! The JSON API and the operations endpoints.
