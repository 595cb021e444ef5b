//! The login: what the server asks for and the proofs of a password
//! (<https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>). The
//! password itself and its MD5 are sent within TLS only, unless the connection says otherwise, and
//! SCRAM is bound to the server's certificate.

use std::io;

use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
    },
    message::{
        backend::{AuthenticationSaslBody, Message},
        frontend,
    },
};
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha384, Sha512};
use transload_plugin_api::{Error, Secret};

use crate::{
    failure::{Failure, ServerError},
    options::Address,
    wire::Wire,
};

/// With fewer rounds, a password could be guessed from its proof (RFC 7677).
const FEWEST_ROUNDS: u32 = 4_096;

/// What a request to cancel a statement names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BackendKey {
    pub(crate) process: i32,
    pub(crate) secret: i32,
}

/// Why a login failed.
pub(crate) enum LoginError {
    Failure(Failure),
    /// Refused on our side.
    Refused(Error),
}

impl<E: Into<Failure>> From<E> for LoginError {
    fn from(error: E) -> Self {
        Self::Failure(error.into())
    }
}

/// Logs in, up to the server's first ReadyForQuery.
pub(crate) fn log_in(
    wire: &mut Wire,
    address: &Address,
    password: Option<&Secret>,
) -> Result<BackendKey, LoginError> {
    let parameters = [
        ("client_encoding", "UTF8"),
        ("user", &address.user),
        ("database", &address.database),
        ("application_name", &address.application_name),
    ];
    frontend::startup_message(parameters, &mut wire.output).map_err(refused_name)?;
    wire.flush()?;
    let password = password.map(|secret| secret.expose().as_bytes());
    let accepted = match address.require_auth.is_empty() {
        true => AuthMethod::usual(wire.stream().is_encrypted()),
        false => &address.require_auth,
    };
    Login { wire, user: address.user.as_bytes(), password, accepted }.authenticate()?;
    let mut key = BackendKey::default();
    loop {
        match next(wire)? {
            Message::BackendKeyData(body) => {
                key = BackendKey { process: body.process_id(), secret: body.secret_key() };
            }
            Message::ReadyForQuery(_) => return Ok(key),
            _ => return Err(Failure::protocol("unexpected message after the login").into()),
        }
    }
}

/// A zero byte would end a name in the middle.
fn refused_name(error: io::Error) -> LoginError {
    let message = format!("`user`, `database` or `application_name` cannot be sent: {error}");
    LoginError::Refused(Error::options(message))
}

fn refused(message: &str, hint: &str) -> LoginError {
    LoginError::Refused(Error::connection(message).hint(hint))
}

/// The next message; an error of the server is an error.
fn next(wire: &mut Wire) -> Result<Message, Failure> {
    if wire.receive()? == postgres_protocol::message::backend::ERROR_RESPONSE_TAG {
        return Err(Failure::Server(Box::new(ServerError::parse(wire.body()))));
    }
    Ok(wire.parsed()?)
}

/// How the server may ask who logs in, by libpq's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum AuthMethod {
    /// Not at all, or by the client's certificate.
    #[serde(rename = "none")]
    None,
    /// By the password itself.
    #[serde(rename = "password")]
    Password,
    #[serde(rename = "md5")]
    Md5,
    #[serde(rename = "scram-sha-256")]
    Scram,
}

impl AuthMethod {
    pub(crate) const WORDS: [&str; 4] = ["none", "password", "md5", "scram-sha-256"];

    /// What is accepted where the connection does not say. Without TLS the other end is not known,
    /// and a password or its MD5 would be given to whoever asks.
    fn usual(is_encrypted: bool) -> &'static [Self] {
        match is_encrypted {
            true => &[Self::None, Self::Password, Self::Md5, Self::Scram],
            false => &[Self::None, Self::Scram],
        }
    }

    fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

struct Login<'a> {
    wire: &'a mut Wire,
    user: &'a [u8],
    password: Option<&'a [u8]>,
    accepted: &'a [AuthMethod],
}

