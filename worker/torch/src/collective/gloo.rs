//! Gloo over TCP, out of libtorch's c10d.

use std::net::{IpAddr, SocketAddr};
use std::ptr;
use std::time::Duration;

use tch::Tensor;

use super::{Collective, Handle, Op};
use crate::TorchError;
use crate::shim::{
    RawGroup, RawStore, RawWork, c_string, checked, m2t_gloo_all_reduce, m2t_gloo_broadcast, m2t_gloo_free,
    m2t_gloo_new, m2t_store_free, m2t_store_join, m2t_store_serve, m2t_work_free, m2t_work_wait,
};

/// The store at which a group meets. The first device serves one on a free port and publishes its address.
pub struct Meeting {
    store: *mut RawStore,
    address: SocketAddr,
}

// SAFETY: c10d stores lock their own state; a store is used by one thread at a time here and freed by whoever has it.
unsafe impl Send for Meeting {}

impl Meeting {
    /// Opens a meeting on a free port of this machine; the others reach it at `host`.
    pub fn open(host: IpAddr, timeout: Duration) -> Result<Self, TorchError> {
        let (mut store, mut port) = (ptr::null_mut(), 0);
        let name = c_string(&host.to_string());
        // SAFETY: `name` lives through the call; both out-pointers are valid for writes and are set on success.
        checked(unsafe { m2t_store_serve(name.as_ptr(), milliseconds(timeout), &raw mut port, &raw mut store) })?;
        Ok(Self { store, address: SocketAddr::new(host, port) })
    }

    /// Joins the meeting another device opened.
    pub fn join(address: SocketAddr, timeout: Duration) -> Result<Self, TorchError> {
        let mut store = ptr::null_mut();
        let host = c_string(&address.ip().to_string());
        // SAFETY: as in `open`.
        checked(unsafe { m2t_store_join(host.as_ptr(), address.port(), milliseconds(timeout), &raw mut store) })?;
        Ok(Self { store, address })
    }

    /// Where the others find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        // SAFETY: `store` came from the shim, is freed here only, and a group that uses it holds a count of its own.
        unsafe { m2t_store_free(self.store) }
    }
}

/// A group of CPU devices.
pub struct Gloo {
    group: *mut RawGroup,
    index: usize,
    size: usize,
    // Freed after the group: the first device's store serves the others while they connect.
    _meeting: Meeting,
}

// SAFETY: ProcessGroupGloo queues operations under a lock of its own. Operations must be started in the same order on
// every device; that is the caller's contract whatever the number of threads.
unsafe impl Send for Gloo {}
// SAFETY: as above; `&self` only queues operations.
unsafe impl Sync for Gloo {}

impl Gloo {
    /// Connects this device, number `index` of `size`, with the others at the meeting. `address` is this machine's, at
    /// which the others reach it. `timeout` bounds connecting and is the last line for an operation.
    pub fn connect(
        meeting: Meeting,
        address: IpAddr,
        (index, size): (usize, usize),
        timeout: Duration,
    ) -> Result<Self, TorchError> {
        let mut group = ptr::null_mut();
        let host = c_string(&address.to_string());
        // SAFETY: store and text live through the call, the out-pointer is valid for writes and set on success.
        checked(unsafe {
            m2t_gloo_new(meeting.store, host.as_ptr(), int(index), int(size), milliseconds(timeout), &raw mut group)
        })?;
        Ok(Self { group, index, size, _meeting: meeting })
    }
}

impl Drop for Gloo {
    fn drop(&mut self) {
        // SAFETY: `group` came from the shim and is freed here only.
        unsafe { m2t_gloo_free(self.group) }
    }
}

impl Collective for Gloo {
    fn size(&self) -> usize {
        self.size
    }

    fn index(&self) -> usize {
        self.index
    }

