//! The names of the schema as Rust values: entity types, actions, and the entities that the schema enumerates.
//!
//! In: nothing. Out: enums whose items are exactly those of `policies/gateway.cedarschema`, which a test compares. A name
//! that the schema does not know cannot be written. It must never invent an entry that means "anything else".
// TABLE:

use std::fmt;

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $(#[doc = concat!("`", $text, "`")] $(#[$item_doc])* $item,)+ }

        impl $name {
            /// Every item, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$item,)+];

            /// The name as policies write it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$item => $text,)+ }
            }

            /// The item of that name, if there is one.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$item),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident of $kind:ident { $($item:ident = $text:literal,)+ })+) => {
        $(
            names! { $(#[$doc])* $name { $($item = $text,)+ } }

            impl From<$name> for crate::policy::request::Value {
                fn from(choice: $name) -> Self {
                    Self::Choice(EntityType::$kind, choice.name())
                }
            }
        )+

        /// The types whose entities the schema lists, with their ids.
        pub const CHOICES: &[(EntityType, &[&str])] = &[$((EntityType::$kind, &[$($text,)+]),)+];
    };
}

names! {
    /// A type of entity.
    EntityType {
        Group = "Group",
        Attachment = "Attachment",
        Workload = "Workload",
        Environment = "Environment",
        Target = "Target",
        Protocol = "Protocol",
        Weekday = "Weekday",
        DataClass = "DataClass",
        Database = "Postgres::Database",
        Schema = "Postgres::Schema",
        Relation = "Postgres::Relation",
        Function = "Postgres::Function",
        Role = "Postgres::Role",
        Object = "Postgres::Object",
        RelationKind = "Postgres::RelationKind",
        FunctionKind = "Postgres::FunctionKind",
        ObjectKind = "Postgres::ObjectKind",
        Where = "Postgres::Where",
        Namespace = "Kubernetes::Namespace",
        KubernetesType = "Kubernetes::Type",
        KubernetesObject = "Kubernetes::Object",
        KubernetesPath = "Kubernetes::Path",
        PatchKind = "Kubernetes::PatchKind",
        Host = "Ssh::Host",
        Account = "Ssh::Account",
        Endpoint = "Network::Endpoint",
        Handling = "Network::Handling",
    }
}

names! {
    /// What a question asks to do. The part before `::` is the Cedar namespace of the action.
    Action {
        DataUnmask = "Data::unmask",
        DataCompare = "Data::compare",
        DataExport = "Data::export",
        PostgresSelect = "Postgres::select",
        PostgresInsert = "Postgres::insert",
        PostgresUpdate = "Postgres::update",
        PostgresDelete = "Postgres::delete",
        PostgresTruncate = "Postgres::truncate",
        PostgresLock = "Postgres::lock",
        PostgresMaintain = "Postgres::maintain",
        PostgresCreate = "Postgres::create",
        PostgresAlter = "Postgres::alter",
        PostgresDrop = "Postgres::drop",
        PostgresExecute = "Postgres::execute",
        PostgresGrant = "Postgres::grant",
        PostgresRevoke = "Postgres::revoke",
        PostgresManageRole = "Postgres::manage_role",
        PostgresSetRole = "Postgres::set_role",
        PostgresConnect = "Postgres::connect",
        PostgresSet = "Postgres::set",
        PostgresListen = "Postgres::listen",
        PostgresNotify = "Postgres::notify",
        PostgresRunCode = "Postgres::run_code",
        PostgresAlterSystem = "Postgres::alter_system",
        PostgresCopyProgram = "Postgres::copy_program",
        PostgresServerFile = "Postgres::server_file",
        PostgresLoadLibrary = "Postgres::load_library",
        PostgresLargeObject = "Postgres::large_object",
        PostgresReplicate = "Postgres::replicate",
        PostgresFunctionCall = "Postgres::function_call",
        KubernetesGet = "Kubernetes::get",
        KubernetesList = "Kubernetes::list",
        KubernetesWatch = "Kubernetes::watch",
        KubernetesCreate = "Kubernetes::create",
        KubernetesUpdate = "Kubernetes::update",
        KubernetesPatch = "Kubernetes::patch",
        KubernetesDelete = "Kubernetes::delete",
        KubernetesDeleteCollection = "Kubernetes::deletecollection",
        KubernetesExec = "Kubernetes::exec",
        KubernetesAttach = "Kubernetes::attach",
        KubernetesDebug = "Kubernetes::debug",
        KubernetesPortForward = "Kubernetes::port_forward",
        KubernetesProxy = "Kubernetes::proxy",
        KubernetesIssueToken = "Kubernetes::issue_token",
        KubernetesApproveCertificate = "Kubernetes::approve_certificate",
        KubernetesCall = "Kubernetes::call",
        SshLogin = "Ssh::login",
        SshExec = "Ssh::exec",
        SshShell = "Ssh::shell",
        SshSftpRead = "Ssh::sftp_read",
        SshSftpList = "Ssh::sftp_list",
        SshSftpWrite = "Ssh::sftp_write",
        SshSftpRename = "Ssh::sftp_rename",
        SshSftpAttributes = "Ssh::sftp_attributes",
        SshSftpLink = "Ssh::sftp_link",
        SshSftpMakeDirectory = "Ssh::sftp_make_directory",
        SshSftpRemove = "Ssh::sftp_remove",
        NetworkConnect = "Network::connect",
    }
}

choices! {
    /// What a target or port speaks.
    ProtocolName of Protocol { Postgres = "postgres", Ssh = "ssh", Kubernetes = "kubernetes", Tcp = "tcp", }
    /// Day of the week, in UTC.
    Weekday of Weekday { Mon = "mon", Tue = "tue", Wed = "wed", Thu = "thu", Fri = "fri", Sat = "sat", Sun = "sun", }
    /// What a relation is.
    RelationKind of RelationKind {
        Table = "table",
        Partitioned = "partitioned",
        View = "view",
        Matview = "matview",
        Foreign = "foreign",
        Sequence = "sequence",
        Index = "index",
        Toast = "toast",
        Temporary = "temporary",
        Catalog = "catalog",
    }
    /// How much is known of what a function does.
    FunctionKind of FunctionKind {
        Reader = "reader",
        Session = "session",
        Volatile = "volatile",
        Opaque = "opaque",
        Untrusted = "untrusted",
        ServerSide = "server_side",
    }
    /// What any other named thing of a database is.
    ObjectKind of ObjectKind {
        AccessMethod = "access_method",
        Cast = "cast",
        Collation = "collation",
        Conversion = "conversion",
        Domain = "domain",
        EventTrigger = "event_trigger",
        Extension = "extension",
        ForeignDataWrapper = "foreign_data_wrapper",
        ForeignServer = "foreign_server",
        Language = "language",
        Operator = "operator",
        OperatorClass = "operator_class",
        OperatorFamily = "operator_family",
        Parameter = "parameter",
        Policy = "policy",
        Publication = "publication",
        Rule = "rule",
        Statistics = "statistics",
        Subscription = "subscription",
        Tablespace = "tablespace",
        TextSearch = "text_search",
        Transform = "transform",
        Trigger = "trigger",
        Type = "type",
        UserMapping = "user_mapping",
    }
    /// How far a statement narrows the rows that it touches.
    Where of Where { None = "none", Constant = "constant", Columns = "columns", Key = "key", }
    /// How a patch is written.
    PatchKind of PatchKind { Json = "json", Merge = "merge", Strategic = "strategic", Apply = "apply", }
    /// Who reads what goes over a connection.
    Handling of Handling { Inspected = "inspected", Passthrough = "passthrough", Unread = "unread", }
}

impl Action {
    /// The Cedar namespace and the id inside it.
    #[must_use]
    pub fn parts(self) -> (&'static str, &'static str) {
        self.name().split_once("::").unwrap_or(("", self.name()))
    }
}
