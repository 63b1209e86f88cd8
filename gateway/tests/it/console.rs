//! People at a console: a real OpenID provider in the world's own network, curl as a plain browser, and Chromium as a real one.
//!
//! In: a world. Out: the lines of a configuration with a console, and what a person gets there.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::cluster::cached;
use crate::world::World;

const ISSUER: u16 = 9444;
/// Where the console is.
pub const CONSOLE: &str = "https://127.0.0.1:7443";

/// The provider, and browsers of those who log in there.
pub struct People<'w> {
    world: &'w World,
    provider: Child,
    /// Where the provider writes what it notices.
    _output: BufReader<ChildStdout>,
}

/// What a browser got.
#[derive(Debug)]
pub struct Got {
    /// Of the last answer.
    pub status: u16,
    /// The headers of all answers.
    pub head: String,
    /// The last answer, and where it came from.
    pub body: String,
}

impl<'w> People<'w> {
    /// Starts the provider.
    pub fn new(world: &'w World) -> Self {
        let at = world.directory().display().to_string();
        let make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=idp -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
        world.sh(&format!("{make} -keyout {at}/key.pem -out {at}/cert.pem 2>&1"));
        let module = tool("openid-provider-", "node_modules/oidc-provider/lib/index.js");
        let script = world.file("people.mjs", include_str!("people.mjs"));
        let mut command = world.command("node");
        command.arg(script).arg(module).args([&at, &ISSUER.to_string(), CONSOLE]).stdout(Stdio::piped());
        let mut provider = command.stderr(Stdio::null()).spawn().unwrap();
        let (mut ready, mut output) = (String::new(), BufReader::new(provider.stdout.take().unwrap()));
        while !ready.ends_with("ready\n") {
            assert_ne!(output.read_line(&mut ready).unwrap(), 0, "the provider ended: {ready}");
        }
        world.file("client-secret", "not a secret+/%");
        Self { world, provider, _output: output }
    }

    /// The lines of a configuration with a console.
    pub fn config(&self) -> String {
        let at = self.world.directory().display();
        format!(
            "[identity.oidc]\nissuer = \"https://127.0.0.1:{ISSUER}\"\naudience = \"gateway\"\nprefix = \"idp\"\nca = \"{at}/cert.pem\"\n\
             [console]\nlisten = \"127.0.0.1:7443\"\npublic_url = \"{CONSOLE}\"\nclient_id = \"console\"\ncli_client_id = \"cli\"\n\
             client_secret = {{ file = \"{at}/client-secret\" }}\nviewers = [\"idp:viewers\"]\n"
        )
    }

    /// What curl gets with these arguments, and the cookies of a browser of this name.
    pub fn curl(&self, browser: &str, arguments: &str) -> Got {
        let at = self.world.directory().display();
        let whole = self.world.sh(&format!(
            "curl -sSk --max-time 30 -b {at}/jar-{browser} -c {at}/jar-{browser} -D {at}/head-{browser} -w '\\n%{{http_code}} %{{url_effective}}' {arguments}"
        ));
        let (body, last) = whole.rsplit_once('\n').unwrap();
        let (status, _) = last.split_once(' ').unwrap();
        let head = self.world.sh(&format!("cat {at}/head-{browser}"));
        Got { status: status.parse().unwrap(), head, body: format!("{body}\n{last}") }
    }

    /// A page of the console.
    pub fn get(&self, browser: &str, path: &str) -> Got {
        self.curl(browser, &format!("'{CONSOLE}{path}'"))
    }

    /// An answer of its API.
    pub fn json(&self, browser: &str, path: &str) -> Value {
        let got = self.get(browser, path);
        let (body, _) = got.body.rsplit_once('\n').unwrap();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {got:?}"))
    }

    /// Goes to the issuer, says a name there and consents; what the browser reads at the end.
    pub fn log_in(&self, name: &str, to: &str) -> Got {
        self.visit(name, &format!("{CONSOLE}{to}"))
    }

    /// The same from another page that leads there.
    pub fn visit(&self, name: &str, page: &str) -> Got {
        self.consent(name, &format!("-L '{page}'"))
    }

    /// The same from what curl is led there by.
    pub fn consent(&self, name: &str, arguments: &str) -> Got {
        let here = |got: &Got| got.body.rsplit(' ').next().unwrap().to_owned();
        let asked = self.curl(name, arguments);
        assert!(here(&asked).contains("/interaction/"), "not led to the issuer: {asked:?}");
        let asked = self.curl(name, &format!("-L -d prompt=login -d login={name} -d password=x '{}'", here(&asked)));
        assert!(here(&asked).contains("/interaction/"), "not asked for consent: {asked:?}");
        self.curl(name, &format!("-L -d prompt=consent '{}'", here(&asked)))
    }

    /// What changes have to bring.
    pub fn token(&self, browser: &str) -> String {
        self.json(browser, "/api/v1/me")["token"].as_str().unwrap().to_owned()
    }

    /// What a story in Chromium says of itself, line by line. Pictures of it are kept in `$GATEWAY_SCREENSHOTS`.
    pub fn browse(&self, steps: &str, arguments: &[&str]) -> String {
        let module = tool("puppeteer-", "node_modules/puppeteer-core/lib/esm/puppeteer/puppeteer-core.js");
        let script = self.world.file("browser.mjs", include_str!("browser.mjs"));
        self.world.file("steps.mjs", steps);
        let pictures = std::env::var_os("GATEWAY_SCREENSHOTS").map_or(self.world.directory().to_owned(), PathBuf::from);
        let mut command = self.world.command("node");
        command.arg(script).arg(module).arg(pictures).arg(CONSOLE).args(arguments);
        command.env("HOME", self.world.directory());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

impl Drop for People<'_> {
    fn drop(&mut self) {
        let _ = self.provider.kill();
        let _ = self.provider.wait();
    }
}

fn tool(prefix: &str, file: &str) -> PathBuf {
    let file = cached(prefix).join(Path::new(file));
    assert!(file.exists(), "`{}` is missing: run `cargo xtask setup`", file.display());
    file
}
