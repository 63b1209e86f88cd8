//! Builds the kernel side. In: the checkout and the machine's toolchains. Out: the path of an eBPF object in the
//! cache, built once for each state of its sources. It must use nothing but std, since `gateway/build.rs` includes
//! this file, and must never write into the checkout.

use std::collections::hash_map::DefaultHasher;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of bpf-linker that setup installs.
pub(crate) const LINKER_VERSION: &str = "0.13.0";
/// The terminal of the console.
pub(crate) const XTERM_VERSION: &str = "6.0.0";
/// The LLVM that the linker of setup is built with. A compiler with a newer one writes bitcode that it cannot read.
pub(crate) const LINKER_LLVM: u32 = 22;

const TARGET: &str = "bpfel-unknown-none";
/// ELF's number for eBPF (`e_machine`, linux/elf-em.h).
const EM_BPF: u16 = 247;

/// Why there is no object.
#[derive(Debug)]
pub(crate) enum EbpfError {
    /// No compiler and linker that fit each other; one reason for each that was looked at.
    NoToolchain(Vec<String>),
    /// There is no place for what is built, or one that depends on the working directory.
    NoCache,
    /// Cargo refused the sources; what it printed.
    Build(String),
    /// The file is something else.
    NotAnObject(PathBuf),
    /// A file could not be read or written.
    File(PathBuf, io::Error),
}

impl fmt::Display for EbpfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToolchain(reasons) => {
                write!(
                    f,
                    "no eBPF toolchain ({}): run `cargo xtask setup`, or set GATEWAY_EBPF_OBJECT",
                    reasons.join("; ")
                )
            }
            Self::NoCache => write!(f, "no place for build output: set GATEWAY_CACHE to an absolute path, or HOME"),
            Self::Build(output) => write!(f, "cannot build gateway-ebpf: {output}"),
            Self::NotAnObject(path) => {
                write!(
                    f,
                    "`{}` is not the absolute path of an eBPF object: unset GATEWAY_EBPF_OBJECT to have it built",
                    path.display()
                )
            }
            Self::File(path, error) => write!(f, "cannot use `{}`: {error}", path.display()),
        }
    }
}

impl std::error::Error for EbpfError {}

/// A compiler that has core's sources.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    /// How people call it.
    pub(crate) name: &'static str,
    /// `rustc -vV`: part of the cache key.
    version: String,
    /// The folder that holds `rustc` and `cargo`.
    bin: PathBuf,
}

/// A compiler, and a linker that reads what it writes.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    /// The path of bpf-linker.
    pub(crate) linker: PathBuf,
}

/// The folder for build output and installed tools, outside of every checkout: `$GATEWAY_CACHE`, else
/// `/var/cache/gateway` for root, whose home no server under test may enter, else `~/.cache/gateway`.
pub(crate) fn cache_dir() -> Result<PathBuf, EbpfError> {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    if let Some(chosen) = set("GATEWAY_CACHE") {
        // Cargo runs build scripts in another folder than the one where it was called.
        return if chosen.is_absolute() { Ok(chosen) } else { Err(EbpfError::NoCache) };
    }
    if is_root() {
        return Ok(PathBuf::from("/var/cache/gateway"));
    }
    set("HOME").map(|home| home.join(".cache/gateway")).ok_or(EbpfError::NoCache)
}

/// Whether this process runs as uid 0.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Where setup puts a tool; the version is part of the name, so that a new one is another folder.
pub(crate) fn tool_dir(cache: &Path, name: &str, version: &str) -> PathBuf {
    cache.join("tools").join(format!("{name}-{version}"))
}

