//! Undeclared servers: the client's own login through the gateway, in all its cells, and the other settings.

use crate::cluster::{PASSWORD, remote_plain};
use crate::shop::{Shop, Side};

#[test]
fn a_clients_own_login_passes_where_one_leg_is_plaintext() {
    let mut wrong = Vec::new();
    for (name, shop) in [("tls", Shop::new()), ("plain", Shop::at(remote_plain()))] {
        let _gateway = shop.world.attach(&[]);
        for user in ["scram_user", "md5_user", "password_user", "trust_user"] {
            for (mode, binding) in [
                ("disable", "prefer"),
                ("allow", "prefer"),
                ("prefer", "prefer"),
                ("require", "prefer"),
                ("prefer", "disable"),
                ("prefer", "require"),
            ] {
                let variables =
                    [("PGUSER", user), ("PGPASSWORD", PASSWORD), ("PGSSLMODE", mode), ("PGCHANNELBINDING", binding)];
                let ran = shop.psql_on(Side::Inside, &variables, &["SELECT current_user"]);
                // With a server on TLS the client's leg is plaintext; a client that insists on TLS closes.
                let passes = binding != "require" && (name == "plain" || mode != "require");
                if ran.ok != passes || (passes && ran.out != user) {
                    wrong.push(format!("{name} {user} {mode} {binding}: {ran:?}"));
                }
            }
        }
        let ran = shop.psql_on(Side::Inside, &[("PGUSER", "scram_user"), ("PGPASSWORD", "wrong")], &["SELECT 1"]);
        assert!(ran.err.contains("password authentication failed for user \"scram_user\""), "{ran:?}");
        assert!(!shop.world.sh("cat /var/lib/gateway/journal/*/*.jsonl").contains(PASSWORD));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_password_can_be_asked_for_over_the_gateways_tls() {
    let shop = Shop::new();
    let _gateway = shop.attach_with("[undeclared]\npostgres = { login = \"ask\" }\n");
    let login = |mode| [("PGUSER", "scram_user"), ("PGPASSWORD", PASSWORD), ("PGSSLMODE", mode)];
    for mode in ["prefer", "require"] {
        let ran = shop.psql_on(Side::Inside, &login(mode), &["SELECT current_user"]);
        assert_eq!(ran.out, "scram_user", "{mode} {ran:?}");
    }
    let ran = shop.psql_on(Side::Inside, &login("disable"), &["SELECT 1"]);
    assert!(ran.err.contains("not taken without TLS") && ran.err.contains("sslmode=require"), "{ran:?}");
}

#[test]
fn undeclared_servers_can_be_refused() {
    let shop = Shop::new();
    let _gateway = shop.attach_with("[undeclared]\npostgres = { login = \"deny\" }\n");
    let ran = shop.psql(&["SELECT 1"]);
    assert!(!ran.ok && ran.err.contains("no target names this server") && ran.err.contains("[[target]]"), "{ran:?}");
}
