//! The file system that a kernel starts with. In: paths and contents. Out: a cpio archive of the kind that Linux unpacks
//! ("newc", Documentation/driver-api/early-userspace/buffer-format.rst). It must never hold what is not given.

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive that is being made.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory; its parent comes first.
    pub(super) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, &[]);
    }

    /// Adds a file that can be executed.
    pub(super) fn program(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, PROGRAM, contents);
    }

    /// The whole of it.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        // Inode, mode, uid, gid, links, time, size, device (major, minor) twice, length of the name, checksum.
        let (size, name) = (contents.len(), path.len() + 1);
        self.bytes.extend_from_slice(b"070701");
        for field in [self.entries as usize, mode as usize, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0] {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn is_what_another_program_reads_as_cpio() {
        let mut archive = Archive::default();
        archive.directory("a");
        archive.program("a/odd", b"12345");
        archive.program("b", b"");
        let mut child =
            Command::new("busybox").args(["cpio", "-tv"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&archive.finish()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let seen: Vec<_> = lines.iter().map(|words| (words[0], words[2], *words.last().unwrap())).collect();
        assert_eq!(seen, [("drwxr-xr-x", "0", "a"), ("-rwxr-xr-x", "5", "a/odd"), ("-rwxr-xr-x", "0", "b")], "{text}");
    }
}
