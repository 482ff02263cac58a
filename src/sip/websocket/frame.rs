//! One frame of a WebSocket (RFC 6455 §5.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M| Payload len |    Extended payload length    |
//! |I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
//! |N|V|V|V|       |S|             |   (if payload len==126/127)   |
//! +-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
//! ```

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn from_bits(bits: u8) -> Option<Self> {
        let all =
            [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
        all.into_iter().find(|one| *one as u8 == bits)
    }
}

/// What stands before the payload of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last fragment of its message.
    pub is_last: bool,
    pub opcode: Opcode,
    pub length: u64,
    mask: [u8; 4],
}

impl Header {
    /// The header and where its payload begins; `None`: more bytes are needed.
    pub fn parse(data: &[u8]) -> Result<Option<(Self, usize)>, &'static str> {
        let &[first, second, ref rest @ ..] = data else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err("reserved bit of an extension that was not agreed on");
        }
        let opcode = Opcode::from_bits(first & 0x0f).ok_or("unknown opcode")?;
        let is_last = first & 0x80 != 0;
        if second & 0x80 == 0 {
            return Err("frame of a client is not masked");
        }
        let (length, shortest, size) = match second & 0x7f {
            126 => match rest.first_chunk() {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 126, 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 1 << 16, 8),
                None => return Ok(None),
            },
            length => (u64::from(length), 0, 0),
        };
        if length < shortest {
            return Err("length is not written the shortest way");
        }
        if opcode.is_control() && (!is_last || length > MAX_CONTROL) {
            return Err("control frame is fragmented or too long");
        }
        let Some(&mask) = rest.get(size..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
        Ok(Some((Self { is_last, opcode, length, mask }, 2 + size + 4)))
    }

    /// RFC 6455 §5.3.
    pub fn unmask(&self, payload: &mut [u8]) {
        for (byte, key) in payload.iter_mut().zip(self.mask.iter().cycle()) {
            *byte ^= key;
        }
    }
}

/// A message of ours as one frame, which is not masked (RFC 6455 §5.1).
pub fn wrapped(message: &[u8]) -> Vec<u8> {
    let opcode = match std::str::from_utf8(message) {
        Ok(_) => Opcode::Text,
        Err(_) => Opcode::Binary,
    };
    frame(opcode, message)
}

/// Whether the peer is there.
pub fn pinging() -> Vec<u8> {
    control(Opcode::Ping, b"")
}

/// RFC 6455 §5.5.1.
pub fn closing(code: u16) -> Vec<u8> {
    control(Opcode::Close, &code.to_be_bytes())
}

/// `payload` is of at most 125 bytes.
pub fn control(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(opcode, payload)
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(0x80 | opcode as u8);
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// RFC 6455 §5.5.
const MAX_CONTROL: u64 = 125;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.7.
    #[test]
    fn messages_of_ours_are_one_frame_of_the_shortest_length() {
        assert_eq!(wrapped(b"Hello"), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(wrapped(b"\xff"), [0x82, 0x01, 0xff]);
        assert_eq!(wrapped(&[b'x'; 256])[..4], [0x81, 0x7e, 0x01, 0x00]);
        let long = wrapped(&[b'x'; 65536]);
        assert_eq!(long[..10], [0x81, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(long.len(), 65546);
        assert_eq!(pinging(), [0x89, 0x00]);
    }
}
