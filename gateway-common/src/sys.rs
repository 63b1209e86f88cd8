//! The system calls that no crate covers: the only unsafe of user space.
//!
//! In: descriptors and plain numbers. Out: the kernel's answer or its error. Nothing here interprets either.
#![expect(unsafe_code, reason = "each call is checked against the kernel's own interface, see the SAFETY comments")]

use std::ffi::{CString, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// asm-generic/socket.h, Linux 4.12.
const SO_MEMINFO: c_int = 55;
/// asm-generic/socket.h, Linux 5.14.
const SO_NETNS_COOKIE: c_int = 71;
/// asm-generic/socket.h, Linux 6.5.
const SO_PEERPIDFD: c_int = 77;

/// enum bpf_cmd of linux/bpf.h.
const BPF_OBJ_PIN: c_int = 6;
const BPF_OBJ_GET: c_int = 7;
const BPF_PROG_QUERY: c_int = 16;
const BPF_LINK_CREATE: c_int = 28;
const BPF_LINK_UPDATE: c_int = 29;
const BPF_LINK_DETACH: c_int = 34;

/// enum bpf_attach_type of linux/bpf.h, those that we attach.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachType {
    /// `BPF_CGROUP_INET_EGRESS`
    Egress = 1,
    /// `BPF_CGROUP_INET_SOCK_CREATE`
    SockCreate = 2,
    /// `BPF_CGROUP_SOCK_OPS`
    SockOps = 3,
    /// `BPF_CGROUP_INET4_BIND`
    Bind4 = 8,
    /// `BPF_CGROUP_INET6_BIND`
    Bind6 = 9,
    /// `BPF_CGROUP_INET4_CONNECT`
    Connect4 = 10,
    /// `BPF_CGROUP_INET6_CONNECT`
    Connect6 = 11,
    /// `BPF_CGROUP_UDP4_SENDMSG`
    Sendmsg4 = 14,
    /// `BPF_CGROUP_UDP6_SENDMSG`
    Sendmsg6 = 15,
    /// `BPF_CGROUP_UDP4_RECVMSG`
    Recvmsg4 = 19,
    /// `BPF_CGROUP_UDP6_RECVMSG`
    Recvmsg6 = 20,
    /// `BPF_CGROUP_SETSOCKOPT`
    Setsockopt = 22,
    /// `BPF_CGROUP_INET4_GETPEERNAME`
    Getpeername4 = 29,
    /// `BPF_CGROUP_INET6_GETPEERNAME`
    Getpeername6 = 30,
    /// `BPF_LSM_CGROUP`, whatever the LSM hook; Linux 6.0.
    LsmCgroup = 43,
}

/// The cookie of the network namespace that a socket was made in.
///
/// # Errors
/// `ENOPROTOOPT` before Linux 5.14.
pub fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0_u64;
    // SAFETY: the option's value is a u64.
    unsafe { socket_option(socket.as_fd().as_raw_fd(), SO_NETNS_COOKIE, &mut cookie) }?;
    Ok(cookie)
}

