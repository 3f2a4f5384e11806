//! What buckets can have elsewhere and never have here: questions are answered with the truth, that nothing is configured; asking for it is `NotImplemented`.

use http::StatusCode;
use s3s::dto::{
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput,
    GetBucketLoggingInput, GetBucketLoggingOutput, GetBucketReplicationInput,
    GetBucketReplicationOutput, GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput,
    ListBucketAnalyticsConfigurationsInput, ListBucketAnalyticsConfigurationsOutput,
    ListBucketIntelligentTieringConfigurationsInput,
    ListBucketIntelligentTieringConfigurationsOutput, ListBucketInventoryConfigurationsInput,
    ListBucketInventoryConfigurationsOutput, ListBucketMetricsConfigurationsInput,
    ListBucketMetricsConfigurationsOutput, Payer, PutBucketLoggingInput, PutBucketLoggingOutput,
    PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error::{self, not_built, say};
use super::operations::Operations;

impl Operations {
    /// The bucket must be there for anything to be said about it.
    async fn existing(&self, bucket: &str, owner: Option<&str>) -> S3Result<()> {
        let bucket = bucket_name(bucket)?;
        self.expect_owner(&bucket, owner).await?;
        self.store.bucket(&bucket).await.map_err(error::of)?;
        Ok(())
    }

    /// Access is not logged into buckets.
    pub(super) async fn logging(
        &self,
        request: S3Request<GetBucketLoggingInput>,
    ) -> S3Result<S3Response<GetBucketLoggingOutput>> {
        let input = request.input;
        self.existing(&input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        Ok(S3Response::new(GetBucketLoggingOutput::default()))
    }

    /// Switching off what is off is done.
    pub(super) async fn put_logging(
        &self,
        request: S3Request<PutBucketLoggingInput>,
    ) -> S3Result<S3Response<PutBucketLoggingOutput>> {
        let input = request.input;
        self.existing(&input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        if input.bucket_logging_status.logging_enabled.is_some() {
            return Err(not_built("logging of access into a bucket"));
        }
        Ok(S3Response::new(PutBucketLoggingOutput::default()))
    }

    /// Nobody pays for requests here, so it is the owner.
    pub(super) async fn payment(
        &self,
        request: S3Request<GetBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
        let input = request.input;
        self.existing(&input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        Ok(S3Response::new(GetBucketRequestPaymentOutput {
            payer: Some(Payer::from_static(Payer::BUCKET_OWNER)),
        }))
    }

    /// The owner it stays.
    pub(super) async fn put_payment(
        &self,
        request: S3Request<PutBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
        let input = request.input;
        self.existing(&input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        match input.request_payment_configuration.payer.as_str() {
            Payer::BUCKET_OWNER => Ok(S3Response::new(PutBucketRequestPaymentOutput::default())),
            Payer::REQUESTER => Err(not_built("payment by the requester")),
            _ => Err(say(
                S3ErrorCode::MalformedXML,
                "the payer is BucketOwner or Requester",
            )),
        }
    }

    /// No bucket is accelerated, or ever was.
    pub(super) async fn acceleration(
        &self,
        request: S3Request<GetBucketAccelerateConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
        let input = request.input;
        self.existing(&input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        Ok(S3Response::new(
            GetBucketAccelerateConfigurationOutput::default(),
        ))
    }

    /// No bucket is replicated.
    pub(super) async fn replication(
        &self,
        request: S3Request<GetBucketReplicationInput>,
    ) -> S3Result<S3Response<GetBucketReplicationOutput>> {
        let input = request.input;
        self.existing(&input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let mut error = say(
            S3ErrorCode::ReplicationConfigurationNotFoundError,
            "The replication configuration was not found",
        );
        error.set_status_code(StatusCode::NOT_FOUND);
        Err(error)
    }

    /// No bucket is analysed.
    pub(super) async fn analytics(
        &self,
        request: S3Request<ListBucketAnalyticsConfigurationsInput>,
    ) -> S3Result<S3Response<ListBucketAnalyticsConfigurationsOutput>> {
        let input = request.input;
        self.existing(&input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        Ok(S3Response::new(ListBucketAnalyticsConfigurationsOutput {
            is_truncated: Some(false),
            ..ListBucketAnalyticsConfigurationsOutput::default()
        }))
    }

    /// No bucket has an inventory.
    pub(super) async fn inventories(
        &self,
        request: S3Request<ListBucketInventoryConfigurationsInput>,
    ) -> S3Result<S3Response<ListBucketInventoryConfigurationsOutput>> {
        let input = request.input;
        self.existing(&input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        Ok(S3Response::new(ListBucketInventoryConfigurationsOutput {
            is_truncated: Some(false),
            ..ListBucketInventoryConfigurationsOutput::default()
        }))
    }

    /// No bucket has metrics of its own.
    pub(super) async fn bucket_metrics(
        &self,
        request: S3Request<ListBucketMetricsConfigurationsInput>,
    ) -> S3Result<S3Response<ListBucketMetricsConfigurationsOutput>> {
        let input = request.input;
        self.existing(&input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        Ok(S3Response::new(ListBucketMetricsConfigurationsOutput {
            is_truncated: Some(false),
            ..ListBucketMetricsConfigurationsOutput::default()
        }))
    }

    /// There is one tier.
    pub(super) async fn tierings(
        &self,
        request: S3Request<ListBucketIntelligentTieringConfigurationsInput>,
    ) -> S3Result<S3Response<ListBucketIntelligentTieringConfigurationsOutput>> {
        self.existing(&request.input.bucket, None).await?;
        Ok(S3Response::new(
            ListBucketIntelligentTieringConfigurationsOutput {
                is_truncated: Some(false),
                ..ListBucketIntelligentTieringConfigurationsOutput::default()
            },
        ))
    }
}
