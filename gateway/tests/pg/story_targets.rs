//! `gateway target check`: what a server says of our login there, held against policies.

use serde_json::Value;

use crate::cluster::{Cluster, NAME, PASSWORD, Shape, Version};
use crate::gateway::Said;
use crate::shop::Shop;

const READS: &str =
    r#"@id("reads") permit (principal, action in [Action::"read", Action::"session"], resource in Target::"shop");"#;
const WRITES: &str = r#"@id("writes") permit (principal, action in Action::"write", resource in Target::"shop");"#;

/// A server where nobody may anything by themselves, in the database that every login enters first either. One for each test:
/// a check looks into all databases, and those of other tests are open to everybody.
fn closed() -> &'static Cluster {
    let cluster = Cluster::start(Version::V18, Shape::Remote);
    cluster.admin("REVOKE ALL ON t FROM PUBLIC; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    Box::leak(Box::new(cluster))
}

/// A login of this test alone, with these rights, at a server that stays.
struct Login<'a> {
    shop: &'a Shop,
    name: String,
}

impl<'a> Login<'a> {
    fn new(shop: &'a Shop, attributes: &str) -> Self {
        let name = format!("login_of_{}", shop.database);
        shop.cluster.admin(&format!("CREATE ROLE {name} LOGIN {attributes} PASSWORD '{PASSWORD}'"));
        Self { shop, name }
    }

    fn check(&self, policies: &str, masking: &str) -> (Said, Value) {
        let (shop, target) = (self.shop, self.target());
        let folder = shop.world.file("policies/p.cedar", policies);
        let folder = folder.parent().unwrap().to_str().unwrap().to_owned();
        let masking = match masking {
            "" => String::new(),
            text => {
                let file = shop.world.file("masking.toml", &format!("version = 1\n{text}"));
                format!("[masking]\nfile = \"{}\"\n", file.display())
            }
        };
        let file = shop.world.file("gateway.toml", &format!("version = 1\n{masking}{target}"));
        let mut gateway = shop.world.attach(&["--config", file.to_str().unwrap(), "--policies", &folder]);
        let said = shop.world.cli(&["--json", "target", "check"]);
        let checked: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        assert!(gateway.stop().success());
        assert!(!gateway.output().contains(PASSWORD) && !said.out.contains(PASSWORD));
        (said, checked["targets"][0].clone())
    }

    fn target(&self) -> String {
        self.shop.target("mode = \"verify-full\"", &self.shop.password_of(&self.name))
    }

    /// Rights that this database gives nobody by itself.
    fn close(&self) {
        self.shop.admin("REVOKE ALL ON orders FROM PUBLIC; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
        self.shop.admin(&format!("GRANT SELECT ON orders TO {}", self.name));
    }
}

fn names(of: &Value) -> Vec<&str> {
    of.as_array().unwrap().iter().map(|finding| finding["name"].as_str().unwrap()).collect()
}

fn of<'v>(findings: &'v Value, name: &str, about: &str) -> &'v Value {
    let wanted = |finding: &&Value| finding["name"] == name && finding["what"].as_str().unwrap().contains(about);
    findings.as_array().unwrap().iter().find(wanted).unwrap_or_else(|| panic!("{name} {about}: {findings:#}"))
}

impl Drop for Login<'_> {
    fn drop(&mut self) {
        let name = &self.name;
        for database in [self.shop.database.as_str(), "postgres"] {
            self.shop.cluster.psql(database, &format!("DROP OWNED BY {name}"));
        }
        self.shop.cluster.psql("postgres", &format!("DROP ROLE {name}"));
    }
}

#[test]
fn a_login_that_may_what_policies_permit_is_no_finding_and_more_is_one_with_the_way_to_take_it() {
    let shop = Shop::at(closed());
    let login = Login::new(&shop, "");
    let name = &login.name;
    login.close();
    let (said, target) = login.check(READS, "");
    assert_eq!((said.status.code(), names(&target["findings"])), (Some(0), vec![]), "{target:#}");
    assert_eq!(target["server_identity"], format!("verify-full {}", NAME));

    shop.admin(&format!("GRANT DELETE ON orders TO {name}; GRANT pg_read_all_data TO {name}"));
    shop.admin(&format!("GRANT pg_execute_server_program TO scram_user; GRANT scram_user TO {name}"));
    shop.admin(&format!("ALTER ROLE {name} CREATEDB BYPASSRLS"));
    let (said, target) = login.check(READS, "");
    shop.admin("REVOKE pg_execute_server_program FROM scram_user");
    assert_eq!(said.status.code(), Some(1), "{target:#}");
    let found = &target["findings"];
    let deletes = of(found, "delete", &shop.database);
    assert_eq!(deletes["narrow"], format!("REVOKE DELETE ON public.orders FROM {name};"));
    assert!(deletes["policy"].as_str().unwrap().contains("Postgres::delete to nobody"), "{deletes:#}");
    assert_eq!(of(found, "createdb", name)["narrow"], format!("ALTER ROLE {name} NOCREATEDB;"));
    assert!(of(found, "bypassrls", name)["policy"].as_str().unwrap().starts_with("not compared"), "{found:#}");
    let runs = of(found, "pg_execute_server_program", name);
    assert_eq!(runs["narrow"], format!("REVOKE scram_user FROM {name};"), "the role that brought it");
    of(found, "member", "scram_user");
    let reads = of(&target["permitted"], "pg_read_all_data", name);
    assert!(reads["policy"].as_str().unwrap().contains("Postgres::select by reads"), "{reads:#}");

    let (_, target) = login.check(&format!("{READS}\n{WRITES}"), "");
    assert!(!names(&target["findings"]).contains(&"delete"), "{target:#}");
    assert!(of(&target["permitted"], "delete", "orders")["policy"].as_str().unwrap().contains("by writes"));
}