/// A pidfd of the process that connected a unix socket: it cannot come to mean another process.
///
/// # Errors
/// `ENOPROTOOPT` before Linux 6.5; `ESRCH` where the process is gone.
pub fn peer_pidfd(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut fd: c_int = -1;
    // SAFETY: the option's value is an int.
    unsafe { socket_option(socket.as_fd().as_raw_fd(), SO_PEERPIDFD, &mut fd) }?;
    // SAFETY: the kernel made this descriptor for us in the call above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How many datagrams a socket has lost since it was made, for want of room (SO_MEMINFO, Linux 4.12).
///
/// # Errors
/// As getsockopt(2).
pub fn lost_datagrams(socket: impl AsFd) -> io::Result<u32> {
    // SK_MEMINFO_DROPS is the last of SK_MEMINFO_VARS (linux/sock_diag.h).
    let mut counters = [0_u32; 9];
    // SAFETY: the option's value is as many counters.
    unsafe { socket_option(socket.as_fd().as_raw_fd(), SO_MEMINFO, &mut counters) }?;
    Ok(counters[8])
}

/// # Safety
/// `T` is what the kernel writes for this option, and any bytes are a valid `T`.
unsafe fn socket_option<T>(socket: c_int, option: c_int, value: &mut T) -> io::Result<()> {
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointers live through the call, and `length` is the size of the value.
    let result = unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, option, std::ptr::from_mut(value).cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if length as usize != size_of::<T>() {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok(())
}

/// Has a socket take in nothing any more, for good: a filter that drops every packet and cannot be removed
/// (SO_ATTACH_FILTER, SO_LOCK_FILTER; socket(7)).
///
/// # Errors
/// `EPERM` where it has a locked filter already.
pub fn deafen(socket: impl AsFd) -> io::Result<()> {
    // BPF_RET | BPF_K, 0: nothing of the packet is kept.
    let mut drop_all = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut drop_all };
    let set = |option: c_int, value: *const libc::c_void, length: usize| {
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: the kernel copies `length` bytes of a value that outlives the call, and the one instruction behind it.
        let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, value, length as libc::socklen_t) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    set(libc::SO_ATTACH_FILTER, (&raw const program).cast(), size_of_val(&program))?;
    let locked: c_int = 1;
    set(libc::SO_LOCK_FILTER, (&raw const locked).cast(), size_of_val(&locked))
}

/// A descriptor (`O_PATH`) of the cgroup with this id; `mount` is any descriptor on the cgroup2 file system.
///
/// # Errors
/// `ESTALE` where the cgroup is gone; `EPERM` without CAP_DAC_READ_SEARCH.
pub fn open_cgroup_by_id(mount: impl AsFd, id: u64) -> io::Result<OwnedFd> {
    /// struct file_handle with the eight bytes that kernfs uses (FILEID_KERNFS, linux/exportfs.h).
    #[repr(C)]
    struct KernfsHandle {
        bytes: u32,
        kind: c_int,
        id: [u8; 8],
    }
    let mut handle = KernfsHandle { bytes: 8, kind: 0xfe, id: id.to_ne_bytes() };
    // SAFETY: the handle has the layout that the kernel reads: a length, a type and that many bytes.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_fd().as_raw_fd(),
            &raw mut handle,
            libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY,
        )
    };
    owned(fd)
}

/// Opens what is pinned at a path of the BPF file system.
///
/// # Errors
/// `ENOENT` where nothing is; `EPERM` without CAP_BPF.
pub fn pinned_object(path: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Attributes { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the attributes are those of the command, and the path outlives the call.
    owned(unsafe { bpf(BPF_OBJ_GET, &mut attributes) }?)
}

/// Attaches a program to a cgroup by a link, which is pinned (`BPF_LINK_CREATE`, Linux 5.7, and `BPF_OBJ_PIN`).
///
/// # Errors
/// `EPERM` where a program on an ancestor allows no other.
pub fn attach_pinned(program: impl AsFd, cgroup: impl AsFd, attach_type: AttachType, path: &Path) -> io::Result<()> {
    #[repr(C)]
    struct Link {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Pin {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut link = Link {
        program: number(program.as_fd().as_raw_fd())?,
        target: number(cgroup.as_fd().as_raw_fd())?,
        attach_type: attach_type as u32,
        flags: 0,
    };
    // SAFETY: the attributes are those of the command.
    let link = owned(unsafe { bpf(BPF_LINK_CREATE, &mut link) }?)?;
    let mut pin = Pin { path: path.as_ptr() as u64, fd: number(link.as_raw_fd())?, flags: 0 };
    // SAFETY: the attributes are those of the command, and the path outlives the call.
    unsafe { bpf(BPF_OBJ_PIN, &mut pin) }.map(drop)
}

/// Puts another program behind a link, in one step (`BPF_LINK_UPDATE`, Linux 5.7).
///
/// # Errors
/// `ENOLINK` where the link's cgroup is gone.
pub fn link_update(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        link: u32,
        program: u32,
        flags: u32,
        old_program: u32,
    }
    let mut attributes = Attributes {
        link: number(link.as_fd().as_raw_fd())?,
        program: number(program.as_fd().as_raw_fd())?,
        flags: 0,
        old_program: 0,
    };
    // SAFETY: the attributes are those of the command.
    unsafe { bpf(BPF_LINK_UPDATE, &mut attributes) }.map(drop)
}

/// Takes a link's program off at once (`BPF_LINK_DETACH`, Linux 5.9): the last reference to a link goes later, from a
/// work queue.
///
/// # Errors
/// `EOPNOTSUPP` for a kind of link that cannot.
pub fn link_detach(link: impl AsFd) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        link: u32,
    }
    let mut attributes = Attributes { link: number(link.as_fd().as_raw_fd())? };
    // SAFETY: the attributes are those of the command.
    unsafe { bpf(BPF_LINK_DETACH, &mut attributes) }.map(drop)
}