/// The terminal of the console, xterm.js, and the variables that name its files to the crate.
pub(crate) fn xterm(cache: &Path) -> [(&'static str, PathBuf); 2] {
    let package = tool_dir(cache, "xterm", XTERM_VERSION).join("node_modules/@xterm/xterm");
    [("GATEWAY_XTERM_MJS", package.join("lib/xterm.mjs")), ("GATEWAY_XTERM_CSS", package.join("css/xterm.css"))]
}

/// The files and folders that the object is made from.
pub(crate) fn sources(root: &Path) -> Vec<PathBuf> {
    let parts = ["gateway-ebpf/Cargo.toml", "gateway-ebpf/Cargo.lock", "gateway-ebpf/src"];
    let common = ["gateway-common/Cargo.toml", "gateway-common/src", "Cargo.toml"];
    parts.iter().chain(&common).map(|part| root.join(part)).filter(|path| path.exists()).collect()
}

/// The toolchain to build with: Debian's `rustc-web` first, since its version is known to fit, else a rustup nightly
/// with rust-src.
pub(crate) fn toolchain(cache: &Path) -> Result<Toolchain, EbpfError> {
    let compiler =
        debian().or_else(|one| nightly().map_err(|other| vec![one, other])).map_err(EbpfError::NoToolchain)?;
    let missing =
        || EbpfError::NoToolchain(vec![format!("{} is there, bpf-linker {LINKER_VERSION} is not", compiler.name)]);
    let linker = linker(cache).ok_or_else(missing)?;
    Ok(Toolchain { compiler, linker })
}

/// Builds the object for machines of `arch`, unless the cache has it. Errs when tools are missing or the sources do
/// not compile.
pub(crate) fn build(root: &Path, arch: &str) -> Result<PathBuf, EbpfError> {
    build_in(&cache_dir()?.join("ebpf"), root, arch)
}

/// The same with another folder for what is built.
pub(crate) fn build_in(home: &Path, root: &Path, arch: &str) -> Result<PathBuf, EbpfError> {
    let toolchain = toolchain(&cache_dir()?)?;
    let object = home.join(key(root, &toolchain, arch)?).join("gateway.o");
    if object.is_file() {
        return Ok(object);
    }
    fs::create_dir_all(home).map_err(|e| EbpfError::File(home.to_path_buf(), e))?;
    // Checkouts share the target folder, so one build at a time: cargo's own lock ends before the copy below.
    let lock = home.join("lock");
    let held = File::create(&lock).and_then(|file| file.lock().map(|()| file)).map_err(|e| EbpfError::File(lock, e))?;
    if !object.is_file() {
        let target = home.join("target");
        compile(root, &toolchain, arch, &target)?;
        keep(&target.join(TARGET).join("release/gateway"), &object)?;
    }
    drop(held);
    Ok(object)
}

/// Flags for a compiler that is not to write down where it was run.
pub(crate) fn remapped(root: &Path) -> Vec<String> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    // The last that fits is taken.
    cargo.iter().map(|cargo| remap(cargo, "cargo")).chain([remap(root, "gateway")]).collect()
}

/// The given path, when it is absolute and holds an eBPF object.
pub(crate) fn check_object(path: PathBuf) -> Result<PathBuf, EbpfError> {
    if !path.is_absolute() {
        return Err(EbpfError::NotAnObject(path));
    }
    let bytes = fs::read(&path).map_err(|e| EbpfError::File(path.clone(), e))?;
    let machine = bytes.get(18..20).and_then(|field| field.try_into().ok()).map(u16::from_le_bytes);
    if bytes.starts_with(b"\x7fELF") && machine == Some(EM_BPF) { Ok(path) } else { Err(EbpfError::NotAnObject(path)) }
}

