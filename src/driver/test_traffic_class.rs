//! Which traffic class a packet came with: the second octet of an IPv4 header, the same bits of an
//! IPv6 one (RFC 2474 §3).
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use rustix::net::sockopt;

/// Lets this socket's packets be asked about.
pub fn tell_traffic_class(socket: &UdpSocket) {
    match socket.local_addr().unwrap().is_ipv4() {
        true => sockopt::set_ip_recvtos(socket, true).unwrap(),
        false => sockopt::set_ipv6_recvtclass(socket, true).unwrap(),
    }
}

/// Of the next packet, which is taken away.
pub fn next_traffic_class(socket: &UdpSocket) -> Option<u8> {
    let mut data = [0u8; 2048];
    let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // Aligned as the headers in it are.
    let mut control = [0u64; 16];
    // SAFETY: msghdr is a C struct of integers and pointers, all of which may be zero.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the message points to `data` and `control` with their lengths, which live on here.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    if received < 0 {
        return None;
    }
    // SAFETY: the kernel filled in the message that lies here.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: not null, so it is a header within `control`.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        // IPv4 gives an octet, IPv6 an int (ip(7), ipv6(7)).
        if (level, kind) == (libc::IPPROTO_IP, libc::IP_TOS) {
            // SAFETY: the data of this kind is one octet.
            return Some(unsafe { libc::CMSG_DATA(header).read() });
        }
        if (level, kind) == (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) {
            // SAFETY: the data of this kind is one int.
            let class = unsafe { libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned() };
            return u8::try_from(class).ok();
        }
        // SAFETY: both are of the message that the kernel filled in.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    None
}
