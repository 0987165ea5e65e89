//! Base64 and base64url (RFC 4648 §4, §5) with the processor's vector instructions where it has them: every request
//! reads credentials or a token, or writes one.

use std::sync::LazyLock;

use base64::engine::general_purpose::{NO_PAD, PAD};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use portable::{Codec, standard, url_safe};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use vector::{Codec, standard, url_safe};

/// Base64 with padding.
pub static STANDARD: LazyLock<Codec> = LazyLock::new(|| standard(PAD));

/// Base64 without padding.
pub static STANDARD_NO_PAD: LazyLock<Codec> = LazyLock::new(|| standard(NO_PAD));

/// Base64url without padding: the parts of a JWS (RFC 7515 §2).
pub static URL_SAFE_NO_PAD: LazyLock<Codec> = LazyLock::new(|| url_safe(NO_PAD));

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector {
    use base64::engine::GeneralPurposeConfig;
    pub use base64::engine::Simd as Codec;

    pub fn standard(config: GeneralPurposeConfig) -> Codec {
        Codec::standard(config)
    }

    pub fn url_safe(config: GeneralPurposeConfig) -> Codec {
        Codec::url_safe(config)
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod portable {
    pub use base64::engine::GeneralPurpose as Codec;
    use base64::{alphabet, engine::GeneralPurposeConfig};

    pub fn standard(config: GeneralPurposeConfig) -> Codec {
        Codec::new(&alphabet::STANDARD, config)
    }

    pub fn url_safe(config: GeneralPurposeConfig) -> Codec {
        Codec::new(&alphabet::URL_SAFE, config)
    }
}
