//! Who watches at this moment, and what reaches them; in memory, as the doors see it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::decide::Capabilities;
use crate::kernel::{BucketName, ContentId, Millis, ObjectKey};

/// Viewers that are kept; the one that was silent for longest gives way.
const VIEWERS_MAX: usize = 1024;
/// Who asked for nothing for so long has gone: a player buffers less than this.
const SILENT_MS: Millis = 90_000;
/// Of the player's own name, so many bytes.
const PLAYER_BYTES_MAX: usize = 200;

/// What a viewer is known by: the same person on two devices is two viewers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ViewerKey {
    /// The identity, as the audit log writes it.
    pub actor: String,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// The player, as it calls itself.
    pub player: Option<String>,
    /// What it watches.
    pub content: ContentId,
}

impl ViewerKey {
    /// A viewer; what the player says of itself is cut short.
    pub fn new(
        actor: String,
        address: Option<IpAddr>,
        player: Option<&str>,
        content: ContentId,
    ) -> Self {
        let cut = |player: &str| player[..player.floor_char_boundary(PLAYER_BYTES_MAX)].to_owned();
        Self {
            actor,
            address,
            player: player.map(cut),
            content,
        }
    }
}

/// What one request asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The master playlist or the manifest, by a player of which this is known.
    Master(Arc<Capabilities>),
    /// A range of the file itself.
    File,
    /// A segment: the stream's name in addresses, whether it is sound, and where it starts.
    Segment(String, bool, u64),
}

/// A viewer, and what it asked for last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// The bucket in which it watches.
    pub bucket: BucketName,
    /// The key under which it watches.
    pub key: ObjectKey,
    /// The stream of pictures, or of sound where there is nothing else; `None` reads the file.
    pub picture: Option<String>,
    /// The stream of sound.
    pub sound: Option<String>,
    /// What is known of the player, since it asked for a master playlist.
    pub client: Option<Arc<Capabilities>>,
    /// Whether it asked for anything but a playlist.
    begun: bool,
    /// Start of the segment asked for last.
    pub position_ms: Option<u64>,
    /// When it began.
    pub started_ms: Millis,
    /// When it last asked for something.
    pub seen_ms: Millis,
}

/// Everybody who watches through this daemon.
#[derive(Debug, Default)]
pub struct Viewers(Mutex<HashMap<ViewerKey, Viewer>>);

impl Viewers {
    /// Notes a request.
    pub fn note(
        &self,
        who: ViewerKey,
        what: (&BucketName, &ObjectKey),
        asked: Asked,
        now_ms: Millis,
    ) {
        let mut viewers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !viewers.contains_key(&who) && viewers.len() >= VIEWERS_MAX {
            viewers.retain(|_, viewer| now_ms - viewer.seen_ms < SILENT_MS);
            let silent = viewers.iter().min_by_key(|(_, viewer)| viewer.seen_ms);
            if viewers.len() >= VIEWERS_MAX
                && let Some(silent) = silent.map(|(key, _)| key.clone())
            {
                viewers.remove(&silent);
            }
        }
        let fresh = || Viewer {
            bucket: what.0.clone(),
            key: what.1.clone(),
            picture: None,
            sound: None,
            client: None,
            begun: false,
            position_ms: None,
            started_ms: now_ms,
            seen_ms: now_ms,
        };
        let viewer = viewers.entry(who).or_insert_with(fresh);
        if now_ms - viewer.seen_ms >= SILENT_MS {
            *viewer = fresh();
        }
        viewer.seen_ms = now_ms;
        viewer.begun |= !matches!(asked, Asked::Master(_));
        match asked {
            Asked::Master(client) => viewer.client = Some(client),
            Asked::File => {}
            Asked::Segment(stream, true, start_ms) => {
                viewer.sound = Some(stream);
                if viewer.picture.is_none() {
                    viewer.position_ms = Some(start_ms);
                }
            }
            Asked::Segment(stream, false, start_ms) => {
                viewer.picture = Some(stream);
                viewer.position_ms = Some(start_ms);
            }
        }
    }

    /// Who watches, the latest to begin first.
    pub fn list(&self, now_ms: Millis) -> Vec<(ViewerKey, Viewer)> {
        let mut viewers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        viewers.retain(|_, viewer| now_ms - viewer.seen_ms < SILENT_MS);
        let mut list: Vec<_> = viewers
            .iter()
            .filter(|(_, viewer)| viewer.begun)
            .map(|(key, viewer)| (key.clone(), viewer.clone()))
            .collect();
        list.sort_by_key(|(_, viewer)| std::cmp::Reverse(viewer.started_ms));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(viewers: &Viewers, actor: &str, asked: Asked, now_ms: Millis) {
        let player = "x".repeat(500);
        let who = ViewerKey::new(actor.into(), None, Some(&player), ContentId([1; 32]));
        let (bucket, key) = (
            "films".parse().expect("a name"),
            "a.mp4".parse().expect("a key"),
        );
        viewers.note(who, (&bucket, &key), asked, now_ms);
    }

    #[test]
    fn picture_and_sound_are_one_viewer_until_it_is_silent() {
        let viewers = Viewers::default();
        let client = Arc::new(Capabilities::default());
        note(&viewers, "a", Asked::Master(Arc::clone(&client)), 0);
        assert!(viewers.list(1).is_empty(), "a playlist is not watched");
        note(&viewers, "a", Asked::Segment("v1".into(), false, 4000), 0);
        note(&viewers, "a", Asked::Segment("a2".into(), true, 8000), 10);
        let list = viewers.list(20);
        assert_eq!(list.len(), 1);
        let (key, viewer) = &list[0];
        assert_eq!(key.player.as_ref().map(String::len), Some(PLAYER_BYTES_MAX));
        assert_eq!(viewer.picture.as_deref(), Some("v1"));
        assert_eq!(viewer.client, Some(client));
        assert_eq!(viewer.sound.as_deref(), Some("a2"));
        assert_eq!(viewer.position_ms, Some(4000));
        assert!(viewers.list(10 + SILENT_MS).is_empty());
    }

    #[test]
    fn the_crowd_is_bounded() {
        let viewers = Viewers::default();
        for number in 0..=VIEWERS_MAX {
            note(&viewers, &number.to_string(), Asked::File, number as Millis);
        }
        let list = viewers.list(VIEWERS_MAX as Millis);
        assert_eq!(list.len(), VIEWERS_MAX);
        assert!(
            list.iter().all(|(key, _)| key.actor != "0"),
            "the longest silent one went"
        );
    }
}