fn compile(root: &Path, toolchain: &Toolchain, arch: &str, target: &Path) -> Result<(), EbpfError> {
    // As the compiler knows it, for what is remapped.
    let root = &root.canonicalize().map_err(|e| EbpfError::File(root.to_path_buf(), e))?;
    let folder = root.join("gateway-ebpf");
    let cargo = toolchain.compiler.bin.join("cargo");
    let linker = format!("linker={}", toolchain.linker.display());
    let arch = format!("--cfg=bpf_target_arch=\"{arch}\"");
    let mut flags = ["-C", &linker, "-C", "link-arg=--btf", &arch].map(str::to_owned).to_vec();
    flags.extend(remapped(root));
    let flags = flags.join("\x1f");
    let mut command = clean(&cargo);
    command.current_dir(&folder).args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "-Zbuild-std=core",
        "--target",
        TARGET,
    ]);
    command.env("PATH", path_with(&toolchain.compiler.bin)).env("RUSTC", toolchain.compiler.bin.join("rustc"));
    // build-std is unstable, and Debian's compiler is a stable one; a nightly does not mind.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_TARGET_DIR", target).env("CARGO_ENCODED_RUSTFLAGS", flags);
    // BTF is made from debug information.
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "2").env("CARGO_TERM_COLOR", "never");
    let output = command.output().map_err(|e| EbpfError::File(cargo, e))?;
    if output.status.success() {
        return Ok(());
    }
    Err(EbpfError::Build(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Moves the built file to its place in one step, so that a reader never sees half of it.
fn keep(built: &Path, object: &Path) -> Result<(), EbpfError> {
    let built = check_object(built.to_path_buf())?;
    let part = object.with_extension("part");
    let placed = object
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::copy(&built, &part))
        .and_then(|_| fs::rename(&part, object));
    placed.map_err(|e| EbpfError::File(object.to_path_buf(), e))
}

fn key(root: &Path, toolchain: &Toolchain, arch: &str) -> Result<String, EbpfError> {
    let mut hasher = DefaultHasher::new();
    (&toolchain.compiler.version, &toolchain.linker, arch).hash(&mut hasher);
    // A change of the recipe in this file is a change of the object.
    include_str!("ebpf.rs").hash(&mut hasher);
    for path in sources(root) {
        hash_tree(root, &path, &mut hasher)?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn hash_tree(root: &Path, start: &Path, hasher: &mut DefaultHasher) -> Result<(), EbpfError> {
    let mut waiting = vec![start.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let failed = |e| EbpfError::File(path.clone(), e);
        if path.is_dir() {
            let entries = fs::read_dir(&path).map_err(failed)?;
            let mut inside =
                entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
            inside.sort();
            waiting.extend(inside);
        } else {
            path.strip_prefix(root).unwrap_or(&path).hash(hasher);
            fs::read(&path).map_err(failed)?.hash(hasher);
        }
    }
    Ok(())
}

/// Debian's compiler, which stands beside rustup's without a clash; or why it cannot be used.
fn debian() -> Result<Compiler, String> {
    compiler("Debian's rustc-web", PathBuf::from("/usr/bin"), "apt-get install rustc-web cargo-web rust-web-src")
}

/// The nightly of rustup, or why it cannot be used.
pub(crate) fn nightly() -> Result<Compiler, String> {
    let mut rustup = clean(Path::new("rustup"));
    // Newer versions of rustup would fetch the toolchain that they are asked about.
    rustup.env("RUSTUP_AUTO_INSTALL", "0").args(["which", "--toolchain", "nightly", "rustc"]);
    let rustc = printed(&mut rustup).ok_or("rustup has no nightly: `rustup toolchain install nightly -c rust-src`")?;
    let bin = Path::new(rustc.trim()).parent().ok_or("rustup names no folder for the nightly")?;
    compiler("rustup's nightly", bin.to_path_buf(), "rustup component add rust-src --toolchain nightly")
}

fn compiler(name: &'static str, bin: PathBuf, fix: &str) -> Result<Compiler, String> {
    let ask = |args: &[&str]| printed(clean(&bin.join("rustc")).args(args));
    let version =
        ask(&["-vV"]).filter(|_| bin.join("cargo").is_file()).ok_or_else(|| format!("{name} is not there: `{fix}`"))?;
    let llvm = llvm_of(&version).ok_or_else(|| format!("{name} does not say its LLVM"))?;
    if llvm > LINKER_LLVM {
        return Err(format!("{name} has LLVM {llvm} and bpf-linker reads up to {LINKER_LLVM}: install an older one"));
    }
    let sysroot = ask(&["--print", "sysroot"]).unwrap_or_default();
    if !Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file() {
        return Err(format!("{name} lacks the sources of core: `{fix}`"));
    }
    Ok(Compiler { name, version, bin })
}

fn llvm_of(version: &str) -> Option<u32> {
    version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?.split('.').next()?.parse().ok()
}

/// The linker of setup, else one on the search path.
pub(crate) fn linker(cache: &Path) -> Option<PathBuf> {
    let ours = tool_dir(cache, "bpf-linker", LINKER_VERSION).join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(ours)
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join("bpf-linker"))
        .find(|file| file.is_file())
}

fn path_with(first: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap_or(path)
}

fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// A command without what an outer cargo or rustup sets for its own compiler.
pub(crate) fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| leaks(name)) {
        command.env_remove(name);
    }
    command
}

