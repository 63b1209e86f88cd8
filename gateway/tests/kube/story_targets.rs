//! `gateway target check`: what an API server says of our login there, held against policies.

use serde_json::Value;

use crate::gateway::Said;
use crate::site::{Site, TOKEN, target};

const READS: &str =
    r#"@id("reads") permit (principal, action in [Action::"read", Action::"session"], resource in Target::"prod");"#;
const RUNS: &str =
    r#"@id("runs") permit (principal, action == Kubernetes::Action::"exec", resource in Target::"prod");"#;

/// A service account of this test alone.
struct Login<'a> {
    site: &'a Site,
    token: String,
}

impl<'a> Login<'a> {
    fn new(site: &'a Site) -> Self {
        site.admin(&["create", "serviceaccount", "gateway"]);
        let token = site.admin(&["create", "token", "gateway", "--duration=1h"]).trim().to_owned();
        site.world.file("secret/account", &token);
        Self { site, token }
    }

    /// Gives it a role in the namespace.
    fn may(&self, name: &str, rights: &[&str]) {
        let subject = format!("--serviceaccount={}:gateway", self.site.namespace);
        self.site.admin(&[&["create", "role", name], rights].concat());
        self.site.admin(&["create", "rolebinding", name, &format!("--role={name}"), &subject]);
    }

    /// Gives it a role in the cluster, under a name that no other test has.
    fn may_anywhere(&self, name: &str, rights: &[&str]) {
        let (subject, name) = (format!("--serviceaccount={}:gateway", self.site.namespace), self.wide(name));
        self.site.admin(&[&["create", "clusterrole", &name], rights].concat());
        self.site.admin(&["create", "clusterrolebinding", &name, &format!("--clusterrole={name}"), &subject]);
    }

    fn wide(&self, name: &str) -> String {
        format!("{}-{name}", self.site.namespace)
    }

    fn check(&self, more: &str, policies: &str) -> (Said, Value) {
        let file = self.site.world.directory().join("secret/account");
        let (said, target) =
            check(self.site, &format!("token = {{ file = \"{}\" }}\n{more}", file.display()), policies);
        assert!(!said.out.contains(&self.token));
        (said, target)
    }
}

fn check(site: &Site, credential: &str, policies: &str) -> (Said, Value) {
    let mut gateway = site.attach_to(&target(site.node, credential), Some(policies));
    let said = site.world.cli(&["--json", "target", "check"]);
    let checked: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert!(gateway.stop().success());
    (said, checked["targets"][0].clone())
}

fn names(of: &Value) -> Vec<&str> {
    of.as_array().unwrap().iter().map(|finding| finding["name"].as_str().unwrap()).collect()
}

fn of<'v>(findings: &'v Value, name: &str) -> &'v Value {
    let wanted = |finding: &&Value| finding["name"] == name;
    findings.as_array().unwrap().iter().find(wanted).unwrap_or_else(|| panic!("{name}: {findings:#}"))
}

fn text<'v>(of: &'v Value, key: &str) -> &'v str {
    of[key].as_str().unwrap_or_else(|| panic!("{key}: {of:#}"))
}

#[test]
fn a_login_that_may_what_policies_permit_is_no_finding_and_more_is_one_with_the_way_to_take_it() {
    let site = Site::new();
    let login = Login::new(&site);
    login.may("reads", &["--verb=get,list,watch", "--resource=pods,configmaps"]);
    let (said, target) = login.check("", READS);
    assert_eq!((said.status.code(), names(&target["findings"])), (Some(0), vec![]), "{target:#}");
    assert_eq!(target["server_identity"], "verify-full 10.99.0.2");
    let notes = target["notes"].to_string();
    assert!(notes.contains("may not list namespaces"), "{notes}");

    login.may_anywhere("wide", &["--verb=get,list", "--resource=namespaces,secrets"]);
    login.may_anywhere("nodes", &["--verb=get,create", "--resource=nodes/proxy"]);
    login.may_anywhere("delete", &["--verb=delete", "--resource=deployments.apps,namespaces"]);
    let (said, target) = login.check("", READS);
    assert_eq!(said.status.code(), Some(1), "{target:#}");
    let found = &target["findings"];
    assert!(text(of(found, "nodes_proxy"), "policy").contains("Kubernetes::proxy to nobody"), "{found:#}");
    let deletes = of(found, "delete");
    assert!(text(deletes, "what").contains("namespaces that were looked into"), "{deletes:#}");
    assert!(text(deletes, "narrow").starts_with("take delete on deployments.apps out of the roles"), "{deletes:#}");
    assert!(text(deletes, "policy").contains("Kubernetes::delete to nobody"), "{deletes:#}");
    of(found, "delete_cluster");
    let reads = of(&target["permitted"], "read_secrets");
    assert!(text(reads, "policy").contains("Kubernetes::get by reads"), "{reads:#}");
    assert!(text(reads, "what").contains("in every namespace"), "{reads:#}");
    assert!(!names(found).contains(&"cluster_admin") && !names(found).contains(&"create"), "{found:#}");
}

