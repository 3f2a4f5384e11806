//! Every bound of the appliance that is not a setting, in one place.

/// Longest object key, in bytes of UTF-8 (Amazon S3).
pub const OBJECT_KEY_BYTES_MAX: usize = 1024;
/// Largest object that is kept in the catalog row instead of a file; the setting `data.inline_bytes_max` may lower it.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;
/// User metadata of one object, names and values together (Amazon S3).
pub const USER_METADATA_BYTES_MAX: usize = 2 * 1024;
/// Entries of one listing page (Amazon S3).
pub const LIST_KEYS_MAX: usize = 1000;
/// Keys of one multi-delete (Amazon S3).
pub const DELETE_KEYS_MAX: usize = 1000;
/// Parts of one multipart upload (Amazon S3).
pub const PARTS_MAX: u32 = 10_000;
/// Smallest part but the last (Amazon S3).
pub const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// Largest object (Amazon S3's figure for a multipart object).
pub const OBJECT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024 * 1024;
/// Largest body of a JSON or XML request.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes summed by one entry of a blob's sums.
pub const SUM_BLOCK_BYTES: u64 = 1024 * 1024;
/// Tags of one object (Amazon S3).
pub const OBJECT_TAGS_MAX: usize = 10;
