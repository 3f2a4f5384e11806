-- What a rendition takes and when somebody last watched it: the cache has a budget, and the least recently watched goes first.
ALTER TABLE rendition ADD COLUMN size_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rendition ADD COLUMN used_ms BIGINT NOT NULL DEFAULT 0;
UPDATE rendition SET used_ms = updated_ms, size_bytes = COALESCE((SELECT SUM(s.size_bytes) FROM rendition_segment s
  WHERE s.tenant = rendition.tenant AND s.content_id = rendition.content_id AND s.recipe = rendition.recipe), 0);
CREATE INDEX rendition_used ON rendition (used_ms);
-- Where an identity stopped watching. By content, so that a renamed or copied film goes on where it was left.
CREATE TABLE watch_position (
  actor       TEXT   NOT NULL,
  content_id  BYTEA  NOT NULL,
  tenant      TEXT   NOT NULL DEFAULT 'default',
  bucket      TEXT   NOT NULL,                        -- the name under which it was watched last
  key         BYTEA  NOT NULL,
  position_ms BIGINT NOT NULL,
  duration_ms BIGINT NOT NULL,
  updated_ms  BIGINT NOT NULL,
  PRIMARY KEY (tenant, actor, content_id)
);
CREATE INDEX watch_position_recent ON watch_position (tenant, actor, updated_ms);
