//! Where the running kernel has fields of its structures, read from its type information.
//!
//! In: BTF as the kernel gives it out (Documentation/bpf/btf.rst). Out: offsets of named fields. Never a guess: a field
//! that is not there, or stands in two places, has no offset.

use std::collections::BTreeSet;

use gateway_common::KernelLayout;

/// Where the kernel shows its own.
pub const KERNEL: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
/// `BTF_KIND_*` of linux/btf.h.
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNC_PROTO: u32 = 13;
const DATASEC: u32 = 15;
const ENUM64: u32 = 19;
const KINDS_WITH_A_WORD: [u32; 3] = [1, 14, 17];
const LAST_KIND: u32 = ENUM64;

/// Reads the offsets that the LSM programs need; `None` where one is not known.
#[must_use]
pub fn layout(btf: &[u8]) -> Option<KernelLayout> {
    const FIELDS: [(&str, &str); 12] = [
        ("socket", "sk"),
        ("sock", "__sk_common"),
        ("sock_common", "skc_family"),
        ("sock", "sk_cgrp_data"),
        ("sock_cgroup_data", "cgroup"),
        ("cgroup", "kn"),
        ("kernfs_node", "id"),
        ("cgroup", "self"),
        ("cgroup_subsys_state", "parent"),
        ("unix_sock", "addr"),
        ("unix_address", "len"),
        ("unix_address", "name"),
    ];
    let found = offsets(btf, &FIELDS)?;
    let at = |index: usize| found.get(index).copied().flatten();
    Some(KernelLayout {
        socket_sk: at(0)?,
        sk_family: at(1)?.checked_add(at(2)?)?,
        sk_cgroup: at(3)?.checked_add(at(4)?)?,
        cgroup_node: at(5)?,
        node_id: at(6)?,
        cgroup_self: at(7)?,
        cgroup_parent: at(7)?.checked_add(at(8)?)?,
        unix_address: at(9)?,
        address_length: at(10)?,
        address_name: at(11)?,
    })
}

/// The offset in bytes of each field, by structure and name; `None` for all where the bytes are no BTF.
fn offsets(btf: &[u8], fields: &[(&str, &str)]) -> Option<Vec<Option<u32>>> {
    let word = |at: usize| Some(u32::from_ne_bytes(btf.get(at..at.checked_add(4)?)?.try_into().ok()?));
    if btf.get(..2)? != MAGIC.to_ne_bytes() {
        return None;
    }
    let part = |offset: u32, length: u32| {
        let start = usize::try_from(word(4)?.checked_add(offset)?).ok()?;
        btf.get(start..start.checked_add(usize::try_from(length).ok()?)?)
    };
    let (types, strings) = (part(word(8)?, word(12)?)?, part(word(16)?, word(20)?)?);
    let mut found: Vec<BTreeSet<Option<u32>>> = vec![BTreeSet::new(); fields.len()];
    let mut rest = types;
    while !rest.is_empty() {
        let (info, name) = (number(rest, 4)?, number(rest, 0)?);
        let (kind, count) = (info >> 24 & 0x1f, usize::try_from(info & 0xffff).ok()?);
        let body = rest.get(TYPE_BYTES..TYPE_BYTES + trailing(kind, count)?)?;
        if kind == STRUCT && count > 0 {
            for ((_, field), found) in fields.iter().zip(&mut found).filter(|((of, _), _)| is_named(strings, name, of))
            {
                found.insert(member(body, strings, field, info >> 31 == 1));
            }
        }
        rest = rest.get(TYPE_BYTES + body.len()..)?;
    }
    let only = |found: BTreeSet<Option<u32>>| found.first().copied().flatten().filter(|_| found.len() == 1);
    Some(found.into_iter().map(only).collect())
}

/// Bytes that follow a type.
fn trailing(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        kind if KINDS_WITH_A_WORD.contains(&kind) => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => count * MEMBER_BYTES,
        ENUM | FUNC_PROTO => count * 8,
        1..=LAST_KIND => 0,
        // A kind that came later: its length is not known, nor where the next type begins.
        _ => return None,
    })
}

fn member(members: &[u8], strings: &[u8], name: &str, has_bit_sizes: bool) -> Option<u32> {
    let member = members
        .chunks_exact(MEMBER_BYTES)
        .find(|member| number(member, 0).is_some_and(|offset| is_named(strings, offset, name)))?;
    let bits = number(member, 8)?;
    let bits = if has_bit_sizes { bits & 0x00ff_ffff } else { bits };
    (bits % 8 == 0).then_some(bits / 8)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn is_named(strings: &[u8], offset: u32, name: &str) -> bool {
    let text = usize::try_from(offset).ok().and_then(|offset| strings.get(offset..));
    text.and_then(|text| text.strip_prefix(name.as_bytes())).is_some_and(|after| after.first() == Some(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure `s` with members `a` at bit 32 and `b` at `bits`, after a type of each kind.
    fn sample(bits: u32) -> Vec<u8> {
        let strings = b"\0s\0a\0b\0";
        let mut types: Vec<u32> = vec![0, 1 << 24, 4, 0x20];
        types.extend([0, 3 << 24, 0, 1, 1, 1, 0, 6 << 24 | 1, 4, 1, 1, 0, 13 << 24 | 1, 0, 1, 1]);
        types.extend([1, STRUCT << 24 | 2, 16, 3, 1, 32, 5, 1, bits]);
        let header: [u32; 6] = [0x0001_eb9f, 24, 0, u32::try_from(types.len() * 4).unwrap(), 0, 8];
        let mut header = header;
        header[4] = header[3];
        header[5] = u32::try_from(strings.len()).unwrap();
        let words = header.iter().chain(&types).flat_map(|word| word.to_ne_bytes());
        words.chain(strings.iter().copied()).collect()
    }

    #[test]
    fn finds_fields_by_structure_and_name() {
        let fields = [("s", "a"), ("s", "b"), ("s", "c"), ("t", "a")];
        assert_eq!(offsets(&sample(64), &fields).unwrap(), [Some(4), Some(8), None, None]);
        assert_eq!(offsets(&sample(65), &fields).unwrap()[1], None, "a bit field has no offset in bytes");
    }

    #[test]
    fn no_bytes_make_it_panic_or_guess() {
        let whole = sample(64);
        for length in 0..whole.len() {
            assert_eq!(offsets(&whole[..length], &[("s", "b")]), None, "{length}");
        }
        for at in 0..whole.len() {
            let mut odd = whole.clone();
            odd[at] ^= 0xff;
            let _ = offsets(&odd, &[("s", "a"), ("s", "b")]);
        }
    }

    #[test]
    fn this_kernels_sockets_have_a_family_two_words_in() {
        let layout = layout(&std::fs::read(KERNEL).unwrap()).unwrap();
        // struct sock_common has had it there since Linux 3.8 (two hashes of 8 and 4 bytes, two ports).
        assert_eq!((layout.sk_family, layout.cgroup_self), (16, 0));
        assert!(layout.sk_cgroup > 0 && layout.unix_address > layout.sk_cgroup, "{layout:?}");
    }
}
