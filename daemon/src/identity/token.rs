//! The token of a signed link: 64 characters that say which link, until when, and that we made it.
//!
//! 48 bytes in URL-safe base64, so no bit is left over and one token has one spelling:
//! format (1), link id (16), expiry in seconds since the epoch (5), hash of the scope (8), HMAC-SHA256 over those cut to 144 bits (18).
//! An altered or invented token is refused without a look at the catalog.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::actor::LinkScope;
use super::secret::Secret;
use crate::kernel::{Id, LinkId, Millis};

/// Characters of a token.
pub(super) const TOKEN_CHARACTERS: usize = 64;
const FORMAT: u8 = 1;
const CLAIMS_BYTES: usize = 1 + 16 + 5 + 8;
const MAC_BYTES: usize = 18;

/// What a token with a good signature says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Claims {
    pub(super) id: LinkId,
    pub(super) expires_s: u64,
    pub(super) scope: [u8; 8],
}

/// Makes and checks tokens.
#[derive(Clone)]
pub(super) struct LinkSigner(Hmac<Sha256>);

impl LinkSigner {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    pub(super) fn sign(&self, claims: Claims) -> Secret {
        let mut token = Vec::with_capacity(CLAIMS_BYTES + MAC_BYTES);
        token.push(FORMAT);
        token.extend(claims.id.0.as_bytes());
        token.extend(&claims.expires_s.to_be_bytes()[3..]);
        token.extend(claims.scope);
        let mut mac = self.0.clone();
        mac.update(&token);
        token.extend(&mac.finalize().into_bytes()[..MAC_BYTES]);
        Secret::new(URL_SAFE_NO_PAD.encode(token))
    }

    /// What the token says; `None` unless every bit of it is ours.
    pub(super) fn verify(&self, token: &str) -> Option<Claims> {
        if token.len() != TOKEN_CHARACTERS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (claims, tag) = bytes.split_at_checked(CLAIMS_BYTES)?;
        let mut mac = self.0.clone();
        mac.update(claims);
        // Constant time; the length was fixed above, so a shorter tag cannot pass.
        mac.verify_truncated_left(tag).ok()?;
        let (format, rest) = claims.split_first()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (expiry, scope) = rest.split_first_chunk::<5>()?;
        let mut expires = [0; 8];
        expires[3..].copy_from_slice(expiry);
        (*format == FORMAT).then_some(Claims {
            id: LinkId(Id::from_bytes(*id)),
            expires_s: u64::from_be_bytes(expires),
            scope: *scope.first_chunk::<8>()?,
        })
    }
}

/// Ties a token to what its row opens, so that an edited row does not widen it.
pub(super) fn scope_hash(scope: &LinkScope) -> [u8; 8] {
    let kind: &[u8] = match scope {
        LinkScope::Object(..) => b"object\0",
        LinkScope::Prefix(..) => b"prefix\0",
    };
    // A bucket name holds no NUL, so no two scopes have one spelling.
    let text = [
        kind,
        scope.bucket().as_str().as_bytes(),
        b"\0",
        scope.path().as_bytes(),
    ];
    let hash = blake3::hash(&text.concat());
    *hash
        .as_bytes()
        .first_chunk::<8>()
        .expect("a hash has 32 bytes")
}

/// Rounded up, so that a link never dies before its row says so.
pub(super) fn seconds(ms: Millis) -> u64 {
    u64::try_from(ms).unwrap_or(0).div_ceil(1000)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn claims() -> Claims {
        Claims {
            id: LinkId::random(),
            expires_s: 1_800_000_000,
            scope: [9; 8],
        }
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let signer = LinkSigner::new(&[1; 32]);
        let claims = claims();
        let token = signer.sign(claims);
        assert_eq!(token.reveal().len(), TOKEN_CHARACTERS);
        assert_eq!(signer.verify(token.reveal()), Some(claims));
        assert_eq!(LinkSigner::new(&[2; 32]).verify(token.reveal()), None);
        assert_eq!(signer.verify(&token.reveal()[1..]), None);
    }

    #[test]
    fn scopes_have_different_hashes() {
        let bucket: crate::kernel::BucketName = "films".parse().unwrap();
        let object = LinkScope::Object(bucket.clone(), "a".parse().unwrap());
        let prefix = LinkScope::Prefix(bucket, "a".into());
        assert_ne!(scope_hash(&object), scope_hash(&prefix));
    }

    proptest! {
        #[test]
        fn no_altered_token_passes(at in 0..TOKEN_CHARACTERS, with in "[A-Za-z0-9_-]") {
            let signer = LinkSigner::new(&[1; 32]);
            let token = signer.sign(claims()).reveal().to_owned();
            let mut altered = token.clone();
            altered.replace_range(at..=at, &with);
            prop_assert_eq!(signer.verify(&altered).is_some(), altered == token);
        }

        #[test]
        fn no_noise_passes(noise in ".*") {
            prop_assert_eq!(LinkSigner::new(&[1; 32]).verify(&noise), None);
        }
    }
}
