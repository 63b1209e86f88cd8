//! Mechanisms of parsers without I/O, which unit tests hold. In: nothing. Out: the list. A mutation that takes a server or
//! the kernel to be noticed stands with the others.
// TABLE: mechanisms and the unit tests that hold them

use super::{Edit, Mutation};

const CORPUS: &str = "protocol::shell::tests::the_corpus_of_evasions_has_the_facts_that_it_names";
const SHELLS: &str = "protocol::shell::tests::real_shells_run_nothing_that_the_facts_do_not_name";

pub(super) const IN_THE_LIBRARY: &[Mutation] = &[
    Mutation {
        name: "readable-out-of-reach",
        guarantee: "G1",
        mechanism: "who looks with a runtime's rights cannot be signalled or traced by it",
        edits: &[Edit {
            file: "gateway/src/host/readable/mod.rs",
            from: "set_thread_res_uid(Uid::ROOT, Uid::from_raw(process.uid), Uid::ROOT)",
            to: "set_thread_res_uid(Uid::from_raw(process.uid), Uid::from_raw(process.uid), Uid::from_raw(process.uid))",
        }],
        tests: &["host::readable::tests::who_looks_has_no_right_of_roots_and_stays_out_of_reach_of_whom_it_looks_for"],
    },
    Mutation {
        name: "test-revoked",
        guarantee: "G7",
        mechanism: "a host key that clients take for revoked is none that they know",
        edits: &[Edit {
            file: "gateway/src/host/readable/anchors.rs",
            from: " && !line.starts_with(\"@revoked\")",
            to: "",
        }],
        tests: &["host::readable::anchors::tests::a_key_counts_in_a_line_that_is_in_force"],
    },
    Mutation {
        name: "target-check-reach",
        guarantee: "G7",
        mechanism: "a right that policies give at another target alone is told as one beyond them",
        edits: &[Edit {
            file: "gateway/src/policy/reach.rs",
            from: "            is_there(&parent, at).unwrap_or(true)",
            to: "            is_there(&parent, at).is_none_or(|_| true)",
        }],
        tests: &["policy::reach::tests::a_permit_for_another_target_or_environment_is_none_here"],
    },
    Mutation {
        name: "target-check-kube-token",
        guarantee: "G5",
        mechanism: "a look at what a token may do takes it to no server that was not verified",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/powers/own.rs",
            from: "if asking.way.token.is_some() && !peer.is_verified() {",
            to: "if asking.way.token.is_none() && !peer.is_verified() {",
        }],
        tests: &["protocol::kubernetes::powers::own::tests::a_token_goes_to_no_server_that_was_not_verified"],
    },
    Mutation {
        name: "target-check-kube-names",
        guarantee: "G2",
        mechanism: "of the names that a server gives its namespaces only such go back to it as can be names",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/powers/rules.rs",
            from: "names.filter(|name| is_label(name)).take(most)",
            to: "names.filter(|name| name.len() < 9_999 || is_label(name)).take(most)",
        }],
        tests: &["protocol::kubernetes::powers::said::tests::names_of_a_server_stay_words_of_a_shell_and_on_one_line"],
    },
    Mutation {
        name: "target-check-ssh-strict",
        guarantee: "G2",
        mechanism: "an answer of a server that is not that of the look around tells nothing",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/powers/said.rs",
            from: "            _ => return None,",
            to: "            _ => continue,",
        }],
        tests: &["protocol::ssh::powers::said::tests::an_answer_that_is_not_that_of_the_command_is_none"],
    },
    Mutation {
        name: "target-check-ssh-sudo",
        guarantee: "G5",
        mechanism: "by sudo a look around asks for the list and nothing else",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/powers/look.sh",
            from: "sudo -n -l </dev/null",
            to: "sudo -n id </dev/null",
        }],
        tests: &["protocol::ssh::powers::tests::the_command_stands_in_quotes_and_does_by_sudo_nothing_but_list"],
    },
    Mutation {
        name: "console-nonce",
        guarantee: "G2",
        mechanism: "a token of the issuer counts for one login that was begun at this console",
        edits: &[Edit {
            file: "gateway/src/warden/console_logins.rs",
            from: "        let (begun, at) = self.begun.remove(nonce)?;",
            to: "        let (begun, at) = self.begun.get(nonce).copied()?;",
        }],
        tests: &["warden::console_logins::tests::a_token_counts_for_one_login_that_was_begun_here"],
    },
    Mutation {
        name: "console-failed-logins",
        guarantee: "G7",
        mechanism: "logins that let nobody in are counted, and told of once",
        edits: &[Edit {
            file: "gateway/src/engine/people.rs",
            from: "        *self.0.lock().entry(fault).or_default() += 1;",
            to: "        self.0.lock().entry(fault).or_insert(1);",
        }],
        tests: &["engine::people::tests::a_flood_of_failed_logins_is_one_line"],
    },
    Mutation {
        name: "console-fresh",
        guarantee: "G2",
        mechanism: "a person's word counts for ten minutes from when the issuer asked who they are",
        edits: &[Edit {
            file: "gateway/src/warden/console_logins.rs",
            from: "    FRESH_FOR.saturating_sub(passed)",
            to: "    FRESH_FOR.max(passed)",
        }],
        tests: &["warden::console_logins::tests::a_word_counts_for_ten_minutes_from_when_the_issuer_asked"],
    },
    Mutation {
        name: "console-party",
        guarantee: "G2",
        mechanism: "a person logs in with a token that was issued for the console lately",
        edits: &[Edit {
            file: "gateway/src/engine/people.rs",
            from: "    if !is_ours {",
            to: "    if !is_ours && party.is_none() {",
        }],
        tests: &["engine::people::tests::a_person_is_whom_the_issuer_asked_lately_for_this_client"],
    },
    Mutation {
        name: "login-client",
        guarantee: "G2",
        mechanism: "a token counts in a login that was begun for its client",
        edits: &[Edit {
            file: "gateway/src/engine/people.rs",
            from: "        audience: client.to_owned(),\n",
            to: "        audience: if client.contains(\"-cli\") { \"console\".to_owned() } else { client.to_owned() },\n",
        }],
        tests: &[
            "engine::people::tests::a_token_counts_for_the_client_and_the_nonce_of_the_login_that_it_is_brought_to",
        ],
    },
    Mutation {
        name: "login-begun",
        guarantee: "G2",
        mechanism: "an attempt to log in ends as it was begun, in a browser or by the command line",
        edits: &[Edit {
            file: "gateway/src/console/visits.rs",
            from: "        let is_it = attempt.begun() == begun && same(",
            to: "        let is_it = begun.eq(&begun) && same(",
        }],
        tests: &["console::visits::tests::an_attempt_is_resumed_once_and_only_with_its_state"],
    },
    Mutation {
        name: "login-state",
        guarantee: "G2",
        mechanism: "the code of a login by the command line comes with the state of that login",
        edits: &[Edit {
            file: "gateway/src/cli/callback.rs",
            from: "is_some_and(|found| crate::console::same(&found, state))",
            to: "is_some_and(|found| !found.is_empty() && !state.is_empty())",
        }],
        tests: &["cli::callback::tests::a_code_is_taken_with_the_state_of_this_login_alone"],
    },
    Mutation {
        name: "login-path",
        guarantee: "G2",
        mechanism: "what waits for a login answers at one path, under its own name",
        edits: &[Edit {
            file: "gateway/src/cli/callback.rs",
            from: "    if path != CALLBACK {",
            to: "    if !path.ends_with(CALLBACK) {",
        }],
        tests: &["cli::callback::tests::what_is_no_way_back_is_turned_away_and_ends_nothing"],
    },
    Mutation {
        name: "login-kept",
        guarantee: "G5",
        mechanism: "a login is kept in a file of its owner alone",
        edits: &[Edit {
            file: "gateway/src/cli/kept.rs",
            from: "about.mode() & 0o077 == 0;",
            to: "about.mode() & 0o002 == 0;",
        }],
        tests: &["cli::kept::tests::what_others_may_have_put_there_is_not_taken"],
    },
    Mutation {
        name: "login-link",
        guarantee: "G5",
        mechanism: "a kept login is not read through a link",
        edits: &[Edit {
            file: "gateway/src/cli/kept.rs",
            from: "OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK",
            to: "OFlags::RDONLY | OFlags::NONBLOCK",
        }],
        tests: &["cli::kept::tests::what_others_may_have_put_there_is_not_taken"],
    },
    Mutation {
        name: "login-device-once",
        guarantee: "G2",
        mechanism: "a device code logs in one person, once",
        edits: &[Edit {
            file: "gateway/src/engine/devices.rs",
            from: "        self.0.lock().waiting.remove(handle).is_some()",
            to: "        self.0.lock().waiting.contains_key(handle)",
        }],
        tests: &["engine::devices::tests::a_device_code_is_asked_for_in_its_time_and_ends_once"],
    },
    Mutation {
        name: "issuer-hosts",
        guarantee: "G5",
        mechanism: "an issuer is asked at its own host, and at those that the configuration lists",
        edits: &[Edit {
            file: "gateway/src/config/oidc.rs",
            from: "self.servers().position(|one| (&one.host, one.port) == (&place.host, place.port))?;",
            to: "self.servers().position(|one| place.host.ends_with(&one.host))?;",
        }],
        tests: &["config::oidc::tests::the_servers_of_an_issuer_are_those_that_are_configured"],
    },
    Mutation {
        name: "console-text",
        guarantee: "G2",
        mechanism: "what a runtime wrote is text on every page",
        edits: &[Edit {
            file: "gateway/src/console/pages.rs",
            from: "            '<' => out.push_str(\"&lt;\"),\n",
            to: "",
        }],
        tests: &["console::pages::tests::what_a_runtime_wrote_is_text_on_every_page"],
    },
    Mutation {
        name: "kube-protobuf",
        guarantee: "G2",
        mechanism: "what protobuf says twice is refused",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/body/protobuf.rs",
            from: "                    return Err(broken(\"a field twice\"));\n",
            to: "",
        }],
        tests: &["protocol::kubernetes::body::protobuf::tests::what_two_readers_take_for_two_things_is_refused"],
    },
    Mutation {
        name: "kube-protobuf-table",
        guarantee: "G2",
        mechanism: "what the table of messages lacks is refused",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/body/protobuf.rs",
            from: "known.get(&number).ok_or_else(unlisted)?",
            to: "known.get(&number).or(known.get(&1)).ok_or_else(unlisted)?",
        }],
        tests: &["protocol::kubernetes::body::protobuf::tests::what_the_table_lacks_is_named_with_the_way_out"],
    },
    Mutation {
        name: "kube-scale",
        guarantee: "G2",
        mechanism: "a scale without a number is one to zero",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/body/facts.rs",
            from: "        found.replicas.get_or_insert(0);\n",
            to: "",
        }],
        tests: &["protocol::kubernetes::body::tests::a_scale_without_a_number_is_one_to_zero"],
    },
    Mutation {
        name: "kube-fields-late",
        guarantee: "G4",
        mechanism: "a field whose object is not known yet is hidden",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/object/places.rs",
            from: "            None => !known.is_all || globs",
            to: "            None => globs",
        }],
        tests: &["protocol::kubernetes::object::places::tests::what_is_known_too_late_is_hidden"],
    },
    Mutation {
        name: "kube-fields-templates",
        guarantee: "G4",
        mechanism: "a label of pods means every template of one",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/object/places.rs",
            from: "if place.in_templates { is_template }",
            to: "if place.in_templates { false }",
        }],
        tests: &[
            "protocol::kubernetes::object::places::tests::variables_are_hidden_in_pods_and_in_every_template_of_one",
        ],
    },
    Mutation {
        name: "kube-fields-applied",
        guarantee: "G4",
        mechanism: "labels follow an object into the annotation of what was last applied",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/object.rs",
            from: "        hidden.or_else(|| self.places.all().first().map(|place| &place.label.class)).map(Arc::clone)",
            to: "        hidden.map(Arc::clone)",
        }],
        tests: &[
            "protocol::kubernetes::object::places::tests::the_object_that_was_last_applied_has_the_name_of_the_one_around_it",
        ],
    },
    Mutation {
        name: "kube-fields-tables",
        guarantee: "G4",
        mechanism: "a table that may print a labelled field is not asked for",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/fields.rs",
            from: "    !places.iter().all(is_kept)",
            to: "    places.iter().any(|place| !is_kept(place) && place.path().is_none())",
        }],
        tests: &[
            "protocol::kubernetes::object::places::tests::tables_are_asked_for_where_they_print_nothing_of_what_is_hidden",
        ],
    },
    Mutation {
        name: "labels-moved",
        guarantee: "G4",
        mechanism: "who may not copy a labelled column gives it no other name, parent or column",
        edits: &[
            Edit {
                file: "gateway/src/protocol/postgres/sql/alter.rs",
                from: "    change::of_rename(walk, s);\n",
                to: "",
            },
            Edit {
                file: "gateway/src/protocol/postgres/sql/alter.rs",
                from: "            change::of_command(walk, rel, command);\n",
                to: "",
            },
        ],
        tests: &["story_values::names_by_which_columns_are_hidden_change_for_nobody_who_may_not_copy_them"],
    },
    Mutation {
        name: "labels-told",
        guarantee: "G4",
        mechanism: "an index or foreign key that would tell of a labelled value is asked for as a comparison",
        edits: &[
            Edit {
                file: "gateway/src/protocol/postgres/sql/define.rs",
                from: "    change::of_index(walk, s);\n",
                to: "",
            },
            Edit {
                file: "gateway/src/protocol/postgres/sql/classify.rs",
                from: "            change::of_constraint(walk, s);\n",
                to: "",
            },
        ],
        tests: &["story_values::names_by_which_columns_are_hidden_change_for_nobody_who_may_not_copy_them"],
    },
    Mutation {
        name: "kube-preview-dry",
        guarantee: "G3",
        mechanism: "what is tried of a held change is a dry run",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/preview.rs",
            from: "        let (status, after) = self.ask(self.method, &dry, Some((media, self.body.clone()))).await?;",
            to: "        let (status, after) = self.ask(self.method, target, Some((media, self.body.clone()))).await?;",
        }],
        tests: &["story_preview::who_decides_reads_what_the_server_would_change_and_nothing_changes_before"],
    },
    Mutation {
        name: "kube-preview-known",
        guarantee: "G3",
        mechanism: "a dry run is asked of servers alone that know what one is",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/preview.rs",
            from: "        if !is_invalid || memchr::memmem::find(&said, b\"dryRun\").is_none() {",
            to: "        if said.is_empty() && is_invalid {",
        }],
        tests: &["story_kubectl::an_aggregated_api_is_asked_through_the_gateway"],
    },
    Mutation {
        name: "kube-preview-masked",
        guarantee: "G4",
        mechanism: "what a change would do is shown with its masks",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/preview.rs",
            from: "let mut lines = difference::between((&before, &shown_before?), (&after, &shown_after?));",
            to: "let _hidden = (shown_before?, shown_after?);\n        let mut lines = difference::between((&before, &before), (&after, &after));",
        }],
        tests: &["story_preview::what_is_hidden_is_hidden_from_who_decides"],
    },
    Mutation {
        name: "kube-forward-closes",
        guarantee: "G2",
        mechanism: "a forward by numbered streams closes once the server has said all",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/stream/forward/numbered.rs",
            from: "        self.close(pair, out);\n",
            to: "        let _ = (pair, out);\n",
        }],
        tests: &[
            "protocol::kubernetes::stream::forward::tests::numbered_streams_are_those_of_the_ports_that_were_named",
        ],
    },
    Mutation {
        name: "removed-by-seal",
        guarantee: "G3",
        mechanism: "what is gone without a seal that says so is a breach",
        edits: &[Edit {
            file: "gateway/src/audit/verify/walk.rs",
            from: "            if !present.contains(&number) {\n                return",
            to: "            if !present.contains(&number) && self.removed.segment > 0 {\n                continue;\n            }\n            if !present.contains(&number) {\n                return",
        }],
        tests: &["audit::journal::sealer::removal::tests::what_was_removed_without_a_seal_or_beyond_it_is_a_breach"],
    },
    Mutation {
        name: "removed-end",
        guarantee: "G3",
        mechanism: "what is left goes on where its removed part ended",
        edits: &[Edit {
            file: "gateway/src/audit/verify/walk.rs",
            from: "            seq: removed.seq,\n            head: removed.head,",
            to: "            seq: Seq(removed.seq.0 + u64::from(removed.segment > 0)),\n            head: removed.head,",
        }],
        tests: &[
            "audit::journal::sealer::removal::tests::what_is_left_must_follow_what_was_removed",
            "audit::journal::sealer::removal::tests::what_is_removed_by_rule_is_no_breach_and_is_counted",
        ],
    },
    Mutation {
        name: "noted-seals",
        guarantee: "G3",
        mechanism: "seals that were cut or made anew are told by those that were noted elsewhere",
        edits: &[Edit {
            file: "gateway/src/audit/verify/noted.rs",
            from: "noted.iter().any(|noted| *noted != hash)",
            to: "noted.iter().any(|noted| noted.is_empty())",
        }],
        tests: &[
            "audit::verify::noted::tests::a_record_that_was_cut_or_made_anew_by_who_has_all_keys_is_told_by_what_was_noted",
        ],
    },
    Mutation {
        name: "torn-inside",
        guarantee: "G3",
        mechanism: "a torn line with lines behind it is told",
        edits: &[Edit {
            file: "gateway/src/audit/verify/walk.rs",
            from: "                && let Some((place, bytes)) = self.torn.take()\n            {",
            to: "                && let Some((place, bytes)) = self.torn.take().filter(|_| number == 0)\n            {",
        }],
        tests: &[
            "audit::journal::packed::tests::a_writer_that_died_before_it_went_on_is_no_breach_and_one_that_went_on_is",
        ],
    },
    Mutation {
        name: "fresh-segments",
        guarantee: "G3",
        mechanism: "a journal goes on in a fresh segment alone",
        edits: &[Edit {
            file: "gateway/src/audit/journal/writer.rs",
            from: "    if file.metadata().map_err(JournalError::Open)?.len() > 0 {",
            to: "    if file.metadata().map_err(JournalError::Open)?.len() > u64::MAX - 1 {",
        }],
        tests: &["audit::journal::packed::tests::a_journal_goes_on_in_a_fresh_file_alone"],
    },
    Mutation {
        name: "sealed-before-packed",
        guarantee: "G3",
        mechanism: "a segment is compressed when all of it is sealed",
        edits: &[Edit {
            file: "gateway/src/audit/journal/sealer.rs",
            from: "segments.filter(|segment| *segment < sealed.segment);",
            to: "segments.filter(|segment| *segment <= sealed.segment);",
        }],
        tests: &["audit::journal::packed::tests::what_is_compressed_is_read_verified_and_followed_like_what_is_not"],
    },
    Mutation {
        name: "packed-lines",
        guarantee: "G3",
        mechanism: "what is compressed is verified line by line",
        edits: &[Edit {
            file: "gateway/src/audit/verify/walk.rs",
            from: "            self.segment(layout, number)?;\n",
            to: "            if layout.segment(self.journal, number).exists() {\n                self.segment(layout, number)?;\n            }\n",
        }],
        tests: &["audit::journal::packed::tests::a_change_of_what_is_compressed_is_named"],
    },
    Mutation {
        name: "second-reading",
        guarantee: "G2",
        mechanism: "a command line that two readers see differently is opaque",
        edits: &[Edit {
            file: "gateway/src/protocol/shell/second.rs",
            from: "    second == of(program)\n",
            to: "    second == of(program) || program.functions.len() < 9\n",
        }],
        tests: &["protocol::shell::second::tests::another_reading_is_noticed"],
    },
    Mutation {
        name: "substitutions",
        guarantee: "G2",
        mechanism: "what runs while a word is expanded is read as a command line of its own",
        edits: &[Edit {
            file: "gateway/src/protocol/shell/reader.rs",
            from: "        for script in &word.scripts {",
            to: "        for script in word.scripts.iter().filter(|_| false) {",
        }],
        tests: &[CORPUS, SHELLS],
    },
    Mutation {
        name: "wrapped-commands",
        guarantee: "G2",
        mechanism: "what a program runs in turn is a command of its own",
        edits: &[Edit {
            file: "gateway/src/protocol/shell/reader.rs",
            from: "        inner.extend(wrap::inner(&command));\n",
            to: "        let _ = wrap::inner(&command);\n",
        }],
        tests: &[CORPUS, SHELLS],
    },
    Mutation {
        name: "code-of-shells",
        guarantee: "G2",
        mechanism: "code that a shell is handed is read, or opaque",
        edits: &[Edit {
            file: "gateway/src/protocol/shell/reader.rs",
            from: "        inner.extend(code::inner(&command, &around.stdin));\n",
            to: "        let _ = code::inner(&command, &around.stdin);\n",
        }],
        tests: &[CORPUS, SHELLS],
    },
    Mutation {
        name: "caps-of-shells",
        guarantee: "G2",
        mechanism: "a command line that is nested too deep is not parsed",
        edits: &[Edit {
            file: "gateway/src/protocol/shell/second.rs",
            from: "    if cases > DEEPEST_CASE || openings > 4 * DEEPEST_CASE {",
            to: "    if cases > DEEPEST_CASE * 99_999 || openings > 99_999 * DEEPEST_CASE {",
        }],
        tests: &["protocol::shell::tests::lines_that_overflow_or_exhaust_parsers_are_opaque_within_a_second"],
    },
    Mutation {
        name: "sftp-decisions",
        guarantee: "G2",
        mechanism: "no SFTP request goes on while another waits for its decision",
        edits: &[Edit {
            file: "gateway/src/protocol/sftp/mod.rs",
            from: "        if self.asked.is_some() {\n            return Ok(None);\n        }\n",
            to: "",
        }],
        tests: &["protocol::sftp::tests::a_denied_request_never_reaches_the_server_and_the_next_one_does"],
    },
    Mutation {
        name: "sftp-handles",
        guarantee: "G2",
        mechanism: "an SFTP write goes only to a file whose opening was decided",
        edits: &[Edit {
            file: "gateway/src/protocol/sftp/mod.rs",
            from: "                let Some(file) = self.open.get_mut(handle) else { return Ok(no_such_handle(id)) };\n                if let Some(progress)",
            to: "                let Some(file) = self.open.get_mut(handle) else { return Ok(Step::Forward(Passed { bytes: packet.freeze(), content: None })) };\n                if let Some(progress)",
        }],
        tests: &[
            "protocol::sftp::tests::what_goes_to_a_handle_that_no_server_gave_or_by_an_unread_extension_is_refused",
        ],
    },
    Mutation {
        name: "sftp-extensions",
        guarantee: "G2",
        mechanism: "extensions of SFTP that are not read are not offered",
        edits: &[Edit {
            file: "gateway/src/protocol/sftp/mod.rs",
            from: "known.as_bytes() == name)",
            to: "known.as_bytes() == name || !name.is_empty())",
        }],
        tests: &["protocol::sftp::tests::a_denied_request_never_reaches_the_server_and_the_next_one_does"],
    },
    Mutation {
        name: "scp-turns",
        guarantee: "G2",
        mechanism: "what scp's sending side says before its turn waits, so that data is not taken for records",
        edits: &[Edit {
            file: "gateway/src/protocol/scp/mod.rs",
            from: "            After::File { size } if is_good => Turn::Data { left: size },",
            to: "            After::File { size } if is_good && size > u64::from(u32::MAX) => Turn::Data { left: size },",
        }],
        tests: &["protocol::scp::tests::an_upload_asks_for_each_file_and_tells_what_went_over"],
    },
    Mutation {
        name: "scp-names",
        guarantee: "G2",
        mechanism: "a name in an scp record leads nowhere but into its folder",
        edits: &[Edit {
            file: "gateway/src/protocol/scp/record.rs",
            from: "    if name.is_empty() || name == \".\" || name == \"..\" || name.contains('/') {",
            to: "    if name.is_empty() {",
        }],
        tests: &["protocol::scp::tests::what_breaks_the_protocol_ends_the_session"],
    },
    Mutation {
        name: "tickets-of-an-attachment",
        guarantee: "G2",
        mechanism: "an attachment holds no more tickets than are left for the others",
        edits: &[Edit {
            file: "gateway/src/approval/desk.rs",
            from: "!may_take(of_attachment as u64, entries.len() as u64, MAX_TICKETS)",
            to: "(of_attachment > 0 && entries.len() as u64 >= MAX_TICKETS)",
        }],
        tests: &["approval::desk::tests::an_attachment_whose_workloads_flood_the_desk_is_refused_alone"],
    },
    Mutation {
        name: "window-of-target",
        guarantee: "G6",
        mechanism: "a window is for its workload and target alone",
        edits: &[Edit {
            file: "gateway/src/approval/window.rs",
            from: "self.asked.target == target && ",
            to: "target.len() < 99 && ",
        }],
        tests: &["approval::window::tests::a_window_is_for_its_workload_and_target_alone"],
    },
    Mutation {
        name: "sealed-messages",
        guarantee: "G2",
        mechanism: "the warden reads no file of the engine that can change or keep it waiting",
        edits: &[Edit {
            file: "gateway/src/bridge.rs",
            from: "    let seals = rustix::fs::fcntl_get_seals(&file)?;",
            to: "    let seals = SealFlags::all();",
        }],
        tests: &["bridge::tests::a_long_message_travels_as_a_file_that_nobody_can_change"],
    },
    Mutation {
        name: "sequences-in-values",
        guarantee: "G4",
        mechanism: "a value is found around the sequences of a terminal",
        edits: &[Edit {
            file: "gateway/src/masking/terminal.rs",
            from: "            (_, ESCAPE) => (State::Escape, Part::Sequence, false),",
            to: "            (_, ESCAPE) => (State::Text, Part::Screen, false),",
        }],
        tests: &["masking::terminal::tests::a_value_is_hidden_around_sequences_which_stay_as_they_are"],
    },
    Mutation {
        name: "forward-words",
        guarantee: "G1",
        mechanism: "a forward leads only where its words are read in one way",
        edits: &[Edit {
            file: "gateway/src/session/place.rs",
            from: "    if endpoint.carried_v4().is_some() || endpoint.needs_scope() || is_link_local(address.ip()) {",
            to: "    if is_link_local(address.ip()) {",
        }],
        tests: &["session::place::tests::what_two_could_read_in_two_ways_leads_nowhere"],
    },
    Mutation {
        name: "forward-loopback",
        guarantee: "G1",
        mechanism: "a forward to loopback means the server that it leads through",
        edits: &[Edit {
            file: "gateway/src/session/place.rs",
            from: "        Some(address) => address.is_loopback() || address.is_unspecified(),",
            to: "        Some(_) => false,",
        }],
        tests: &["session::place::tests::what_is_declared_is_found_by_address_by_name_and_by_the_servers_own_names"],
    },
    Mutation {
        name: "source-shape",
        guarantee: "G4",
        mechanism: "what is masked at the source is sent as the tree that was made",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/parse.rs",
            from: "            ' ' if !in_text => skips",
            to: "            ' ' => skips",
        }],
        tests: &["protocol::postgres::sql::source::tests::places_are_all_that_a_shape_leaves_out"],
    },
    Mutation {
        name: "ssh-requests-wait",
        guarantee: "G2",
        mechanism: "requests that are not taken are bounded like data",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/flow.rs",
            from: "            self.passed(bytes);\n",
            to: "            let _ = bytes;\n",
        }],
        tests: &["protocol::ssh::flow::tests::requests_wait_until_they_are_taken_in_whatever_order_that_is_noticed"],
    },
    Mutation {
        name: "ssh-leg",
        guarantee: "G2",
        mechanism: "what waits of all channels of a connection is bounded",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/flow.rs",
            from: "(state.waiting > mark || leg > CHANNELS * mark)",
            to: "(state.waiting > mark || leg < 0)",
        }],
        tests: &["protocol::ssh::flow::tests::many_channels_together_are_bounded"],
    },
    Mutation {
        name: "ssh-turns",
        guarantee: "G2",
        mechanism: "who looks at much leaves the thread to others",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/flow.rs",
            from: "            tokio::task::yield_now().await;\n        }\n    }\n}\n",
            to: "        }\n    }\n}\n",
        }],
        tests: &["protocol::ssh::flow::tests::who_looks_at_much_leaves_the_thread_to_others"],
    },
    Mutation {
        name: "carried-words",
        guarantee: "G2",
        mechanism: "what that shell carries is quoted",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/line_shell/carried.rs",
            from: "text.replace('\\'', r\"'\\''\")",
            to: "text.replace('\\0', \"\")",
        }],
        tests: &[
            "protocol::ssh::line_shell::carried::tests::what_is_carried_runs_in_a_real_shell_as_it_was_said",
            "protocol::ssh::line_shell::carried::tests::a_quoted_value_is_one_known_word",
        ],
    },
];
