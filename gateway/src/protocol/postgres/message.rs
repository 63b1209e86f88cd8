//! The messages of protocol 3.0 and 3.2, by tag (PostgreSQL documentation, "Message Formats").
//!
//! In: a tag byte. Out: which message that is, for this direction, or none: a tag that is not here is never passed on.
//! Tag bytes appear in this file and nowhere else.

/// A message that clients send after startup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frontend {
    /// Text to run at once.
    Query,
    /// Text to prepare.
    Parse,
    /// A portal from a prepared statement and parameters.
    Bind,
    /// Run a portal.
    Execute,
    /// What a statement or portal looks like.
    Describe,
    /// Forget a statement or portal.
    Close,
    /// End of a pipeline.
    Sync,
    /// Send what you have.
    Flush,
    /// COPY data.
    CopyData,
    /// End of COPY data.
    CopyDone,
    /// COPY given up.
    CopyFail,
    /// A function by its object id, past the parser.
    FunctionCall,
    /// A password, or a step of SASL or GSSAPI.
    Password,
    /// Goodbye.
    Terminate,
}

impl Frontend {
    /// The message of this tag, if clients have one.
    pub(super) fn from_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            b'Q' => Self::Query,
            b'P' => Self::Parse,
            b'B' => Self::Bind,
            b'E' => Self::Execute,
            b'D' => Self::Describe,
            b'C' => Self::Close,
            b'S' => Self::Sync,
            b'H' => Self::Flush,
            b'd' => Self::CopyData,
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail,
            b'F' => Self::FunctionCall,
            b'p' => Self::Password,
            b'X' => Self::Terminate,
            _ => return None,
        })
    }
}

/// A message that servers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A step of authentication.
    Authentication,
    /// The key to cancel with.
    BackendKeyData,
    /// A reported setting.
    ParameterStatus,
    /// Which protocol the server speaks instead.
    NegotiateProtocolVersion,
    /// Ready for the next statement, with the transaction's state.
    ReadyForQuery,
    /// A statement was prepared.
    ParseComplete,
    /// A portal was made.
    BindComplete,
    /// A statement or portal is forgotten.
    CloseComplete,
    /// The types of a statement's parameters.
    ParameterDescription,
    /// The columns of a result.
    RowDescription,
    /// There is no result to describe.
    NoData,
    /// One row.
    DataRow,
    /// A statement is done.
    CommandComplete,
    /// The text was empty.
    EmptyQueryResponse,
    /// The row limit was reached.
    PortalSuspended,
    /// COPY from the client starts.
    CopyInResponse,
    /// COPY to the client starts.
    CopyOutResponse,
    /// Replication starts.
    CopyBothResponse,
    /// COPY data.
    CopyData,
    /// End of COPY data.
    CopyDone,
    /// An error.
    ErrorResponse,
    /// A notice.
    NoticeResponse,
    /// Something was notified.
    NotificationResponse,
    /// The answer to a function call.
    FunctionCallResponse,
}

impl Backend {
    /// The message of this tag, if servers have one.
    pub(super) fn from_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            b'R' => Self::Authentication,
            b'K' => Self::BackendKeyData,
            b'S' => Self::ParameterStatus,
            b'v' => Self::NegotiateProtocolVersion,
            b'Z' => Self::ReadyForQuery,
            b'1' => Self::ParseComplete,
            b'2' => Self::BindComplete,
            b'3' => Self::CloseComplete,
            b't' => Self::ParameterDescription,
            b'T' => Self::RowDescription,
            b'n' => Self::NoData,
            b'D' => Self::DataRow,
            b'C' => Self::CommandComplete,
            b'I' => Self::EmptyQueryResponse,
            b's' => Self::PortalSuspended,
            b'G' => Self::CopyInResponse,
            b'H' => Self::CopyOutResponse,
            b'W' => Self::CopyBothResponse,
            b'd' => Self::CopyData,
            b'c' => Self::CopyDone,
            b'E' => Self::ErrorResponse,
            b'N' => Self::NoticeResponse,
            b'A' => Self::NotificationResponse,
            b'V' => Self::FunctionCallResponse,
            _ => return None,
        })
    }

    /// Whether the message passes through without being read whole, where nothing masks it.
    pub(super) fn streams(self) -> bool {
        matches!(self, Self::DataRow | Self::CopyData | Self::RowDescription | Self::ParameterDescription)
    }
}

