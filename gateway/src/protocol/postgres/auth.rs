//! Logging in to a server: what each of its challenges is answered with. No I/O.
//!
//! In: the bodies of Authentication messages, the target's credential, and what is known of the server. Out: the answer
//! to send, or why there is none. A password in clear or under MD5 goes to a verified server only; SCRAM binds to the
//! server's certificate where it can, and a server that does not prove that it knows the password is refused.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};

use crate::protocol::postgres::frame::split_string;
use crate::protocol::postgres::message::{ours, put_length};
use crate::upstream::tls::Peer;

/// What a server asks for at login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge<'a> {
    /// Nothing (more): the client is in.
    Accepted,
    /// The password itself.
    Cleartext,
    /// The password under MD5 with this salt.
    Md5([u8; 4]),
    /// One of these SASL mechanisms.
    Sasl(Vec<&'a [u8]>),
    /// The next step of SASL.
    SaslContinue(&'a [u8]),
    /// The last step of SASL.
    SaslFinal(&'a [u8]),
    /// Kerberos, GSSAPI, SSPI, SCM credentials, or something newer.
    Unknown(u32),
}

impl<'a> Challenge<'a> {
    /// Reads the body of an Authentication message.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let (code, rest) = body.split_first_chunk()?;
        Some(match u32::from_be_bytes(*code) {
            0 => Self::Accepted,
            3 => Self::Cleartext,
            5 => Self::Md5(rest.try_into().ok()?),
            10 => Self::Sasl(mechanisms(rest)?),
            11 => Self::SaslContinue(rest),
            12 => Self::SaslFinal(rest),
            unknown => Self::Unknown(unknown),
        })
    }
}

fn mechanisms(mut rest: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while rest != [0] {
        let (name, after) = split_string(rest)?;
        if name.is_empty() || found.len() == 16 {
            return None;
        }
        found.push(name);
        rest = after;
    }
    Some(found)
}

/// Why a login does not go on. The texts name no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The server could be anybody.
    #[error("the server was not verified, so that the credential is not shown to it: set `tls.mode` to verify-full")]
    UnverifiedServer,
    /// A challenge that gives the password away, from a server that could be anybody.
    #[error("the server asks for the password {form} and was not verified: use scram-sha-256 there, or verify-full")]
    WeakChallenge {
        /// In which form.
        form: &'static str,
    },
    /// The credential has no password and the server wants one.
    #[error("the server asks for a password and the credential has none: add `password`, or check its pg_hba.conf")]
    NoPassword,
    /// A method that we do not have.
    #[error("the server asks for authentication method {method}, which is not supported: use scram-sha-256")]
    UnknownMethod {
        /// As the protocol numbers it.
        method: String,
    },
    /// A challenge out of turn.
    #[error("the server broke the order of the login")]
    OutOfTurn,
    /// The server does not know the password, or somebody sits between us and it.
    #[error("scram failed: the server did not prove that it knows the password, or its messages were changed")]
    Scram,
}

/// What to send next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This message.
    Send(Vec<u8>),
    /// Nothing: the server goes on.
    Wait,
    /// Nothing: the login is done.
    Done,
}

enum Await {
    Challenge,
    ScramContinue(ScramSha256),
    ScramFinal(ScramSha256),
    Accepted,
}

/// What the login proves who we are with.
pub(super) struct Proof<'a> {
    /// The server's role.
    pub(super) user: &'a str,
    /// The password, if there is one.
    pub(super) password: Option<&'a [u8]>,
}

/// One login, from the first challenge on.
pub(super) struct Login<'a> {
    proof: Proof<'a>,
    peer: &'a Peer,
    state: Await,
}

impl<'a> Login<'a> {
    /// A login with this proof at this server.
    pub(super) fn new(proof: Proof<'a>, peer: &'a Peer) -> Self {
        Self { proof, peer, state: Await::Challenge }
    }

    /// Answers a challenge.
    ///
    /// # Errors
    /// When the answer would give the password away, or the server does not keep to the protocol.
    pub(super) fn answer(&mut self, challenge: &Challenge<'_>) -> Result<Answer, AuthError> {
        match (std::mem::replace(&mut self.state, Await::Accepted), challenge) {
            (Await::Challenge | Await::Accepted, Challenge::Accepted) => Ok(Answer::Done),
            (Await::Challenge, Challenge::Cleartext) => {
                let password = self.weak("in clear")?;
                Ok(Answer::Send(ours::password(&[password, b"\0"].concat())))
            }
            (Await::Challenge, Challenge::Md5(salt)) => {
                let hash = md5_hash(self.proof.user.as_bytes(), self.weak("under md5")?, *salt);
                Ok(Answer::Send(ours::password(&[hash.as_bytes(), b"\0"].concat())))
            }
            (Await::Challenge, Challenge::Sasl(offered)) => self.begin_scram(offered),
            (Await::ScramContinue(mut scram), Challenge::SaslContinue(data)) => {
                scram.update(data).map_err(|_| AuthError::Scram)?;
                let message = ours::password(scram.message());
                self.state = Await::ScramFinal(scram);
                Ok(Answer::Send(message))
            }
            (Await::ScramFinal(mut scram), Challenge::SaslFinal(data)) => {
                scram.finish(data).map_err(|_| AuthError::Scram)?;
                Ok(Answer::Wait)
            }
            (Await::Challenge, Challenge::Unknown(method)) => {
                Err(AuthError::UnknownMethod { method: method.to_string() })
            }
            _ => Err(AuthError::OutOfTurn),
        }
    }

