//! The vocabulary of the house: ids, names, byte ranges, ETags, access lists, clock and limits.
//!
//! Everything here is pure: no I/O, no async, no knowledge of any other room.
//! A value that exists is valid: names and ids are parsed once, at a door, and trusted from then on.

pub mod acl;
pub mod clock;
pub mod etag;
pub mod ids;
pub mod limits;
pub mod name;
pub mod range;
pub mod seal;

pub use acl::{ACL_GRANTS_MAX, Acl, AclGrant, Grantee, Permission};
pub use clock::{Clock, Millis};
pub use etag::ETag;
pub use ids::{AccessKeyId, BlobId, ContentId, Id, JobId, LinkId, UploadId, VersionId};
pub use name::{BucketName, NameError, ObjectKey};
pub use range::ByteRange;
pub use seal::MasterKey;
