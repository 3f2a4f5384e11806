-- Temporary keys that were lent, so that they can be listed and taken back one by one; what they hold is in their token alone.
CREATE TABLE temporary_key (
  id           TEXT   PRIMARY KEY,
  tenant       TEXT   NOT NULL DEFAULT 'default',
  parent       TEXT   NOT NULL,                        -- the access key behind it; empty for one that was never entered here
  name         TEXT   NOT NULL,
  created_ms   BIGINT NOT NULL,
  expires_ms   BIGINT NOT NULL,
  revoked_ms   BIGINT,
  last_used_ms BIGINT
) WITHOUT ROWID;
CREATE INDEX temporary_key_parent ON temporary_key (parent, id);
CREATE INDEX temporary_key_end ON temporary_key (expires_ms);
CREATE INDEX temporary_key_revoked ON temporary_key (id) WHERE revoked_ms IS NOT NULL;
-- Whether a segment's bytes are encrypted, as those of the object are that it was made of.
ALTER TABLE rendition_segment ADD COLUMN is_encrypted BOOLEAN NOT NULL DEFAULT FALSE;
