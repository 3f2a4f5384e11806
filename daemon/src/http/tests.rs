//! The pieces together, behind a real socket.
