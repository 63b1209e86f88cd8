//! Configuration and policies as a session finds them: one value, replaced whole.
//!
//! In: a bundle of the warden. Out: settings, or the reason why the ones before stay in force.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::upstreams::Upstreams;
use crate::audit::Journal;
use crate::audit::event::{Event, PolicyLoaded, PolicyRejected};
use crate::bridge::{AttachmentInfo, Bundle, MaskingText, Tokens};
use crate::config::{Config, SecretSource};
use crate::masking::file::MaskingFile;
use crate::masking::rules::Rules;
use crate::policy::load::{self, Origin, PolicyFile};
use crate::policy::{KnownIds, PolicySnapshot, Source};
use crate::secret::Secret;

/// What is in force.
#[derive(Debug)]
pub struct Settings {
    config: Config,
    attachments: BTreeMap<String, AttachmentInfo>,
    policies: Arc<PolicySnapshot>,
    source: Source,
    upstreams: Upstreams,
    resolvers: Vec<IpAddr>,
    masking: Arc<Rules>,
    tokens: Tokens,
}

impl Settings {
    /// The first ones: without a valid set nothing starts (G2).
    ///
    /// # Errors
    /// With all faults.
    pub fn first(bundle: Bundle) -> Result<Self, String> {
        Self::read(bundle, 1)
    }

    /// Those of another bundle, recorded before they are in force. Policies that did not change keep their epoch.
    ///
    /// # Errors
    /// With all faults, which are recorded too.
    pub fn next(&self, bundle: Bundle, journal: &Journal) -> Result<Self, String> {
        let next = Self::read(bundle, self.policies.epoch().counter() + 1);
        match next {
            Ok(mut next) if next.policies.epoch().digest() == self.policies.epoch().digest() => {
                next.policies = Arc::clone(&self.policies);
                Ok(next)
            }
            Ok(next) => {
                next.record(journal).map_err(|error| error.to_string())?;
                Ok(next)
            }
            Err(faults) => {
                let event = Event::PolicyRejected(PolicyRejected {
                    source: "reload".into(),
                    faults: faults.lines().map(str::to_owned).collect(),
                    in_force: Some(self.policies.epoch().to_string()),
                });
                journal.append(None, &event).map_err(|error| error.to_string())?;
                Err(faults)
            }
        }
    }

    /// Writes which policies are in force.
    ///
    /// # Errors
    /// Where the journal takes no more.
    pub fn record(&self, journal: &Journal) -> Result<(), crate::audit::JournalError> {
        let event = Event::PolicyLoaded(PolicyLoaded {
            policy_set: self.policies.epoch().to_string(),
            epoch: self.policies.epoch().counter(),
            source: if self.is_open() { "shipped".into() } else { "configured".into() },
            policies: u32::try_from(self.policies.ids().len()).unwrap_or(u32::MAX),
            disabled: self.config.policy.disable.clone(),
        });
        journal.append(None, &event).map(drop)
    }

    fn read(bundle: Bundle, counter: u64) -> Result<Self, String> {
        let config = if bundle.config.is_empty() {
            Config::default()
        } else {
            Config::parse("gateway.toml", &bundle.config).map_err(|error| error.to_string())?
        };
        let mut attachments: BTreeMap<_, _> =
            config.attachments.iter().map(|attach| (attach.name.clone(), info(attach))).collect();
        attachments.extend(bundle.attachments.into_iter().map(|info| (info.name.clone(), info)));
        let masking = Arc::new(Rules::new(bundle.masking.map(read_masking).transpose()?));
        let source = source(&config, &attachments, bundle.policies, masking.class_names());
        let policies = load::load(&source, counter)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        let upstreams = Upstreams::new(&config, bundle.materials);
        let (policies, resolvers) = (Arc::new(policies), bundle.resolvers);
        Ok(Self { config, attachments, policies, source, upstreams, resolvers, masking, tokens: bundle.tokens })
    }

    /// What is masked.
    #[must_use]
    pub fn masking(&self) -> &Arc<Rules> {
        &self.masking
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The policies.
    #[must_use]
    pub fn policies(&self) -> &Arc<PolicySnapshot> {
        &self.policies
    }

    /// An attachment by its name.
    #[must_use]
    pub fn attachment(&self, name: &str) -> Option<&AttachmentInfo> {
        self.attachments.get(name)
    }

    /// All attachments.
    pub fn attachments(&self) -> impl Iterator<Item = &AttachmentInfo> {
        self.attachments.values()
    }

    /// The files of the policies in force, shipped ones among them.
    #[must_use]
    pub fn policy_files(&self) -> Vec<PolicyFile> {
        // They were read once, when they came into force: nothing can be wrong with them.
        load::read(&self.source).unwrap_or_default()
    }

    /// What says who their workloads are.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The ways to servers.
    #[must_use]
    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// The servers that are asked for names.
    #[must_use]
    pub fn resolvers(&self) -> &[IpAddr] {
        &self.resolvers
    }

    /// Whether no policies were given, so that the shipped `open` pack permits.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.source.origin, Origin::Shipped)
    }
}

/// The masking file, its keys taken from the bundle.
fn read_masking(masking: MaskingText) -> Result<MaskingFile, String> {
    let key = |source: &SecretSource| {
        let key = masking.keys.get(&source.to_string()).cloned().map(Secret::new);
        key.ok_or_else(|| "its key did not come with the file: reload".to_owned())
    };
    MaskingFile::parse("masking.toml", &masking.text, &key).map_err(|error| error.to_string())
}

fn info(attach: &crate::config::Attach) -> AttachmentInfo {
    AttachmentInfo {
        name: attach.name.clone(),
        groups: attach.groups.clone(),
        observe: attach.observe,
        token_file: attach.token_file.clone(),
    }
}

/// Policies may name what the configuration knows. Attachments made by hand come and go, so their names are known too.
fn source(
    config: &Config,
    attachments: &BTreeMap<String, AttachmentInfo>,
    files: Vec<(String, String)>,
    classes: BTreeSet<String>,
) -> Source {
    let groups = attachments.values().flat_map(|info| info.groups.clone()).chain(config.groups().map(str::to_owned));
    let known = KnownIds {
        targets: config.targets.iter().map(|target| target.name.clone()).collect(),
        environments: config.targets.iter().filter_map(|target| target.environment.clone()).collect(),
        attachments: attachments.keys().cloned().collect(),
        groups: groups.collect(),
        issuers: config.oidc.iter().map(|oidc| oidc.prefix.clone()).collect(),
        classes,
    };
    let origin = if files.is_empty() {
        Origin::Shipped
    } else {
        let file = |(name, text)| PolicyFile { name, text, guard: false };
        Origin::Files(files.into_iter().map(file).collect())
    };
    Source { origin, disable: config.policy.disable.iter().cloned().collect(), known: known.with_built_in() }
}
