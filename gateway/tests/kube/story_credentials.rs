//! Who the server sees: the gateway's credential, or the workload that it names, and never what the client says (G5).

use std::fs;

use crate::site::{Site, TOKEN};
use crate::wait;

#[test]
fn what_cannot_be_recorded_does_not_reach_the_server() {
    let site = Site::new();
    site.world.sh("umount /var/lib/gateway; mount -t tmpfs -o size=4m none /var/lib/gateway");
    let _gateway = site.attach();
    let ca = site.ca();
    // One connection that is open before the disk is full: new ones are refused then.
    let config: Vec<String> = std::iter::once("early".to_owned())
        .chain((0..40).map(|number| format!("late-{number}")))
        .map(|name| {
            let path = format!("/api/v1/namespaces/{}/configmaps?labelSelector=of%3D{name}", site.namespace);
            let url = format!("https://{}:6443{path}", crate::node::ADDRESS);
            let ca = ca.display();
            format!(
                "url = \"{url}\"\ncacert = \"{ca}\"\nsilent\noutput = \"/dev/null\"\nwrite-out = \"%{{http_code}} \"\n"
            )
        })
        .collect();
    let config = site.world.file("many.curl", &config.join("next\n"));
    let mut curl = site.command(&["timeout", "100", "curl", "--rate", "600/m", "-K"]);
    let curl = curl.arg(&config).stdout(std::process::Stdio::piped()).spawn().unwrap();
    wait::until("the first request", || !site.noted("of%3Dearly").is_empty());
    site.world.sh("dd if=/dev/zero of=/var/lib/gateway/fill bs=4k 2>/dev/null || true");
    let codes = String::from_utf8(curl.wait_with_output().unwrap().stdout).unwrap();
    assert!(codes.starts_with("200 ") && codes.split_whitespace().any(|code| code != "200"), "{codes}");
    let count = |script: &str| site.world.sh(script).trim().parse::<usize>().unwrap();
    let recorded = count("cat /var/lib/gateway/journal/*/*.jsonl | grep -c 'of%3Dlate' || true");
    let reached = site
        .noted("of%3Dlate")
        .iter()
        .filter(|event| event["requestURI"].to_string().contains(&site.namespace))
        .count();
    assert!(reached <= recorded && recorded < 40, "{reached} reached the server, {recorded} are recorded");
}

fn user(site: &Site, uri: &str) -> String {
    let what = format!("{uri} in the server's audit log");
    let event = wait::for_some(&what, || site.noted(uri).into_iter().next_back());
    event["user"]["username"].as_str().unwrap().to_owned()
}

#[test]
fn the_server_sees_the_gateways_credential_and_the_client_never_does() {
    let site = Site::new();
    let mut gateway = site.attach();
    let ran = site.kubectl(&["get", "pods", "-l", "of=the-gateway"]);
    assert!(ran.ok, "{ran:?}");
    assert_eq!(user(&site, "of%3Dthe-gateway"), "gateway-one");
    let kubeconfig = fs::read_to_string(site.world.directory().join("kubeconfig")).unwrap();
    assert!(!kubeconfig.contains(TOKEN));
    // What the client says of who it is goes nowhere.
    let path = "/api/v1/pods?labelSelector=of%3Dliars";
    let lies = [
        "authorization: Bearer token-of-nobody",
        "Impersonate-User: somebody",
        "Impersonate-Group: system:masters",
        "Impersonate-Extra-scopes: all",
        "X-Remote-User: somebody",
        "X-Remote-Group: system:masters",
    ];
    let arguments: Vec<&str> = lies.iter().flat_map(|lie| ["-H", lie]).collect();
    let ran = site.curl(&arguments, path);
    assert!(ran.out.contains("PodList"), "{ran:?}");
    assert_eq!(user(&site, "of%3Dliars"), "gateway-one");
    let noted = site.noted("of%3Dliars");
    assert!(noted.iter().all(|event| event.get("impersonatedUser").is_none()), "{noted:?}");
    let request = site.request(|body| body["text"].as_str().is_some_and(|text| text.contains("liars")));
    assert!(request["stripped"].as_array().unwrap().contains(&"impersonate-user".into()), "{request}");
    assert!(gateway.stop().success());
    let state = site.world.directory().join("state").display().to_string();
    assert_eq!(site.world.sh(&format!("grep -rl {TOKEN} {state} /run/gateway || true")), "");
    assert!(!gateway.output().contains(TOKEN), "the log");
    let used = site.world.event("credential.used", |body| body["target"] == "prod");
    assert_eq!(used["server_identity"], "verify-full 10.99.0.2");
}

