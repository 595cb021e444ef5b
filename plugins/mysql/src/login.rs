//! Proofs of a password: `mysql_native_password` and `caching_sha2_password`
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html>),
//! the latter's full exchange by RSA. Who asks for which is left to `session`.

use base64::Engine as _;
use num_bigint::BigUint;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use transload_plugin_api::{Error, ErrorKind, Result};

/// `SHA1(password) XOR SHA1(salt + SHA1(SHA1(password)))`; empty for no password.
pub(crate) fn native_proof(password: &[u8], salt: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password);
    let mut outer = Sha1::new();
    outer.update(salt);
    outer.update(Sha1::digest(once));
    xor(&once, &outer.finalize())
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)) + salt)`; empty for no password.
pub(crate) fn sha2_proof(password: &[u8], salt: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha256::digest(password);
    let mut outer = Sha256::new();
    outer.update(Sha256::digest(once));
    outer.update(salt);
    xor(&once, &outer.finalize())
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

/// The password under the server's public key (PEM), by RSA with OAEP padding, as the full
/// exchange of `caching_sha2_password` wants it on a connection without TLS.
pub(crate) fn encrypted(password: &[u8], salt: &[u8], pem: &[u8]) -> Result<Vec<u8>> {
    let (modulus, exponent) =
        public_key(pem).ok_or_else(|| broken("the server's public key is not understood"))?;
    let mut plain = password.to_vec();
    plain.push(0);
    for (at, byte) in plain.iter_mut().enumerate() {
        *byte ^= salt[at % salt.len()];
    }
    let mut seed = [0; 20];
    getrandom::fill(&mut seed).map_err(|_| broken("the system gives no random bytes"))?;
    let size = modulus.to_bytes_be().len();
    let padded =
        padded(&plain, &seed, size).ok_or_else(|| broken("the password is longer than the key"))?;
    let secret = BigUint::from_bytes_be(&padded).modpow(&exponent, &modulus).to_bytes_be();
    let mut out = vec![0; size - secret.len()];
    out.extend_from_slice(&secret);
    Ok(out)
}

fn broken(message: &str) -> Error {
    Error::new(ErrorKind::Connection, message)
}

/// OAEP with SHA-1 and an empty label (RFC 8017, section 7.1.1); `None` if it does not fit.
fn padded(message: &[u8], seed: &[u8; 20], size: usize) -> Option<Vec<u8>> {
    let filling = size.checked_sub(message.len() + 2 * 20 + 2)?;
    let mut block = Sha1::digest(b"").to_vec();
    block.resize(block.len() + filling, 0);
    block.push(1);
    block.extend_from_slice(message);
    let block = xor(&block, &mask(seed, block.len()));
    let seed = xor(seed, &mask(&block, 20));
    Some([&[0][..], &seed, &block].concat())
}

/// MGF1 with SHA-1 (RFC 8017, appendix B.2.1).
fn mask(seed: &[u8], length: usize) -> Vec<u8> {
    let blocks = (0u32..).flat_map(|counter| {
        let mut hash = Sha1::new();
        hash.update(seed);
        hash.update(counter.to_be_bytes());
        hash.finalize().to_vec()
    });
    blocks.take(length).collect()
}

/// Modulus and exponent of a PEM `PUBLIC KEY`.
fn public_key(pem: &[u8]) -> Option<(BigUint, BigUint)> {
    let text = std::str::from_utf8(pem).ok()?;
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(body.trim_end_matches('\0').trim())
        .ok()?;
    let (info, _) = element(0x30, &der)?;
    let (_, rest) = element(0x30, info)?;
    let (bits, _) = element(0x03, rest)?;
    let (key, _) = element(0x30, bits.strip_prefix(&[0])?)?;
    let (modulus, rest) = element(0x02, key)?;
    let (exponent, _) = element(0x02, rest)?;
    Some((BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent)))
}

/// The content of a DER element with this tag, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if *found != tag {
        return None;
    }
    if first < 0x80 {
        return rest.split_at_checked(first.into());
    }
    let (length, rest) = rest.split_at_checked((first & 0x7F).into())?;
    let length = length
        .iter()
        .try_fold(0usize, |all, byte| all.checked_mul(256).map(|all| all + usize::from(*byte)))?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn proofs_can_be_checked_by_the_server() {
        assert_eq!(native_proof(b"", b"12345678901234567890"), b"");
        assert_eq!(sha2_proof(b"", b"12345678901234567890"), b"");
        // What a server does: it knows SHA1(SHA1(password)) and undoes the mask.
        let salt = b"abcdefghijklmnopqrst";
        let proof = native_proof(b"secret", salt);
        let stored = Sha1::digest(Sha1::digest(b"secret"));
        let mask = Sha1::digest([&salt[..], &stored].concat());
        assert_eq!(hex(&Sha1::digest(xor(&proof, &mask))), hex(&stored));
        let proof = sha2_proof(b"secret", salt);
        let stored = Sha256::digest(Sha256::digest(b"secret"));
        let mask = Sha256::digest([&stored[..], salt].concat());
        assert_eq!(hex(&Sha256::digest(xor(&proof, &mask))), hex(&stored));
    }

    #[test]
    fn padding_can_be_undone() {
        let (message, seed) = (b"a password", [7; 20]);
        let padded = padded(message, &seed, 128).unwrap();
        assert_eq!(padded.len(), 128);
        let found_seed = xor(&padded[1..21], &mask(&padded[21..], 20));
        assert_eq!(found_seed, seed);
        let block = xor(&padded[21..], &mask(&seed, 107));
        assert!(block.ends_with(b"\x01a password"));
        assert!(super::padded(&[0; 87], &seed, 128).is_none());
    }

    #[test]
    fn broken_keys_are_refused() {
        for pem in [&b""[..], b"-----BEGIN-----\nAAAA\n-----END-----", b"\xff"] {
            assert_eq!(encrypted(b"x", &[1; 20], pem).unwrap_err().kind, ErrorKind::Connection);
        }
    }
}
