-- A lane: a partial upload whose bytes go into a file that several share, from lane_start on; its own blob only notes how far it is.
-- lane_of is the client's name for all lanes of one object.
ALTER TABLE upload ADD COLUMN lane_of TEXT;
ALTER TABLE upload ADD COLUMN lane_blob_id TEXT;
ALTER TABLE upload ADD COLUMN lane_start BIGINT;
ALTER TABLE upload ADD COLUMN lane_total BIGINT;
CREATE INDEX upload_lane ON upload (lane_of) WHERE lane_of IS NOT NULL;
-- 1 once a final upload has taken the bytes over: from then on they are the object's, and no reservation counts them.
ALTER TABLE upload ADD COLUMN joined BIGINT NOT NULL DEFAULT 0;
CREATE INDEX upload_unfinished ON upload (owner) WHERE state <> 'finished';