#[test]
fn the_server_is_told_the_workload_where_that_is_configured() {
    let site = Site::new();
    let _gateway = site.attach_to(&site.target(&format!("{}\nimpersonate = true", site.token())), None);
    // The workload itself has no rights in the cluster: the cluster says so.
    let ran = site.kubectl(&["get", "pods", "-l", "of=the-workload"]);
    assert!(!ran.ok && ran.err.contains("gateway:"), "{ran:?}");
    let noted = wait::for_some("the request in the server's audit log", || site.noted("of%3Dthe-workload").pop());
    assert_eq!(noted["user"]["username"], "gateway-one", "{noted}");
    let workload = noted["impersonatedUser"]["username"].as_str().unwrap();
    assert!(workload.starts_with("gateway:"), "{noted}");
    site.admin(&["create", "role", "reader", "--verb=get,list", "--resource=pods"]);
    site.admin(&["create", "rolebinding", "site", "--role=reader", &format!("--user={workload}")]);
    wait::until("the workload's new right", || site.kubectl(&["get", "pods"]).ok);
}

#[test]
fn a_new_token_is_used_as_soon_as_it_is_there() {
    let site = Site::new();
    let _gateway = site.attach();
    assert!(site.kubectl(&["get", "pods", "-l", "token=first"]).ok);
    assert_eq!(user(&site, "token%3Dfirst"), "gateway-one");
    site.world.file("secret/token", "token-of-gateway-two\n");
    wait::until("requests with the new token", || {
        assert!(site.kubectl(&["get", "pods", "-l", "token=second"]).ok);
        user(&site, "token%3Dsecond") == "gateway-two"
    });
}

#[test]
fn no_token_goes_to_a_server_that_was_not_verified() {
    let site = Site::new();
    let other = site.world.sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=other -days 1 2>/dev/null");
    let ca = site.world.file("other.pem", &other);
    let target = site
        .target(&site.token())
        .replace(&site.node.home.join("ca.crt").display().to_string(), &ca.display().to_string());
    let _gateway = site.attach_to(&target, None);
    let ran = site.kubectl(&["get", "pods", "-l", "of=unverified"]);
    assert!(!ran.ok && ran.err.contains("could not be verified"), "{ran:?}");
    assert!(site.noted("of%3Dunverified").is_empty());
    let off = target.replace("[target.tls]", "[target.tls]\nmode = \"require\"");
    let file = site.world.file("off.toml", &format!("version = 1\n{off}"));
    let said = site.world.cli(&["trust", "--ca", "--config", file.to_str().unwrap()]);
    assert!(!said.status.success() && said.err.contains("goes only to a server that was verified"), "{said:?}");
}

#[test]
fn a_client_certificate_of_the_gateway_logs_in() {
    let site = Site::new();
    let home = site.node.home.display();
    let tls = format!("[target.tls]\ncertificate = \"{home}/admin.crt\"\nkey = \"{home}/admin.key\"");
    let target = site.target("user = \"admin\"").replace("[target.tls]", &tls);
    let _gateway = site.attach_to(&target, None);
    let ran = site.kubectl(&["get", "pods", "-l", "of=certificate"]);
    assert!(ran.ok, "{ran:?}");
    assert_eq!(user(&site, "of%3Dcertificate"), "admin");
}
