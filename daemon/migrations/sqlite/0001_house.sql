-- The first schema of the house. Numbered, never edited: expand, migrate, contract (two daemons overlap during a deploy).
-- Times are milliseconds since the epoch. Ids are 32 hex digits. JSON columns are read and written whole.

CREATE TABLE bucket (
  id            INTEGER PRIMARY KEY,
  tenant        TEXT    NOT NULL DEFAULT 'default',
  name          TEXT    NOT NULL,
  owner         TEXT    NOT NULL,
  versioning    TEXT    NOT NULL DEFAULT 'off',      -- off | enabled | suspended
  durability    TEXT    NOT NULL DEFAULT 'strict',   -- strict | relaxed
  settings      TEXT    NOT NULL DEFAULT '{}',       -- JSON: tagging, CORS, lifecycle, policy, …
  usage_bytes   BIGINT  NOT NULL DEFAULT 0,
  usage_objects BIGINT  NOT NULL DEFAULT 0,
  created_ms    BIGINT  NOT NULL,
  UNIQUE (tenant, name)
);

-- An immutable file of bytes (or one being written by an upload), counted by what refers to it.
CREATE TABLE blob (
  id         TEXT   PRIMARY KEY,
  tenant     TEXT   NOT NULL DEFAULT 'default',
  disk       TEXT   NOT NULL DEFAULT 'main',
  size_bytes BIGINT NOT NULL,
  state      TEXT   NOT NULL,                         -- open | live | dead | quarantined
  refs       BIGINT NOT NULL,
  blake3     BLOB,
  sums       BLOB,                                    -- 32 bytes per MiB: BLAKE3 chaining values
  created_ms BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX blob_dead ON blob (state) WHERE state <> 'live';

CREATE TABLE object_version (
  id               INTEGER PRIMARY KEY AUTOINCREMENT, -- order of commits within a key
  tenant           TEXT    NOT NULL DEFAULT 'default',
  bucket_id        BIGINT  NOT NULL REFERENCES bucket (id),
  key              BLOB    NOT NULL,
  version_id       TEXT    NOT NULL,                  -- 'null' or 32 hex digits
  is_latest        BOOLEAN NOT NULL,
  is_delete_marker BOOLEAN NOT NULL DEFAULT FALSE,
  size_bytes       BIGINT  NOT NULL,
  etag             TEXT    NOT NULL,
  content_id       BLOB,                              -- NULL for a delete marker
  headers          TEXT    NOT NULL DEFAULT '{}',     -- JSON: system headers and user metadata
  tags             TEXT    NOT NULL DEFAULT '{}',     -- JSON
  checksums        TEXT    NOT NULL DEFAULT '{}',     -- JSON: algorithm, value, kind; part sizes of a multipart object
  inline           BLOB,                              -- the bytes of a small object
  owner            TEXT    NOT NULL,
  modified_ms      BIGINT  NOT NULL,
  UNIQUE (bucket_id, key, version_id)
);
CREATE UNIQUE INDEX object_latest ON object_version (bucket_id, key) WHERE is_latest;
CREATE INDEX object_history ON object_version (bucket_id, key, id DESC);
CREATE INDEX object_content ON object_version (content_id);

-- An object version that is not inline is an ordered list of these.
CREATE TABLE extent (
  object_id    BIGINT NOT NULL REFERENCES object_version (id),
  ordinal      BIGINT NOT NULL,
  blob_id      TEXT   NOT NULL REFERENCES blob (id),
  blob_offset  BIGINT NOT NULL,
  length_bytes BIGINT NOT NULL,
  PRIMARY KEY (object_id, ordinal)
) WITHOUT ROWID;
CREATE INDEX extent_blob ON extent (blob_id);

-- tus, resumable HTTP and S3 multipart are three protocols over this one row.
CREATE TABLE upload (
  id             TEXT    PRIMARY KEY,
  tenant         TEXT    NOT NULL DEFAULT 'default',
  protocol       TEXT    NOT NULL,                    -- tus | rufh | s3
  bucket_id      BIGINT  NOT NULL REFERENCES bucket (id),
  key            BLOB    NOT NULL,
  owner          TEXT    NOT NULL,
  state          TEXT    NOT NULL,                    -- open | finished
  length_bytes   BIGINT,                              -- NULL while deferred
  offset_bytes   BIGINT  NOT NULL DEFAULT 0,          -- durable bytes of the sequential file
  blob_id        TEXT    REFERENCES blob (id),
  sums           BLOB,                                -- chaining values of the durable whole MiBs
  headers        TEXT    NOT NULL DEFAULT '{}',
  tags           TEXT    NOT NULL DEFAULT '{}',
  metadata       TEXT    NOT NULL DEFAULT '{}',       -- JSON: what only the protocol needs (raw Upload-Metadata, checksum algorithm, …)
  version_id     TEXT,                                -- of the object it became
  lease_holder   TEXT,
  lease_until_ms BIGINT  NOT NULL DEFAULT 0,
  created_ms     BIGINT  NOT NULL,
  expires_ms     BIGINT
) WITHOUT ROWID;
CREATE INDEX upload_bucket ON upload (bucket_id, key, id);
CREATE INDEX upload_expiry ON upload (expires_ms);

CREATE TABLE part (
  upload_id   TEXT   NOT NULL REFERENCES upload (id),
  number      BIGINT NOT NULL,
  size_bytes  BIGINT NOT NULL,
  etag        TEXT   NOT NULL,
  checksums   TEXT   NOT NULL DEFAULT '{}',
  extents     TEXT   NOT NULL,                        -- JSON list of [blob, offset, length]
  modified_ms BIGINT NOT NULL,
  PRIMARY KEY (upload_id, number)
) WITHOUT ROWID;

-- What is known of a content as media.
CREATE TABLE asset (
  content_id  BLOB   NOT NULL,
  tenant      TEXT   NOT NULL DEFAULT 'default',
  state       TEXT   NOT NULL,                        -- indexing | ready | failed
  reason      TEXT,
  title       TEXT,
  duration_ms BIGINT,
  info        TEXT   NOT NULL DEFAULT '{}',           -- JSON: container, tracks, chapters, tags
  sample_index BLOB,                                  -- compact sample index
  poster      BLOB,                                   -- JPEG
  created_ms  BIGINT NOT NULL,
  updated_ms  BIGINT NOT NULL,
  PRIMARY KEY (tenant, content_id)
);

CREATE TABLE rendition (
  content_id       BLOB NOT NULL,
  recipe           TEXT   NOT NULL,                   -- rung and encoder settings: part of the cache key
  tenant           TEXT   NOT NULL DEFAULT 'default',
  name             TEXT   NOT NULL,                   -- 720p, 480p, audio, …
  kind             TEXT   NOT NULL,                   -- video | audio
  state            TEXT   NOT NULL,                   -- building | ready | failed
  codecs           TEXT,
  width            BIGINT,
  height           BIGINT,
  frame_rate       DOUBLE PRECISION,
  timescale        BIGINT NOT NULL DEFAULT 0,         -- ticks per second of its segments' times; 0 before the first
  segments_total   BIGINT NOT NULL,
  created_ms       BIGINT NOT NULL,
  updated_ms       BIGINT NOT NULL,
  PRIMARY KEY (tenant, content_id, recipe)
);

-- One per rendition, more where an encoder gave way to another half-way.
CREATE TABLE rendition_init (
  content_id BLOB NOT NULL,
  recipe     TEXT   NOT NULL,
  number     BIGINT NOT NULL,
  tenant     TEXT   NOT NULL DEFAULT 'default',
  bytes      BLOB NOT NULL,
  PRIMARY KEY (tenant, content_id, recipe, number)
) WITHOUT ROWID;

CREATE TABLE rendition_segment (
  content_id     BLOB NOT NULL,
  recipe         TEXT   NOT NULL,
  number         BIGINT NOT NULL,
  tenant         TEXT   NOT NULL DEFAULT 'default',
  blob_id        TEXT   NOT NULL REFERENCES blob (id),
  size_bytes     BIGINT NOT NULL,
  init_number    BIGINT NOT NULL,
  start_ticks    BIGINT NOT NULL,
  duration_ticks BIGINT NOT NULL,
  used_ms        BIGINT NOT NULL,
  PRIMARY KEY (tenant, content_id, recipe, number)
) WITHOUT ROWID;
CREATE INDEX rendition_segment_blob ON rendition_segment (blob_id);
CREATE INDEX rendition_segment_used ON rendition_segment (used_ms);

CREATE TABLE job (
  id               TEXT    PRIMARY KEY,
  tenant           TEXT    NOT NULL DEFAULT 'default',
  kind             TEXT    NOT NULL,
  state            TEXT    NOT NULL,                  -- queued | running | done | failed | cancelled | dead
  priority         BIGINT  NOT NULL DEFAULT 0,        -- higher first
  payload          TEXT    NOT NULL,                  -- JSON
  idempotency_key  TEXT,
  parent           TEXT,
  bucket           TEXT,                              -- the object it works on, by name
  key              BLOB  ,
  version_id       TEXT,
  attempt          BIGINT  NOT NULL DEFAULT 0,
  attempts_max     BIGINT  NOT NULL,
  not_before_ms    BIGINT  NOT NULL DEFAULT 0,
  deadline_ms      BIGINT,
  lease_holder     TEXT,                              -- the worker, for people
  lease_token      TEXT,                              -- proves the right to settle this attempt
  lease_until_ms   BIGINT  NOT NULL DEFAULT 0,
  cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
  progress         DOUBLE PRECISION NOT NULL DEFAULT 0,
  stage            TEXT    NOT NULL DEFAULT '',
  reason           TEXT,
  result           TEXT,
  dispatched_ms    BIGINT,                            -- when it was handed to Redis
  created_ms       BIGINT  NOT NULL,
  updated_ms       BIGINT  NOT NULL,
  event_ms         BIGINT  NOT NULL DEFAULT 0,        -- when its last event was written: progress is thinned out
  started_ms       BIGINT,
  finished_ms      BIGINT
) WITHOUT ROWID;
CREATE UNIQUE INDEX job_idempotency ON job (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL AND state IN ('queued', 'running');
CREATE INDEX job_due ON job (priority DESC, created_ms, id) WHERE state IN ('queued', 'running');
CREATE INDEX job_recent ON job (created_ms DESC, id DESC);
CREATE INDEX job_finished ON job (finished_ms) WHERE finished_ms IS NOT NULL;

-- The outbox: written in the transaction of the change, read by sequence.
CREATE TABLE event (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant     TEXT   NOT NULL DEFAULT 'default',
  time_ms    BIGINT NOT NULL,
  kind       TEXT   NOT NULL,
  bucket     TEXT,
  key        BLOB,
  version_id TEXT,
  payload    TEXT   NOT NULL DEFAULT '{}'
);
CREATE TABLE event_consumer (
  name TEXT   PRIMARY KEY,
  seq  BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE access_key (
  id           TEXT    PRIMARY KEY,
  tenant       TEXT    NOT NULL DEFAULT 'default',
  name         TEXT    NOT NULL,
  secret       BLOB    NOT NULL,                      -- sealed by the master key of the data directory
  grants       TEXT    NOT NULL,                      -- JSON list of {role, buckets, deploy, worker}
  is_root      BOOLEAN NOT NULL DEFAULT FALSE,
  disabled     BOOLEAN NOT NULL DEFAULT FALSE,
  created_by   TEXT    NOT NULL DEFAULT '',
  created_ms   BIGINT  NOT NULL,
  expires_ms   BIGINT,
  last_used_ms BIGINT
) WITHOUT ROWID;

CREATE TABLE link (
  id         TEXT   PRIMARY KEY,
  tenant     TEXT   NOT NULL DEFAULT 'default',
  created_by TEXT   NOT NULL,
  bucket     TEXT   NOT NULL,
  key_prefix BLOB   NOT NULL,
  is_prefix  BOOLEAN NOT NULL,
  created_ms BIGINT NOT NULL,
  expires_ms BIGINT NOT NULL,
  revoked_ms BIGINT
) WITHOUT ROWID;

CREATE TABLE audit (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant   TEXT   NOT NULL DEFAULT 'default',
  time_ms  BIGINT NOT NULL,
  actor    TEXT   NOT NULL,
  action   TEXT   NOT NULL,
  resource TEXT   NOT NULL,
  outcome  TEXT   NOT NULL,
  rule     TEXT   NOT NULL,
  source   TEXT   NOT NULL DEFAULT ''                 -- the caller's IP address, where there was one
);
CREATE INDEX audit_by_time ON audit (time_ms);

-- Singletons (scrub, expiry, sweeper, dispatcher) hold one of these while two daemons overlap.
CREATE TABLE lease (
  name     TEXT   PRIMARY KEY,
  holder   TEXT   NOT NULL,
  until_ms BIGINT NOT NULL
) WITHOUT ROWID;

-- Small facts of the appliance: its id, the key of signed links (sealed), …
CREATE TABLE setting (
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;
