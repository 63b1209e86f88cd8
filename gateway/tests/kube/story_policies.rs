//! Denials and holds, as kubectl shows them and as the server never sees them.

use crate::site::{Kubectl, Site};

#[test]
fn what_policy_denies_never_reaches_the_server_and_kubectl_says_why() {
    let site = Site::new();
    let _gateway = site.attach();
    for which in Kubectl::BOTH {
        let ran = site.kubectl_of(which, &["delete", "namespace", &site.namespace]);
        assert!(!ran.ok, "{ran:?}");
        assert!(ran.err.contains("Error from server (Forbidden)"), "{ran:?}");
        assert!(
            ran.err.contains("guard.kubernetes.cluster-objects") && ran.err.contains("not deleted by a workload"),
            "{ran:?}"
        );
    }
    let denied = site.request(|body| body["verb"] == "delete" && body["name"] == site.namespace.as_str());
    assert_eq!(denied["decision"]["verdict"], "deny", "{denied}");
    let deletes = site.noted(&format!("/namespaces/{}", site.namespace));
    assert!(deletes.iter().all(|event| event["verb"] != "delete"), "{deletes:?}");
}

#[test]
fn a_pod_that_reaches_for_the_node_is_denied_however_it_is_written() {
    let site = Site::new();
    let _gateway = site.attach();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: greedy}\nspec:\n  nodeName: nowhere\n  hostPID: true\n  containers: [{name: a, image: x}]\n";
    let file = site.manifest("pod.yaml", pod);
    for arguments in [&["create", "-f", &file][..], &["apply", "-f", &file], &["apply", "--server-side", "-f", &file]] {
        let ran = site.kubectl(arguments);
        assert!(!ran.ok && ran.err.contains("guard.kubernetes.pods"), "{arguments:?} {ran:?}");
    }
    let path = format!("/api/v1/namespaces/{}/pods", site.namespace);
    let body = format!("@{file}");
    let ran = site.curl(&["--data-binary", &body, "-H", "content-type: application/yaml"], &path);
    assert!(ran.out.contains("guard.kubernetes.pods"), "{ran:?}");
    let json = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"g"},"spec":{"hostPID":false,"hostPID":true,"containers":[{"name":"a","image":"x"}]}}"#;
    let ran = site.curl(&["--data-binary", json, "-H", "content-type: application/json"], &path);
    assert!(ran.out.contains("a key twice"), "{ran:?}");
    // An envelope of `v1 Pod`, in it field 2 (`spec`), in it field 12 (`hostPID`); and a kind that there is none of.
    let envelope = |kind: &str, message: &str| format!("k8s\0\n\t\n\x02v1\x12\x03{kind}\x12{message}");
    for (name, body, said) in [
        ("pod", envelope("Pod", "\x04\x12\x02\x60\x01"), "guard.kubernetes.pods"),
        ("pot", envelope("Pot", "\0"), "`v1 Pot` in a body of protobuf cannot be read here: send application/json"),
        ("cut", "k8s\0\n\t".to_owned(), "a length beyond its end"),
    ] {
        let body = format!("@{}", site.world.file(name, &body).display());
        let ran =
            site.curl(&["--data-binary", &body, "-H", "content-type: application/vnd.kubernetes.protobuf"], &path);
        assert!(ran.out.contains(said), "{name} {ran:?}");
    }
    assert!(site.admin(&["get", "pods", "-o", "name"]).is_empty());
}

#[test]
fn a_held_request_goes_through_once_after_its_approval() {
    let site = Site::new();
    let _gateway = site.attach();
    site.admin(&["create", "configmap", "one"]);
    site.admin(&["create", "configmap", "two"]);
    let all = ["delete", "configmaps", "--all", "--wait=false"];
    let path = format!("/api/v1/namespaces/{}/configmaps", site.namespace);
    let delete = || site.curl(&["-X", "DELETE"], &path);
    let held = delete();
    assert!(held.out.contains("\"code\":403") && held.out.contains("guard.kubernetes.collections"), "{held:?}");
    let ticket = held.out.split("gateway approve ").nth(1).unwrap().split(')').next().unwrap().to_owned();
    assert!(delete().out.contains(&ticket), "the same request waits as the same ticket");
    let approved = site.world.cli(&["approve", &ticket]);
    assert!(approved.status.success(), "{approved:?}");
    let other = site.curl(&["-X", "DELETE"], &format!("{path}?labelSelector=a%3Db"));
    assert!(
        other.out.contains("waits for approval") && !other.out.contains(&ticket),
        "another request is another: {other:?}"
    );
    let done = delete();
    assert!(!done.out.contains("Failure"), "{done:?}");
    assert!(!site.admin(&["get", "configmaps", "-o", "name"]).contains("configmap/one"));
    let again = delete();
    assert!(again.out.contains("waits for approval") && !again.out.contains(&ticket), "{again:?}");
    // kubectl deletes them one by one, which nobody holds.
    assert!(site.kubectl(&all).ok);
}

#[test]
fn a_held_request_waits_where_that_is_configured() {
    let site = Site::new();
    let _gateway = site.attach_with("[approval]\non_hold = \"wait\"\n", None);
    site.admin(&["create", "configmap", "one"]);
    let path = format!("/api/v1/namespaces/{}/configmaps", site.namespace);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| site.curl(&["-X", "DELETE"], &path));
        let ticket = site.world.event("approval.requested", |_| true)["ticket"].as_str().unwrap().to_owned();
        assert!(site.world.cli(&["approve", &ticket]).status.success());
        let done = waiting.join().unwrap();
        assert!(done.ok && !done.out.contains("Failure"), "{done:?}");
    });
}

#[test]
fn a_watch_ends_when_policies_no_longer_permit_it() {
    let site = Site::new();
    let read = "@id(\"read\") permit (principal, action in [Action::\"read\"], resource);\n";
    let _gateway = site.attach_with("", Some(read));
    site.admin(&["create", "configmap", "watched"]);
    let path = format!("/api/v1/namespaces/{}/configmaps?watch=1", site.namespace);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| site.curl(&["--max-time", "50"], &path));
        site.request(|body| body["verb"] == "watch");
        site.world.file(
            "policies/site.cedar",
            "@id(\"list\") permit (principal, action == Kubernetes::Action::\"list\", resource);\n",
        );
        let ended = watching.join().unwrap();
        assert!(!ended.ok && !ended.err.contains("timed out"), "{ended:?}");
    });
    let outcome = site.world.event("kubernetes.outcome", |body| body["status"] == "cancelled");
    assert!(outcome["reason"].as_str().unwrap().contains("no longer permit"), "{outcome}");
}
