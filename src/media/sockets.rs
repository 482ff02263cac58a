//! Which call a socket pair belongs to: a table by number, since every packet asks it.

use super::engine::SocketId;
use crate::slots::Key;

/// Numbers are used again once the driver has been told that the socket is gone. As many as
/// there are units at most.
#[derive(Debug, Default)]
pub struct Sockets {
    owners: Vec<Option<Key>>,
    free: Vec<u32>,
}

impl Sockets {
    /// A number for a socket that is about to be bound.
    pub fn reserve(&mut self) -> SocketId {
        if let Some(number) = self.free.pop() {
            return SocketId(number);
        }
        self.owners.push(None);
        SocketId(self.owners.len() as u32 - 1)
    }

    pub fn own(&mut self, socket: SocketId, key: Key) {
        if let Some(owner) = self.owners.get_mut(socket.0 as usize) {
            *owner = Some(key);
        }
    }

    /// What still arrives belongs to nobody.
    pub fn disown(&mut self, socket: SocketId) {
        if let Some(owner) = self.owners.get_mut(socket.0 as usize) {
            *owner = None;
        }
    }

    /// The number may be used again.
    pub fn free(&mut self, socket: SocketId) {
        self.disown(socket);
        self.free.push(socket.0);
    }

    pub fn owner(&self, socket: SocketId) -> Option<Key> {
        self.owners.get(socket.0 as usize).copied().flatten()
    }

    /// Sockets that stand or are about to.
    pub fn len(&self) -> usize {
        self.owners.len() - self.free.len()
    }
}
