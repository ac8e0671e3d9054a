//! What `exec` and the guardian tell each other, over a socket pair: nine bytes each.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg,
};

use crate::time::Instant;

pub const FRAME: usize = 9;
pub type Frame = [u8; FRAME];

/// From `exec` to the guardian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The grant runs until then.
    Until(Instant),
    /// Does it run? Answered by [`Report::Running`] or [`Report::Stopped`].
    Ask,
    /// For the program's process group.
    Signal(i32),
    /// Has its grace from now on, beginning with this signal.
    Stop(i32),
    Kill,
}

/// From the guardian to `exec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    Running,
    Stopped,
    /// The program has ended, and nothing that it left behind is alive. `told`: it was asked to.
    Ended {
        code: u8,
        told: bool,
    },
}

impl Order {
    pub fn frame(self) -> Frame {
        match self {
            Self::Until(until) => frame(0, until.as_nanos()),
            Self::Ask => frame(1, 0),
            Self::Signal(number) => frame(2, u64::from(number.unsigned_abs())),
            Self::Stop(number) => frame(3, u64::from(number.unsigned_abs())),
            Self::Kill => frame(4, 0),
        }
    }

    pub fn parse(bytes: Frame) -> Option<Self> {
        Some(match parts(bytes) {
            (0, nanos) => Self::Until(Instant::from_nanos(nanos)),
            (1, _) => Self::Ask,
            (2, number) => Self::Signal(i32::try_from(number).ok()?),
            (3, number) => Self::Stop(i32::try_from(number).ok()?),
            (4, _) => Self::Kill,
            _ => return None,
        })
    }
}

impl Report {
    pub fn frame(self) -> Frame {
        match self {
            Self::Running => frame(0, 0),
            Self::Stopped => frame(1, 0),
            Self::Ended { code, told } => frame(2 + u8::from(told), code.into()),
        }
    }

    pub fn parse(bytes: Frame) -> Option<Self> {
        let (kind, number) = parts(bytes);
        Some(match kind {
            0 => Self::Running,
            1 => Self::Stopped,
            2 | 3 => Self::Ended {
                code: u8::try_from(number).ok()?,
                told: kind == 3,
            },
            _ => return None,
        })
    }
}

fn frame(kind: u8, number: u64) -> Frame {
    let mut bytes = [kind; FRAME];
    if let Some(rest) = bytes.get_mut(1..) {
        rest.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn parts([kind, number @ ..]: Frame) -> (u8, u64) {
    (kind, u64::from_le_bytes(number))
}

/// Never waits: a peer that does not read has stopped or gone, and the deadline does not wait for it.
pub fn say(to: impl AsFd, frame: Frame) {
    let _ = send(to, &frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// An order that has arrived already.
pub fn hear(from: impl AsFd) -> Option<Order> {
    let mut bytes = [0; FRAME];
    let (_, received) = recv(from, &mut bytes, RecvFlags::DONTWAIT).ok()?;
    // Each is sent as a whole.
    Order::parse(bytes).filter(|_| received == FRAME)
}

/// The first order, with two descriptors that the guardian holds: the program's standard input, and the socket of the
/// campaign, so that its end is not seen before the program's.
pub fn open(
    to: impl AsFd,
    until: Instant,
    stdin: BorrowedFd<'_>,
    campaign: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let held = [stdin, campaign];
    control.push(SendAncillaryMessage::ScmRights(&held));
    let frame = Order::Until(until).frame();
    sendmsg(
        to,
        &[IoSlice::new(&frame)],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(())
}

/// The guardian's side of [`open`].
pub fn accept(from: impl AsFd) -> io::Result<(Instant, OwnedFd, OwnedFd)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; FRAME];
    let received = recvmsg(
        from,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut held = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            held.extend(more);
        }
    }
    match (
        received.bytes,
        Order::parse(bytes),
        <[OwnedFd; 2]>::try_from(held),
    ) {
        (FRAME, Some(Order::Until(until)), Ok([stdin, campaign])) => Ok((until, stdin, campaign)),
        _ => Err(io::Error::other("it is started by `understudy exec` only")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_is_read() {
        let until = Order::Until(Instant::from_nanos(1 << 60));
        for order in [
            until,
            Order::Ask,
            Order::Signal(15),
            Order::Stop(2),
            Order::Kill,
        ] {
            assert_eq!(Order::parse(order.frame()), Some(order));
        }
        let ended = |told| Report::Ended { code: 137, told };
        for report in [Report::Running, Report::Stopped, ended(true), ended(false)] {
            assert_eq!(Report::parse(report.frame()), Some(report));
        }
        assert_eq!(Order::parse([9; FRAME]), None);
    }
}