    fn all_reduce(&self, tensor: &Tensor, op: Op) -> Result<Handle, TorchError> {
        let mut kept = tensor.shallow_clone();
        let mut work = ptr::null_mut();
        // SAFETY: group and tensor are live; the work holds its own count of the tensor; the out-pointer is valid.
        checked(unsafe {
            m2t_gloo_all_reduce(self.group, kept.as_mut_ptr(), u8::from(op == Op::Max), &raw mut work)
        })?;
        Ok(Handle(Some(Work(work))))
    }

    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Handle, TorchError> {
        let mut kept = tensor.shallow_clone();
        let mut work = ptr::null_mut();
        // SAFETY: as in `all_reduce`.
        checked(unsafe { m2t_gloo_broadcast(self.group, kept.as_mut_ptr(), int(root), &raw mut work) })?;
        Ok(Handle(Some(Work(work))))
    }
}

/// An operation of c10d.
pub(super) struct Work(*mut RawWork);

// SAFETY: c10d's Work may be waited for on any thread.
unsafe impl Send for Work {}

impl Work {
    pub(super) fn wait(&self) -> Result<(), TorchError> {
        // SAFETY: the pointer came from the shim and is freed only in `drop`.
        checked(unsafe { m2t_work_wait(self.0) })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // SAFETY: as above; the last use.
        unsafe { m2t_work_free(self.0) }
    }
}

fn milliseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}

fn int(n: usize) -> i32 {
    i32::try_from(n).expect("a group has fewer than 2³¹ devices")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;

    use tch::{Device, Kind};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Three devices as threads of one process: c10d does not mind.
    fn group_of_three<T: Send>(body: impl Fn(Gloo) -> T + Sync) -> Vec<T> {
        let first = Meeting::open(HERE, PATIENCE).unwrap();
        let address = first.address();
        thread::scope(|scope| {
            let body = &body;
            let mut meetings = vec![first];
            meetings.extend((1..3).map(|_| Meeting::join(address, PATIENCE).unwrap()));
            let devices: Vec<_> = meetings
                .into_iter()
                .enumerate()
                .map(|(i, meeting)| scope.spawn(move || body(Gloo::connect(meeting, HERE, (i, 3), PATIENCE).unwrap())))
                .collect();
            devices.into_iter().map(|device| device.join().unwrap()).collect()
        })
    }

    #[test]
    fn three_devices_sum_find_the_largest_and_hand_round() {
        let results = group_of_three(|group| {
            let i = group.index() as i64;
            let sum = Tensor::from_slice(&[1i64 << 60, i]);
            group.all_reduce(&sum, Op::Sum).unwrap().wait().unwrap();
            let largest = Tensor::from_slice(&[i as f64, -(i as f64), f64::INFINITY]);
            group.all_reduce(&largest, Op::Max).unwrap().wait().unwrap();
            let given = Tensor::from_slice(&[10.0 * i as f32]);
            group.broadcast(&given, 2).unwrap().wait().unwrap();
            (Vec::<i64>::try_from(sum).unwrap(), Vec::<f64>::try_from(largest).unwrap(), given.double_value(&[0]))
        });
        for result in results {
            assert_eq!(result, (vec![3 << 60, 3], vec![2.0, 0.0, f64::INFINITY], 20.0));
        }
    }

    #[test]
    fn a_lost_device_breaks_the_operation_of_the_others() {
        let errors = group_of_three(|group| {
            if group.index() == 1 {
                return None; // leaves: its sockets close
            }
            let tensor = Tensor::ones([1 << 20], (Kind::Float, Device::Cpu));
            let broken = (0..50).find_map(|_| group.all_reduce(&tensor, Op::Sum).and_then(Handle::wait).err());
            Some(broken.expect("an operation without all devices cannot succeed").to_string())
        });
        assert_eq!(errors.iter().flatten().count(), 2, "{errors:?}");
    }

    #[test]
    fn a_meeting_nobody_opened_is_an_error_in_time() {
        let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert!(Meeting::join(nobody, Duration::from_millis(200)).is_err());
    }
}
