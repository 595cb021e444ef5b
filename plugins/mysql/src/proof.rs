//! Password proofs: `mysql_native_password` and `caching_sha2_password`
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html>),
//! and the latter's full exchange with RSA. Choosing the method is left to `login`.

use rsa::{PublicKey, pkcs8::DecodePublicKey as _, traits::PublicKeyParts as _};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use transload_plugin_api::{Error, Result, code};

/// How many bytes a server's salt has.
pub(crate) const SALT: usize = 20;
/// The longest modulus, in bits: encrypting with a longer one takes a processor for minutes.
const MODULUS: u32 = 8_192;
/// The longest exponent, in bits.
const EXPONENT: u32 = 32;

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

/// The password encrypted with the server's public key (PEM), as required by the full exchange of
/// `caching_sha2_password` on a connection without TLS: masked with the salt, then RSA with OAEP
/// padding over SHA-1.
pub(crate) fn encrypted(password: &[u8], salt: &[u8], pem: &[u8]) -> Result<Vec<u8>> {
    let key = public_key(pem)?;
    // The server expects the terminating NUL of a C string.
    let mut plain = password.to_vec();
    plain.push(0);
    for (byte, mask) in plain.iter_mut().zip(salt.iter().cycle()) {
        *byte ^= mask;
    }
    key.oaep_encrypt::<Sha1>(&plain)
        .map_err(|error| Error::connection("cannot encrypt the password").caused_by(&error))
}

/// The key of a PEM block `PUBLIC KEY`; servers may add a NUL to it.
fn public_key(pem: &[u8]) -> Result<PublicKey> {
    let refused = |words: &str| {
        Error::connection(format!("cannot use the server's public key: {words}"))
            .with_code(code::MYSQL_PUBLIC_KEY)
    };
    let text = std::str::from_utf8(pem).map_err(|_| refused("it is no text"))?;
    // The crate refuses sizes that it does not compute with before it looks at the numbers.
    let key = PublicKey::from_public_key_pem(text.trim_end_matches('\0'))
        .map_err(|error| refused(&error.to_string()))?;
    match (key.n().bit_width(), key.e().bit_width()) {
        (..=MODULUS, ..=EXPONENT) => Ok(key),
        _ => Err(refused("its numbers are longer than 8,192 and 32 bits")),
    }
}

#[cfg(test)]
mod tests {
    use rsa::{
        PrivateKey,
        pkcs8::{EncodePublicKey as _, LineEnding},
    };

    use super::*;
    use transload_plugin_api::ErrorKind;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn proofs_can_be_checked_by_the_server() {
        assert_eq!(native_proof(b"", b"12345678901234567890"), b"");
        assert_eq!(sha2_proof(b"", b"12345678901234567890"), b"");
        // The server knows SHA1(SHA1(password)) and removes the mask.
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
    fn the_server_can_decrypt_a_password() {
        let key = PrivateKey::new(&mut getrandom::SysRng, 1024).unwrap();
        let pem = key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
        let (password, salt) = (&b"a password that is longer than the salt"[..], [7; 20]);
        for pem in [pem.clone(), format!("{pem}\0")] {
            let encrypted = encrypted(password, &salt, pem.as_bytes()).unwrap();
            let plain = key.oaep_decrypt::<Sha1>(&encrypted).unwrap();
            let plain: Vec<u8> = plain.iter().map(|byte| byte ^ 7).collect();
            assert_eq!(plain, [password, &[0]].concat());
        }
        let long = [b'x'; 1024 / 8];
        let error = encrypted(&long, &salt, pem.as_bytes()).unwrap_err();
        assert_eq!(error.message, "cannot encrypt the password");
    }

    #[test]
    fn broken_keys_are_refused() {
        for pem in [&b""[..], b"-----BEGIN-----\nAAAA\n-----END-----", b"\xff"] {
            let error = encrypted(b"x", &[1; SALT], pem).unwrap_err();
            assert_eq!((error.kind, &*error.code), (ErrorKind::Connection, "MYSQL-PUBLIC-KEY"));
        }
    }
}