#[test]
fn a_right_of_one_namespace_is_told_with_it() {
    let site = Site::new();
    let login = Login::new(&site);
    let subject = format!("--serviceaccount={}:gateway", site.namespace);
    let name = login.wide("system");
    let role = ["--verb=create", "--resource=pods/exec,pods"];
    site.node.admin(&[&["-n", "kube-system", "create", "role", &name], &role[..]].concat());
    site.node.admin(&["-n", "kube-system", "create", "rolebinding", &name, &format!("--role={name}"), &subject]);
    let (_, target) = login.check("", &format!("{READS}\n{RUNS}"));
    site.node.admin(&["-n", "kube-system", "delete", "role,rolebinding", &name]);
    let runs = of(&target["permitted"], "exec");
    assert!(text(runs, "what").ends_with("may run commands in pods in the namespace kube-system"), "{runs:#}");
    assert!(text(runs, "policy").contains("by runs"), "{runs:#}");
    let found = &target["findings"];
    assert_eq!(names(found), ["system_pods", "create"], "{found:#}");
}

#[test]
fn an_administrator_is_one_finding_and_the_journal_tells_who_asked_before_and_after() {
    let site = Site::new();
    let (said, target) = check(&site, &site.token(), READS);
    assert!(!said.out.contains(TOKEN));
    assert_eq!((said.status.code(), names(&target["findings"])), (Some(1), vec!["cluster_admin"]), "{target:#}");
    let (used, checked) = (site.world.events("credential.used"), site.world.events("target.checked"));
    let (used, checked) = (used.last().unwrap(), checked.last().unwrap());
    assert!(used["seq"].as_u64() < checked["seq"].as_u64());
    assert_eq!(used["body"]["target"], "prod");
    assert_eq!((&checked["body"]["person"], &checked["body"]["beyond"][0]), (&"root".into(), &"cluster_admin".into()));
}

#[test]
fn who_names_workloads_to_the_server_needs_nothing_else() {
    let site = Site::new();
    let login = Login::new(&site);
    login.may("reads", &["--verb=get", "--resource=secrets"]);
    login.may_anywhere("sees", &["--verb=get,list", "--resource=namespaces,secrets"]);
    login.may_anywhere("names", &["--verb=impersonate", "--resource=users,groups"]);
    let (_, target) = login.check("impersonate = true", READS);
    let found = &target["findings"];
    assert!(text(of(found, "impersonate"), "narrow").contains("resourceNames"), "{found:#}");
    assert!(text(of(found, "read_secrets"), "policy").starts_with("not needed"), "{found:#}");
    assert!(target["notes"].to_string().contains("they do not narrow"), "{target:#}");
    let noted = site.noted("selfsubjectaccessreviews");
    assert!(!noted.is_empty() && noted.iter().all(|event| event.get("impersonatedUser").is_none()), "{noted:#?}");
}

#[test]
fn a_server_that_does_not_take_the_login_or_is_another_tells_nothing() {
    let site = Site::new();
    site.world.file("secret/wrong", "no-token-of-anybody");
    let file = site.world.directory().join("secret/wrong");
    let (said, refused) = check(&site, &format!("token = {{ file = \"{}\" }}", file.display()), READS);
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&refused, "error").contains("does not take the target's credential"), "{refused:#}");
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=other -days 1 2>/dev/null";
    let ca = site.world.file("other.pem", &site.world.sh(script));
    let ours = site.node.home.join("ca.crt").display().to_string();
    let other = site.target(&site.token()).replace(&ours, &ca.display().to_string());
    let _gateway = site.attach_to(&other, Some(READS));
    let said = site.world.cli(&["--json", "target", "check"]);
    let checked: Value = serde_json::from_str(&said.out).unwrap();
    assert!(text(&checked["targets"][0], "error").contains("could not be verified"), "{checked:#}");
}
