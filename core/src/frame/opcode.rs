//! What a frame is for (RFC 6455 section 5.2).

/// The opcode of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// A part of a message.
    Data(Data),
    /// A frame about the connection.
    Control(Control),
}

/// The opcodes of data frames (RFC 6455 section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Data {
    /// The message goes on.
    Continue = 0x0,
    /// A text message begins.
    Text = 0x1,
    /// A binary message begins.
    Binary = 0x2,
}

/// The opcodes of control frames (RFC 6455 section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Control {
    /// The sender will send nothing more.
    Close = 0x8,
    /// A Pong is asked for.
    Ping = 0x9,
    /// The answer to a Ping, or a sign of life.
    Pong = 0xa,
}

impl OpCode {
    /// The opcode in the lowest four bits of a frame's first byte; `None` for one that RFC 6455
    /// reserves.
    #[inline]
    pub const fn of(first: u8) -> Option<Self> {
        Some(match first & 0x0f {
            0x0 => Self::Data(Data::Continue),
            0x1 => Self::Data(Data::Text),
            0x2 => Self::Data(Data::Binary),
            0x8 => Self::Control(Control::Close),
            0x9 => Self::Control(Control::Ping),
            0xa => Self::Control(Control::Pong),
            _ => return None,
        })
    }

    /// The opcode as it is in a frame.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Data(data) => data as u8,
            Self::Control(control) => control as u8,
        }
    }
}