#[test]
fn a_superuser_is_one_finding_and_the_journal_tells_who_asked_before_and_after() {
    let shop = Shop::new();
    let login = Login::new(&shop, "SUPERUSER");
    let (said, target) = login.check(READS, "");
    assert_eq!((said.status.code(), names(&target["findings"])), (Some(1), vec!["superuser"]), "{target:#}");
    assert_eq!(target["findings"][0]["narrow"], format!("ALTER ROLE {} NOSUPERUSER;", login.name));
    let used = shop.world.events("credential.used");
    let checked = shop.world.events("target.checked");
    let (used, checked) = (used.last().unwrap(), checked.last().unwrap());
    assert!(used["seq"].as_u64() < checked["seq"].as_u64());
    assert_eq!((&used["body"]["login"], &used["body"]["target"]), (&login.name.as_str().into(), &"shop".into()));
    assert_eq!((&checked["body"]["person"], &checked["body"]["beyond"][0]), (&"root".into(), &"superuser".into()));
}

#[test]
fn who_owns_labelled_relations_is_told_which() {
    // Beside few other databases: the first eight are looked into.
    let shop = Shop::at(closed());
    let login = Login::new(&shop, "");
    shop.admin(&format!("CREATE SCHEMA own AUTHORIZATION {}", login.name));
    shop.admin(&format!(
        "SET ROLE {}; CREATE TABLE own.customers (id int, ssn text); CREATE TABLE own.plain (id int)",
        login.name
    ));
    let label = "[[column]]\nat = [\"shop/*/own.customers.ssn\"]\nclass = \"ssn\"\n";
    let (_, target) = login.check(READS, label);
    let found = &target["findings"];
    let labelled = of(found, "owns_labelled", &shop.database);
    assert_eq!(labelled["narrow"], "ALTER TABLE own.customers OWNER TO postgres;");
    of(found, "owns", "2 relations");
}

#[test]
fn a_target_that_cannot_be_asked_costs_its_own_answer_alone() {
    let shop = Shop::at(closed());
    let login = Login::new(&shop, "");
    login.close();
    let good = login.target();
    let with = |name: &str, from: &str, to: &str| {
        let changed = good.replace("\"shop\"", &format!("\"{name}\""));
        assert!(changed.contains(from), "{changed}");
        changed.replacen(from, to, 1)
    };
    let silent = with("silent", "\"]\n", "\"]\nports = [6999]\n");
    let other = with("other", NAME, "other.test");
    let kept = with("kept", "user = ", "window = \"w\"\nuser = ");
    let relayed = format!(
        "[[target]]\nname = \"relayed\"\nprotocol = \"postgres\"\naddresses = [\"{}\"]\nports = [6433]\n[target.tls]\nmode = \"disable\"\n",
        shop.address
    );
    let ports = |text: &str, port: u16| text.replacen("\"]\n", &format!("\"]\nports = [{port}]\n"), 1);
    let window = "[[window]]\nname = \"w\"\napproval = \"local:dba\"\n";
    let config = format!("{silent}{other}{}{relayed}{good}", ports(&kept, 6435));
    let file = shop.world.file("gateway.toml", &format!("version = 1\n{window}{config}"));
    let folder = shop.world.file("policies/p.cedar", READS);
    let folder = folder.parent().unwrap().to_str().unwrap();
    let _gateway = shop.world.attach(&["--config", file.to_str().unwrap(), "--policies", folder]);
    let said = shop.world.cli(&["--json", "target", "check"]);
    assert_eq!(said.status.code(), Some(1));
    let checked: Value = serde_json::from_str(&said.out).unwrap();
    let of = |name: &str| checked["targets"].as_array().unwrap().iter().find(|target| target["name"] == name).unwrap();
    let error = |name: &str| of(name)["error"].as_str().unwrap_or_else(|| panic!("{checked:#}")).to_owned();
    assert!(error("silent").contains("cannot connect"), "{checked:#}");
    assert!(error("other").contains("tls handshake with the server failed"), "{checked:#}");
    assert!(error("kept").contains("while the window `w` is open"), "{checked:#}");
    assert!(of("relayed")["notes"][0].as_str().unwrap().contains("no credential"), "{checked:#}");
    assert_eq!((&of("shop")["error"], names(&of("shop")["findings"]).len()), (&Value::Null, 0), "{checked:#}");
    let unknown = shop.world.cli(&["target", "check", "nobody"]);
    assert!(unknown.status.code() == Some(2) && unknown.err.contains("no target nobody"), "{unknown:?}");
    let page = shop.world.cli(&["target", "check", "shop"]);
    assert!(page.status.success() && page.out.contains("ok: nothing beyond what policies permit"), "{page:?}");
}
