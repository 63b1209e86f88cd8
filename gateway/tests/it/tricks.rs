//! The program of system calls that Rust would need unsafe code for (`tricks.c`).
//!
//! In: a world, who plays it and which trick. Out: what it said, in a line. Compiled once per run of the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::world::{As, World};

const SOURCE: &str = include_str!("tricks.c");

/// Plays a trick to its end.
pub fn play(world: &World, who: As<'_>, words: &[&str]) -> String {
    let mut command = world.command_as(who);
    let output = command.args(["timeout", "20"]).arg(program(world)).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The same by an unprivileged process in the attached cgroup.
pub fn play_inside(world: &World, words: &[&str]) -> String {
    play(world, As { cgroup: Some(&world.cgroup()), ..As::default() }, words)
}

/// The compiled program, in the directory of a world.
pub fn program(world: &World) -> PathBuf {
    static COMPILED: OnceLock<Vec<u8>> = OnceLock::new();
    let path = world.directory().join("tricks");
    if !path.exists() {
        std::fs::write(&path, COMPILED.get_or_init(|| compiled(world.directory()))).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    path
}

fn compiled(directory: &Path) -> Vec<u8> {
    let (source, program) = (directory.join("tricks.c"), directory.join("tricks.out"));
    std::fs::write(&source, SOURCE).unwrap();
    let output = Command::new("cc").args(["-Wall", "-Werror", "-O1", "-o"]).args([&program, &source]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(program).unwrap()
}
