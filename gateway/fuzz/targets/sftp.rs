//! Any client and any server of SFTP. In: bytes of both sides and answers. What was denied never reaches the server, and
//! nothing of the client's goes on while a decision is awaited.
#![no_main]

use gateway::protocol::sftp::{Sftp, Step};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut sftp = Sftp::<u64>::new();
    for chunk in bytes.chunks(64) {
        let Some((&choice, chunk)) = chunk.split_first() else { break };
        if choice & 1 == 0 {
            sftp.push_client(chunk);
        } else {
            sftp.push_server(chunk);
        }
        loop {
            match sftp.next_client() {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(Step::Ask(_))) => {
                    assert_eq!(sftp.next_client(), Ok(None));
                    if choice & 2 == 0 {
                        assert!(sftp.deny("no").is_some());
                    } else {
                        assert!(sftp.allow(1).is_some());
                    }
                }
                Ok(Some(Step::Forward(passed))) => {
                    assert!(passed.content.is_none_or(|content| content.at.end == passed.bytes.len()));
                }
                Ok(Some(Step::Refuse { reply, .. })) => assert_eq!(reply.get(4), Some(&101)),
            }
        }
        loop {
            match sftp.next_server() {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(passed)) => assert!(passed.bytes.len() > 4),
            }
        }
    }
    assert!(sftp.end().iter().all(|transfer| transfer.request == 1));
});
