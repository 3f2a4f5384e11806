-- Bytes behind this offset are being checked and do not count until their checksum has matched; NULL when nothing is.
ALTER TABLE upload ADD COLUMN fence_bytes BIGINT;
-- whole | partial | final (tus concatenation).
ALTER TABLE upload ADD COLUMN role TEXT NOT NULL DEFAULT 'whole';
-- The partial uploads that a final one is made of, in order.
CREATE TABLE upload_member (
  final_id   TEXT   NOT NULL,
  ordinal    BIGINT NOT NULL,
  partial_id TEXT   NOT NULL,
  PRIMARY KEY (final_id, ordinal)
) WITHOUT ROWID;
CREATE INDEX upload_member_partial ON upload_member (partial_id);
