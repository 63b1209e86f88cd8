//! Rights that are more than a change of one object, by the names that RBAC has for them. In: nothing. Out: the table; it asks nobody.
// TABLE: rights of a Kubernetes API and what they come to

use crate::policy::vocabulary::names::Action::{self, *};

/// Where a right is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// In the whole cluster: what it is about lies in no namespace.
    Cluster,
    /// In the whole cluster, and where it is not held there, in each namespace.
    Namespaced,
    /// In this namespace.
    In(&'static str),
}

/// A verb on a resource.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) group: &'static str,
    /// With its subresource: `pods/exec`.
    pub(super) resource: &'static str,
    pub(super) verb: &'static str,
    /// What uses it, where policies have a word for that.
    pub(super) used_by: Option<Action>,
}

/// A right that has a name.
pub(super) struct Right {
    pub(super) name: &'static str,
    pub(super) scope: Scope,
    /// What it lets one do.
    pub(super) does: &'static str,
    pub(super) cost: &'static str,
    /// Having one of these is having it.
    pub(super) asks: &'static [Ask],
}

const fn ask(group: &'static str, resource: &'static str, verb: &'static str, used_by: Option<Action>) -> Ask {
    Ask { group, resource, verb, used_by }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";

/// The right that has all others in it.
pub(super) const EVERYTHING: Ask = ask("*", "*", "*", None);
/// What uses it.
pub(super) const USES_OF_EVERYTHING: [Action; 6] = [
    KubernetesDeleteCollection,
    KubernetesExec,
    KubernetesProxy,
    KubernetesIssueToken,
    KubernetesApproveCertificate,
    KubernetesCall,
];

pub(super) const IMPERSONATE: &str = "impersonate";

pub(super) const RIGHTS: [Right; 15] = [
    Right {
        name: "read_secrets",
        scope: Scope::Namespaced,
        does: "read Secrets",
        cost: "passwords, keys and tokens of what runs there, tokens of service accounts with more rights among them",
        asks: &[
            ask("", "secrets", "get", Some(KubernetesGet)),
            ask("", "secrets", "list", Some(KubernetesList)),
            ask("", "secrets", "watch", Some(KubernetesWatch)),
        ],
    },
    Right {
        name: IMPERSONATE,
        scope: Scope::Cluster,
        does: "take the name of any user, group or service account",
        cost: "it is whoever it says, an administrator too, and the server's audit shows that name",
        asks: &[
            ask("", "users", "impersonate", None),
            ask("", "groups", "impersonate", None),
            ask("", "serviceaccounts", "impersonate", None),
        ],
    },
    Right {
        name: "escalate",
        scope: Scope::Cluster,
        does: "write roles with more rights than it has",
        cost: "it makes itself an administrator by one change of a role",
        asks: &[
            ask(RBAC, "clusterroles", "escalate", Some(KubernetesUpdate)),
            ask(RBAC, "roles", "escalate", Some(KubernetesUpdate)),
        ],
    },
    Right {
        name: "bind",
        scope: Scope::Cluster,
        does: "bind roles that have more rights than it",
        cost: "it makes itself an administrator by one binding",
        asks: &[
            ask(RBAC, "clusterroles", "bind", Some(KubernetesCreate)),
            ask(RBAC, "roles", "bind", Some(KubernetesCreate)),
        ],
    },
    Right {
        name: "nodes_proxy",
        scope: Scope::Cluster,
        does: "reach the kubelets of nodes through the API",
        cost: "commands in every pod of every node, past admission and the audit of exec",
        asks: &[
            ask("", "nodes/proxy", "get", Some(KubernetesProxy)),
            ask("", "nodes/proxy", "create", Some(KubernetesProxy)),
        ],
    },
    Right {
        name: "exec",
        scope: Scope::Namespaced,
        does: "run commands in pods",
        cost: "what those pods may do, with their tokens, mounts and networks",
        asks: &[
            ask("", "pods/exec", "create", Some(KubernetesExec)),
            ask("", "pods/exec", "get", Some(KubernetesExec)),
        ],
    },
    Right {
        name: "attach",
        scope: Scope::Namespaced,
        does: "attach to what runs in pods",
        cost: "the input of shells and programs that others started",
        asks: &[
            ask("", "pods/attach", "create", Some(KubernetesAttach)),
            ask("", "pods/attach", "get", Some(KubernetesAttach)),
        ],
    },
    Right {
        name: "debug",
        scope: Scope::Namespaced,
        does: "put containers into pods that run",
        cost: "an image of its choice beside those of others, in their namespaces",
        asks: &[
            ask("", "pods/ephemeralcontainers", "update", Some(KubernetesDebug)),
            ask("", "pods/ephemeralcontainers", "patch", Some(KubernetesDebug)),
        ],
    },
    Right {
        name: "port_forward",
        scope: Scope::Namespaced,
        does: "forward ports of pods",
        cost: "what listens for its own pod alone",
        asks: &[
            ask("", "pods/portforward", "create", Some(KubernetesPortForward)),
            ask("", "pods/portforward", "get", Some(KubernetesPortForward)),
        ],
    },
    Right {
        name: "proxy",
        scope: Scope::Namespaced,
        does: "reach pods and services through the API",
        cost: "what trusts whoever comes from the control plane, past policies of networks",
        asks: &[
            ask("", "pods/proxy", "get", Some(KubernetesProxy)),
            ask("", "pods/proxy", "create", Some(KubernetesProxy)),
            ask("", "services/proxy", "get", Some(KubernetesProxy)),
            ask("", "services/proxy", "create", Some(KubernetesProxy)),
        ],
    },
    Right {
        name: "issue_token",
        scope: Scope::Namespaced,
        does: "issue tokens of service accounts",
        cost: "a login as any of them, which works past the gateway",
        asks: &[ask("", "serviceaccounts/token", "create", Some(KubernetesIssueToken))],
    },
    Right {
        name: "approve_certificate",
        scope: Scope::Cluster,
        does: "approve requests for certificates",
        cost: "a certificate for a name of its choice, which cannot be taken back",
        asks: &[
            ask(CERTIFICATES, "certificatesigningrequests/approval", "update", Some(KubernetesApproveCertificate)),
            ask(CERTIFICATES, "certificatesigningrequests/approval", "patch", Some(KubernetesApproveCertificate)),
        ],
    },
    Right {
        name: "webhooks",
        scope: Scope::Cluster,
        does: "say who checks and changes what others create",
        cost: "every object of the cluster, Secrets too, goes to a server of its choice, which changes or refuses it",
        asks: &[
            ask(ADMISSION, "mutatingwebhookconfigurations", "create", Some(KubernetesCreate)),
            ask(ADMISSION, "mutatingwebhookconfigurations", "update", Some(KubernetesUpdate)),
            ask(ADMISSION, "mutatingwebhookconfigurations", "patch", Some(KubernetesPatch)),
            ask(ADMISSION, "validatingwebhookconfigurations", "create", Some(KubernetesCreate)),
            ask(ADMISSION, "validatingwebhookconfigurations", "update", Some(KubernetesUpdate)),
            ask(ADMISSION, "validatingwebhookconfigurations", "patch", Some(KubernetesPatch)),
        ],
    },
    Right {
        name: "system_pods",
        scope: Scope::In("kube-system"),
        does: "make pods in kube-system",
        cost: "the service accounts of controllers are there, and few clusters check what runs beside them: nodes and cluster",
        asks: &[ask("", "pods", "create", Some(KubernetesCreate))],
    },
    Right {
        name: "delete_cluster",
        scope: Scope::Cluster,
        does: "delete namespaces, nodes or persistent volumes",
        cost: "all of a namespace at once, and data that no backup of the cluster holds",
        asks: &[
            ask("", "namespaces", "delete", Some(KubernetesDelete)),
            ask("", "nodes", "delete", Some(KubernetesDelete)),
            ask("", "nodes", "deletecollection", Some(KubernetesDeleteCollection)),
            ask("", "persistentvolumes", "delete", Some(KubernetesDelete)),
            ask("", "persistentvolumes", "deletecollection", Some(KubernetesDeleteCollection)),
        ],
    },
];

/// A change of plain objects: its verb, what it costs, what uses it.
pub(super) const CHANGES: [(&str, &str, Action); 5] = [
    (
        "create",
        "pods with an image, a mount or a service account of its choice, where those are among them",
        KubernetesCreate,
    ),
    ("update", "objects that are changed unseen by policy, what runs by them too", KubernetesUpdate),
    ("patch", "objects that are changed unseen by policy, what runs by them too", KubernetesPatch),
    ("delete", "objects that are gone, with what they own", KubernetesDelete),
    ("deletecollection", "all objects of a kind in a namespace, at once", KubernetesDeleteCollection),
];

/// What everybody who is logged in may create: a look at their own rights.
pub(super) fn is_own_review(group: &str, resource: &str) -> bool {
    matches!(group, "authorization.k8s.io" | "authentication.k8s.io") && resource.starts_with("selfsubject")
}
