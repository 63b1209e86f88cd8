//! What a startup packet may ask for.

use super::*;

fn asked(parameters: &[(&str, &str)]) -> Result<Startup, SettingsError> {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Startup::read(&StartupMessage { version: 0x0003_0000, parameters })
}

fn upstream(startup: &Startup) -> String {
    String::from_utf8(startup.to_message("app_ro", 0x0003_0000).split_off(8)).unwrap().replace('\0', "|")
}

#[test]
fn pins_are_in_every_startup_message() {
    let startup = asked(&[("user", "al"), ("application_name", "psql")]).unwrap();
    assert_eq!(startup.database, "al");
    assert_eq!(
        upstream(&startup),
        "user|app_ro|database|al|application_name|psql|client_encoding|UTF8|standard_conforming_strings|on|\
         backslash_quote|safe_encoding||"
    );
}

#[test]
fn takes_every_spelling_of_utf8_that_drivers_send() {
    for spelling in ["UTF8", "utf-8", "'utf-8'", "UNICODE", "SQL_ASCII"] {
        assert!(asked(&[("user", "al"), ("client_encoding", spelling)]).is_ok(), "{spelling}");
    }
}

#[test]
fn an_encoding_is_asked_for_by_the_name_that_servers_report() {
    for (spelling, name) in [("sjis", "SJIS"), ("iso-8859-1", "LATIN1"), ("Windows1252", "WIN1252")] {
        let startup = asked(&[("user", "al"), ("options", &format!("-c client_encoding={spelling}"))]).unwrap();
        assert!(upstream(&startup).contains(&format!("|client_encoding|{name}|")), "{spelling}");
    }
}

#[test]
fn refuses_other_values_of_pinned_settings_wherever_they_stand() {
    for parameter in [
        ("client_encoding", "EUC_TW"),
        ("Client_Encoding", "johab"),
        ("standard_conforming_strings", "off"),
        ("backslash_quote", "on"),
        ("options", "-c client_encoding=EUC_TW"),
        ("options", "-cclient_encoding=EUC_TW"),
        ("options", "--client-encoding=EUC_TW"),
        ("options", "-c Standard-Conforming_strings=off"),
        ("options", r"-c standard_conforming_\strings=off"),
        ("options", "-c standard_conforming_strings=on -c standard_conforming_strings=off"),
    ] {
        let error = asked(&[("user", "al"), parameter]).unwrap_err();
        assert!(matches!(error, SettingsError::Encoding { .. } | SettingsError::Pinned { .. }), "{parameter:?}");
    }
}

#[test]
fn reads_options_failing_at_the_server_does() {
    let options = r"-c search_path=a\ b,\\c  --statement-timeout=5s -cDateStyle=ISO -c standard_conforming_strings=on";
    let startup = asked(&[("user", "al"), ("options", options), ("datestyle", "SQL")]).unwrap();
    let expected = [("search_path", r"a b,\c"), ("statement_timeout", "5s"), ("datestyle", "SQL")];
    assert_eq!(startup.settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn refuses_options_that_are_not_settings() {
    for options in ["-d 5", "-f s", "x", "-c", "-c x", "--x", "-c =1", "-c user=root", "--replication=1", "-- -c a=b"] {
        let error = asked(&[("user", "al"), ("options", options)]).unwrap_err();
        assert!(matches!(error, SettingsError::Options { .. }), "{options}");
    }
}

#[test]
fn refuses_replication_and_a_missing_user() {
    assert_eq!(asked(&[("user", "al"), ("replication", "database")]), Err(SettingsError::Replication));
    assert!(asked(&[("user", "al"), ("replication", "false")]).is_ok());
    assert_eq!(asked(&[("database", "al")]), Err(SettingsError::NoUser));
}

#[test]
fn a_pinned_setting_that_changes_is_seen() {
    assert_eq!(watch(b"standard_conforming_strings", b"off"), Report::Broken);
    assert_eq!(watch(b"TimeZone", b"UTC"), Report::Free);
}
