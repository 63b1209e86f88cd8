//! Who gets in, how, and over what.

use crate::cluster::*;
use crate::wire_support::*;
use gateway::protocol::postgres::*;
use gateway::secret::Secret;
use gateway::upstream::credential::{Credential, UnverifiedServer};
use gateway::upstream::tls::TlsMode;
use std::sync::Arc;

const WHO: &str = "SELECT current_user, (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())";

on_every_version! {
    async fn a_client_is_let_in_by_its_identity_and_becomes_the_credentials_role(version: Version) {
        let gateway = Relay::usual_on(version).await;
        for mode in ["disable", "allow", "prefer", "require"] {
            let ran = gateway.run("al", &[("PGSSLMODE", mode), ("PGPASSWORD", "")], &[WHO]).await;
            assert_eq!(ran.out, "scram_user|t", "{mode}: {ran:?}");
        }
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), leaf().1).unwrap();
        let env = [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", ca.path().to_str().unwrap())];
        assert_eq!(gateway.run("al", &env, &[WHO]).await.out, "scram_user|t");
    }

    async fn a_credential_serves_no_other_user_name(version: Version) {
        let gateway = Relay::usual_on(version).await;
        let ran = gateway.run("postgres", &[], &["SELECT 1"]).await;
        assert!(!ran.ok && ran.err.contains("no login for user `postgres`") && ran.err.contains("for_users"), "{ran:?}");
        assert!(matches!(gateway.end().await.cause, Cause::Refused(_)));
    }

    async fn every_method_logs_in_with_a_verified_server(version: Version) {
        let cluster = version.encrypted();
        for user in ["scram_user", "scram_tls", "md5_user", "password_user", "trust_user"] {
            for mode in [TlsMode::VerifyFull, TlsMode::VerifyCa] {
                let gateway = Relay::start(cluster.port, options(cluster.tls(mode), credential(user, &["al"]))).await;
                assert_eq!(gateway.run("al", &[], &[WHO]).await.out, format!("{user}|t"));
            }
        }
        let gateway =
            Relay::start(cluster.port, options(cluster.tls_with_certificate(), credential("cert_user", &["al"]))).await;
        assert_eq!(gateway.run("al", &[], &[WHO]).await.out, "cert_user|t");
    }

    async fn nothing_that_gives_the_password_away_goes_to_an_unverified_server(version: Version) {
        let unverified = |user: &str, unverified| {
            LoginMode::Credentials(Arc::new([Credential {
                user: user.into(),
                for_users: vec!["al".into()],
                password: Some(Secret::new(PASSWORD.as_bytes().to_vec())),
                unverified,
            }]))
        };
        for (cluster, mode) in [(version.encrypted(), TlsMode::Require), (version.plain(), TlsMode::Disable), (version.plain(), TlsMode::Prefer)] {
            let gateway = Relay::start(
                cluster.port,
                options(cluster.tls(mode), unverified("scram_user", UnverifiedServer::Refuse)),
            )
            .await;
            let ran = gateway.run("al", &[], &["SELECT 1"]).await;
            assert!(ran.err.contains("was not verified"), "{ran:?}");
            for (user, expected) in [("scram_user", "1"), ("md5_user", ""), ("password_user", "")] {
                let gateway = Relay::start(
                    cluster.port,
                    options(cluster.tls(mode), unverified(user, UnverifiedServer::AllowScram)),
                )
                .await;
                let ran = gateway.run("al", &[], &["SELECT 1"]).await;
                assert_eq!(ran.out, expected, "{user} {mode:?} {ran:?}");
            }
        }
    }

    async fn a_server_that_is_not_the_declared_one_is_refused(version: Version) {
        let cluster = version.encrypted();
        let other = gateway::upstream::tls::UpstreamTls::new(
            TlsMode::VerifyFull,
            Some("other.test"),
            Some(cluster.ca.as_bytes()),
            None,
        )
        .unwrap();
        let gateway = Relay::start(cluster.port, options(other, credential("scram_user", &["al"]))).await;
        let ran = gateway.run("al", &[], &["SELECT 1"]).await;
        assert!(ran.err.contains("tls handshake with the server failed"), "{ran:?}");
        let gateway =
            Relay::start(version.plain().port, options(cluster.tls(TlsMode::VerifyFull), credential("scram_user", &["al"])))
                .await;
        let ran = gateway.run("al", &[], &["SELECT 1"]).await;
        assert!(ran.err.contains("the server has no tls"), "{ran:?}");
    }

    /// Relayed logins: the table of what passes. Server, user, client's sslmode and channel_binding, and whether it works.

    async fn a_clients_own_login_passes_where_one_leg_is_plaintext(version: Version) {
        let mut wrong = Vec::new();
        for (name, cluster, mode) in [("tls", version.encrypted(), TlsMode::Prefer), ("plain", version.plain(), TlsMode::Prefer)] {
            let gateway = Relay::start(cluster.port, options(cluster.tls(mode), LoginMode::Relay)).await;
            for user in ["scram_user", "md5_user", "password_user", "trust_user"] {
                for sslmode in ["disable", "allow", "prefer", "require"] {
                    for binding in ["disable", "prefer", "require"] {
                        let ran = gateway
                            .run(user, &[("PGSSLMODE", sslmode), ("PGCHANNELBINDING", binding)], &["SELECT current_user"])
                            .await;
                        // With a server on TLS the client's leg is plaintext; a client that insists on TLS closes.
                        let passes = binding != "require" && (name == "plain" || sslmode != "require");
                        if ran.ok != passes || (passes && ran.out != user) {
                            wrong.push(format!("{name} {user} {sslmode} {binding}: {ran:?}"));
                        }
                    }
                }
            }
            let ran = gateway.run("scram_user", &[("PGPASSWORD", "wrong")], &["SELECT 1"]).await;
            assert!(ran.err.contains("password authentication failed for user \"scram_user\""), "{ran:?}");
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    async fn a_client_that_insists_on_tls_is_recorded_with_the_way_out(version: Version) {
        let cluster = version.encrypted();
        let gateway = Relay::start(cluster.port, options(cluster.tls(TlsMode::Prefer), LoginMode::Relay)).await;
        assert!(!gateway.run("scram_user", &[("PGSSLMODE", "require")], &["SELECT 1"]).await.ok);
        let cause = gateway.end().await.cause;
        assert!(matches!(cause, Cause::Accept(AcceptError::InsistsOnTls)), "{cause:?}");
    }

    async fn a_password_asked_for_is_used_once_upstream_and_never_in_clear(version: Version) {
        for (cluster, mode) in [(version.encrypted(), TlsMode::Prefer), (version.plain(), TlsMode::Prefer)] {
            let gateway = Relay::start(cluster.port, options(cluster.tls(mode), LoginMode::Ask)).await;
            assert_eq!(gateway.run("scram_user", &[], &["SELECT current_user"]).await.out, "scram_user");
            assert_eq!(
                gateway.run("scram_user", &[("PGSSLMODE", "require")], &["SELECT current_user"]).await.out,
                "scram_user"
            );
            let ran = gateway.run("scram_user", &[("PGSSLMODE", "disable")], &["SELECT 1"]).await;
            assert!(ran.err.contains("not taken without TLS"), "{ran:?}");
            let ran = gateway.run("password_user", &[("PGSSLMODE", "require")], &["SELECT 1"]).await;
            assert!(ran.err.contains("asks for the password in clear and was not verified"), "{ran:?}");
            let ran = gateway.run("scram_user", &[("PGPASSWORD", "wrong"), ("PGSSLMODE", "require")], &["SELECT 1"]).await;
            assert!(ran.err.contains("password authentication failed"), "{ran:?}");
        }
    }

    async fn policy_and_configuration_can_refuse_a_login(version: Version) {
        let gateway = Relay::usual_on(version).await;
        let ran = gateway.run("al", &[("PGDATABASE", "refused")], &["SELECT 1"]).await;
        assert!(ran.err.contains("denied by policy toy: this database"), "{ran:?}");
        let denial = Denial::fatal(SqlState::LOGIN, "undeclared servers are refused");
        let gateway = Relay::start(version.plain().port, options(version.plain().tls(TlsMode::Prefer), LoginMode::Refuse(denial))).await;
        let ran = gateway.run("al", &[], &["SELECT 1"]).await;
        assert!(ran.err.contains("undeclared servers are refused"), "{ran:?}");
    }

    async fn pinned_settings_hold_and_other_settings_pass(version: Version) {
        let gateway = Relay::usual_on(version).await;
        let show = "SELECT current_setting('client_encoding'), current_setting('standard_conforming_strings'), current_setting('backslash_quote'), current_setting('statement_timeout'), current_setting('application_name')";
        let ran = gateway
            .run(
                "al",
                &[
                    ("PGOPTIONS", "-c statement_timeout=7s --standard-conforming-strings=on"),
                    ("PGAPPNAME", "x y"),
                    ("PGCLIENTENCODING", "SQL_ASCII"),
                ],
                &[show],
            )
            .await;
        assert_eq!(ran.out, "UTF8|on|safe_encoding|7s|x y", "{ran:?}");
        for env in
            [("PGOPTIONS", "-c standard_conforming_strings=off"), ("PGCLIENTENCODING", "JOHAB"), ("PGOPTIONS", "-d 5")]
        {
            assert!(gateway.run("al", &[env], &["SELECT 1"]).await.err.contains("FATAL"), "{env:?}");
        }
        // The engine reads no SQL; what a judge lets through is noticed by its effect.
        let ran = gateway.run("al", &[], &["SET standard_conforming_strings = off", "SELECT 1"]).await;
        assert!(!ran.ok && !ran.out.contains('1'), "{ran:?}");
    }
}
