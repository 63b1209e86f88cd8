//! A real container engine in a world: podman with runc, started without systemd and without a registry.
//!
//! In: options of `podman run`. Out: containers that see this machine's programs read-only, and our helper process in
//! them. Storage, networks and mounts of the engine are the world's, and end with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::agent::Agent;
use crate::gateway::Gateway;
use crate::world::{NAME, World, cgroup_mount};

/// Where podman looks on every host for the one hierarchy of cgroup v2; hybrid hosts have it elsewhere, and there a
/// mount of the world's own takes the place. Locks in /dev/shm are shared by all who see it.
const SET_UP: &str = r#"
if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount -t tmpfs none /dev/shm
mkdir -p /run/networks
cd /run && mkdir -p root/bin root/dev root/etc root/lib root/lib64 root/proc root/run/it root/sys root/tmp root/usr
# Root of a container may be nobody here, and makes files to mount over.
chmod -R a+rwX root
cat >/run/containers.conf <<END
[containers]
cgroupns = "private"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "/run/networks"
END
"#;

/// What a container shares with the machine, read-only: programs, libraries and our own binary.
const SHARED: [&str; 5] = ["/usr", "/bin", "/lib", "/lib64", "/run/it"];

/// The engine of a world.
pub struct Podman<'w> {
    world: &'w World,
    /// Above its containers, below the mount.
    parent: String,
}

impl<'w> Podman<'w> {
    /// Makes it ready.
    pub fn new(world: &'w World) -> Self {
        world.sh(SET_UP);
        let parent = world.cgroup().strip_prefix(cgroup_mount()).unwrap().join("containers");
        Self { world, parent: Path::new("/").join(parent).display().to_string() }
    }

    /// A command of the engine.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command("env");
        command.args(["CONTAINERS_CONF=/run/containers.conf", "podman", "--storage-driver=vfs"]);
        command.args(["--root=/run/storage", "--runroot=/run/storage-run"]).args(arguments);
        command
    }

    /// Runs a command of the engine, which must succeed, and returns what it prints.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "podman {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// `podman run` with these options, up to the root file system; the program comes behind it.
    pub fn run(&self, options: &[&str]) -> Command {
        // Without the engine's own monitor, which is root with all capabilities.
        let mut command = self.command(&["run", "--cgroups=no-conmon", "--cgroup-parent", &self.parent]);
        command.args(["--env", crate::inside::ROLE]);
        for folder in SHARED {
            command.arg(format!("--volume={folder}:{folder}:ro"));
        }
        command.args(options).args(["--rootfs", "/run/root"]);
        command
    }

    /// Our helper process in a container with a name.
    pub fn start(&self, name: &str, options: &[&str], role: &str) -> Agent {
        let mut command = self.run(&[&["--rm", "--interactive", "--name", name], options].concat());
        command.args(["/run/it/it", "--exact", "inside::serves_as_a_helper_process_when_asked"]);
        command.args(["--nocapture", "--test-threads=1"]);
        Agent::start(command, role)
    }

    /// The id of a container, and the process id of its first process on the host.
    pub fn identity(&self, name: &str) -> (String, u64) {
        let said = self.ask(&["inspect", "--format", "{{.Id}} {{.State.Pid}}", name]);
        let (id, pid) = said.split_once(' ').unwrap();
        (id.to_owned(), pid.parse().unwrap())
    }

    /// The cgroup above all containers, as the engine and the gateway write it.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// The same for this process.
    pub fn parent_here(&self) -> PathBuf {
        cgroup_mount().join(self.parent.trim_start_matches('/'))
    }

    /// `gateway attach` over all containers, in force.
    pub fn attach(&self, more: &[&str]) -> Gateway<'w> {
        std::fs::create_dir_all(self.parent_here()).unwrap();
        let mut gateway = self
            .world
            .gateway_with(&[("SECRET", "x")], &[&["attach", "--cgroup", &self.parent, "--name", NAME], more].concat());
        gateway.says("is intercepted");
        gateway
    }
}
