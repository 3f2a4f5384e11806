-- Where the bytes of a partial upload lie once a final upload has taken them over: a place to look for them, no reference.
ALTER TABLE upload ADD COLUMN taken_blob_id TEXT;
