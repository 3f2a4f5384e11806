//! What the caller's player says of itself.

use axum::extract::Query;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use nebula_api::{PLAYER_HEADER, PlayerQuery};

use super::Problem;

/// What is stated in the query, else in the header; both in the form of a query. Others' parameters are passed over.
pub fn stated_player(parts: &Parts) -> Result<PlayerQuery, Problem> {
    let read = |uri: &Uri, place: &str| {
        let read = Query::<PlayerQuery>::try_from_uri(uri);
        read.map(|Query(stated)| stated)
            .map_err(|error| Problem::invalid(format!("{place}: {}", error.body_text())))
    };
    let stated = read(&parts.uri, "The query does not say what the player takes")?;
    let Some(value) = parts.headers.get(PLAYER_HEADER) else {
        return Ok(stated);
    };
    if stated != PlayerQuery::default() {
        return Ok(stated);
    }
    let place = format!("The header {PLAYER_HEADER} does not say what the player takes");
    let text = value.to_str().unwrap_or_default();
    let uri = format!("/?{text}").parse();
    let uri = uri.map_err(|_| Problem::invalid(format!("{place}: it has the form of a query.")))?;
    read(&uri, &place)
}

/// The name that a player has in its requests.
pub fn user_agent(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::USER_AGENT)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(uri: &str, header: Option<&str>) -> Result<PlayerQuery, Problem> {
        let mut request = axum::http::Request::builder().uri(uri);
        if let Some(header) = header {
            request = request.header(PLAYER_HEADER, header);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        stated_player(&parts)
    }

    #[test]
    fn the_query_goes_before_the_header() {
        let player = |stated: PlayerQuery| (stated.player, stated.lines);
        let kodi = (Some("kodi".to_owned()), None);
        let both = stated("/x?player=kodi&c=1", Some("lines=720"));
        assert_eq!(player(both.expect("fine")), kodi);
        let alone = stated("/x?c=1", Some("player=vlc&lines=720"));
        assert_eq!(
            player(alone.expect("fine")),
            (Some("vlc".into()), Some(720))
        );
        let nothing = stated("/x", None).expect("fine");
        assert_eq!(nothing, PlayerQuery::default());
        for (uri, header) in [
            ("/x?lines=many", None),
            ("/x", Some("lines=-1")),
            ("/x", Some("a b")),
        ] {
            assert!(stated(uri, header).is_err(), "{uri} {header:?}");
        }
    }
}