/// A build script inherits its cargo's choices (flags, wrappers, toolchain, library path, job server); they are wrong
/// for another compiler.
fn leaks(name: &OsStr) -> bool {
    const EXACT: [&str; 10] = [
        "LD_LIBRARY_PATH",
        "MAKEFLAGS",
        "MFLAGS",
        "TARGET",
        "HOST",
        "OUT_DIR",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
        "NUM_JOBS",
    ];
    const KEPT: [&str; 6] =
        ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "RUSTUP_HOME", "RUST_BACKTRACE"];
    let Some(name) = name.to_str() else { return false };
    EXACT.contains(&name)
        || (["CARGO", "RUST"].iter().any(|start| name.starts_with(start))
            && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_what_an_outer_cargo_sets_and_keeps_the_users_settings() {
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTUP_TOOLCHAIN",
            "CARGO",
            "LD_LIBRARY_PATH",
        ] {
            assert!(leaks(OsStr::new(name)), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_HTTP_CAINFO",
            "CARGO_REGISTRIES_X_INDEX",
            "RUSTUP_HOME",
            "https_proxy",
        ] {
            assert!(!leaks(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn reads_the_major_version_of_llvm() {
        assert_eq!(llvm_of("rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_of("rustc 1.96.0\n"), None);
    }

    #[test]
    fn changes_the_key_with_a_source_and_with_the_compiler() {
        let root = std::env::temp_dir().join(format!("gateway-ebpf-key-{}", std::process::id()));
        fs::create_dir_all(root.join("gateway-ebpf/src/inner")).unwrap();
        let source = root.join("gateway-ebpf/src/inner/a.rs");
        let with = |version: &str| Toolchain {
            compiler: Compiler { name: "a", version: version.into(), bin: PathBuf::new() },
            linker: PathBuf::new(),
        };
        let (debian, other) = (with("1"), with("2"));
        fs::write(&source, "a").unwrap();
        let first = key(&root, &debian, "x86_64").unwrap();
        assert_eq!(first, key(&root, &debian, "x86_64").unwrap());
        assert_ne!(first, key(&root, &other, "x86_64").unwrap());
        assert_ne!(first, key(&root, &debian, "aarch64").unwrap());
        fs::write(&source, "b").unwrap();
        assert_ne!(first, key(&root, &debian, "x86_64").unwrap());
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn refuses_a_file_that_is_no_ebpf_object() {
        let own = std::env::current_exe().unwrap();
        assert!(matches!(check_object(own), Err(EbpfError::NotAnObject(_))));
        assert!(matches!(check_object(PathBuf::from("/nowhere/x.o")), Err(EbpfError::File(..))));
        assert!(matches!(check_object(PathBuf::from("x.o")), Err(EbpfError::NotAnObject(_))));
    }

    #[test]
    fn names_the_command_that_gets_what_is_missing() {
        let error = EbpfError::NoToolchain(vec!["Debian's rustc-web is not installed".into()]).to_string();
        assert!(error.contains("cargo xtask setup") && !error.contains('\n'), "{error}");
        let error = compiler("x", PathBuf::from("/nowhere"), "get x").unwrap_err();
        assert_eq!(error, "x is not there: `get x`");
    }
}