    fn password(&self) -> Result<&'a [u8], AuthError> {
        self.proof.password.ok_or(AuthError::NoPassword)
    }

    /// The password for a challenge that gives it away, in whole or to a guesser.
    fn weak(&self, form: &'static str) -> Result<&'a [u8], AuthError> {
        if self.peer.is_verified() { self.password() } else { Err(AuthError::WeakChallenge { form }) }
    }

    fn begin_scram(&mut self, offered: &[&[u8]]) -> Result<Answer, AuthError> {
        let offers = |mechanism: &str| offered.contains(&mechanism.as_bytes());
        let (mechanism, binding) = match self.peer.end_point() {
            Some(end_point) if offers(SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(end_point.to_vec()))
            }
            // Says that we could have: a server that offered it, to somebody between us, then refuses (RFC 5802, 6).
            Some(_) if offers(SCRAM_SHA_256) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            None if offers(SCRAM_SHA_256) => (SCRAM_SHA_256, ChannelBinding::unsupported()),
            _ => {
                let names: Vec<_> = offered.iter().map(|name| String::from_utf8_lossy(name)).collect();
                return Err(AuthError::UnknownMethod { method: names.join(", ").chars().take(100).collect() });
            }
        };
        let scram = ScramSha256::new(self.password()?, binding);
        let mut body = mechanism.as_bytes().to_vec();
        body.push(0);
        // An Int32 that counts the message alone; put_length counts itself too.
        put_length(&mut body, scram.message().len().saturating_sub(4));
        body.extend_from_slice(scram.message());
        self.state = Await::ScramContinue(scram);
        Ok(Answer::Send(ours::password(&body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> Proof<'static> {
        Proof { user: "app", password: Some(b"secret") }
    }

    #[test]
    fn reads_challenges_and_refuses_broken_ones() {
        assert_eq!(Challenge::read(&[0, 0, 0, 0]), Some(Challenge::Accepted));
        assert_eq!(Challenge::read(&[0, 0, 0, 5, 1, 2, 3]), None);
        assert_eq!(Challenge::read(b"\0\0\0\x0aSCRAM-SHA-256\0\0"), Some(Challenge::Sasl(vec![b"SCRAM-SHA-256"])));
        assert_eq!(Challenge::read(b"\0\0\0\x0aSCRAM-SHA-256\0"), None);
        assert_eq!(Challenge::read(&[0, 0]), None);
    }

    #[test]
    fn shows_no_password_to_an_unverified_server() {
        let peer = Peer::plaintext();
        for challenge in [Challenge::Cleartext, Challenge::Md5([1, 2, 3, 4])] {
            let answer = Login::new(proof(), &peer).answer(&challenge);
            assert!(matches!(answer, Err(AuthError::WeakChallenge { .. })));
        }
    }

    #[test]
    fn does_not_take_acceptance_in_the_middle_of_scram() {
        let peer = Peer::plaintext();
        let mut login = Login::new(proof(), &peer);
        let answer = login.answer(&Challenge::Sasl(vec![b"SCRAM-SHA-256"])).unwrap();
        let Answer::Send(message) = answer else { panic!("an answer") };
        assert!(message.windows(8).any(|bytes| bytes == b"n,,n=,r="));
        assert_eq!(login.answer(&Challenge::Accepted), Err(AuthError::OutOfTurn));
    }

    #[test]
    fn refuses_a_forged_server_signature() {
        let peer = Peer::plaintext();
        let mut login = Login::new(proof(), &peer);
        let Ok(Answer::Send(first)) = login.answer(&Challenge::Sasl(vec![b"SCRAM-SHA-256"])) else { panic!("first") };
        let text = String::from_utf8_lossy(&first);
        let nonce = text.rsplit("r=").next().unwrap();
        let server_first = format!("r={nonce}xyz,s=c2FsdHNhbHQ=,i=4096");
        assert!(matches!(login.answer(&Challenge::SaslContinue(server_first.as_bytes())), Ok(Answer::Send(_))));
        let forged = b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(login.answer(&Challenge::SaslFinal(forged)), Err(AuthError::Scram));
    }

    #[test]
    fn says_when_there_is_nothing_to_log_in_with() {
        let peer = Peer::plaintext();
        let nothing = Proof { user: "app", password: None };
        let answer = Login::new(nothing, &peer).answer(&Challenge::Sasl(vec![b"SCRAM-SHA-256"]));
        assert_eq!(answer, Err(AuthError::NoPassword));
        assert_eq!(
            Login::new(proof(), &peer).answer(&Challenge::Unknown(7)),
            Err(AuthError::UnknownMethod { method: "7".into() })
        );
    }
}