/// The ids of the programs that are attached to a cgroup itself, without its ancestors' (`BPF_PROG_QUERY`).
///
/// # Errors
/// `ENOSPC` where there are more than 64; `EINVAL` for an attach type that the kernel lacks.
pub fn attached_programs(cgroup: impl AsFd, attach_type: AttachType) -> io::Result<Vec<u32>> {
    /// The `query` member of union bpf_attr up to `prog_attach_flags`, which kernels before 6.0 want to be zero and
    /// those after it want for LSM programs.
    #[repr(C)]
    struct Attributes {
        target: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        padding: u32,
        program_flags: u64,
    }
    let mut ids = [0_u32; 64];
    let mut flags = [0_u32; 64];
    let mut attributes = Attributes {
        target: number(cgroup.as_fd().as_raw_fd())?,
        attach_type: attach_type as u32,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        padding: 0,
        program_flags: if attach_type == AttachType::LsmCgroup { flags.as_mut_ptr() as u64 } else { 0 },
    };
    // SAFETY: the attributes are those of the command; `ids` and `flags` have room for `count` numbers and outlive the
    // call.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    Ok(ids.into_iter().take(attributes.count as usize).collect())
}

/// # Safety
/// `T` is the layout of union bpf_attr that `command` reads and writes, and what it points to outlives the call.
unsafe fn bpf<T>(command: c_int, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the caller's promise; the size bounds what the kernel reads.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = c_int::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: c_int) -> io::Result<u32> {
    u32::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// The user namespace that owns another namespace (`NS_GET_USERNS`, ioctl_ns(2), Linux 4.9).
///
/// # Errors
/// `EPERM` where it is not ours or below ours.
pub fn owning_user_namespace(namespace: impl AsFd) -> io::Result<OwnedFd> {
    /// _IO(0xb7, 0x1)
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: the request takes no argument and returns a descriptor.
    owned(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_USERNS) }.into())
}

/// A namespace that a thread can leave for one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unshare {
    /// `CLONE_NEWNS`
    Mounts,
    /// `CLONE_NEWNET`
    Network,
}

/// Gives this thread, and what it executes, a namespace of its own (unshare(2)).
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN.
pub fn unshare(namespace: Unshare) -> io::Result<()> {
    let flag = match namespace {
        Unshare::Mounts => libc::CLONE_NEWNS,
        Unshare::Network => libc::CLONE_NEWNET,
    };
    // SAFETY: the call takes no pointer; descriptors and memory stay shared.
    if unsafe { libc::unshare(flag) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives memory that was freed back to the system: the GNU C library keeps it for each thread that ever needed much.
pub fn return_freed_memory() {
    // SAFETY: the call takes a number, and looks at what nobody uses.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Closes every descriptor from `first` on (close_range(2), Linux 5.9). For the moment before another program takes
/// this process over: whatever owned them must not be used again.
///
/// # Errors
/// `ENOSYS` on older kernels.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: the caller's promise; the call takes no pointer.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
