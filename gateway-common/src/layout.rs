//! Where the kernel that runs has fields of its structures: found in its BTF by user space, read by the LSM programs.

/// Offsets in bytes. They differ by version and configuration, and Rust's eBPF has no relocations for them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelLayout {
    /// `socket.sk`
    pub socket_sk: u32,
    /// `sock.__sk_common.skc_family`
    pub sk_family: u32,
    /// `sock.sk_cgrp_data.cgroup`
    pub sk_cgroup: u32,
    /// `cgroup.kn`
    pub cgroup_node: u32,
    /// `kernfs_node.id`
    pub node_id: u32,
    /// `cgroup.self`
    pub cgroup_self: u32,
    /// `cgroup.self.parent`
    pub cgroup_parent: u32,
    /// `unix_sock.addr`
    pub unix_address: u32,
    /// `unix_address.len`
    pub address_length: u32,
    /// `unix_address.name`
    pub address_name: u32,
}

const _: () = assert!(size_of::<KernelLayout>() == 40);