/// Messages that we ourselves send to the server.
pub(super) mod ours {
    /// Asks for what the server has buffered.
    pub(in super::super) const FLUSH: &[u8] = b"H\0\0\0\x04";
    /// Ends a pipeline.
    pub(in super::super) const SYNC: &[u8] = b"S\0\0\0\x04";
    /// Ends the session.
    pub(in super::super) const TERMINATE: &[u8] = b"X\0\0\0\x04";
    /// What a server says at the end of the rows that an Execute asked for.
    pub(in super::super) const SUSPENDED: &[u8] = b"s\0\0\0\x04";
    /// Describes a statement that cannot exist: fails, changes nothing else, and so ends an implicit transaction
    /// without a commit. A client cannot prepare under this name: see [`RESERVED`].
    pub(in super::super) const FAIL: &[u8] = b"D\0\0\0\x16S/gateway/refused\0";
    /// What the names of ours begin with: that in [`FAIL`], and that of a [`question`].
    pub(in super::super) const RESERVED: &[u8] = b"/gateway/";
    const QUESTION: &str = "/gateway/question";

    /// A Query.
    pub(in super::super) fn query(text: impl AsRef<[u8]>) -> Vec<u8> {
        framed(b'Q', &[text.as_ref(), b"\0"].concat())
    }
    /// A query of ours that leaves all as it is. A Query would take the client's unnamed statement with it, which some
    /// clients prepare in one pipeline and bind in the next.
    pub(in super::super) fn question(text: &str) -> Vec<u8> {
        let name = [QUESTION.as_bytes(), b"\0"].concat();
        let close = |kind: &[u8]| framed(b'C', &[kind, &name].concat());
        [
            // One that failed may have left it.
            close(b"S"),
            parse(QUESTION, text, &[0; 2]),
            framed(b'B', &[&name[..], &name, &[0; 6]].concat()),
            execute(QUESTION),
            close(b"P"),
            close(b"S"),
            SYNC.to_vec(),
        ]
        .concat()
    }
    /// A Parse, with the parameter types of another.
    pub(in super::super) fn parse(name: impl AsRef<[u8]>, text: impl AsRef<[u8]>, types: &[u8]) -> Vec<u8> {
        framed(b'P', &[name.as_ref(), b"\0", text.as_ref(), b"\0", types].concat())
    }
    /// An Execute of all rows of a portal.
    pub(in super::super) fn execute(portal: impl AsRef<[u8]>) -> Vec<u8> {
        framed(b'E', &[portal.as_ref(), &[0; 5]].concat())
    }
    /// A message of the tag that a password, and each SASL answer, travels under.
    pub(in super::super) fn password(body: &[u8]) -> Vec<u8> {
        framed(b'p', body)
    }

    /// Describes the unnamed portal or one of this name, for a reader of our own.
    pub(in super::super) fn describe_portal(name: &[u8], out: &mut Vec<u8>) {
        out.push(b'D');
        super::put_length(out, name.len() + 2);
        out.push(b'P');
        out.extend_from_slice(name);
        out.push(0);
    }

    /// A CancelRequest for a server process.
    pub(in super::super) fn cancel_request(process: u32, key: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(12 + key.len());
        super::put_length(&mut out, 8 + key.len());
        out.extend_from_slice(&80_877_102_u32.to_be_bytes());
        out.extend_from_slice(&process.to_be_bytes());
        out.extend_from_slice(key);
        out
    }

    fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + 5);
        out.push(tag);
        super::put_length(&mut out, body.len());
        out.extend_from_slice(body);
        out
    }
}

/// Writes the length field of a message with a body of `body` bytes.
pub(super) fn put_length(out: &mut Vec<u8>, body: usize) {
    let length = u32::try_from(body.saturating_add(4)).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::postgres::frame::Header;

    #[test]
    fn every_byte_is_a_known_message_or_none() {
        assert_eq!((0..=u8::MAX).filter_map(Frontend::from_tag).count(), 14);
        assert_eq!((0..=u8::MAX).filter_map(Backend::from_tag).count(), 24);
    }

    #[test]
    fn our_own_messages_have_the_lengths_they_declare() {
        let mut described = Vec::new();
        ours::describe_portal(b"p", &mut described);
        for message in
            [ours::FLUSH, ours::SYNC, ours::TERMINATE, ours::FAIL, ours::SUSPENDED, &ours::execute("p"), &described]
        {
            assert_eq!(Header::read(message).unwrap().unwrap().size, message.len());
        }
    }
}
