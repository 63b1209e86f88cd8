//! kubectl of both ages through the gateway: the same as directly, but for masks and denials.

use crate::site::{Kubectl, Site};

#[test]
fn ordinary_work_goes_through() {
    let site = Site::new();
    let _gateway = site.attach();
    for which in Kubectl::BOTH {
        let kubectl = |arguments: &[&str]| {
            let ran = site.kubectl_of(which, arguments);
            assert!(ran.ok, "{which:?} {arguments:?}: {ran:?}");
            ran.out
        };
        let file = site
            .manifest("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {color: red}\n");
        assert!(kubectl(&["apply", "-f", &file]).contains("configmap/settings created"));
        assert_eq!(kubectl(&["get", "configmap", "settings", "-o", "jsonpath={.data.color}"]), "red");
        assert!(kubectl(&["get", "configmaps"]).contains("settings"), "a table");
        assert!(kubectl(&["describe", "configmap", "settings"]).contains("red"));
        let file = site.manifest(
            "map2.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {color: blue}\n",
        );
        let diff = site.kubectl_of(which, &["diff", "-f", &file]);
        assert!(diff.out.contains("+  color: blue"), "{diff:?}");
        assert!(kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file]).contains("serverside-applied"));
        kubectl(&[
            "patch",
            "configmap",
            "settings",
            "--type=json",
            "-p",
            r#"[{"op":"add","path":"/data/size","value":"9"}]"#,
        ]);
        kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", r#"{"data":{"shape":"round"}}"#]);
        kubectl(&["label", "configmap", "settings", "seen=yes"]);
        assert_eq!(kubectl(&["get", "cm", "-l", "seen=yes", "-o", "name"]), "configmap/settings");
        assert_eq!(kubectl(&["get", "cm", "settings", "-o", "jsonpath={.data.size}{.data.shape}"]), "9round");
        assert_eq!(kubectl(&["auth", "can-i", "delete", "pods"]), "yes");
        assert!(kubectl(&["api-resources"]).contains("deployments"));
        assert!(kubectl(&["explain", "pod.spec.containers"]).contains("image"));
        assert!(kubectl(&["get", "nodes"]).contains("node1"));
        assert!(kubectl(&["version"]).contains("Server Version"));
        assert!(kubectl(&["delete", "configmap", "settings"]).contains("deleted"));
    }
    let seen = site.request(|body| body["resource"] == "configmaps" && body["verb"] == "delete");
    assert_eq!((&seen["decision"]["verdict"], &seen["name"]), (&"allow".into(), &"settings".into()), "{seen}");
}

#[test]
fn logs_are_followed_line_by_line_and_masked() {
    use std::io::{BufRead, BufReader};
    let site = Site::new();
    let _gateway = site.attach();
    site.pod("talker");
    for which in Kubectl::BOTH {
        let mut command = site.kubectl_command(which, &["logs", "-f", "talker"]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let lines: Vec<_> = BufReader::new(child.stdout.take().unwrap()).lines().take(3).map(Result::unwrap).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(lines.iter().all(|line| line == "tick card *******************"), "{lines:?}");
    }
}

#[test]
fn a_watch_shows_each_change_as_it_comes() {
    use std::io::{BufRead, BufReader};
    let site = Site::new();
    let _gateway = site.attach();
    for which in Kubectl::BOTH {
        site.admin(&["create", "configmap", "watched"]);
        let arguments = ["get", "configmap", "watched", "-w", "-o", "jsonpath={.data.step}{'\\n'}"];
        let mut child = site.kubectl_command(which, &arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "");
        for step in ["one", "two", "three"] {
            site.admin(&["patch", "configmap", "watched", "-p", &format!("{{\"data\":{{\"step\":\"{step}\"}}}}")]);
            assert_eq!(lines.next().unwrap(), step);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        site.admin(&["delete", "configmap", "watched"]);
    }
}
