//! Any client and any server of scp's old protocol. In: how it is called, bytes of both sides, and answers. Paths stay
//! below what the command names, and nothing goes on while a decision is awaited.
#![no_main]

use gateway::protocol::scp::{Operation, Peer, Scp, Step};
use gateway::protocol::shell::facts;
use libfuzzer_sys::fuzz_target;

const CALLS: [&str; 4] = ["scp -t /srv", "scp -rdt /srv", "scp -f /srv/a /srv/b", "scp -rf /srv"];

fuzz_target!(|bytes: &[u8]| {
    let Some((&call, bytes)) = bytes.split_first() else { return };
    let called = facts(CALLS[usize::from(call) % CALLS.len()]);
    let mut scp = Scp::<u64>::of(&called.commands[0]).expect("a call that is known");
    for chunk in bytes.chunks(24) {
        let Some((&choice, chunk)) = chunk.split_first() else { break };
        scp.push(if choice & 1 == 0 { Peer::Client } else { Peer::Server }, chunk);
        loop {
            match scp.step() {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(Step::Pass { .. })) => {}
                Ok(Some(Step::Ask(operation))) => {
                    let paths = match operation {
                        Operation::Read { path, .. } | Operation::List { path } => vec![path],
                        Operation::Write { paths, .. } | Operation::MakeDirectory { paths, .. } => paths,
                    };
                    assert!(paths.iter().all(|path| path.starts_with("/srv") && !path.contains("/..")), "{paths:?}");
                    assert_eq!(scp.step(), Ok(None));
                    if choice & 2 == 0 {
                        scp.deny("no");
                    } else if scp.allow(1).is_err() {
                        return;
                    }
                }
            }
        }
    }
    let _ = scp.end();
});
