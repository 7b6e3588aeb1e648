//! The network between machines and coordinator. Chaos takes packets in any order; healing takes them in order. A
//! stream that ended delivers nothing more, as with the real shell.

use m2t_common::machine_link::{FromMachine, ToMachine, Work};
use m2t_common::report::News;
use m2t_coordinator_core::StreamId;

/// Something under way.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// To the coordinator.
    Up(StreamId, FromMachine),
    /// To a machine.
    Down(StreamId, ToMachine),
    /// The coordinator will see that a stream ended.
    UpEnded(StreamId),
    /// The machine will see that a stream ended.
    DownEnded(StreamId),
}

impl Packet {
    fn stream(&self) -> StreamId {
        match self {
            Self::Up(stream, _) | Self::Down(stream, _) | Self::UpEnded(stream) | Self::DownEnded(stream) => {
                *stream
            }
        }
    }

    /// A Hello opens its stream and an end closes it: nothing overtakes either.
    fn is_edge(&self) -> bool {
        matches!(
            self,
            Self::Up(_, FromMachine::Hello(_)) | Self::UpEnded(_) | Self::DownEnded(_)
        )
    }

    /// What is not lost on a stream that lives: the handshake, which is said once and waited for, and a trainer's word that it
    /// failed or waits for a group, which has no deadline of its own; and that its trainers are to end, which the core counts on:
    /// it does not ask again who is warm. (A real stream loses only by ending, and then all is said again.)
    /// Everything else is made up for by a later message or a deadline.
    fn is_fixed(&self) -> bool {
        let failed = |message: &FromMachine| match message {
            FromMachine::Device { news, .. } => {
                matches!(news, News::Failed { .. } | News::Held { .. } | News::Warm)
            }
            _ => false,
        };
        match self {
            Self::Up(_, message) => {
                self.is_edge() || matches!(message, FromMachine::Ready(_)) || failed(message)
            }
            Self::Down(_, ToMachine::Assign(assignment)) => assignment.work == Work::Idle,
            Self::Down(_, message) => matches!(message, ToMachine::Welcome(_)),
            Self::UpEnded(_) | Self::DownEnded(_) => true,
        }
    }
}

/// Packets under way, in the order they were sent.
#[derive(Debug, Default)]
pub(crate) struct Network {
    packets: Vec<Packet>,
}

impl Network {
    pub(crate) fn send(&mut self, packet: Packet) {
        self.packets.push(packet);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Takes any packet; but a Hello is always before what was sent after it on its stream, and the words of trainers that have no
    /// deadline come in their order, as on a real stream all do.
    pub(crate) fn take(&mut self, index: usize) -> Option<Packet> {
        let n = self.packets.len();
        let at = index.checked_rem(n)?;
        let (stream, is_fixed) = (self.packets[at].stream(), self.packets[at].is_fixed());
        let earlier = self.packets[..at].iter().position(|packet| {
            packet.stream() == stream && (packet.is_edge() || (is_fixed && packet.is_fixed()))
        });
        Some(self.packets.remove(earlier.unwrap_or(at)))
    }

    /// Takes the oldest packet.
    pub(crate) fn take_first(&mut self) -> Option<Packet> {
        (!self.packets.is_empty()).then(|| self.packets.remove(0))
    }

    pub(crate) fn repeat(&mut self, index: usize) {
        let copy = index
            .checked_rem(self.packets.len())
            .map(|at| self.packets[at].clone());
        self.packets.extend(copy.filter(|packet| !packet.is_fixed()));
    }

    pub(crate) fn lose(&mut self, index: usize) {
        if let Some(at) = index.checked_rem(self.packets.len())
            && !self.packets[at].is_fixed()
        {
            self.packets.remove(at);
        }
    }

    /// A stream broke: what was under way is lost, and each side that still has it will see its end.
    pub(crate) fn break_stream(&mut self, stream: StreamId) {
        self.packets.retain(|packet| packet.stream() != stream);
        self.packets.push(Packet::UpEnded(stream));
        self.packets.push(Packet::DownEnded(stream));
    }

    /// The coordinator crashed: it loses what it was sent, and every machine will see its stream end.
    pub(crate) fn coordinator_crashed(&mut self, streams: impl Iterator<Item = StreamId>) {
        self.packets.clear();
        self.packets.extend(streams.map(Packet::DownEnded));
    }
}
