//! Parts that die, stop or run out of space: protected connections then fail, and nothing goes through (G2).

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;

use crate::gateway::send;
use crate::server::SERVER;
use crate::wait;
use crate::world::{NAME, World};

#[test]
fn a_killed_gateway_leaves_the_gate_closed() {
    let world = World::new();
    let server = world.server();
    let mut gateway = world.attach(&[]);
    let agent = world.agent();
    gateway.kill();
    for address in ["10.77.0.2:22", "10.77.0.2:5432", "[fd77::2]:5432", "[::ffff:10.77.0.2]:6443"] {
        assert_eq!(agent.connect(address), Err(Errno::CONNREFUSED), "{address}");
    }
    agent.connect(&format!("{SERVER}:443")).unwrap();
    agent.ask("tcp s 4").unwrap();
    assert_eq!(agent.ask("bind s 127.0.0.1:15001"), Err(Errno::PERM), "nobody inside takes the listener's place");
    assert_eq!(server.seen("tcp 22") + server.seen("tcp 5432") + server.seen("tcp 6443"), 0);
    let said = world.cli(&["status"]);
    assert!(said.out.contains(&format!("`{NAME}`")) && said.out.contains("stays closed"), "{said:?}");
}

#[test]
fn an_open_connection_ends_with_the_gateway() {
    let world = World::new();
    let mut gateway = world.attach(&[]);
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:6443")).unwrap();
    gateway.kill();
    let ended = agent.recv();
    assert!(matches!(ended.as_deref(), Ok("end") | Err(&Errno::CONNRESET)), "{ended:?}");
}

#[test]
fn a_stopped_gateway_says_that_the_gate_stays_closed() {
    let world = World::new();
    let server = world.server();
    let mut gateway = world.attach(&[]);
    let agent = world.agent();
    assert!(gateway.stop().success());
    assert!(gateway.output().contains("stays closed"), "{}", gateway.output());
    assert_eq!(agent.connect(&format!("{SERVER}:22")), Err(Errno::CONNREFUSED));
    assert_eq!(server.seen("tcp 22"), 0);
    world.event("gateway.stopped", |_| true);
}

#[test]
fn a_killed_engine_is_replaced_and_until_then_connects_are_refused() {
    let world = World::new();
    let server = world.server();
    let gateway = world.attach(&[]);
    let agent = world.agent();
    let engine = gateway.engine_pid();
    send(engine, Signal::KILL);
    let mut refused = false;
    wait::until("a served connect", || match agent.connect(&format!("{SERVER}:22")) {
        Ok(_) => agent.recv().is_ok_and(|text| text.starts_with("SSH-2.0-gateway")),
        Err(error) => {
            assert_eq!(error, Errno::CONNREFUSED);
            refused = true;
            false
        }
    });
    assert!(refused, "there was a time without an engine");
    world.event("engine.died", |body| body["status"].as_str().unwrap().contains('9'));
    assert_ne!(gateway.engine_pid(), engine);
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn nobody_hangs_on_a_stopped_engine() {
    let world = World::new();
    let server = world.server();
    let gateway = world.attach(&[]);
    let agent = world.agent();
    send(gateway.engine_pid(), Signal::STOP);
    let stopped = Instant::now();
    wait::until("a refused connect", || {
        let started = Instant::now();
        let result = agent.connect(&format!("{SERVER}:22"));
        assert!(started.elapsed() < Duration::from_secs(3), "a connect took {:?}", started.elapsed());
        result == Err(Errno::CONNREFUSED)
    });
    assert!(stopped.elapsed() < Duration::from_secs(4), "the gate closed only after {:?}", stopped.elapsed());
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn a_canary_stays_until_a_busy_gateway_takes_it() {
    let world = World::new();
    let gateway = world.attach(&[]);
    send(gateway.child.id(), Signal::STOP);
    let mut canary = world.command("/run/it/gateway");
    let mut canary = canary.args(["canary", "--connect", "--cgroup"]).arg(world.cgroup()).spawn().unwrap();
    wait::until("its connection, or its end", || {
        !world.sh("ss -Htn state established").is_empty() || canary.try_wait().unwrap().is_some()
    });
    send(gateway.child.id(), Signal::CONT);
    // Nobody awaited this one, so that it is a session as any; who went before it was taken would be nobody.
    world.event("session.start", |body| body["destination"]["address"] == "192.0.2.1");
    canary.wait().unwrap();
}

#[test]
fn an_engine_that_says_nothing_is_replaced_and_its_connections_end() {
    let world = World::new();
    let gateway = world.attach(&[]);
    let agent = world.agent();
    let engine = gateway.engine_pid();
    send(engine, Signal::STOP);
    agent.connect(&format!("{SERVER}:22")).unwrap();
    wait::until("the end of what nobody serves", || !matches!(agent.recv(), Err(Errno::AGAIN)));
    world.event("engine.died", |_| true);
    world.is_open();
    assert_ne!(gateway.engine_pid(), engine);
}

#[test]
fn an_attachment_whose_threads_are_stuck_is_refused_alone() {
    let world = World::new();
    let gateway = world.attach(&[]);
    let (agent, neighbour) = (world.agent(), crate::budgets::neighbour(&world));
    for agent in [&agent, &neighbour] {
        agent.connect(&format!("{SERVER}:22")).unwrap();
        agent.recv().unwrap();
    }
    let threads = std::fs::read_dir(format!("/proc/{}/task", gateway.engine_pid())).unwrap().map(Result::unwrap);
    let is_ours = |thread: &std::fs::DirEntry| {
        std::fs::read_to_string(thread.path().join("comm")).unwrap().trim() == format!("lane {NAME}")
    };
    let frozen: Vec<_> = threads
        .filter(is_ours)
        .map(|thread| {
            let mut freeze = world.command(crate::tricks::program(&world));
            // Idle, and before anybody else connects: frozen under a lock, it would hold the neighbour too.
            let stat = || std::fs::read_to_string(thread.path().join("stat")).unwrap();
            wait::until("an idle thread", || stat().contains(") S "));
            let freeze = freeze.arg("freeze").arg(thread.file_name()).stdout(std::process::Stdio::piped());
            let mut freeze = freeze.spawn().unwrap();
            let mut said = String::new();
            BufReader::new(freeze.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
            assert_eq!(said, "frozen\n");
            freeze
        })
        .collect();
    assert!(!frozen.is_empty());
    wait::until("a refused connect", || agent.connect(&format!("{SERVER}:22")) == Err(Errno::CONNREFUSED));
    neighbour.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(neighbour.recv().unwrap(), "SSH-2.0-gateway\\r\\n");
    world.refused("heartbeat_stale");
    for mut freeze in frozen {
        freeze.kill().unwrap();
        freeze.wait().unwrap();
    }
    world.is_open();
}

#[test]
fn a_full_disk_lets_nothing_through() {
    let world = World::new();
    let server = world.server();
    world.sh("umount /var/lib/gateway; mount -t tmpfs -o size=2m none /var/lib/gateway");
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), "SSH-2.0-gateway\\r\\n");
    world.sh("dd if=/dev/zero of=/var/lib/gateway/fill bs=4k 2>/dev/null || true");
    wait::until("a refused connect", || agent.connect(&format!("{SERVER}:22")).is_err() || agent.recv().is_err());
    for _ in 0..20 {
        let reached = agent.connect(&format!("{SERVER}:22")).and_then(|_| agent.recv());
        assert!(matches!(reached, Err(Errno::CONNREFUSED | Errno::CONNRESET)), "{reached:?}");
    }
    assert_eq!(server.seen("tcp 22"), 0);
}
