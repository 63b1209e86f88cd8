//! Where programs keep credentials.
//!
//! In: nothing. Out: places in a home, in the system and by the names of variables. It looks at none of them.
// TABLE: paths and names

/// What a variable's value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// A file.
    File,
    /// Files with `:` between them.
    Files,
    /// A folder with such a file.
    Folder(&'static str),
    /// A unix socket.
    Socket,
}

const PGPASS: &str = "passwords of Postgres servers (libpq-pgpass)";
const PG_SERVICE: &str = "connections to Postgres servers, with passwords perhaps (libpq-pgservice)";
const KUBECONFIG: &str = "a kubeconfig: certificates, tokens or commands that give them";
const CLOUD: &str = "a login at a cloud";
const FORGE: &str = "a login at a forge or registry of code";
const REGISTRY: &str = "logins at registries of images";
const NETRC: &str = "logins at hosts (netrc)";
const AGENT: &str =
    "the socket of an agent, which signs with keys that it holds; hooks that refuse sockets outside refuse it too";

/// Below the home of their user: path, kind, words.
pub(super) const IN_HOME: [(&str, &str, &str); 25] = [
    (".pgpass", "pgpass", PGPASS),
    (".pg_service.conf", "pg_service", PG_SERVICE),
    (".kube/config", "kubeconfig", KUBECONFIG),
    (".aws/credentials", "cloud", CLOUD),
    (".aws/config", "cloud", "profiles of a cloud, with keys perhaps"),
    (".config/gcloud/application_default_credentials.json", "cloud", CLOUD),
    (".config/gcloud/credentials.db", "cloud", CLOUD),
    (".config/gcloud/access_tokens.db", "cloud", CLOUD),
    (".azure/accessTokens.json", "cloud", CLOUD),
    (".azure/msal_token_cache.json", "cloud", CLOUD),
    (".docker/config.json", "registry", REGISTRY),
    (".config/containers/auth.json", "registry", REGISTRY),
    (".netrc", "netrc", NETRC),
    (".authinfo", "netrc", NETRC),
    (".git-credentials", "forge", FORGE),
    (".config/git/credentials", "forge", FORGE),
    (".config/gh/hosts.yml", "forge", FORGE),
    (".config/glab-cli/config.yml", "forge", FORGE),
    (".npmrc", "forge", "a registry of packages, with a token perhaps"),
    (".pypirc", "forge", FORGE),
    (".cargo/credentials.toml", "forge", FORGE),
    (".vault-token", "vault", "a token of Vault"),
    (".terraform.d/credentials.tfrc.json", "cloud", "tokens of Terraform"),
    (".my.cnf", "mysql", "a login at MySQL servers"),
    (".config/op/config", "vault", "a login at a store of passwords"),
];

/// At places of the system.
pub(super) const IN_SYSTEM: [(&str, &str, &str); 9] = [
    ("/var/run/secrets/kubernetes.io/serviceaccount/token", "cluster_token", "the pod's own token for the API server"),
    ("/etc/kubernetes/admin.conf", "kubeconfig", "the kubeconfig of the cluster's administrator"),
    ("/etc/rancher/k3s/k3s.yaml", "kubeconfig", "the kubeconfig of the cluster's administrator"),
    ("/var/lib/kubelet/kubeconfig", "kubeconfig", "the kubeconfig of the node"),
    ("/etc/shadow", "shadow", "hashes of this host's passwords"),
    ("/etc/ssh/ssh_host_ed25519_key", "ssh_key", "the private key by which this host is known"),
    ("/etc/ssh/ssh_host_rsa_key", "ssh_key", "the private key by which this host is known"),
    ("/etc/ssh/ssh_host_ecdsa_key", "ssh_key", "the private key by which this host is known"),
    ("/etc/pgbouncer/userlist.txt", "pgpass", "passwords of a pooler"),
];

/// Folders, how entries begin there, how sockets begin in these.
pub(super) const IN_FOLDERS: [(&str, &str, &str, &str); 3] = [
    ("/tmp", "ssh-", "agent.", AGENT),
    ("/run/user", "", "ssh-agent", AGENT),
    ("/run/user", "", "openssh_agent", AGENT),
];

/// Variables that lead to files: name, what stands there, kind, words.
pub(super) const NAMED: [(&str, Place, &str, &str); 12] = [
    ("PGPASSFILE", Place::File, "pgpass", PGPASS),
    ("PGSERVICEFILE", Place::File, "pg_service", PG_SERVICE),
    ("PGSSLKEY", Place::File, "tls_key", "the private key of a client certificate"),
    ("KUBECONFIG", Place::Files, "kubeconfig", KUBECONFIG),
    ("AWS_SHARED_CREDENTIALS_FILE", Place::File, "cloud", CLOUD),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", Place::File, "cloud", CLOUD),
    ("GOOGLE_APPLICATION_CREDENTIALS", Place::File, "cloud", CLOUD),
    ("CLOUDSDK_CONFIG", Place::Folder("application_default_credentials.json"), "cloud", CLOUD),
    ("DOCKER_CONFIG", Place::Folder("config.json"), "registry", REGISTRY),
    ("REGISTRY_AUTH_FILE", Place::File, "registry", REGISTRY),
    ("NETRC", Place::File, "netrc", NETRC),
    ("SSH_AUTH_SOCK", Place::Socket, "agent_socket", AGENT),
];

/// What names of variables that hold secrets have in them.
pub(super) const HOLDS_SECRET: [&str; 12] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
    "CONNECTION_STRING",
    "DATABASE_URL",
];

/// Ends of names that hold a path or a number of one instead.
pub(super) const NOT_SECRET: [&str; 6] = ["_FILE", "_PATH", "_DIR", "_DIRECTORY", "_ID", "_URI"];