impl Login<'_> {
    fn authenticate(&mut self) -> Result<(), LoginError> {
        match next(self.wire)? {
            Message::AuthenticationOk => return self.accept(AuthMethod::None),
            Message::AuthenticationCleartextPassword => {
                self.accept(AuthMethod::Password)?;
                let password = required(self.password)?;
                frontend::password_message(password, &mut self.wire.output)?;
            }
            Message::AuthenticationMd5Password(body) => {
                self.accept(AuthMethod::Md5)?;
                let hash = md5_hash(self.user, required(self.password)?, body.salt());
                frontend::password_message(hash.as_bytes(), &mut self.wire.output)?;
            }
            Message::AuthenticationSasl(body) => self.scram(&body)?,
            _ => {
                return Err(refused(
                    "the server asks for a login method that this client does not have",
                    "let pg_hba.conf ask for `scram-sha-256` or `cert`",
                ));
            }
        }
        self.wire.flush()?;
        match next(self.wire)? {
            Message::AuthenticationOk => Ok(()),
            _ => Err(Failure::protocol("the login does not end").into()),
        }
    }

    /// Refuses a way to log in that the connection does not accept.
    fn accept(&self, method: AuthMethod) -> Result<(), LoginError> {
        if self.accepted.contains(&method) {
            return Ok(());
        }
        let tls = if self.wire.stream().is_encrypted() { "" } else { ", without TLS" };
        let message = match method {
            AuthMethod::None => format!("the server does not ask for a password{tls}"),
            AuthMethod::Password => format!("the server asks for the password in clear text{tls}"),
            AuthMethod::Md5 => format!("the server asks for the password's MD5{tls}"),
            AuthMethod::Scram => format!("the server asks for SCRAM{tls}"),
        };
        let hint = match method {
            AuthMethod::Password | AuthMethod::Md5 => format!(
                "set `tls`, or let pg_hba.conf ask for `scram-sha-256`; `require_auth = \"{}\"` \
                 sends it nevertheless",
                method.word()
            ),
            _ => format!("`require_auth` lacks `{}`", method.word()),
        };
        Err(refused(&message, &hint))
    }

    /// Both sides prove that they know the password; neither shows it.
    fn scram(&mut self, offered: &AuthenticationSaslBody) -> Result<(), LoginError> {
        self.accept(AuthMethod::Scram)?;
        let (mechanism, binding) = self.mechanism(offered)?;
        let mut scram = ScramSha256::new(required(self.password)?, binding);
        frontend::sasl_initial_response(mechanism, scram.message(), &mut self.wire.output)?;
        self.wire.flush()?;
        let Message::AuthenticationSaslContinue(body) = next(self.wire)? else {
            return Err(Failure::protocol("the server broke off the SCRAM login").into());
        };
        check_rounds(body.data())?;
        scram.update(body.data())?;
        frontend::sasl_response(scram.message(), &mut self.wire.output)?;
        self.wire.flush()?;
        let Message::AuthenticationSaslFinal(body) = next(self.wire)? else {
            return Err(
                Failure::protocol("the server did not prove that it knows the password").into()
            );
        };
        scram.finish(body.data())?;
        Ok(())
    }

    /// The strongest mechanism that both sides have, and how it is bound to the connection.
    fn mechanism(
        &self,
        offered: &AuthenticationSaslBody,
    ) -> Result<(&'static str, ChannelBinding), LoginError> {
        let (mut plain, mut plus) = (false, false);
        let mut mechanisms = offered.mechanisms();
        while let Some(mechanism) = mechanisms.next()? {
            plain |= mechanism == SCRAM_SHA_256;
            plus |= mechanism == SCRAM_SHA_256_PLUS;
        }
        let hash = self.wire.stream().certificate().and_then(|it| certificate_hash(it));
        Ok(match hash {
            Some(hash) if plus => (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash)),
            // Says that binding would have been possible: a server that offered it notices that
            // its offer was removed on the way.
            Some(_) if plain => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            None if plain => (SCRAM_SHA_256, ChannelBinding::unsupported()),
            _ => {
                return Err(refused(
                    "the server offers no SASL mechanism that this client has",
                    "let pg_hba.conf ask for `scram-sha-256`",
                ));
            }
        })
    }
}

