//! What breaks RFC 6455 in a frame.

use thiserror::Error;

use super::close::CloseCode;

/// A rule that a frame breaks, as a phrase for a log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Violation {
    /// A reserved bit for which no extension was negotiated.
    #[error("a reserved bit is set that no negotiated extension has a meaning for")]
    Reserved,
    /// A reserved opcode.
    #[error("the opcode {0:#x} is unknown")]
    OpCode(u8),
    /// A control frame without FIN.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A continuation without a message to go on with.
    #[error("a continuation frame has nothing to continue")]
    UnexpectedContinue,
    /// A new message before the end of the one that is going on.
    #[error("a message begins inside a fragmented one")]
    ExpectedContinue,
    /// A client's frame that is not masked.
    #[error("a frame of a client is not masked")]
    Unmasked,
    /// A server's frame that is masked.
    #[error("a frame of a server is masked")]
    Masked,
    /// A control frame with a payload of more than 125 bytes.
    #[error("the payload of a control frame is longer than 125 bytes")]
    LongControl,
    /// A length that would fit into fewer bytes.
    #[error("a length is not in its shortest form")]
    LongLength,
    /// A length of 2^63 or more.
    #[error("the highest bit of a length is set")]
    HugeLength,
    /// A Close frame with half a code.
    #[error("the payload of a Close frame is one byte")]
    HalfCloseCode,
    /// A code that no endpoint may send.
    #[error("the code {0} must not be in a Close frame")]
    CloseCode(CloseCode),
}

impl Violation {
    /// The section of RFC 6455 that has the rule.
    pub fn section(&self) -> &'static str {
        match self {
            Self::Reserved | Self::OpCode(_) | Self::LongLength | Self::HugeLength => "5.2",
            Self::FragmentedControl | Self::LongControl => "5.5",
            Self::UnexpectedContinue | Self::ExpectedContinue => "5.4",
            Self::Unmasked | Self::Masked => "5.1",
            Self::HalfCloseCode => "5.5.1",
            Self::CloseCode(_) => "7.4",
        }
    }
}
