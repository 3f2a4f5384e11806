//! Pieces that the doors share.
