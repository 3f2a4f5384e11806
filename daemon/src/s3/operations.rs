//! The trait of `s3s`, operation by operation; what is not named here answers `NotImplemented`.

#[cfg_attr(
    not(test),
    expect(
        clippy::wildcard_imports,
        reason = "the shapes of every operation below, and nothing else"
    )
)]
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::access;
use crate::notify::Targets;
use crate::store::Store;

/// Everything that operations need.
#[derive(Clone)]
pub(super) struct Operations {
    /// The store behind the door.
    pub(super) store: Store,
    /// The region of this appliance.
    pub(super) region: String,
    /// The receivers that notification rules may name.
    pub(super) webhooks: Targets,
}

/// One line for each operation: the trait's method, its shapes, and ours that does it.
macro_rules! operations {
    ($($name:ident($input:ident) -> $output:ident = $ours:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Operations {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    access::begin();
                    self.$ours(request).await
                }
            )*
        }
    };
}

operations! {
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = abort_upload;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = complete_upload;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = make_bucket;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = create_upload;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = remove_bucket;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = delete_cors;
    delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput = delete_bucket_encryption;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = delete_lifecycle;
    delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput = delete_ownership;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = delete_policy;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = delete_bucket_tags;
    delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput = delete_website;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = delete_tags;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete_many;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput = delete_block;
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput = acceleration;
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = bucket_acl;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = get_cors;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = get_bucket_encryption;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = get_lifecycle;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = location;
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput = logging;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput = notification;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = get_ownership;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = get_policy;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = policy_status;
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput = replication;
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = payment;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = get_bucket_tags;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = versioning;
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput = website;
    get_object(GetObjectInput) -> GetObjectOutput = get;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = object_acl;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = attributes;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput = get_hold;
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = get_lock;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput = get_retention;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = get_tags;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = get_block;
    get_object_torrent(GetObjectTorrentInput) -> GetObjectTorrentOutput = torrent;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = look_at_bucket;
    head_object(HeadObjectInput) -> HeadObjectOutput = head;
    list_bucket_analytics_configurations(ListBucketAnalyticsConfigurationsInput) -> ListBucketAnalyticsConfigurationsOutput = analytics;
    list_bucket_intelligent_tiering_configurations(ListBucketIntelligentTieringConfigurationsInput) -> ListBucketIntelligentTieringConfigurationsOutput = tierings;
    list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput) -> ListBucketInventoryConfigurationsOutput = inventories;
    list_bucket_metrics_configurations(ListBucketMetricsConfigurationsInput) -> ListBucketMetricsConfigurationsOutput = bucket_metrics;
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = list_uploads;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = list_all_versions;
    list_objects(ListObjectsInput) -> ListObjectsOutput = list;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list_v2;
    list_parts(ListPartsInput) -> ListPartsOutput = parts;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput = put_bucket_list;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = put_cors;
    put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput = put_bucket_encryption;
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput = put_lifecycle;
    put_bucket_logging(PutBucketLoggingInput) -> PutBucketLoggingOutput = put_logging;
    put_bucket_notification_configuration(PutBucketNotificationConfigurationInput) -> PutBucketNotificationConfigurationOutput = put_notification;
    put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput = put_ownership;
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = put_policy;
    put_bucket_request_payment(PutBucketRequestPaymentInput) -> PutBucketRequestPaymentOutput = put_payment;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = put_bucket_tags;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = put_versioning;
    put_bucket_website(PutBucketWebsiteInput) -> PutBucketWebsiteOutput = put_website;
    put_object(PutObjectInput) -> PutObjectOutput = put;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput = put_object_list;
    put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput = put_hold;
    put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput = put_lock;
    put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput = put_retention;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = put_tags;
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput = put_block;
    upload_part(UploadPartInput) -> UploadPartOutput = put_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = copy_part;
}
