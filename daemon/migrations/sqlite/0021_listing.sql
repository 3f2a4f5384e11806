-- All that a listing shows stands in the index it walks, so that a page costs the same however many rows lie between
-- its own; the parts of an object are left out here as there.
DROP INDEX object_history;
CREATE INDEX object_history ON object_version (
  bucket_id, key, id DESC, is_latest, is_delete_marker, version_id, size_bytes, etag, owner, modified_ms,
  iif(length(checksums) < 1024, checksums, json_remove(checksums, '$.parts'))
);