fn required(password: Option<&[u8]>) -> Result<&[u8], LoginError> {
    password.ok_or_else(|| {
        refused("the server asks for a password", "give `password`, or log in by certificate")
    })
}

/// Refuses a proof that would give the password away. The most rounds are limited by the crate.
fn check_rounds(first: &[u8]) -> Result<(), LoginError> {
    let rounds = first.split(|byte| *byte == b',').find_map(|part| part.strip_prefix(b"i="));
    let rounds = rounds.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u32>().ok());
    match rounds {
        Some(FEWEST_ROUNDS..) => Ok(()),
        Some(rounds) => Err(refused(
            &format!("the server asks for SCRAM with {rounds} rounds, fewer than {FEWEST_ROUNDS}"),
            "set the user's password again with `scram_iterations` at 4096 or more",
        )),
        None => Err(Failure::protocol("SCRAM without a number of rounds").into()),
    }
}

/// The hash of a certificate (DER) that `tls-server-end-point` binds to (RFC 5929): by the hash
/// function of its signature, SHA-256 in place of weaker ones. `None` if that names no single one.
fn certificate_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    // The last bytes of each identifier, after its family's: PKCS #1, ECDSA with SHA-2.
    const PKCS1: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04];
    let identifier = signature_algorithm(certificate)?;
    let digest = match (identifier.strip_prefix(PKCS1), identifier.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Sha256::digest(certificate).to_vec(),
        (Some([12]), _) | (_, Some([3, 3])) => Sha384::digest(certificate).to_vec(),
        (Some([13]), _) | (_, Some([3, 4])) => Sha512::digest(certificate).to_vec(),
        _ => return None,
    };
    Some(digest)
}

/// The identifier in `SEQUENCE { certificate, SEQUENCE { identifier, ... }, signature }`.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const IDENTIFIER: u8 = 0x06;
    let (content, _) = der_value(certificate, SEQUENCE)?;
    let (_, after) = der_value(content, SEQUENCE)?;
    let (algorithm, _) = der_value(after, SEQUENCE)?;
    Some(der_value(algorithm, IDENTIFIER)?.0)
}

/// The content of a DER value with this tag, and what follows it.
fn der_value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7F => (first.into(), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate's frame: the signed part, an algorithm with this identifier, a signature.
    fn certificate(identifier: &[u8], signed: usize) -> Vec<u8> {
        let value = |tag: u8, content: &[u8]| {
            let length = (content.len() as u16).to_be_bytes();
            [&[tag, 0x82][..], &length, content].concat()
        };
        let algorithm = value(0x30, &[value(0x06, identifier), vec![5, 0]].concat());
        value(0x30, &[value(0x30, &vec![7; signed]), algorithm, vec![3, 1, 0]].concat())
    }

    #[test]
    fn the_signature_decides_how_a_certificate_is_hashed() {
        let pkcs1 = |last: u8| [&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1][..], &[last]].concat();
        let ecdsa = |last: &[u8]| [&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4][..], last].concat();
        for (identifier, length) in [
            (pkcs1(11), Some(32)),
            (pkcs1(5), Some(32)), // SHA-1 is replaced
            (pkcs1(12), Some(48)),
            (pkcs1(13), Some(64)),
            (pkcs1(10), None), // PSS names its hash elsewhere
            (ecdsa(&[3, 2]), Some(32)),
            (ecdsa(&[3, 4]), Some(64)),
            (vec![0x2B, 0x65, 0x70], None), // Ed25519 has none
        ] {
            let certificate = certificate(&identifier, 300);
            let hash = certificate_hash(&certificate);
            assert_eq!(hash.map(|hash| hash.len()), length, "{identifier:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_hash() {
        let whole = certificate(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11], 10);
        for length in 0..whole.len() - 4 {
            let _ = certificate_hash(&whole[..length]);
        }
        for bytes in [&b""[..], b"0", &[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], &[0x30, 0x80, 0, 0]] {
            assert_eq!(certificate_hash(bytes), None, "{bytes:?}");
        }
    }
}
