//! The keys that the instances of a deployment share: for names in Redis that reveal nothing, and
//! values that cannot be read or forged.
//!
//! All keys are derived from the deployment's secret, which is in the database, and from
//! `keys.encryption_key` if it is set. Neither is ever in Redis. Two deployments on one Redis have
//! different secrets, so they share neither names nor values nor a channel.

use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::aead::Aead;
use crate::encoding::hex;
use crate::oauth::client::ClientId;
use crate::throttle::{Failure, SharedBucket};

pub(super) struct DeploymentKeys {
    /// The prefix of every name, by which a person can tell deployments apart. The braces keep a
    /// deployment in one slot of a Redis cluster.
    prefix: String,
    channel: String,
    names: hmac::Key,
    /// SIV, because instances draw nonces at random: a repeated nonce reveals at most that two
    /// values are equal.
    values: Aead,
}

/// An output length for `hkdf`.
struct Bytes(usize);

impl hkdf::KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl DeploymentKeys {
    pub(super) fn derive(secret: &[u8; 32], encryption_key: Option<&[u8; 32]>) -> Self {
        let mut material = Zeroizing::new(secret.to_vec());
        material.extend_from_slice(encryption_key.map_or(&[], |key| &key[..]));
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"mintage siblings");
        let derived = salt.extract(&material);
        let key = |purpose: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            derived
                .expand(&[purpose], Bytes(32))
                .and_then(|key_material| key_material.fill(&mut *key))
                .expect("HKDF-SHA256 gives up to 8160 bytes");
            key
        };
        let id = hex(&key(b"id")[..8]);
        Self {
            prefix: format!("mintage:{{{id}}}"),
            channel: format!("mintage:{{{id}}}:changes"),
            names: hmac::Key::new(hmac::HMAC_SHA256, &*key(b"names")),
            values: Aead::gcm_siv(&key(b"values")),
        }
    }

    /// The channel for announcements.
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn client_name(&self, id: &ClientId) -> String {
        self.name("client", &[id.as_str().as_bytes()])
    }

    pub(super) fn bucket_name(&self, failure: &Failure) -> String {
        let SharedBucket { of, per_minute } = &failure.bucket;
        self.name("failures", &[&per_minute.to_be_bytes(), of])
    }

    /// Hashes the parts, so that the key names in Redis do not reveal client ids or addresses.
    fn name(&self, kind: &str, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&self.names);
        // All parts but the last have a fixed length, so two different lists never form the same
        // input.
        context.update(kind.as_bytes());
        parts.iter().for_each(|part| context.update(part));
        format!("{}:{kind}:{}", self.prefix, hex(&context.sign().as_ref()[..16]))
    }

    /// Encrypts `text`, bound to `context`; `None` when encryption fails.
    pub(super) fn encrypt(&self, context: &[u8], text: Vec<u8>) -> Option<Vec<u8>> {
        self.values.encrypt(context, text)
    }

    /// Decrypts what [`DeploymentKeys::encrypt`] returned for the same `context`; `None` for any
    /// other value.
    pub(super) fn decrypt(&self, context: &[u8], encrypted: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.values.decrypt(context, encrypted)
    }
}
