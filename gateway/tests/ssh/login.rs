//! Logins: who is let in as whom, where the credential is sent, and where it never is (G5).

use crate::host::{Host, PASSWORD, SERVER, USER, ran};

#[test]
fn a_password_logs_in_and_is_nowhere_near_the_client() {
    let host = Host::new();
    let file = host.world.file("secret/password", &format!("{PASSWORD}\n"));
    let known = format!("host_keys = [\"{}\"]", host.host_key());
    let config = host.target_with(&known, &format!("password = {{ file = \"{}\" }}", file.display()));
    let mut gateway = host.attach_with(&config, &[]);
    let ran = host.ssh(&["whoami"]);
    assert_eq!(ran.out, "deploy\n", "{ran:?}");
    assert!(gateway.stop().success());
    let state = host.world.directory().join("state").display().to_string();
    assert_eq!(host.world.sh(&format!("grep -rl {PASSWORD} {state} /run/gateway || true")), "");
    assert!(!gateway.output().contains(PASSWORD));
}

#[test]
fn a_server_with_another_key_never_sees_the_login() {
    let host = Host::new();
    let key = std::fs::read_to_string(host.file("login_key.pub")).unwrap();
    let other: String = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let credential = format!("key = {{ file = \"{}\" }}", host.file("login_key").display());
    let _gateway = host.attach_with(&host.target_with(&format!("host_keys = [\"{other}\"]"), &credential), &[]);
    let ran = host.ssh(&["true"]);
    assert_eq!(ran.code, Some(255));
    assert!(ran.err.contains("host key SHA256:") && ran.err.contains("not among those"), "{ran:?}");
    assert!(!host.log().contains("Accepted") && !host.log().contains("Failed"), "{}", host.log());
    assert!(host.world.events("credential.used").is_empty());
}

#[test]
fn known_hosts_name_the_server() {
    let host = Host::new();
    let line = format!("{SERVER} {}\n", host.host_key());
    let file = host.world.file("known_hosts", &line);
    host.world.sh(&format!("ssh-keygen -q -H -f {}", file.display()));
    let credential = format!("key = {{ file = \"{}\" }}", host.file("login_key").display());
    let known = format!("known_hosts = \"{}\"", file.display());
    let _gateway = host.attach_with(&host.target_with(&known, &credential), &[]);
    assert_eq!(host.ssh(&["echo in"]).out, "in\n");
}

#[test]
fn a_host_certificate_names_the_server() {
    let host = Host::new();
    host.world.sh(&format!(
        "ssh-keygen -q -t ed25519 -N '' -f {0}; ssh-keygen -q -s {0} -I host -h -n {SERVER} {1}",
        host.file("ca").display(),
        host.file("host_key.pub").display()
    ));
    let authority = std::fs::read_to_string(host.file("ca.pub")).unwrap();
    let authority: String = authority.split(' ').take(2).collect::<Vec<_>>().join(" ");
    host.world.sh(&format!(
        "echo 'HostCertificate {}' >> {}",
        host.file("host_key-cert.pub").display(),
        host.file("config").display()
    ));
    host.reload();
    let credential = format!("key = {{ file = \"{}\" }}", host.file("login_key").display());
    let _gateway = host.attach_with(&host.target_with(&format!("authorities = [\"{authority}\"]"), &credential), &[]);
    let ran = host.ssh(&["echo in"]);
    assert_eq!(ran.out, "in\n", "{ran:?}");
    let used = host.world.event("credential.used", |_| true);
    assert!(used["server_identity"].as_str().unwrap().starts_with("host certificate of SHA256:"), "{used}");
}

#[test]
fn names_that_the_credential_does_not_serve_get_no_login() {
    let host = Host::new();
    let _gateway = host.attach();
    let refused =
        ran(&mut host.command(&[&["ssh"][..], &Host::options(), &[&format!("root@{SERVER}"), "true"]].concat()));
    assert_eq!(refused.code, Some(255));
    assert!(refused.err.contains("no login for user `root`") && refused.err.contains(USER), "{refused:?}");
    assert!(!host.log().contains("Accepted"), "{}", host.log());
}

#[test]
fn an_undeclared_server_is_refused_with_the_reason() {
    let host = Host::new();
    let _gateway = host.attach_with("version = 1\n", &[]);
    let ran = host.ssh(&["true"]);
    assert_eq!(ran.code, Some(255));
    assert!(ran.err.contains("declare the target"), "{ran:?}");
}

#[test]
fn a_client_with_a_key_of_its_own_is_let_in_by_what_it_is() {
    let host = Host::new();
    let _gateway = host.attach();
    host.world.sh(&format!(
        "mkdir -p /run/home/.ssh; ssh-keygen -q -t ed25519 -N '' -f /run/home/.ssh/id_ed25519; chown -R {0} /run/home/.ssh",
        host.world.uid()
    ));
    let mut ssh = host.ssh_command(&["-o", "PreferredAuthentications=publickey", "--", "whoami"]);
    let ran = ran(&mut ssh);
    assert_eq!(ran.out, "deploy\n", "{ran:?}");
}

#[test]
fn a_certificate_for_minutes_logs_in() {
    let host = Host::new();
    let authority = host.world.cli(&["trust", "--ssh-authority"]).out;
    std::fs::write(host.file("user_ca.pub"), authority).unwrap();
    let known = format!("host_keys = [\"{}\"]", host.host_key());
    let _gateway = host.attach_with(&host.target_with(&known, "certificate = true"), &[]);
    let ran = host.ssh(&["whoami"]);
    assert_eq!(ran.out, "deploy\n", "{ran:?}");
    assert!(host.log().contains("ED25519-CERT"), "{}", host.log());
}
