//! Rows with masked columns that object mappers read and save: what they did not show is not written over (G4).
//!
//! In: programs in `orms/`, each with an object of a row, of which it saves what changed, all columns, all columns of a
//! table whose only labelled one is a number, a copy, and many at once. Out: what changed is saved; all else fails with an
//! error that says why, and the table holds what it held. Past the gateway all of it is saved, and destroys the values.

use std::path::Path;
use std::process::Command;

use crate::cluster::cached;
use crate::drivers::{Client, build, needs};
use crate::shop::{Shop, Side};

const TABLES: &str = "SET ROLE agent; CREATE TABLE people (id int PRIMARY KEY, name text, ssn text, salary int);
    CREATE TABLE pays (id int PRIMARY KEY, note text, salary int);
    INSERT INTO people VALUES (1, 'Anna', '000-73-9184', 7319); INSERT INTO pays VALUES (1, 'a note', 7319)";

const ROWS: &str = "SELECT string_agg(concat_ws('|', id, ssn, salary), ';') || ' ' || (SELECT note || salary FROM pays)
    FROM people";

fn saves_nothing_that_it_was_not_shown(client: impl Fn(&Shop) -> Client, name: &str) {
    let shop = Shop::new();
    shop.admin(TABLES);
    let columns = ["people.ssn", "people.salary", "pays.salary"]
        .map(|column| format!("\"undeclared/{}/public.{column}\"", shop.database))
        .join(", ");
    let rules = format!("version = 1\n[[column]]\nat = [{columns}]\nclass = \"pii\"\n");
    let rules = shop.world.file("masking.toml", &rules);
    let _gateway = shop.attach_with(&format!("[masking]\nfile = \"{}\"\n", rules.display()));
    let client = client(&shop);
    let ran = client.run(&shop, Side::Inside, ("LC_ALL", "C.UTF-8"));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.get(..2), Some(&["read [pii•••] 0", "changed saved"][..]), "{ran:?}");
    for (line, what) in lines[2..].iter().zip(["whole", "numbers", "copied", "in_bulk"]) {
        let says = line.starts_with(&format!("{what} 42501 ")) || line.starts_with(&format!("{what} 42501 ERROR: "));
        assert!(says && line.contains("what was shown masked is not written back"), "{line}: {ran:?}");
    }
    assert_eq!(lines.len(), 6, "{ran:?}");
    assert_eq!(shop.admin(ROWS), "1|000-73-9184|7319 a note7319");
    assert_eq!(shop.admin("SELECT name FROM people"), format!("changed by {name}"));
    // The same program where nothing is masked: all that was refused is what it does.
    let outside = client.run(&shop, Side::Outside, ("LC_ALL", "C.UTF-8"));
    assert_eq!(outside.out.lines().filter(|line| line.ends_with(" saved")).count(), 5, "{outside:?}");
}

#[test]
fn sqlalchemy_saves_nothing_that_it_was_not_shown() {
    let client = |shop: &Shop| python(shop, "with_sqlalchemy.py", include_str!("orms/with_sqlalchemy.py"));
    saves_nothing_that_it_was_not_shown(client, "sqlalchemy");
}

#[test]
fn django_saves_nothing_that_it_was_not_shown() {
    let client = |shop: &Shop| python(shop, "with_django.py", include_str!("orms/with_django.py"));
    saves_nothing_that_it_was_not_shown(client, "django");
}

fn python(shop: &Shop, name: &str, text: &str) -> Client {
    let file = shop.world.file(name, text);
    Client::of(&[&needs(&cached("orms-python-").join("bin/python")), file.to_str().unwrap()])
}

#[test]
fn typeorm_saves_nothing_that_it_was_not_shown() {
    let client = |shop: &Shop| {
        let modules = ["orms-node-", "postgres-drivers-node-"].map(|name| needs(&cached(name).join("node_modules")));
        let file = shop.world.file("typeorm.js", include_str!("orms/typeorm.js"));
        let mut client = Client::of(&["node", file.to_str().unwrap()]);
        client.set("NODE_PATH", &modules.join(":"));
        client
    };
    saves_nothing_that_it_was_not_shown(client, "typeorm");
}

#[test]
fn hibernate_saves_nothing_that_it_was_not_shown() {
    let client = |shop: &Shop| {
        let jars = "postgresql hibernate3 hibernate-commons-annotations antlr commons-collections3 dom4j jaxen
            geronimo-jpa_2.0_spec geronimo-jta-1.2-spec javassist slf4j-api slf4j-nop";
        let jars = jars.split_whitespace().map(|name| needs(Path::new(&format!("/usr/share/java/{name}.jar"))));
        let classes = jars.collect::<Vec<_>>().join(":");
        let file = shop.world.file("Hibernate.java", include_str!("orms/Hibernate.java"));
        let folder = shop.world.directory().display().to_string();
        build(Command::new("javac").args(["-encoding", "UTF-8", "-cp", &classes, "-d", &folder]).arg(file));
        Client::of(&[
            "java",
            "-Xshare:auto",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            &format!("{classes}:{folder}"),
            "Hibernate",
        ])
    };
    saves_nothing_that_it_was_not_shown(client, "hibernate");
}
