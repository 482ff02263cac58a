//! Which peer refused a UDP packet: the error queue of a socket (ip(7), `IP_RECVERR`).
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};

/// Asks the kernel to keep ICMP errors of an unconnected socket with the address they are about.
pub fn report_errors(socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: libc::c_int = 1;
    // SAFETY: setsockopt(2) reads `length` bytes at the pointer, which is a live c_int; the
    // descriptor is borrowed for the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The destination of the next packet that was refused.
pub fn next_unreachable(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    let mut control = [MaybeUninit::<u8>::uninit(); 512];
    let mut data = [0; 1];
    let message = recvmsg(
        socket,
        &mut [io::IoSliceMut::new(&mut data)],
        &mut RecvAncillaryBuffer::new(&mut control),
        RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT,
    );
    SocketAddr::try_from(message.ok()?.address?).ok()
}
