//! Collectives, made of messages between neighbours.
//!
//! All-reduce is the ring: the tensor is cut into as many parts as there are devices. In a first round each part travels once
//! around and is combined with every device's own; in a second one the finished part travels around and replaces theirs. Each
//! device sends and receives twice the tensor, whatever their number, and each part is combined in one place and in one
//! order, so that all devices end with equal bits. Broadcast is a binomial tree.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tch::Tensor;

use super::message::Message;
use super::peers::Peers;
use crate::TorchError;
use crate::collective::Op;

/// Elements of a message of an all-reduce.
const MESSAGE: i64 = 1 << 18;
/// Messages received ahead of the one that is being combined.
const WINDOW: usize = 4;

pub(super) fn all_reduce(peers: &Peers, tensor: &Tensor, op: Op) -> Result<(), TorchError> {
    let (index, size) = (peers.index, peers.size);
    if size == 1 {
        return Ok(());
    }
    let flat = tensor.f_view([-1])?;
    let part = |i: usize| narrow(&flat, &bounds(flat.numel(), size, i % size));
    let longest = part(0)?.numel() as i64;
    let landings = pieces(&part(0)?)
        .take(WINDOW)
        .map(|_| flat.f_narrow(0, 0, longest.min(MESSAGE))?.f_empty_like())
        .collect::<Result<Vec<_>, _>>()?;
    for step in 0..size - 1 {
        let sent = pass(peers, &part(index + size - step)?)?;
        combine_arriving(peers, &part(index + 2 * size - step - 1)?, &landings, op)?;
        wait_for_all(peers, &sent)?;
    }
    for step in 0..size - 1 {
        let sent = pass(peers, &part(index + size + 1 - step)?)?;
        let into = part(index + size - step)?;
        let arriving = pieces(&into)
            .map(|piece| peers.receive(&narrow(&into, &piece)?, previous(peers)))
            .collect::<Result<Vec<_>, _>>()?;
        wait_for_all(peers, &arriving)?;
        wait_for_all(peers, &sent)?;
    }
    Ok(())
}

pub(super) fn broadcast(peers: &Peers, tensor: &Tensor, root: usize) -> Result<(), TorchError> {
    let size = peers.size;
    if tensor.numel() == 0 {
        return Ok(());
    }
    // Counted from the root, a device has the tensor from the one whose number lacks its highest bit, and gives it to those
    // whose number has one higher bit more.
    let place = (peers.index + size - root) % size;
    let device = |place: usize| (place + root) % size;
    let mut bit = 1;
    while bit <= place {
        bit <<= 1;
    }
    if place > 0 {
        peers.wait(&peers.receive(tensor, device(place - bit / 2))?)?;
    }
    let mut sent = Vec::new();
    while place + bit < size {
        sent.push(peers.send(tensor, device(place + bit))?);
        bit <<= 1;
    }
    wait_for_all(peers, &sent)
}

/// Sends a part to the next device. It is sent when all messages are.
fn pass(peers: &Peers, part: &Tensor) -> Result<Vec<Arc<Message>>, TorchError> {
    pieces(part)
        .map(|piece| peers.send(&narrow(part, &piece)?, next(peers)))
        .collect()
}

pub(super) fn next(peers: &Peers) -> usize {
    (peers.index + 1) % peers.size
}

pub(super) fn previous(peers: &Peers) -> usize {
    (peers.index + peers.size - 1) % peers.size
}

/// Combines a part with what the previous device sends of it. The next messages arrive while one is combined.
fn combine_arriving(peers: &Peers, own: &Tensor, landings: &[Tensor], op: Op) -> Result<(), TorchError> {
    let mut to_come = pieces(own);
    let mut free: Vec<&Tensor> = landings.iter().collect();
    let mut arriving = VecDeque::new();
    loop {
        while let Some(landing) = free.pop() {
            let Some(piece) = to_come.next() else { break };
            let landing_of_piece = landing.f_narrow(0, 0, length(&piece))?;
            let message = peers.receive(&landing_of_piece, previous(peers))?;
            arriving.push_back((landing, landing_of_piece, message, narrow(own, &piece)?));
        }
        let Some((landing, arrived, message, own)) = arriving.pop_front() else {
            return Ok(());
        };
        peers.wait(&message)?;
        combine(own, &arrived, op)?;
        free.push(landing);
    }
}

fn wait_for_all(peers: &Peers, messages: &[Arc<Message>]) -> Result<(), TorchError> {
    messages.iter().try_for_each(|message| peers.wait(message))
}

fn combine(mut own: Tensor, other: &Tensor, op: Op) -> Result<(), TorchError> {
    match op {
        Op::Sum => {
            let _ = own.f_add_(other)?;
        }
        Op::Max => own.f_copy_(&own.f_maximum(other)?)?,
    }
    Ok(())
}

/// Part `i` of `n_parts` of so many elements. The first is never the shorter one.
fn bounds(n_elements: usize, n_parts: usize, i: usize) -> Range<i64> {
    let length = n_elements.div_ceil(n_parts);
    let start = (i * length).min(n_elements);
    start as i64..(start + length).min(n_elements) as i64
}

fn pieces(part: &Tensor) -> impl Iterator<Item = Range<i64>> {
    let n = part.numel() as i64;
    (0..n)
        .step_by(MESSAGE as usize)
        .map(move |start| start..(start + MESSAGE).min(n))
}

fn narrow(tensor: &Tensor, range: &Range<i64>) -> Result<Tensor, TorchError> {
    Ok(tensor.f_narrow(0, range.start, length(range))?)
}

fn length(range: &Range<i64>) -> i64 {
    range.end - range.start
}
