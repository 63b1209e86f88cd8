//! Embeds the kernel side, and the terminal of the console. In: `$GATEWAY_EBPF_OBJECT`, else the sources of gateway-ebpf; what
//! `cargo xtask setup` fetched. Out: their paths for the crate. It must never let a gateway without its eBPF object be built,
//! nor fetch anything.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "../xtask/src/ebpf.rs"]
mod ebpf;

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=GATEWAY_EBPF_OBJECT");
    println!("cargo::rerun-if-env-changed=GATEWAY_CACHE");
    match object() {
        Ok(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            println!("cargo::rustc-env=GATEWAY_EBPF_OBJECT_PATH={}", path.display());
            terminal()
        }
        Err(error) => {
            // One instruction is one line; what the compiler says of broken sources has many.
            for line in error.to_string().lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The terminal that the console plays recordings on.
fn terminal() -> ExitCode {
    let found = ebpf::cache_dir().map(|cache| ebpf::xterm(&cache)).map_err(|error| error.to_string());
    let files = found.and_then(|files| match files.iter().find(|(_, file)| !file.is_file()) {
        Some((_, file)) => Err(format!("no {}: `cargo xtask setup` installs it", file.display())),
        None => Ok(files),
    });
    match files {
        Ok(files) => {
            for (name, file) in files {
                println!("cargo::rerun-if-changed={}", file.display());
                println!("cargo::rustc-env={name}={}", file.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn object() -> Result<PathBuf, ebpf::EbpfError> {
    if let Some(path) = env::var_os("GATEWAY_EBPF_OBJECT").filter(|path| !path.is_empty()) {
        return ebpf::check_object(path.into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    println!("cargo::rerun-if-changed=../xtask/src/ebpf.rs");
    println!("cargo::rerun-if-changed=build.rs");
    for source in ebpf::sources(&root) {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    ebpf::build(&root, &env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default())
}
