-- What an object version carries beside its headers and tags: access list, lock, encryption. JSON, read and written whole.
ALTER TABLE object_version ADD COLUMN extras TEXT NOT NULL DEFAULT '{}';
-- The same of the object to be.
ALTER TABLE upload ADD COLUMN extras TEXT NOT NULL DEFAULT '{}';
