//! Embeds the kernel side. In: `$GATEWAY_EBPF_OBJECT`, else the sources of gateway-ebpf. Out:
//! `GATEWAY_EBPF_OBJECT_PATH` for the crate. It must never let a gateway without its eBPF object be built.

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
            ExitCode::SUCCESS
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
