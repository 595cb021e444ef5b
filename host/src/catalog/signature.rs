//! Signatures as `minisign` makes them: Ed25519 over a hash of the file, and over a comment that says
//! what was signed. Only verifying is done here; `minisign` itself signs.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result, code};

/// What a signature's file is called, behind the name of the signed one.
pub(super) const EXTENSION: &str = ".minisig";

/// Which key it is, as `minisign` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyId(u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// The number behind the two letters of the algorithm, in keys and in signatures.
fn key_id(base64: &str) -> Option<KeyId> {
    let bytes = BASE64_STANDARD.decode(base64.trim()).ok()?;
    let id = bytes.get(2..10)?.try_into().ok()?;
    Some(KeyId(u64::from_le_bytes(id)))
}

/// A publisher's public key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct PublicKey {
    text: String,
    id: KeyId,
    key: minisign_verify::PublicKey,
}

impl PublicKey {
    /// The key in a `.pub` file, whose first line may be a comment.
    pub(super) fn of_file(text: &str) -> std::result::Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let is_comment = |line: &&str| line.starts_with("untrusted comment:");
        let line = lines.find(|line| !is_comment(line)).unwrap_or_default();
        line.to_owned().try_into()
    }

    /// Which key it is.
    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// The whole key in one line, to be compared with the vendor's.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let wrong = || format!("`{text}` is not a public key of minisign");
        let key = minisign_verify::PublicKey::from_base64(&text).map_err(|_| wrong())?;
        let id = key_id(&text).ok_or_else(wrong)?;
        Ok(Self { text, id, key })
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.text
    }
}

/// The signature of a manifest.
pub(super) struct Signature {
    id: KeyId,
    signature: minisign_verify::Signature,
}

impl Signature {
    /// Reads the text of a `.minisig` file.
    ///
    /// # Errors
    /// `PLUGIN-SIGNATURE`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let damaged = || invalid("the signature's file is not one of minisign");
        let signature = minisign_verify::Signature::decode(text).map_err(|_| damaged())?;
        let id = text.lines().nth(1).and_then(key_id).ok_or_else(damaged)?;
        Ok(Self { id, signature })
    }

    /// Which key made it.
    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// Checks that this key signed these bytes as this version of the plugin.
    ///
    /// # Errors
    /// `PLUGIN-SIGNATURE`.
    pub(super) fn verify(&self, key: &PublicKey, bytes: &[u8], named: &str) -> Result<()> {
        let allow_legacy = false;
        if key.key.verify(bytes, &self.signature, allow_legacy).is_err() {
            return Err(invalid("the manifest is not the one that was signed"));
        }
        // The comment is signed, too: the signature of one version does not serve for another.
        let comment = self.signature.trusted_comment();
        if comment.split_whitespace().any(|word| word == named) {
            return Ok(());
        }
        Err(invalid(&format!("the signature's trusted comment does not name `{named}`")))
    }
}

/// The error for a signature that does not fit.
pub(super) fn invalid(message: &str) -> Error {
    Error::denied(message)
        .with_code(code::PLUGIN_SIGNATURE)
        .hint("install the plugin again from its vendor: `transload plugin install PACKAGE`")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by minisign 0.11.
    const KEY: &str = "untrusted comment: minisign public key D51BAE587146FDA1\n\
        RWSh/UZxWK4b1Qfyo9A4fH4M30N4+AB3aa5m1VOE/mmlIxby0H+GAt4f\n";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUSh/UZxWK4b1Wk7val4tiABeI91jDrkzsQ2O5NyxesbBIulpQuRftlu+rhFwSDythphbJbb5E9GeULJeRpgFtoTSMoTw9oMHwE=\n\
        trusted comment: acme@1.0\n\
        q4E6HyMU24u/0Qg+YVJiTw/91r90Wn4V8jrenlAn5kb5KZLny8tXXDXWIp6zxOz/hVOL+gKQ6c1dintH7l07AQ==\n";

    #[test]
    fn what_minisign_signed_is_verified() {
        let key = PublicKey::of_file(KEY).unwrap();
        let signature = Signature::parse(SIGNATURE).unwrap();
        assert_eq!(key.id().to_string(), "D51BAE587146FDA1");
        assert!(key.id() == signature.id());
        signature.verify(&key, b"hello\n", "acme@1.0").unwrap();
        assert_eq!(key.text().len(), 56);
    }

    #[test]
    fn what_was_not_signed_is_refused() {
        let key = PublicKey::of_file(KEY).unwrap();
        let verify = |text: &str, bytes: &[u8], named: &str| {
            Signature::parse(text).and_then(|signature| signature.verify(&key, bytes, named))
        };
        let comment = SIGNATURE.replace("acme@1.0", "acme@2.0");
        let bytes = SIGNATURE.replace("Wk7val4", "Wk7val5");
        let second = SIGNATURE.replace("q4E6HyMU", "q4E6HyMV");
        let legacy = SIGNATURE.replacen("RUSh", "RWSh", 1);
        for (text, bytes, named) in [
            (SIGNATURE, &b"hello!\n"[..], "acme@1.0"),
            (SIGNATURE, b"hello\n", "acme@1.1"),
            (comment.as_str(), b"hello\n", "acme@2.0"),
            (bytes.as_str(), b"hello\n", "acme@1.0"),
            (second.as_str(), b"hello\n", "acme@1.0"),
            (legacy.as_str(), b"hello\n", "acme@1.0"),
            ("", b"hello\n", "acme@1.0"),
            ("a\nb\nc\nd\n", b"hello\n", "acme@1.0"),
        ] {
            let error = verify(text, bytes, named).unwrap_err();
            assert_eq!(error.code, code::PLUGIN_SIGNATURE, "{text}");
        }
        assert!(PublicKey::of_file("untrusted comment: x\n").is_err());
        assert!(PublicKey::of_file("RWSh/UZx").is_err());
    }
}
