//! One TOML file, one struct per section.
