//! The configuration that is in force, and how another one takes its place.
//!
//! In: the file, policies and what both name, read anew. Out: all of it in force, or nothing changed and all faults. What is
//! in force is told with the line that each value comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::attachment::tables;
use super::policies::Given;
use super::start::copy;
use super::{Warden, feeds, materials, people, tokens};
use crate::audit::Timestamp;
use crate::bridge::Bundle;
use crate::chain::chain;
use crate::config::{Config, reference};
use crate::control::service::ConfigurationShown;

/// What the files said when they were put in force, and what became of them since.
pub(super) struct InForce {
    text: String,
    given: Given,
    since: Timestamp,
    /// When another one was refused, and why.
    refused: Option<(Timestamp, String)>,
}

impl InForce {
    pub(super) fn new(text: String, given: Given) -> Self {
        Self { text, given, since: Timestamp::now(), refused: None }
    }

    /// When it was put in force.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    /// Why the last change was refused, if it was.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refused.as_ref().map(|(_, reason)| reason.clone())
    }
}

impl Warden {
    /// Reads configuration and policies anew: what the engine takes, the hooks take too. Where state is kept, and how
    /// durably, changes with a restart only. What the configuration attaches besides, the caller attaches.
    ///
    /// # Errors
    /// With the reason why the old ones stay in force.
    pub async fn reload(&self) -> Result<(), String> {
        let _alone = self.reloading.lock().await;
        let taken = self.take_anew().await;
        let mut in_force = self.in_force.lock();
        match taken {
            Ok(new) => {
                *in_force = new;
                Ok(())
            }
            Err(reason) => {
                in_force.refused = Some((Timestamp::now(), reason.clone()));
                Err(reason)
            }
        }
    }

    /// Has the engine know the attachments of now: with what files say, or, where they have a fault, with what is in force.
    ///
    /// # Errors
    /// With the reason why it does not.
    pub(super) async fn tell_engine(&self) -> Result<(), String> {
        let Err(reason) = self.reload().await else { return Ok(()) };
        tracing::warn!(%reason, "what was in force before stays in force");
        let _alone = self.reloading.lock().await;
        self.engine.reload(&self.bundle_in_force()?).await
    }

    /// What is in force from now on.
    async fn take_anew(&self) -> Result<InForce, String> {
        let (config, bundle, given) = self.read_anew()?;
        let copy = copy(&config, self.engine.host())?;
        let layout = self.engine.layout();
        let told = feeds::wanted(&config, self.engine.host(), layout)?;
        self.engine.reload(&bundle).await?;
        self.shipper.set(copy);
        self.feeds.set(layout, told);
        for attachment in self.all() {
            let tables = tables(&config, attachment.name());
            attachment.set_tables(tables).map_err(|error| chain(&error))?;
            let before = self.config.lock().clone();
            if (&before.egress, &before.targets) != (&config.egress, &config.targets) {
                attachment.forget_names();
            }
        }
        self.journal.set_marks((&config.journal).into());
        let before = std::mem::replace(&mut *self.config.lock(), config.clone());
        if (&before.console, &before.oidc) != (&config.console, &config.oidc) {
            self.console_changed.notify_one();
        }
        if before.metrics != config.metrics {
            self.metrics_changed.notify_one();
        }
        self.admit_people();
        Ok(InForce::new(bundle.config, given))
    }

    /// What the engine is to work with. All files that cannot be read are named at once.
    fn read_anew(&self) -> Result<(Config, Bundle, Given), String> {
        let text = self.file_text()?;
        let config = match &self.config_file {
            Some(path) => Config::parse(&path.display().to_string(), &text).map_err(|error| error.to_string())?,
            None => Config::default(),
        };
        let given = {
            let mut folder = self.policies.lock();
            folder.follow_tokens(&config, self.token_files(&config));
            folder.read()
        };
        let bundle = self.bundle(&config, text, given.clone())?;
        Ok((config, bundle, given?))
    }

    /// What the engine works with: for one that takes the place of another, whatever the files say by now.
    ///
    /// # Errors
    /// Where what targets need cannot be read.
    pub(super) fn bundle_in_force(&self) -> Result<Bundle, String> {
        let config = self.config.lock().clone();
        let (text, given) = {
            let in_force = self.in_force.lock();
            (in_force.text.clone(), in_force.given.clone())
        };
        self.bundle(&config, text, Ok(given))
    }

    fn bundle(&self, config: &Config, text: String, given: Result<Given, String>) -> Result<Bundle, String> {
        let materials = materials::read(config);
        let tokens = tokens::read(config, &self.token_files(config));
        match (materials, tokens, given) {
            (Ok(materials), Ok(tokens), Ok(Given { policies, masking, .. })) => Ok(Bundle {
                config: text,
                policies,
                masking,
                attachments: self.all().iter().map(|attachment| attachment.info()).collect(),
                approvers: people::votes(config),
                resolvers: materials::resolvers(config),
                materials,
                tokens,
            }),
            (materials, tokens, given) => {
                Err([materials.err(), tokens.err(), given.err()].into_iter().flatten().collect::<Vec<_>>().join("\n"))
            }
        }
    }

    fn token_files(&self, config: &Config) -> BTreeMap<String, PathBuf> {
        let attachments: Vec<_> = self.all().iter().map(|attachment| attachment.info()).collect();
        tokens::files(config, attachments.iter())
    }

    fn file_text(&self) -> Result<String, String> {
        let Some(path) = &self.config_file else { return Ok(String::new()) };
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    }

    /// What is in force, and from where.
    pub(super) fn configuration(&self) -> ConfigurationShown {
        let mut notes = Vec::new();
        let in_force = self.in_force.lock();
        if self.file_text().as_ref() != Ok(&in_force.text) {
            notes.push("the file is another one now: see `gateway config check`, then reload".to_owned());
        }
        if let Some((at, reason)) = &in_force.refused {
            notes.push(format!("what was there at {at} was refused, and changed nothing: {reason}"));
        }
        let config = self.config.lock().clone();
        let of_folder = self.policies.lock().path().map(Path::to_owned);
        if let Some(path) = of_folder.filter(|path| Some(path) != config.policy.dir.as_ref()) {
            notes.push(format!("policies are those of {}, as the command line says", path.display()));
        }
        let configured: BTreeSet<_> = config.attachments.iter().map(|attach| attach.name.as_str()).collect();
        let all = self.all();
        for attachment in all.iter().filter(|attachment| !configured.contains(attachment.name())) {
            notes.push(format!("`{}` is attached by a command", attachment.name()));
        }
        ConfigurationShown {
            file: self.config_file.clone(),
            since: Some(in_force.since),
            notes,
            tables: reference::settings(&in_force.text),
        }
    }
}
