//! The addresses that players ask for over and over, past the router.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};

use super::{Door, StreamParts, file, hls};
use crate::http::{Gate, PeerAddr, in_context, path};

/// Answers them by the handlers that the router has: choosing among fifty routes and what surrounds that costs more than to
/// find a small range.
pub struct Shortcut {
    door: Door,
    gate: Gate,
}

/// Which of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hot {
    File,
    Film,
    FileByLink,
    FilmByLink,
}

impl Hot {
    fn of(method: &Method, path: &str) -> Option<Self> {
        if method != Method::GET {
            return None;
        }
        let path = path::behind(path, "/-/")?;
        let (door, rest) = path.split_once('/')?;
        let (by_link, door, rest) = if door == "link" {
            let (token, rest) = rest.split_once('/')?;
            let (door, rest) = rest.split_once('/')?;
            if token.is_empty() {
                return None;
            }
            (true, door, rest)
        } else {
            (false, door, rest)
        };
        match (door, by_link, rest.is_empty()) {
            ("file", false, false) => Some(Self::File),
            ("file", true, false) => Some(Self::FileByLink),
            ("hls", false, false) => Some(Self::Film),
            ("hls", true, false) => Some(Self::FilmByLink),
            _ => None,
        }
    }
}

impl Shortcut {
    /// Beside the router of the same parts, with the gate of its [`crate::http::context`].
    pub fn new(parts: StreamParts, gate: Gate) -> Self {
        Self {
            door: Arc::new(parts),
            gate,
        }
    }

    /// Answers such a request, and gives any other back.
    ///
    /// # Errors
    /// The request, when it is for the router.
    pub async fn answer(&self, request: Request) -> Result<Response, Request> {
        let Some(hot) = Hot::of(request.method(), request.uri().path()) else {
            return Err(request);
        };
        let (door, gate) = (State(Arc::clone(&self.door)), &self.gate);
        let answer = |request: Request| async move {
            let caller = match hot {
                Hot::FileByLink => return file::by_link(door, request).await,
                Hot::FilmByLink => return hls::by_link(door, request).await,
                Hot::File | Hot::Film => {
                    let peer = PeerAddr::of(request.extensions());
                    gate.caller(request.headers(), peer).await
                }
            };
            match (caller, hot) {
                (Err(problem), _) => problem.into_response(),
                (Ok(caller), Hot::Film) => hls::by_name(door, caller, request).await,
                (Ok(caller), _) => file::by_name(door, caller, request).await,
            }
        };
        Ok(in_context(self.gate.clone(), request, answer).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_players_is_for_the_router() {
        let get = |path| Hot::of(&Method::GET, path);
        for (path, hot) in [
            ("/-/file/films/a.mp4", Hot::File),
            ("/-/file/b/", Hot::File),
            ("/-/hls/films/a/b.mkv/master.m3u8", Hot::Film),
            ("/-/link/t0ken/file/films/hls/a.mp4", Hot::FileByLink),
            ("/-/link/t0ken/hls/films/a.mp4/v1-0.m4s", Hot::FilmByLink),
        ] {
            assert_eq!(get(path), Some(hot), "{path}");
            assert_eq!(Hot::of(&Method::HEAD, path), None, "{path}");
            assert_eq!(Hot::of(&Method::OPTIONS, path), None, "{path}");
        }
        for path in [
            "/-/file/",
            "/-/file",
            "/-/hls/",
            "/-/link//file/films/a.mp4",
            "/-/link/t0ken/file/",
            "/-/link/t0ken/file",
            "/-/link/t0ken/link/t0ken/file/a",
            "/-/link/t0ken",
            "/-/api/v1/posters/films/a.mp4",
            "/-/tus/0123",
            "/file/a.mp4",
            "/",
        ] {
            assert_eq!(get(path), None, "{path}");
        }
    }
}
