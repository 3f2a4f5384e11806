//! Usage and quotas, in the words of the API.

use nebula_api::{Quota, Usage};

use crate::store;

pub(super) fn told(quota: store::Quota) -> Quota {
    Quota {
        size_bytes: quota.bytes,
        objects: quota.objects,
    }
}

pub(super) fn heard(quota: Quota) -> store::Quota {
    store::Quota {
        bytes: quota.size_bytes,
        objects: quota.objects,
    }
}

pub(super) fn held(usage: store::Usage) -> Usage {
    Usage {
        size_bytes: usage.bytes,
        objects: usage.objects,
    }
}
