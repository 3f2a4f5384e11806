-- The texts of a film's tracks, or of a file of subtitles: made of content, and made again from it.
CREATE TABLE subtitle (
  content_id BLOB NOT NULL,
  track      BIGINT NOT NULL,                         -- its number in the film; 0 for a file of subtitles
  tenant     TEXT NOT NULL DEFAULT 'default',
  cues       BIGINT NOT NULL,                         -- how many texts there are; 0 where it was read and none was found
  bytes      BLOB NOT NULL,                           -- the cues, sealed where the content is encrypted
  created_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant, content_id, track)
);
