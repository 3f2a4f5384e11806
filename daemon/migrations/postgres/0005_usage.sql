-- What the object versions of each owner take, and how much they may: an access key id, or a name in the tailnet.
CREATE TABLE owner_usage (
  owner         TEXT   PRIMARY KEY,
  tenant        TEXT   NOT NULL DEFAULT 'default',
  usage_bytes   BIGINT NOT NULL DEFAULT 0,
  usage_objects BIGINT NOT NULL DEFAULT 0,             -- versions that are not delete markers
  quota_bytes   BIGINT,                                -- NULL: no bound
  quota_objects BIGINT
);
-- Says at once whether anybody is bound at all.
CREATE INDEX owner_usage_bound ON owner_usage (owner) WHERE quota_bytes IS NOT NULL OR quota_objects IS NOT NULL;
-- Doors write owners with their kind in front or without; what is counted is counted once.
INSERT INTO owner_usage (owner, usage_bytes, usage_objects)
  SELECT CASE WHEN owner LIKE 'key:%' THEN substr(owner, 5) WHEN owner LIKE 'tailnet:%' THEN substr(owner, 9)
              WHEN owner LIKE 'tailnet-node:%' THEN substr(owner, 14) ELSE owner END,
         CAST(SUM(size_bytes) AS BIGINT), CAST(SUM(CASE WHEN is_delete_marker THEN 0 ELSE 1 END) AS BIGINT)
  FROM object_version GROUP BY 1;
