//! Close codes, and what is wrong with what a peer sent.
//!
//! Owns which codes may stand in a Close frame. It must not know frames.

/// A status code that may stand in a Close frame (RFC 6455 section 7.4): 1000 to 1003, 1007 to 1014, 3000 to 4999.
///
/// Not 1004, 1005, 1006 and 1015, which are reserved or never sent, and not what the registry has not given out: a code
/// that is none of ours to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: all is done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server is going down, or the page was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: a frame broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of data that is not taken, such as binary.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: the bytes of a message are not of its type, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: against the rules of the house.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message too large to be taken.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: our own fault.
    pub const INTERNAL: Self = Self(1011);
    /// 1013: overloaded; later it may be better.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The code, if it may be sent.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The code as a number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The peer's fault, and the Close to answer with. After one, nothing more of the connection is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The code of the Close frame.
    pub code: CloseCode,
    /// One line for its reason. Static, so that nothing a peer sent can appear in it, and short enough for the frame.
    pub reason: &'static str,
}

impl Fault {
    /// A 1002.
    pub(super) const fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::PROTOCOL, reason }
    }

    /// A 1007.
    pub(super) const fn invalid_data(reason: &'static str) -> Self {
        Self { code: CloseCode::INVALID_DATA, reason }
    }

    /// A 1009.
    pub(super) const fn too_big(reason: &'static str) -> Self {
        Self { code: CloseCode::TOO_BIG, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code() {
        let valid = |code: u16| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        for code in 0..=u16::MAX {
            assert_eq!(CloseCode::new(code).map(CloseCode::get), valid(code).then_some(code));
        }
        for never_sent in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert_eq!(CloseCode::new(never_sent), None, "{never_sent}");
        }
    }
}
