//! Takes guarantees apart, to see that their tests notice.
//!
//! In: the list below: each entry takes one mechanism out of a scratch copy of the tree. Out: a table of what its tests
//! said; an error where one passed without the mechanism. It must never touch the checkout itself, and the product has
//! no switch for any of this.
// TABLE: guarantees, mechanisms and the tests that hold them

mod library;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::ebpf;
use crate::run::{checkout, run, timed};
use crate::vm;
use library::IN_THE_LIBRARY;

/// A mechanism that is taken out.
struct Mutation {
    /// For the command line.
    name: &'static str,
    /// The guarantee of the design that rests on it.
    guarantee: &'static str,
    /// What is taken out, in words.
    mechanism: &'static str,
    edits: &'static [Edit],
    /// Tests of the programs `it`, `pg`, `kube` and `ssh` that must fail without it.
    tests: &'static [&'static str],
}

/// A text that stands in a file exactly once, and what stands there without the mechanism.
struct Edit {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "redirect",
        guarantee: "G1",
        mechanism: "the connect hook points the socket at the listener",
        edits: &[Edit { file: "gateway-ebpf/src/connect.rs", from: "                redirect(own);\n", to: "" }],
        tests: &[
            "redirect::catches_ipv4_ipv6_and_mapped_connects_and_shows_the_client_its_own_destination",
            "redirect::catches_data_sent_with_the_syn",
            "redirect::catches_a_connect_that_does_not_block",
            "redirect::catches_sockets_that_were_bound_to_a_source_first",
            "redirect::catches_connects_to_this_host_by_its_unspecified_address",
            "redirect::catches_processes_of_cgroups_made_below_after_the_attach",
            "redirect::catches_processes_that_fork_and_exec_while_they_are_moved_between_cgroups",
            "bypass::catches_connects_by_io_uring_in_the_task_and_in_its_worker",
            "bypass_cgroups::a_socket_made_inside_stays_intercepted_when_its_process_is_moved_out",
        ],
    },
    Mutation {
        name: "backstop",
        guarantee: "G1",
        mechanism: "the egress hook drops what was not redirected",
        edits: &[Edit {
            file: "gateway-ebpf/src/egress.rs",
            from: "packet.protocol.into());\n    DROP\n",
            to: "packet.protocol.into());\n    PASS\n",
        }],
        tests: &[
            "existing::a_connection_that_is_kept_sends_nothing_any_more_and_is_journaled_as_a_gap",
            "sockets::a_raw_socket_made_before_the_attach_sends_nothing_to_a_protected_port",
            "refusals::udp_to_a_protected_port_reaches_nobody",
        ],
    },
    Mutation {
        name: "datagrams",
        guarantee: "G1",
        mechanism: "datagrams are judged like connects",
        edits: &[Edit {
            file: "gateway-ebpf/src/datagram.rs",
            from: "    decide4(ctx, Call::Send)\n",
            to: "    let _ = (ctx, Call::Send);\n    PROCEED\n",
        }],
        tests: &["refusals::refused_calls_are_journaled_with_destination_process_and_cgroup"],
    },
    Mutation {
        name: "names-come-to-us",
        guarantee: "G1",
        mechanism: "questions for names go to our forwarder, whatever server is meant",
        edits: &[Edit {
            file: "gateway/src/capture/tables.rs",
            from: "self.ports.insert(DNS_PORT, Verdict::Dns);",
            to: "self.ports.insert(DNS_PORT, Verdict::Allow);",
        }],
        tests: &["names::whichever_server_is_meant_the_question_comes_to_us_and_the_answer_from_there"],
    },
    Mutation {
        name: "answer-source",
        guarantee: "G1",
        mechanism: "an answer comes from the server that the client asked",
        edits: &[Edit {
            file: "gateway-ebpf/src/datagram.rs",
            from: "if source.port == listener_port() && is_loopback(source)",
            to: "if source.port == 0 && source.port == listener_port() && is_loopback(source)",
        }],
        tests: &["names::whichever_server_is_meant_the_question_comes_to_us_and_the_answer_from_there"],
    },
    Mutation {
        name: "name-list",
        guarantee: "G1",
        mechanism: "nobody is asked for a name that is not on the list",
        edits: &[Edit {
            file: "gateway/src/engine/forwarder.rs",
            from: "if name.is_none() && !config.egress.allow_by_default {",
            to: "if name.is_none() && question.name().is_empty() {",
        }],
        tests: &["names::a_name_that_is_not_on_the_list_is_asked_of_nobody_and_journaled"],
    },
    Mutation {
        name: "opened-first",
        guarantee: "G1",
        mechanism: "the addresses of an allowed name are open before its answer arrives",
        edits: &[Edit {
            file: "gateway/src/engine/forwarder.rs",
            from: "let opened = self.forwarder.open(&connection.attachment, name, &answer).await;",
            to: "let opened = if name.is_empty() { self.forwarder.open(\"\", name, &answer).await } else { Ok(()) };",
        }],
        tests: &["names::an_allowed_name_connects_at_its_first_try_and_opens_its_port_alone"],
    },
    Mutation {
        name: "rebinding",
        guarantee: "G1",
        mechanism: "a name opens no address of this host or of a metadata service",
        edits: &[Edit {
            file: "gateway/src/capture/names.rs",
            from: "if !addresses.iter().all(|address| is_nameable(*address)) {",
            to: "if !addresses.iter().any(|address| is_nameable(*address) || !address.is_unspecified()) {",
        }],
        tests: &["names::a_name_that_leads_to_this_host_or_its_metadata_opens_nothing"],
    },
    Mutation {
        name: "target-by-name",
        guarantee: "G1",
        mechanism: "a target by name is protected at the addresses of its name",
        edits: &[Edit {
            file: "gateway/src/config/egress.rs",
            from: "allowed.chain(self.targets_named(name, attachment).flat_map(Target::of_name)).collect()",
            to: "allowed.chain(self.targets_named(name, attachment).flat_map(Target::of_name).skip(2)).collect()",
        }],
        tests: &["names::a_target_by_name_is_protected_at_the_addresses_of_its_name"],
    },
    Mutation {
        name: "name-time",
        guarantee: "G6",
        mechanism: "an address closes when the time of its name is over",
        edits: &[Edit {
            file: "gateway-ebpf/src/maps.rs",
            from: "if unsafe { bpf_ktime_get_ns() } < named.until",
            to: "if unsafe { bpf_ktime_get_ns() } != named.until",
        }],
        tests: &["names::an_address_closes_when_its_time_is_over_and_what_is_connected_goes_on"],
    },
    Mutation {
        name: "asker",
        guarantee: "G1",
        mechanism: "a question without the kernel's record is not answered",
        edits: &[Edit {
            file: "gateway/src/warden/attachment.rs",
            from: "gate.asker(netns, client, here));",
            to: "gate.asker(netns, client, here)).or(Some(ConnectRecord::default()));",
        }],
        tests: &["names::a_datagram_that_no_hook_sent_to_us_is_not_answered"],
    },
    Mutation {
        name: "source-routes",
        guarantee: "G1",
        mechanism: "the egress hook drops packets with IPv4 options, and those of redirected sockets that go elsewhere",
        edits: &[
            Edit {
                file: "gateway-ebpf/src/packet.rs",
                from: "if header != HEADER_WITHOUT_OPTIONS {",
                to: "if header < HEADER_WITHOUT_OPTIONS {",
            },
            Edit {
                file: "gateway-ebpf/src/egress.rs",
                from: "        Socket::Astray => false,\n",
                to: "        Socket::Astray => true,\n",
            },
        ],
        tests: &["bypass::an_ipv4_source_route_hides_no_destination"],
    },
    Mutation {
        name: "routing-headers",
        guarantee: "G1",
        mechanism: "the egress hook drops packets with an IPv6 routing header",
        edits: &[Edit {
            file: "gateway-ebpf/src/packet.rs",
            from: "            HOP_BY_HOP | DESTINATION_OPTIONS => {",
            to: "            HOP_BY_HOP | DESTINATION_OPTIONS | 43 => {",
        }],
        tests: &["bypass::an_ipv6_routing_header_hides_no_destination"],
    },
    Mutation {
        name: "full-table",
        guarantee: "G1",
        mechanism: "the table of connections never evicts a record",
        edits: &[Edit {
            file: "gateway-ebpf/src/maps.rs",
            from: "pub static FLOW: HashMap<FlowKey, ConnectRecord, FLOW_ENTRIES, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();",
            to: "pub static FLOW: LruHashMap<FlowKey, ConnectRecord, FLOW_ENTRIES> = LruHashMap::new();",
        }],
        tests: &["bypass_floods::a_full_table_of_connections_refuses_new_ones_and_loses_none"],
    },
    Mutation {
        name: "record-cleared",
        guarantee: "G1",
        mechanism: "a connection's record goes when its socket closes",
        edits: &[Edit {
            file: "gateway-ebpf/src/flow.rs",
            from: "        if ctx.arg(1) == BPF_TCP_CLOSE {",
            to: "        if ctx.arg(1) == BPF_TCP_CLOSE && state.flow.netns == 0 {",
        }],
        tests: &[
            "bypass::a_second_destination_while_the_first_waits_to_be_accepted_is_judged_by_itself",
            "bypass_floods::a_flood_of_connects_reaches_nobody_and_leaves_no_record",
            "bypass_namespaces::a_connection_that_is_restored_without_a_handshake_was_connected_like_any_other",
        ],
    },
    Mutation {
        name: "reload-order",
        guarantee: "G1",
        mechanism: "a reload writes new entries before old ones go",
        edits: &[Edit {
            file: "gateway/src/capture/maps.rs",
            from: "        for (port, verdict) in tables.port_entries() {",
            to: "        self.forget_old(tables, u32::MAX, &HashSet::new());\n        for (port, verdict) in tables.port_entries() {",
        }],
        tests: &["bypass_floods::connects_that_race_with_attach_reload_and_detach_reach_nobody_in_between"],
    },
    Mutation {
        name: "maps-of-other-builds",
        guarantee: "G2",
        mechanism: "no programs take the maps of another build for theirs",
        edits: &[Edit {
            file: "gateway/src/capture/pins.rs",
            from: "format!(\"{MAPS}-{}\", *OBJECT_DIGEST)",
            to: "format!(\"{MAPS}-{}\", OBJECT_DIGEST.len())",
        }],
        tests: &["bypass_floods::a_gateway_with_other_programs_takes_over_under_load_and_lets_nobody_past"],
    },
    Mutation {
        name: "hastened-syns",
        guarantee: "G1",
        mechanism: "a SYN that waits for the listener of a new namespace is sent again soon",
        edits: &[Edit {
            file: "gateway-ebpf/src/flow.rs",
            from: "            hasten(ctx);\n",
            to: "            let _ = hasten;\n",
        }],
        tests: &["namespaces::the_first_connect_of_a_new_namespace_does_not_wait_for_the_usual_second"],
    },
    Mutation {
        name: "stuck-lanes",
        guarantee: "G2",
        mechanism: "the gate of an attachment whose own threads are stuck closes, and no other",
        edits: &[Edit {
            file: "gateway/src/engine/mod.rs",
            from: "let stuck = beating.lanes.stuck();",
            to: "let stuck = beating.lanes.stuck().into_iter().filter(String::is_empty).collect();",
        }],
        tests: &["fail_closed::an_attachment_whose_threads_are_stuck_is_refused_alone"],
    },
    Mutation {
        name: "lanes",
        guarantee: "G2",
        mechanism: "each attachment has its own way into the engine, and threads of its own there",
        edits: &[Edit {
            file: "gateway/src/warden/engine_process.rs",
            from: "let lane = self.lane(attachment).await?;",
            to: "let _ = attachment;\n        let lane = self.lane(\"\").await?;",
        }],
        tests: &[
            "budgets::a_flood_of_connects_costs_its_neighbour_no_event_and_little_time",
            "budgets::a_flood_of_connects_from_many_namespaces_costs_its_neighbour_no_event_and_little_time",
        ],
    },
    Mutation {
        name: "shares",
        guarantee: "G2",
        mechanism: "nobody holds more descriptors than are left for the others",
        edits: &[Edit {
            file: "gateway/src/budget.rs",
            from: "own < self.each && may_take(own as u64, held.all as u64, self.room as u64)",
            to: "own < self.each",
        }],
        tests: &[
            "budgets::sessions_that_one_attachment_keeps_open_leave_descriptors_for_another",
            "budgets::namespaces_that_one_attachment_makes_leave_descriptors_for_another",
        ],
    },
    Mutation {
        name: "share-of-the-disk",
        guarantee: "G2",
        mechanism: "who wrote more lately than the disk has left begins nothing more",
        edits: &[Edit {
            file: "gateway/src/audit/journal/room.rs",
            from: "if may_take(written, 0, left) {",
            to: "if may_take(written, 0, left) || left < u64::MAX {",
        }],
        tests: &["budgets::who_fills_the_disk_with_its_record_is_refused_alone"],
    },
    Mutation {
        name: "linked-namespace",
        guarantee: "G7",
        mechanism: "a link into a network namespace whose root is the workload's is a gap",
        edits: &[Edit {
            file: "gateway/src/warden/operator.rs",
            from: "        found.extend(links::gap(&self.namespaces, pids));\n",
            to: "",
        }],
        tests: &["bypass_links::a_link_that_has_no_hosts_end_is_a_gap"],
    },
    Mutation {
        name: "second-backstop",
        guarantee: "G1",
        mechanism: "the program at the host's end of a link drops what goes to a protected destination",
        edits: &[Edit {
            file: "gateway-ebpf/src/link.rs",
            from: "Reason::LinkDropped, packet.protocol.into());\n    DROP",
            to: "Reason::LinkDropped, packet.protocol.into());\n    NEXT",
        }],
        tests: &[
            "bypass_links::what_a_namespace_forwards_is_dropped_at_the_hosts_end_of_its_link",
            "bypass_links::a_translated_destination_is_dropped_at_the_hosts_end_of_the_link",
            "bypass_links::a_destination_that_is_rewritten_behind_the_hooks_is_dropped_at_the_hosts_end_of_the_link",
            "bypass_links::frames_of_packet_sockets_are_refused_or_dropped_at_the_hosts_end_of_the_link",
            "bypass_links::frames_of_xdp_sockets_are_refused_or_dropped_at_the_hosts_end_of_the_link",
        ],
    },
    Mutation {
        name: "second-backstop-others",
        guarantee: "G1",
        mechanism: "the program at the host's end of a link lets pass what sockets outside of the subtree send",
        edits: &[Edit {
            file: "gateway-ebpf/src/link.rs",
            from: " || matches!(root, Root::OfHost) && is_anothers(ctx, &packet)",
            to: " || (root as u8 > 9 && is_anothers(ctx, &packet))",
        }],
        tests: &["bypass_links::who_shares_a_namespace_and_is_not_attached_connects_as_before"],
    },
    Mutation {
        name: "neighbours-not-trusted",
        guarantee: "G1",
        mechanism: "where its root is the workload's nobody's packets to a protected destination leave a namespace",
        edits: &[Edit {
            file: "gateway-ebpf/src/link.rs",
            from: "matches!(root, Root::OfHost) && is_anothers",
            to: "(root as u8) < 9 && is_anothers",
        }],
        tests: &["bypass_links::what_a_neighbour_sends_is_not_trusted_where_the_workload_can_rewrite_it"],
    },
    Mutation {
        name: "unreadable-frames",
        guarantee: "G1",
        mechanism: "the program at the host's end of a link drops what it cannot read",
        edits: &[Edit {
            file: "gateway-ebpf/src/link.rs",
            from: "Reason::PacketUnreadable, 0);\n        return DROP;",
            to: "Reason::PacketUnreadable, 0);\n        return NEXT;",
        }],
        tests: &["bypass_links::what_one_frame_carries_in_another_is_dropped_at_the_hosts_end_of_the_link"],
    },
    Mutation {
        name: "overlays",
        guarantee: "G1",
        mechanism: "ports of overlay networks are refused",
        edits: &[Edit {
            file: "gateway/src/capture/tables.rs",
            from: "[u16; 7] = [10_250, 10_255, 2_379, 2_380, 4_789, 8_472, 6_081]",
            to: "[u16; 4] = [10_250, 10_255, 2_379, 2_380]",
        }],
        tests: &[
            "bypass_links::what_one_frame_carries_in_another_is_dropped_at_the_hosts_end_of_the_link",
            "bypass_links::tunnels_of_a_namespace_are_dropped_at_the_hosts_end_of_its_link",
            "refusals::overlay_networks_of_this_host_are_no_way_past",
        ],
    },
    Mutation {
        name: "refused-ports",
        guarantee: "G1",
        mechanism: "ports of kubelets and etcd are refused",
        edits: &[Edit {
            file: "gateway/src/capture/tables.rs",
            from: "        ports.extend(REFUSED_PORTS.map(|port| (port, Verdict::Refuse)));\n",
            to: "",
        }],
        tests: &["refusals::metadata_services_kubelets_and_etcd_are_refused_by_default"],
    },
    Mutation {
        name: "other-ports",
        guarantee: "G1",
        mechanism: "other ports of a declared address are refused",
        edits: &[Edit {
            file: "gateway/src/capture/tables.rs",
            from: "                    tables.set(network, None, Verdict::Refuse);\n",
            to: "",
        }],
        tests: &["egress::other_ports_of_a_declared_address_are_no_second_way_in"],
    },
    Mutation {
        name: "link-local",
        guarantee: "G1",
        mechanism: "the connect hook refuses protected ports of link-local addresses",
        edits: &[Edit {
            file: "gateway-ebpf/src/connect.rs",
            from: "} else if destination.needs_scope() && !is_dns {",
            to: "} else if destination.needs_scope() && !is_dns && own == 0 {",
        }],
        tests: &["refusals::protected_ports_of_link_local_addresses_are_refused"],
    },
    Mutation {
        name: "old-records",
        guarantee: "G1",
        mechanism: "a socket that is connected anew starts without its old record",
        edits: &[Edit { file: "gateway-ebpf/src/connect.rs", from: "        forget(ctx);\n", to: "" }],
        tests: &["redirect::a_socket_that_is_disconnected_and_connected_anew_gets_a_record_of_its_new_destination"],
    },
    Mutation {
        name: "typing",
        guarantee: "G1",
        mechanism: "exec keeps its command from typing into the terminal",
        edits: &[Edit {
            file: "gateway/src/cli/exec.rs",
            from: "    typing::forbid().context(\"cannot keep it from typing into the terminal\")\n",
            to: "    let _ = typing::forbid;\n    Ok(())\n",
        }],
        tests: &["exec::types_nothing_into_the_terminal_that_it_shares"],
    },
    Mutation {
        name: "shared-terminal",
        guarantee: "G7",
        mechanism: "a terminal that is shared with a process outside is a gap",
        edits: &[Edit {
            file: "gateway/src/warden/operator.rs",
            from: "            found.extend(gaps::of_terminal(pids));\n",
            to: "",
        }],
        tests: &["attach_rules::a_terminal_that_is_shared_with_a_process_outside_is_a_gap"],
    },
    Mutation {
        name: "alike-refusals",
        guarantee: "G2",
        mechanism: "refusals that are alike are one event",
        edits: &[Edit {
            file: "gateway/src/warden/kernel_events.rs",
            from: "self.told.get_mut(&key) {",
            to: "self.told.get_mut(&key).filter(|call| call.count == 0) {",
        }],
        tests: &["budgets::a_flood_of_refusals_costs_its_neighbour_no_event_and_little_time"],
    },
    Mutation {
        name: "links-watched",
        guarantee: "G1",
        mechanism: "a link that is plugged in is guarded at once",
        edits: &[Edit { file: "gateway/src/warden/mod.rs", from: "        self.watch_links();\n", to: "" }],
        tests: &["bypass_links::a_link_that_is_plugged_in_later_is_guarded_at_once"],
    },
    Mutation {
        name: "links-looked-at",
        guarantee: "G1",
        mechanism: "a filter that is taken off a link is put back",
        edits: &[Edit {
            file: "gateway/src/warden/mod.rs",
            from: "            attachment.guard_new_links(self);\n",
            to: "",
        }],
        tests: &["bypass_links::a_filter_that_is_taken_off_is_put_back_and_goes_with_the_attachment"],
    },
    Mutation {
        name: "carried-addresses",
        guarantee: "G1",
        mechanism: "a declared address in an IPv6 form that carries it is refused",
        edits: &[Edit {
            file: "gateway-ebpf/src/maps.rs",
            from: "    if leads_elsewhere(destination) {",
            to: "    if leads_elsewhere(destination) && destination.port == 0 {",
        }],
        tests: &["refusals::a_declared_address_in_an_ipv6_form_is_refused"],
    },
    Mutation {
        name: "held-questions",
        guarantee: "G1",
        mechanism: "the first question of a new network namespace is told whole and answered",
        edits: &[Edit { file: "gateway-ebpf/src/egress.rs", from: "            hold(ctx, &packet, state);\n", to: "" }],
        tests: &["names::a_hundred_new_namespaces_are_answered_at_their_first_question_and_connect_at_their_first_try"],
    },
    Mutation {
        name: "unanswered-questions",
        guarantee: "G7",
        mechanism: "questions for names that are not answered are counted",
        edits: &[Edit {
            file: "gateway/src/warden/forwarder.rs",
            from: "        attachment.count_refused(TOO_MANY);\n",
            to: "",
        }],
        tests: &["names::every_question_that_is_not_answered_is_in_the_journal"],
    },
    Mutation {
        name: "foreign-sockets",
        guarantee: "G1",
        mechanism: "sockets that were brought in from outside are made deaf",
        edits: &[Edit {
            file: "gateway/src/capture/foreign.rs",
            from: "is_deaf: !keep && sys::deafen(&socket).is_ok() });",
            to: "is_deaf: !keep && socket.try_clone().is_ok() });",
        }],
        tests: &["bypass_cgroups::sockets_brought_in_from_outside_are_made_deaf"],
    },
    Mutation {
        name: "cluster-shard",
        guarantee: "G3",
        mechanism: "in a cluster the lines of a journal are kept by one shard, where those sent twice collapse",
        edits: &[Edit {
            file: "gateway/src/audit/clickhouse/schema.rs",
            from: "_local', cityHash64(journal_id))\");\n",
            to: "_local', cityHash64(seq))\");\n",
        }],
        tests: &["record_cluster::the_lines_of_a_journal_are_on_one_shard_and_both_servers_answer_for_all"],
    },
    Mutation {
        name: "cluster-evidence",
        guarantee: "G3",
        mechanism: "in a cluster the shard makes the hash of the line itself",
        edits: &[Edit {
            file: "gateway/src/audit/clickhouse/schema.rs",
            from: "            .replace(\"String EPHEMERAL\", \"String CODEC(ZSTD(6))\");\n",
            to: "            .replace(\"String EPHEMERAL\", \"String EPHEMERAL CODEC(ZSTD(6))\");\n",
        }],
        tests: &["record_cluster::the_lines_of_a_journal_are_on_one_shard_and_both_servers_answer_for_all"],
    },
    Mutation {
        name: "results-clear",
        guarantee: "G4",
        mechanism: "rows that may show a class in the clear are kept nowhere",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/mod.rs",
            from: "(recorded > 0).then(|| masks.shows_in_the_clear()).flatten()",
            to: "(recorded > u64::MAX - 1).then(|| masks.shows_in_the_clear()).flatten()",
        }],
        tests: &["story_results::what_is_shown_in_the_clear_is_kept_nowhere"],
    },
    Mutation {
        name: "bodies-clear",
        guarantee: "G4",
        mechanism: "bodies that may hold a class in the clear are kept nowhere",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/decide.rs",
            from: "answer: if shows { 0 } else { most }",
            to: "answer: most",
        }],
        tests: &["story_bodies::nothing_of_a_secret_is_kept"],
    },
    Mutation {
        name: "slack-team",
        guarantee: "G2",
        mechanism: "users of another workspace of Slack are nobody",
        edits: &[Edit { file: "gateway/src/engine/slack.rs", from: "|team| team.id == slack.team", to: "|_| true" }],
        tests: &["story_slack::a_button_is_the_word_of_who_the_configuration_says_and_counts_once"],
    },
    Mutation {
        name: "slack-once",
        guarantee: "G2",
        mechanism: "a word from Slack is signed by it, lately, and counts once",
        edits: &[Edit {
            file: "gateway/src/engine/slack.rs",
            from: "taken.len() < MOST && taken.insert(tag, sent).is_none()",
            to: "taken.insert(tag, sent).is_none() || true",
        }],
        tests: &["story_slack::a_button_is_the_word_of_who_the_configuration_says_and_counts_once"],
    },
    Mutation {
        name: "record-store",
        guarantee: "G1",
        mechanism: "the store of the record is refused whatever the lists say",
        edits: &[Edit {
            file: "gateway/src/capture/tables.rs",
            from: "if let Some(store) = &config.clickhouse {",
            to: "if let Some(store) = config.clickhouse.as_ref().filter(|_| attachment.is_empty()) {",
        }],
        tests: &["egress::the_store_of_the_record_is_out_of_reach_for_who_is_recorded"],
    },
    Mutation {
        name: "protected-stays",
        guarantee: "G1",
        mechanism: "an allow-list opens no protected port",
        edits: &[Edit {
            file: "gateway/src/capture/tables.rs",
            from: "if is_protected && verdict == Verdict::Allow {",
            to: "if is_protected && verdict == Verdict::Unknown {",
        }],
        tests: &["egress::deny_by_default_leaves_what_the_list_names_and_the_list_opens_no_protected_port"],
    },
    Mutation {
        name: "own-listener",
        guarantee: "G1",
        mechanism: "the connect hook refuses the listener's own port",
        edits: &[Edit {
            file: "gateway-ebpf/src/connect.rs",
            from: "own == 0 || (destination.port == own && is_loopback(destination))",
            to: "own == 0 || (destination.port == 0 && is_loopback(destination))",
        }],
        tests: &["refusals::nobody_inside_connects_to_the_listener_directly"],
    },
    Mutation {
        name: "socket-kinds",
        guarantee: "G1",
        mechanism: "sock_create refuses other kinds of sockets",
        edits: &[Edit {
            file: "gateway-ebpf/src/socket.rs",
            from: "if allowed(kind, protocol) {",
            to: "if allowed(kind, protocol) || kind != 0 {",
        }],
        tests: &["sockets::sockets_of_other_kinds_are_refused"],
    },
    Mutation {
        name: "bind",
        guarantee: "G1",
        mechanism: "bind4 and bind6 keep the listener's port",
        edits: &[Edit {
            file: "gateway-ebpf/src/socket.rs",
            from: "if port == 0 || port != listener_port() {",
            to: "if port == 0 || port != listener_port() || port != 0 {",
        }],
        tests: &["refusals::nobody_inside_takes_the_port_of_the_listener"],
    },
    Mutation {
        name: "existing",
        guarantee: "G1",
        mechanism: "attach ends connections that were open before",
        edits: &[Edit {
            file: "gateway/src/warden/operator.rs",
            from: "if !keep {",
            to: "if !keep && cgroup.id == 0 {",
        }],
        tests: &[
            "existing::a_connection_opened_before_the_attach_is_cut",
            "existing::a_connection_brought_in_from_another_cgroup_before_the_attach_is_cut",
        ],
    },
    Mutation {
        name: "syn-waits",
        guarantee: "G1",
        mechanism: "the SYN of a new network namespace waits for its listener",
        edits: &[Edit {
            file: "gateway-ebpf/src/egress.rs",
            from: "let ready = !packet.opens || listener(state.record.netns).is_some();",
            to: "let ready = !packet.opens || listener(state.record.netns).is_some() || packet.opens;",
        }],
        tests: &["namespaces::a_new_network_namespace_is_served_at_its_first_connect"],
    },
    Mutation {
        name: "local-dial",
        guarantee: "G5",
        mechanism: "a declared loopback address is dialled in the client's namespace",
        edits: &[Edit {
            file: "gateway/src/session/dial.rs",
            from: "facts.target.is_some() && !is_local(destination.ip())",
            to: "facts.target.is_some() && (!is_local(destination.ip()) || true)",
        }],
        tests: &["containers::a_sidecar_on_loopback_is_reached_from_its_own_namespace_and_never_the_hosts"],
    },
    Mutation {
        name: "local-credential",
        guarantee: "G5",
        mechanism: "a target with a credential has no loopback address",
        edits: &[Edit {
            file: "gateway/src/config/target.rs",
            from: "if self.logs_in() && is_local(address) {",
            to: "if self.logs_in() && is_local(address) && self.addresses.is_empty() {",
        }],
        tests: &["containers::a_sidecar_on_loopback_is_reached_from_its_own_namespace_and_never_the_hosts"],
    },
    Mutation {
        name: "root-capabilities",
        guarantee: "G7",
        mechanism: "capabilities of a container's root are gaps of their own",
        edits: &[Edit {
            file: "gateway/src/capture/gaps.rs",
            from: "        if can_do_all(process) {\n",
            to: "        if !escaping.is_empty() {\n",
        }],
        tests: &["containers::capabilities_of_containers_that_lead_around_are_named_also_of_those_that_come_later"],
    },
    Mutation {
        name: "way-to-root",
        guarantee: "G7",
        mechanism: "capabilities that make a user root are gaps",
        edits: &[Edit {
            file: "gateway/src/host/process.rs",
            from: "OF_ROOT.iter().filter(|_| !self.is_root());",
            to: "OF_ROOT.iter().filter(|_| self.is_root());",
        }],
        tests: &["attach_rules::capabilities_and_sockets_that_lead_out_are_gaps"],
    },
    Mutation {
        name: "maps-pinned-again",
        guarantee: "G1",
        mechanism: "maps that were taken away are pinned again, with what they know of open connections",
        edits: &[Edit { file: "gateway/src/warden/attachment.rs", from: "            gate.pin_maps()?;\n", to: "" }],
        tests: &["story_repairs::sessions_go_on_over_a_reload_and_a_repair"],
    },
    Mutation {
        name: "missing-maps",
        guarantee: "G1",
        mechanism: "where maps are pinned is looked at",
        edits: &[Edit {
            file: "gateway/src/capture/gate.rs",
            from: "(pinned_map(&self.pins, map).ok() != Some(*id)).then_some(*map)",
            to: "(pinned_map(&self.pins, map).ok() > Some(*id)).then_some(*map)",
        }],
        tests: &["lifecycle::maps_that_are_changed_or_taken_away_are_noticed_journaled_and_put_back"],
    },
    Mutation {
        name: "changed-maps",
        guarantee: "G1",
        mechanism: "what maps hold is looked at",
        edits: &[Edit {
            file: "gateway/src/capture/health.rs",
            from: "gate.changed_map().map_or(Ok(()), ",
            to: "gate.changed_map().filter(|_| false).map_or(Ok(()), ",
        }],
        tests: &["lifecycle::maps_that_are_changed_or_taken_away_are_noticed_journaled_and_put_back"],
    },
    Mutation {
        name: "later-gaps",
        guarantee: "G7",
        mechanism: "ways around that appear after the attach are journaled",
        edits: &[Edit {
            file: "gateway/src/warden/attachment.rs",
            from: "known.iter().all(|known| known.name != gap.name)",
            to: "gap.name.is_empty() && known.is_empty()",
        }],
        tests: &["containers::capabilities_of_containers_that_lead_around_are_named_also_of_those_that_come_later"],
    },
    Mutation {
        name: "canary-stays",
        guarantee: "G1",
        mechanism: "the canary stays until the gateway takes it, so that a busy one does not think that its hooks are gone",
        edits: &[Edit {
            file: "gateway/src/capture/canary.rs",
            from: "        let _ = stream.read(&mut [0]);\n",
            to: "        let _ = &mut stream;\n",
        }],
        tests: &["fail_closed::a_canary_stays_until_a_busy_gateway_takes_it"],
    },
    Mutation {
        name: "canary-below",
        guarantee: "G1",
        mechanism: "the canary goes below a cgroup that holds no process itself",
        edits: &[Edit {
            file: "gateway/src/capture/canary.rs",
            from: "error.kind() == io::ErrorKind::ResourceBusy",
            to: "error.kind() == io::ErrorKind::TimedOut",
        }],
        tests: &["containers::the_canary_is_caught_below_a_cgroup_that_holds_no_process_itself"],
    },
    Mutation {
        name: "restart-gap",
        guarantee: "G7",
        mechanism: "a cgroup that is another one after a restart is a named gap",
        edits: &[Edit {
            file: "gateway/src/warden/operator.rs",
            from: "last.ends_with(\".service\") || identity::container(last).is_some()",
            to: "last.ends_with(\".service\")",
        }],
        tests: &["containers::a_container_attached_by_its_id_is_intercepted_again_soon_after_it_starts_again"],
    },
    Mutation {
        name: "foreign-namespace",
        guarantee: "G1",
        mechanism: "nobody listens in a namespace whose root is the workload's",
        edits: &[Edit {
            file: "gateway/src/warden/attachment/namespaces.rs",
            from: "if handle.is_ours().unwrap_or(false) {",
            to: "if handle.is_ours().is_ok() {",
        }],
        tests: &[
            "namespaces::a_namespace_of_another_user_namespace_is_refused_since_its_root_is_the_workloads",
            "bypass_namespaces::a_fake_server_in_a_namespace_of_its_own_is_never_dialled",
            "bypass_namespaces::a_connection_that_is_restored_without_a_handshake_was_connected_like_any_other",
        ],
    },
    Mutation {
        name: "delegated",
        guarantee: "G1",
        mechanism: "attach refuses a subtree that its user can leave",
        edits: &[Edit {
            file: "gateway/src/warden/operator.rs",
            from: "match self.hierarchy.delegated(cgroup)? {",
            to: "match self.hierarchy.delegated(cgroup)?.filter(|_| cgroup.id == 0) {",
        }],
        tests: &["attach_rules::a_subtree_that_its_user_can_leave_is_refused"],
    },
    Mutation {
        name: "repair",
        guarantee: "G1",
        mechanism: "hooks are looked at and put back",
        edits: &[Edit {
            file: "gateway/src/warden/mod.rs",
            from: "_ = look.tick() => tokio::task::block_in_place(|| self.look_after_hooks()),",
            to: "_ = look.tick() => {}",
        }],
        tests: &["lifecycle::a_removed_hook_is_noticed_journaled_and_put_back"],
    },
    Mutation {
        name: "cgroup-watch",
        guarantee: "G1",
        mechanism: "a cgroup of the configuration is there again, with its hooks, before who runs in it next",
        edits: &[Edit { file: "gateway/src/warden/mod.rs", from: "        self.watch_cgroups();\n", to: "" }],
        tests: &["lifecycle::a_configured_cgroup_is_there_before_its_runtime_and_again_after_each_run_of_it"],
    },
    Mutation {
        name: "config-in-force",
        guarantee: "G2",
        mechanism: "an engine that takes another's place works with what is in force, whatever the files say by now",
        edits: &[Edit {
            file: "gateway/src/warden/configuration.rs",
            from: "        self.bundle(&config, text, Ok(given))",
            to: "        self.read_anew().map(|(_, bundle, _)| bundle)",
        }],
        tests: &["configuration::what_is_in_force_is_told_with_its_line_and_outlives_broken_files_and_the_engine"],
    },
    Mutation {
        name: "around-ourselves",
        guarantee: "G2",
        mechanism: "the gateway's own cgroup is not attached",
        edits: &[Edit {
            file: "gateway/src/warden/operator.rs",
            from: "if self.hierarchy.processes(cgroup)?.contains(&ours) {",
            to: "if cgroup.path.is_empty() && ours == 0 {",
        }],
        tests: &["attach_rules::the_gateway_does_not_attach_around_itself"],
    },
    Mutation {
        name: "attach-in-force",
        guarantee: "G2",
        mechanism: "who is attached while files are broken is judged by what is in force",
        edits: &[Edit {
            file: "gateway/src/warden/configuration.rs",
            from: "        self.engine.reload(&self.bundle_in_force()?).await",
            to: "        Err(reason)",
        }],
        tests: &["policies::who_is_attached_under_broken_policies_is_judged_by_those_in_force"],
    },
    Mutation {
        name: "seals-of-host",
        guarantee: "G3",
        mechanism: "a journal that outlives the id of its host is sealed as that host's",
        edits: &[Edit {
            file: "gateway/src/warden/start.rs",
            from: "sealed_host(layout).unwrap_or_else(HostId::generate)",
            to: "Some(layout).and(None).unwrap_or_else(HostId::generate)",
        }],
        tests: &["journal::a_journal_that_outlives_the_id_of_its_host_is_still_that_hosts"],
    },
    Mutation {
        name: "shelf",
        guarantee: "G2",
        mechanism: "listeners outlive the gateway with the service manager",
        edits: &[Edit {
            file: "gateway/src/listener/shelf.rs",
            from: "if !self.names.lock().insert(name.clone()) {",
            to: "if self.names.lock().insert(name.clone()) {",
        }],
        tests: &[
            "lifecycle::a_gateway_that_its_manager_starts_anew_never_leaves_its_port_and_serves_who_came_meanwhile",
        ],
    },
    Mutation {
        name: "heartbeat",
        guarantee: "G2",
        mechanism: "the connect hook refuses when the engine was not heard of",
        edits: &[Edit {
            file: "gateway-ebpf/src/connect.rs",
            from: "} else if !alive() {",
            to: "} else if !alive() && protocol != IPPROTO_TCP {",
        }],
        tests: &["fail_closed::nobody_hangs_on_a_stopped_engine"],
    },
    Mutation {
        name: "no-record",
        guarantee: "G2",
        mechanism: "a connection without the kernel's record is reset",
        edits: &[Edit {
            file: "gateway/src/warden/attachment.rs",
            from: "self.count_refused(NO_RECORD);\n                listener::reset(socket);",
            to: "self.count_refused(NO_RECORD);\n                std::mem::forget(socket);",
        }],
        tests: &["refusals::a_connection_to_the_listener_from_outside_is_reset_without_a_session"],
    },
    Mutation {
        name: "engine-died",
        guarantee: "G2",
        mechanism: "the gates close when the engine dies",
        edits: &[Edit {
            file: "gateway/src/warden/engine_process.rs",
            from: "            engine.close_gates(&warden.all());\n",
            to: "",
        }],
        tests: &["fail_closed::a_killed_engine_is_replaced_and_until_then_connects_are_refused"],
    },
    Mutation {
        name: "journal-first",
        guarantee: "G3",
        mechanism: "what cannot be recorded does not happen",
        edits: &[
            Edit {
                file: "gateway/src/audit/guard.rs",
                from: "        journal.append_with_next(by, &Event::SessionStart(Box::new(start)))?;",
                to: "        let _ = journal.append_with_next(by, &Event::SessionStart(Box::new(start)));",
            },
            Edit {
                file: "gateway/src/audit/guard.rs",
                from: "        journal.admits_session(&account)?;",
                to: "        let _ = journal.admits_session(&account);",
            },
            Edit {
                file: "gateway/src/session/mod.rs",
                from: "        tracing::error!(session = %facts.id, %error, \"a decision could not be recorded\");\n        return Admission::Unrecorded;\n",
                to: "        let _ = error;\n",
            },
        ],
        tests: &["fail_closed::a_full_disk_lets_nothing_through"],
    },
    Mutation {
        name: "append-only",
        guarantee: "G3",
        mechanism: "journal files have the append-only flag",
        edits: &[Edit { file: "gateway/src/warden/engine_process.rs", from: "flags | IFlags::APPEND", to: "flags" }],
        tests: &["engine_process::the_journal_can_be_added_to_and_not_changed_even_by_root"],
    },
    Mutation {
        name: "control-cgroup",
        guarantee: "G1",
        mechanism: "the control socket refuses peers from attached cgroups",
        edits: &[Edit {
            file: "gateway/src/control/socket.rs",
            from: "match operator.attached_as(&cgroup) {",
            to: "match operator.attached_as(&cgroup).filter(|_| self.0.pid == 0) {",
        }],
        tests: &[
            "control_socket::a_process_inside_an_attachment_may_not_ask_even_as_root",
            "control_socket::an_approver_inside_an_attachment_may_not_ask",
            "control_socket::a_connection_made_inside_is_refused_whoever_uses_it_and_one_made_before_is_looked_at_again",
        ],
    },
    Mutation {
        name: "control-root",
        guarantee: "G1",
        mechanism: "root may ask the control socket for all, an approver for a vote, others for nothing",
        edits: &[Edit {
            file: "gateway/src/control/access.rs",
            from: "_ if asker.uid == 0 => Ok(()),",
            to: "_ if asker.uid == 0 || asker.uid > 0 => Ok(()),",
        }],
        tests: &["control_socket::only_root_may_ask", "control_socket::an_approver_may_vote_and_ask_for_nothing_else"],
    },
    Mutation {
        name: "exec-users",
        guarantee: "G1",
        mechanism: "exec without root is for users who are named",
        edits: &[Edit {
            file: "gateway/src/control/access.rs",
            from: "Self::Exec if asker.rights.exec => Ok(()),",
            to: "Self::Exec if asker.rights.exec || asker.uid > 0 => Ok(()),",
        }],
        tests: &["own_exec::who_is_not_named_is_told_what_to_add"],
    },
    Mutation {
        name: "unfit-caller",
        guarantee: "G1",
        mechanism: "who could gain privileges does not become a command",
        edits: &[Edit {
            file: "gateway/src/warden/commands.rs",
            from: "process::unfit_for_a_command(caller.pid) {",
            to: "process::unfit_for_a_command(caller.pid).filter(|_| caller.pid == 0) {",
        }],
        tests: &["own_exec::a_caller_that_could_gain_privileges_is_not_moved"],
    },
    Mutation {
        name: "own-inherited",
        guarantee: "G1",
        mechanism: "exec without root closes inherited descriptors",
        edits: &[Edit {
            file: "gateway/src/cli/own_exec.rs",
            from: "    sys::close_from(3)?;\n",
            to: "    sys::close_from(99)?;\n",
        }],
        tests: &["own_exec::a_named_user_becomes_the_command_inside_with_nothing_to_get_out_by"],
    },
    Mutation {
        name: "tied",
        guarantee: "G6",
        mechanism: "an attachment goes with its command",
        edits: &[Edit {
            file: "gateway/src/warden/commands.rs",
            from: "attached.is_some_and(|attached| attached.id == cgroup.id)",
            to: "attached.is_some_and(|attached| attached.id == cgroup.id && cgroup.id == 0)",
        }],
        tests: &[
            "own_exec::the_attachment_goes_with_the_command_and_what_it_left_behind",
            "own_exec::a_killed_command_line_of_root_leaves_the_command_intercepted_and_nothing_after_it",
        ],
    },
    Mutation {
        name: "one-vote",
        guarantee: "G2",
        mechanism: "a person has one vote on a held request",
        edits: &[Edit {
            file: "gateway/src/approval/desk.rs",
            from: "any(|vote| vote.is_same_person(cast))",
            to: "any(|vote| vote.is_same_person(cast) && vote.groups.is_empty())",
        }],
        tests: &["story_people::two_of_a_group_let_a_statement_go_on_and_one_person_does_not_count_twice"],
    },
    Mutation {
        name: "every-group",
        guarantee: "G2",
        mechanism: "every group of the policies that hold a request has to approve",
        edits: &[Edit {
            file: "gateway/src/approval/ticket.rs",
            from: "needed.iter().all(|needed|",
            to: "needed.iter().any(|needed|",
        }],
        tests: &["story_people::every_group_has_to_approve_and_one_no_ends_it"],
    },
    Mutation {
        name: "group-vote",
        guarantee: "G2",
        mechanism: "who is in no needed group has no vote",
        edits: &[Edit {
            file: "gateway/src/approval/desk.rs",
            from: "if cast.counts_for(&self.ticket).is_empty() {",
            to: "if cast.counts_for(&self.ticket).is_empty() && cast.groups.is_empty() {",
        }],
        tests: &["story_people::who_is_not_of_a_needed_group_decides_nothing"],
    },
    Mutation {
        name: "kept-use",
        guarantee: "G2",
        mechanism: "an approval is used once that is kept, so that a restart does not bring it back",
        edits: &[Edit {
            file: "gateway/src/approval/desk.rs",
            from: "        let kept = self.store.keep(vec![Change::Gone { ticket: id }]).await;",
            to: "        let kept: Result<(), String> = Ok(());",
        }],
        tests: &[
            "story_approvals::requests_and_votes_outlive_gateway_and_engine_and_what_was_used_does_not_come_again",
        ],
    },
    Mutation {
        name: "kept-votes",
        guarantee: "G2",
        mechanism: "votes are kept, so that a restart gives nobody a second one",
        edits: &[Edit {
            file: "gateway/src/approval/desk.rs",
            from: "        self.store.keep(vec![change]).await.map_err(|reason| DeskError::NotKept { reason })?;\n        Ok(stands)",
            to: "        drop(change);\n        Ok(stands)",
        }],
        tests: &[
            "story_approvals::requests_and_votes_outlive_gateway_and_engine_and_what_was_used_does_not_come_again",
        ],
    },
    Mutation {
        name: "own-request",
        guarantee: "G2",
        mechanism: "who asks does not approve",
        edits: &[Edit {
            file: "gateway/src/approval/desk.rs",
            from: "if cast.approves == Approves::Yes && self.ticket.is_asked_by(cast) {",
            to: "if cast.groups.is_empty() && self.ticket.is_asked_by(cast) {",
        }],
        tests: &[
            "story_approvals::a_yes_needs_a_reason_where_policy_says_so_and_never_comes_from_who_asks",
            "story_windows::what_policy_lets_a_window_do_is_done_while_it_is_open_and_sessions_end_with_it",
        ],
    },
    Mutation {
        name: "reasons",
        guarantee: "G2",
        mechanism: "a yes says why where policy wants that",
        edits: &[Edit {
            file: "gateway/src/approval/desk.rs",
            from: "if needed.terms.reason && cast",
            to: "if needed.terms.reason && needed.count == 0 && cast",
        }],
        tests: &["story_approvals::a_yes_needs_a_reason_where_policy_says_so_and_never_comes_from_who_asks"],
    },
    Mutation {
        name: "hours",
        guarantee: "G2",
        mechanism: "a yes counts within the hours of policy",
        edits: &[Edit {
            file: "gateway/src/approval/desk.rs",
            from: "until = until.min(closes.ok_or_else(|| DeskError::Closed { hours: needed.terms.hours() })?);",
            to: "until = until.min(closes.unwrap_or(until));",
        }],
        tests: &["story_approvals::outside_of_its_hours_a_yes_does_not_count"],
    },
    Mutation {
        name: "same-rules",
        guarantee: "G2",
        mechanism: "an approval is for the rules under which it was given",
        edits: &[
            Edit {
                file: "gateway/src/approval/desk.rs",
                from: "entry.binding == *binding && entry.ticket.needed == needed && entry.ends > now",
                to: "entry.binding == *binding && needed.len() < 99 && entry.ends > now",
            },
            Edit {
                file: "gateway/src/approval/desk.rs",
                from: "            && entry.ticket.needed == Needed::of(held)\n",
                to: "            && Needed::of(held).len() < 99\n",
            },
        ],
        tests: &["story_approvals::a_yes_is_for_the_rules_under_which_it_was_given"],
    },
    Mutation {
        name: "window-ends",
        guarantee: "G6",
        mechanism: "sessions end with the window that they rest on",
        edits: &[Edit {
            file: "gateway/src/engine/mod.rs",
            from: "engine.windows.ended(&facts.windows);",
            to: "engine.windows.ended(&[]);",
        }],
        tests: &[
            "story_windows::what_policy_lets_a_window_do_is_done_while_it_is_open_and_sessions_end_with_it",
            "story_windows::a_window_ends_by_itself_and_with_it_the_sessions_that_rest_on_it",
        ],
    },
    Mutation {
        name: "window-credential",
        guarantee: "G5",
        mechanism: "a credential that waits for a window is not supplied without it",
        edits: &[Edit {
            file: "gateway/src/session/mod.rs",
            from: "if let Some(reason) = facts.shut() {",
            to: "if let Some(reason) = facts.shut().filter(String::is_empty) {",
        }],
        tests: &["story_windows::a_credential_is_supplied_only_while_its_window_is_open"],
    },
    Mutation {
        name: "target-check-window",
        guarantee: "G5",
        mechanism: "a look at what a credential may do uses none that waits for a window",
        edits: &[Edit {
            file: "gateway/src/engine/powers.rs",
            from: "if let Some(window) = &credential.window {",
            to: "if let Some(window) = credential.window.as_ref().filter(|name| name.is_empty()) {",
        }],
        tests: &["story_targets::a_target_that_cannot_be_asked_costs_its_own_answer_alone"],
    },
    Mutation {
        name: "target-check-record",
        guarantee: "G3",
        mechanism: "a look at what a credential may do is in the journal before the credential is used",
        edits: &[Edit {
            file: "gateway/src/engine/powers.rs",
            from: "        let recorded = self.journal().append_durable(None, &event).await;\n        recorded",
            to: "        drop(event);\n        Ok::<_, String>(())",
        }],
        tests: &["story_targets::a_superuser_is_one_finding_and_the_journal_tells_who_asked_before_and_after"],
    },
    Mutation {
        name: "target-check-ssh-record",
        guarantee: "G3",
        mechanism: "a look around a server is in the journal before the login that it takes",
        edits: &[Edit {
            file: "gateway/src/engine/powers.rs",
            from: "        self.record_use(target, &credential.user, (reached.identity(), checked)).await?;\n",
            to: "        checked.server_identity = Some(reached.identity());\n",
        }],
        tests: &["targets::a_plain_login_is_no_finding_and_the_journal_tells_who_asked_before_and_after"],
    },
    Mutation {
        name: "target-check-ssh-bound",
        guarantee: "G2",
        mechanism: "what a server answers to a look around is bounded",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/visit.rs",
            from: "                if side.len() > MOST {",
            to: "                if side.len() > MOST << 20 {",
        }],
        tests: &["targets::a_server_that_runs_something_else_or_says_too_much_tells_nothing"],
    },
    Mutation {
        name: "test-denied",
        guarantee: "G1",
        mechanism: "a test of an attachment sends as refused only what policies permit to nobody",
        edits: &[Edit {
            file: "gateway/src/warden/setup.rs",
            from: "closed.is_some_and(|closed| closed.iter().any(|known| known == *action))",
            to: "closed.is_some_and(|_| !action.is_empty())",
        }],
        tests: &["story_trial::what_policies_permit_to_somebody_is_not_sent_as_what_they_deny"],
    },
    Mutation {
        name: "test-observe",
        guarantee: "G1",
        mechanism: "a test of an attachment that observes sends nothing that policies deny",
        edits: &[Edit {
            file: "gateway/src/warden/setup.rs",
            from: "    if attachment.observes() {",
            to: "    if attachment.observes() && target.name.is_empty() {",
        }],
        tests: &["story_trial::an_attachment_that_observes_is_sent_nothing_that_policies_deny"],
    },
    Mutation {
        name: "test-root",
        guarantee: "G1",
        mechanism: "a process of the gateway's own in an attachment gives up root before it speaks",
        edits: &[Edit {
            file: "gateway/src/cli/inside.rs",
            from: "    give_up_root()?;\n",
            to: "    let _ = give_up_root;\n",
        }],
        tests: &["story_trial::a_good_set_up_passes_and_the_journal_has_it_as_the_gateways_own"],
    },
    Mutation {
        name: "readable-root",
        guarantee: "G7",
        mechanism: "what a runtime can read is looked for below its own root and mounts",
        edits: &[Edit {
            file: "gateway/src/host/readable/mod.rs",
            from: "    rustix::process::fchdir(&root)?;\n    rustix::process::chroot(\".\")?;\n",
            to: "",
        }],
        tests: &["readable::who_looks_sees_the_mounts_that_the_runtime_sees"],
    },
    Mutation {
        name: "readable-rights",
        guarantee: "G7",
        mechanism: "what a runtime can read is asked of the kernel with its rights",
        edits: &[Edit {
            file: "gateway/src/host/readable/mod.rs",
            from: "    become_like(&process)?;\n    Ok((environment",
            to: "    Ok((environment",
        }],
        tests: &["readable::what_a_runtime_can_read_is_told_by_path_and_what_it_cannot_is_not"],
    },
    Mutation {
        name: "revoked",
        guarantee: "G6",
        mechanism: "an approval ends when who gave it may no longer",
        edits: &[Edit {
            file: "gateway/src/engine/mod.rs",
            from: "        self.end_approvals_of_others(&approvers);\n",
            to: "        let _ = approvers;\n",
        }],
        tests: &["story_people::an_approval_ends_when_who_gave_it_is_no_approver_any_more"],
    },
    Mutation {
        name: "approver-inside",
        guarantee: "G7",
        mechanism: "an approver whose uid runs inside has no vote",
        edits: &[Edit {
            file: "gateway/src/warden/approvals.rs",
            from: "if let Some(name) = self.runs_inside(uid) {",
            to: "if let Some(name) = self.runs_inside(uid).filter(|_| uid == 0) {",
        }],
        tests: &["story_people::an_approvers_uid_inside_is_a_gap_that_costs_the_vote"],
    },
    Mutation {
        name: "approver-gap",
        guarantee: "G7",
        mechanism: "attach and exec refuse a subtree that runs as an approver",
        edits: &[Edit {
            file: "gateway/src/capture/gaps.rs",
            from: "found.insert(APPROVER_UID.into(), detail);",
            to: "found.entry(APPROVER_UID.into()).or_insert(detail);\n        found.remove(APPROVER_UID);",
        }],
        tests: &["story_people::an_approvers_uid_inside_is_a_gap_that_costs_the_vote"],
    },
    Mutation {
        name: "new-privileges",
        guarantee: "G1",
        mechanism: "exec gives up new privileges",
        edits: &[Edit {
            file: "gateway/src/cli/exec.rs",
            from: "rustix::thread::set_no_new_privs(true)",
            to: "rustix::thread::no_new_privs().map(drop)",
        }],
        tests: &["exec::runs_the_command_as_the_user_without_a_way_back_to_root"],
    },
    Mutation {
        name: "inherited",
        guarantee: "G1",
        mechanism: "exec closes inherited descriptors",
        edits: &[Edit {
            file: "gateway/src/cli/exec.rs",
            from: "    sys::close_from(3)?;\n",
            to: "    sys::close_from(99)?;\n",
        }],
        tests: &["exec::closes_inherited_descriptors_and_removes_what_leads_outside"],
    },
    Mutation {
        name: "rows",
        guarantee: "G4",
        mechanism: "results are rewritten on the way back",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/mod.rs",
            from: "forward.rewrite = Some(Recorder::over(rewriter, kept));",
            to: "drop((rewriter, kept));",
        }],
        tests: &[
            "story_masking::no_statement_shows_a_labelled_value",
            "story_masking::cards_and_keys_are_masked_wherever_they_stand_without_any_file",
            "drivers::psql::reads_labelled_columns_masked_and_all_else_as_without_a_gateway",
            "drivers::psycopg::reads_labelled_columns_masked_and_all_else_as_without_a_gateway",
            "drivers::asyncpg::reads_labelled_columns_masked_and_all_else_as_without_a_gateway",
            "drivers::tokio_postgres::reads_labelled_columns_masked_and_all_else_as_without_a_gateway",
            "drivers::lib_pq::reads_labelled_columns_masked_and_all_else_as_without_a_gateway",
            "drivers::jdbc::reads_labelled_columns_masked_and_all_else_as_without_a_gateway",
            "drivers::node_postgres::reads_labelled_columns_masked_and_all_else_as_without_a_gateway",
        ],
    },
    Mutation {
        name: "copied-rows",
        guarantee: "G4",
        mechanism: "the rows of a COPY are rewritten like those of a query",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/rows.rs",
            from: "None => copy.row(message, &self.masking, out),",
            to: "None => copy.row(message, &self.masking, &mut Vec::new()).map(|_| Pass::Forward),",
        }],
        tests: &[
            "story_masking::no_statement_shows_a_labelled_value",
            "story_masking::cards_and_keys_are_masked_wherever_they_stand_without_any_file",
            "story_dump::the_oldest_dumps_as_without_a_gateway_but_for_masks",
            "story_dump::the_newest_dumps_as_without_a_gateway_but_for_masks",
        ],
    },
    Mutation {
        name: "origin",
        guarantee: "G4",
        mechanism: "a column of a result has the label that the catalog gives its origin",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/origins.rs",
            from: "            Some(class) => Treatment::Mask(Arc::clone(class)),\n",
            to: "            Some(_) => Treatment::Pass,\n",
        }],
        tests: &["story_masking::no_statement_shows_a_labelled_value"],
    },
    Mutation {
        name: "derived",
        guarantee: "G4",
        mechanism: "what may derive from a label that the statement reads is masked",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/origins.rs",
            from: "        if derived.is_unknown { Hidden::Strictest } else { hidden }\n",
            to: "        if derived.is_unknown { hidden } else { Hidden::Nothing }\n",
        }],
        tests: &["story_masking::no_statement_shows_a_labelled_value"],
    },
    Mutation {
        name: "row-cap",
        guarantee: "G2",
        mechanism: "rows beyond a cap of policy are not shown",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/state/limit.rs",
            from: "self.rows.is_none_or(|cap| before < cap)",
            to: "self.rows.is_none_or(|cap| before < cap.saturating_mul(100))",
        }],
        tests: &["story_limits::a_result_is_cut_where_policy_says_and_the_client_reads_why"],
    },
    Mutation {
        name: "affected-cap",
        guarantee: "G2",
        mechanism: "a change of more rows than policy allows is not committed",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/state/limit.rs",
            from: "(Some(cap), Some(rows)) if rows > cap =>",
            to: "(Some(cap), Some(rows)) if rows > cap.saturating_mul(1_000) =>",
        }],
        tests: &[
            "story_limits::a_change_of_too_many_rows_is_rolled_back",
            "story_limits::drivers_read_of_cuts_and_nothing_of_what_is_over_stays",
        ],
    },
    Mutation {
        name: "affected-wait",
        guarantee: "G2",
        mechanism: "a change of more rows than go without approval is committed when people have said yes to that many",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/engine/capped.rs",
            from: "            Capped::Changed(rows, done) => (rows, done),\n",
            to: "            Capped::Changed(rows, done) if rows == 0 => (rows, done),\n            Capped::Changed(_, done) => return Ok(Came::Within(done)),\n",
        }],
        tests: &[
            "story_changes::psql_waits_and_the_change_is_committed_once_a_person_who_read_how_many_rows_says_yes",
            "story_changes::without_a_yes_nothing_stays_and_nothing_stays_locked",
            "story_changes::an_agent_comes_back_with_the_same_change_of_the_same_rows",
            "story_changes::drivers_wait_with_their_pipelines_transactions_and_portals",
        ],
    },
    Mutation {
        name: "affected-later",
        guarantee: "G2",
        mechanism: "who waits too long for a yes to a change gives up its locks, and the request stays",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/hold.rs",
            from: "                if matter.changed.is_some() && self",
            to: "                if matter.changed.is_some_and(|rows| rows == 0) && self",
        }],
        tests: &["story_changes::who_waited_half_a_minute_gives_its_locks_up_and_comes_back_after_the_yes"],
    },
    Mutation {
        name: "affected-rows",
        guarantee: "G2",
        mechanism: "a yes to a change is for as many rows",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/change.rs",
            from: "&rows.to_be_bytes()",
            to: "&0_u64.to_be_bytes()",
        }],
        tests: &["story_changes::an_agent_comes_back_with_the_same_change_of_the_same_rows"],
    },
    Mutation {
        name: "affected-portal",
        guarantee: "G2",
        mechanism: "a change is counted whole, however few of its rows the client asks for",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/engine/capped.rs",
            from: "whole = Some(ours::execute(self.link.state.encoding().encode_ours(portal)));",
            to: "whole = Some(Vec::new()).filter(|_| false);",
        }],
        tests: &["story_changes::drivers_wait_with_their_pipelines_transactions_and_portals"],
    },
    Mutation {
        name: "affected-commit",
        guarantee: "G2",
        mechanism: "a lone change with a cap is told when it is committed",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/engine/capped.rs",
            from: "let wraps = changes && ",
            to: "let wraps = changes && message.is_empty() && ",
        }],
        tests: &[
            "story_limits::a_constraint_that_is_checked_at_commit_is_told_before_the_client_reads_of_success",
            "story_limits::a_change_of_too_many_rows_is_rolled_back",
        ],
    },
    Mutation {
        name: "uncounted",
        guarantee: "G2",
        mechanism: "under a cap what nobody counts is refused",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/query.rs",
            from: "pub(super) fn delete<'a>(walk: &mut Walk<'a>, s: &'a nodes::DeleteStmt, place: Place) {\n    walk.out.nests_writes |= !place.top;\n",
            to: "pub(super) fn delete<'a>(walk: &mut Walk<'a>, s: &'a nodes::DeleteStmt, place: Place) {\n",
        }],
        tests: &["story_limits::what_nobody_counts_is_refused"],
    },
    Mutation {
        name: "source",
        guarantee: "G4",
        mechanism: "at the source a query reads masks",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/source.rs",
            from: "            Some(class) if hides(hidden, relation, column) => {",
            to: "            Some(class) if hides(hidden, relation, column) && relation.oid == 0 => {",
        }],
        tests: &[
            "story_source::hidden_values_change_no_answer_on_15",
            "story_source::hidden_values_change_no_answer_on_18",
        ],
    },
    Mutation {
        name: "source-mask",
        guarantee: "G4",
        mechanism: "the server computes the mask that a result would have",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/values/in_sql.rs",
            from: "let least = twice(partial.first + partial.last).max(1);",
            to: "let least = twice(partial.first).max(1);",
        }],
        tests: &["story_source::a_mask_of_the_server_is_that_of_a_result"],
    },
    Mutation {
        name: "source-refusals",
        guarantee: "G4",
        mechanism: "a query that cannot be rewritten at the source is denied",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/source.rs",
            from: "    if names.locks {\n",
            to: "    if names.locks && names.depth > DEPTH {\n",
        }],
        tests: &["story_source::what_cannot_be_rewritten_is_denied_and_says_why"],
    },
    Mutation {
        name: "source-sent",
        guarantee: "G4",
        mechanism: "a statement that was rewritten otherwise is not run",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/source.rs",
            from: "        if then.sent == now.sent {\n",
            to: "        if then.sent == now.sent || now.sent.is_some() {\n",
        }],
        tests: &["story_source::drivers_read_masks_of_cached_and_prepared_statements_in_both_formats"],
    },
    Mutation {
        name: "fetched",
        guarantee: "G2",
        mechanism: "rows of a cursor are counted over all that is fetched of it",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/mod.rs",
            from: "fetched.as_ref().unwrap_or(shown);",
            to: "fetched.as_ref().filter(|_| false).unwrap_or(shown);",
        }],
        tests: &["story_limits::the_rows_of_a_cursor_are_counted_over_all_pieces_that_are_fetched"],
    },
    Mutation {
        name: "lineage",
        guarantee: "G4",
        mechanism: "what each output derives from is followed through the statement",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/lineage/shape.rs",
            from: "            left.derived.or(&right.derived);\n",
            to: "",
        }],
        tests: &[
            "lineage_oracle::what_an_output_derives_from_is_what_changes_it_on_15",
            "lineage_oracle::what_an_output_derives_from_is_what_changes_it_on_18",
        ],
    },
    Mutation {
        name: "lineage-read",
        guarantee: "G4",
        mechanism: "every column that a statement names is one that it reads",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/lineage/scope.rs",
            from: "        self.read.extend(col.derived.from.iter().copied());\n",
            to: "",
        }],
        tests: &["lineage_oracle::every_column_that_the_server_reads_is_read"],
    },
    Mutation {
        name: "beside",
        guarantee: "G4",
        mechanism: "what derives from no label is shown beside what does",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/masks.rs",
            from: "            return self.own.outputs.get(index)?.clone();\n",
            to: "            return None;\n",
        }],
        tests: &[
            "story_masking::what_derives_from_no_label_is_shown_beside_what_does",
            "story_masking::what_derives_from_no_label_is_shown_beside_what_does_on_the_newest_server",
        ],
    },
    Mutation {
        name: "views",
        guarantee: "G4",
        mechanism: "labels spread to the views that read them",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/catalog/spread.rs",
            from: "        for (view, outputs) in &views {\n",
            to: "        for (view, outputs) in views.iter().take(0) {\n",
        }],
        tests: &["story_masking::no_statement_shows_a_labelled_value"],
    },
    Mutation {
        name: "toast",
        guarantee: "G4",
        mechanism: "labels spread to the toast tables of what they stand on",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/catalog/spread.rs",
            from: "        for (toast, of) in &edges.stores {\n",
            to: "        for (toast, of) in edges.stores.iter().take(0) {\n",
        }],
        tests: &[
            "story_copies::labels_hide_them_where_policy_does_not",
            "story_copies::labels_hide_them_on_the_newest_server_too",
        ],
    },
    Mutation {
        name: "activity",
        guarantee: "G4",
        mechanism: "a function that gives the rows of a relation of the server reads that relation",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/functions.rs",
            from: ".then_some(\"pg_stat_activity\")",
            to: ".then_some(\"pg_class\")",
        }],
        tests: &[
            "story_copies::copies_that_the_server_keeps_are_hidden",
            "story_copies::labels_hide_them_where_policy_does_not",
        ],
    },
    Mutation {
        name: "joined-rows",
        guarantee: "G4",
        mechanism: "the alias of a join stands for all columns of what it joins",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/levels.rs",
            from: " || self.joins.contains(&column)",
            to: "",
        }],
        tests: &["story_masking::no_statement_shows_a_labelled_value"],
    },
    Mutation {
        name: "compared",
        guarantee: "G4",
        mechanism: "policy is asked about a label that a statement compares",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/labels.rs",
            from: "(Usage::Read, &shown), (Usage::Compared, &lineage.compared), (Usage::Moved, &lineage.moved)",
            to: "(Usage::Read, &shown), (Usage::Moved, &lineage.moved)",
        }],
        tests: &["story_masking::what_would_tell_of_a_value_is_denied_and_says_which_class"],
    },
    Mutation {
        name: "moved",
        guarantee: "G4",
        mechanism: "policy is asked about a label that a statement moves",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/labels.rs",
            from: "(Usage::Read, &shown), (Usage::Compared, &lineage.compared), (Usage::Moved, &lineage.moved)",
            to: "(Usage::Read, &shown), (Usage::Compared, &lineage.compared)",
        }],
        tests: &["story_masking::no_statement_shows_a_labelled_value"],
    },
    Mutation {
        name: "opaque-labels",
        guarantee: "G4",
        mechanism: "code that cannot be read is taken to use every label",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/labels.rs",
            from: "        if is_opaque || each.iter()",
            to: "        if each.iter()",
        }],
        tests: &["story_values::code_that_cannot_be_read_is_denied_where_labels_are_though_policy_lets_it_run"],
    },
    Mutation {
        name: "scrubbed",
        guarantee: "G4",
        mechanism: "errors of statements on labelled relations are scrubbed",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/masks.rs",
            from: "if self.labels.touches_relation {\n            return Texts::Scrub;\n        }",
            to: "",
        }],
        tests: &["story_masking::no_statement_shows_a_labelled_value"],
    },
    Mutation {
        name: "code-tells",
        guarantee: "G4",
        mechanism: "where labels are, what code of the database says is hidden",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/texts.rs",
            from: "Texts::ScrubCode if is_of_code(rest) => Texts::Scrub,",
            to: "",
        }],
        tests: &["story_masking::what_a_trigger_says_is_hidden_where_labels_are"],
    },
    Mutation {
        name: "stored-execute",
        guarantee: "G4",
        mechanism: "what a prepared statement reads is moved where its rows are kept",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/labels.rs",
            from: "facts.statements.iter().any(|statement| executes(statement) && creates(statement))",
            to: "facts.statements.iter().any(|statement| executes(statement) && creates(statement)) && false",
        }],
        tests: &["story_masking::rows_of_a_prepared_statement_are_not_kept"],
    },
    Mutation {
        name: "detected",
        guarantee: "G4",
        mechanism: "detectors look at every value",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/rows.rs",
            from: "search(value, self.kind, self.format, &masking.detectors, *except)",
            to: "search(&value[..0], self.kind, self.format, &masking.detectors, *except)",
        }],
        tests: &["story_masking::cards_and_keys_are_masked_wherever_they_stand_without_any_file"],
    },
    Mutation {
        name: "catalog-age",
        guarantee: "G4",
        mechanism: "the catalog is read again after a second",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/view.rs",
            from: "const FRESH: Duration = Duration::from_secs(1);",
            to: "const FRESH: Duration = Duration::from_secs(3_600);",
        }],
        tests: &["story_values::names_that_others_change_are_seen_within_a_second"],
    },
    Mutation {
        name: "catalog-own",
        guarantee: "G4",
        mechanism: "the catalog is read again after what the session did to names",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/view.rs",
            from: "self.is_stale |= has_changed || commits ||",
            to: "self.is_stale |= commits ||",
        }],
        tests: &["story_values::names_that_the_session_changes_are_known_to_its_next_statement"],
    },
    Mutation {
        name: "catalog-commit",
        guarantee: "G4",
        mechanism: "the catalog is read again after a COMMIT that may have been none",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/view.rs",
            from: "self.is_stale |= has_changed || commits ||",
            to: "self.is_stale |= has_changed ||",
        }],
        tests: &["story_values::names_that_a_failed_commit_brought_back_are_known"],
    },
    Mutation {
        name: "hidden-types",
        guarantee: "G4",
        mechanism: "a cast or domain that calls somebody's function makes a statement one that cannot be read",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/labels.rs",
            from: "statement.attributes.iter().chain(&statement.types)",
            to: "statement.attributes.iter().chain(statement.types.iter().take(0))",
        }],
        tests: &["story_masking::no_statement_shows_a_labelled_value"],
    },
    Mutation {
        name: "written-back",
        guarantee: "G4",
        mechanism: "masks in a statement are not written back",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/analysis.rs",
            from: "if writes(&facts) && contains_mask(text.as_bytes()) {",
            to: "if writes(&facts) && contains_mask(b\"\") {",
        }],
        tests: &["story_masking::masks_are_not_written_back"],
    },
    Mutation {
        name: "bound-back",
        guarantee: "G4",
        mechanism: "masks in parameters are not written back",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/mod.rs",
            from: "if analysis::writes(&understood.own.facts) && holds_mask() {",
            to: "if analysis::writes(&understood.own.facts) && holds_mask() && false {",
        }],
        tests: &["drivers::labelled_columns_come_masked_in_both_formats_and_parameters_are_kept_masked"],
    },
    Mutation {
        name: "elided",
        guarantee: "G4",
        mechanism: "constants of statements on labelled columns are not kept",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/analysis.rs",
            from: "shape.labels.touches_label || (has_labels && hands_on(statement))",
            to: "!has_labels && hands_on(statement)",
        }],
        tests: &["story_values::constants_of_statements_on_labelled_columns_are_not_kept"],
    },
    Mutation {
        name: "templates",
        guarantee: "G2",
        mechanism: "a text is judged like another alone where no number of it is a fact",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/templates.rs",
            from: "let same = |other: Facts| other.same_but_for_places(&analysis.facts);",
            to: "let same = |_: Facts| true;",
        }],
        tests: &["decide::analysis::tests::a_number_that_is_a_fact_is_read_each_time"],
    },
    Mutation {
        name: "token-ended",
        guarantee: "G6",
        mechanism: "a session ends when its workload's token does not count any more",
        edits: &[Edit {
            file: "gateway/src/engine/mod.rs",
            from: "                    reason = &mut token => break (EndCause::Token, reason),\n",
            to: "                    reason = &mut token, if false => break (EndCause::Token, reason),\n",
        }],
        tests: &["story_tokens::a_session_ends_with_its_token_and_none_begins_without"],
    },
    Mutation {
        name: "token-audience",
        guarantee: "G2",
        mechanism: "a token counts only where it was issued for the gateway",
        edits: &[Edit {
            file: "gateway/src/identity/token.rs",
            from: "    validation.set_audience(&[&oidc.audience]);\n",
            to: "    validation.validate_aud = false;\n",
        }],
        tests: &["story_tokens::a_token_for_somebody_else_or_by_somebody_else_lets_nobody_in"],
    },
    Mutation {
        name: "token-key",
        guarantee: "G2",
        mechanism: "a token counts only with a signature by a key of its issuer",
        edits: &[Edit {
            file: "gateway/src/identity/token.rs",
            from: "        match decode::<Map<String, Value>>(token, &key.key, &wanted(oidc, header.alg)) {",
            to: "        let _ = &key.key;\n        match jsonwebtoken::dangerous::insecure_decode::<Map<String, Value>>(token) {",
        }],
        tests: &["story_tokens::a_token_for_somebody_else_or_by_somebody_else_lets_nobody_in"],
    },
    Mutation {
        name: "last-words",
        guarantee: "G3",
        mechanism: "threads of an attachment end before the engine is gone, with what their sessions write",
        edits: &[Edit { file: "gateway/src/engine/mod.rs", from: "    lanes.end();\n", to: "" }],
        tests: &["journal::every_session_that_started_has_one_end"],
    },
    Mutation {
        name: "low-mark",
        guarantee: "G2",
        mechanism: "below the low mark of the disk no session begins",
        edits: &[Edit {
            file: "gateway/src/audit/guard.rs",
            from: "journal.admits_session(&account)?;",
            to: "journal.admits(&account)?;",
        }],
        tests: &["story_ends::below_the_low_mark_no_session_begins_and_below_the_critical_one_those_that_run_end"],
    },
    Mutation {
        name: "critical-mark",
        guarantee: "G2",
        mechanism: "below the critical mark of the disk sessions end",
        edits: &[Edit {
            file: "gateway/src/engine/mod.rs",
            from: "disk.wait_for(|disk| *disk == Disk::Critical) => {",
            to: "disk.wait_for(|disk| *disk == Disk::Critical && false) => {",
        }],
        tests: &["story_ends::below_the_low_mark_no_session_begins_and_below_the_critical_one_those_that_run_end"],
    },
    Mutation {
        name: "removed-when-copied",
        guarantee: "G3",
        mechanism: "nothing is removed before the store has it",
        edits: &[Edit {
            file: "gateway/src/warden/segments.rs",
            from: "has_copied(one.journal, one.segment).unwrap_or(true);",
            to: "has_copied(one.journal, one.segment).is_none_or(|_| true);",
        }],
        tests: &["story_record::what_is_too_much_for_the_disk_is_removed_when_the_store_has_it_and_not_before"],
    },
    Mutation {
        name: "copy-differs",
        guarantee: "G3",
        mechanism: "a journal that was cut or written anew is told by its copy",
        edits: &[Edit {
            file: "gateway/src/audit/verify/copy.rs",
            from: "Next::Line(here) if here != hash => return Ok(Some(CopyProblem::Differs)),\n            Next::None => return Ok(Some(CopyProblem::NotHere)),",
            to: "Next::None if hash == ZERO_HASH => return Ok(Some(CopyProblem::NotHere)),\n            Next::None => {}",
        }],
        tests: &["record_copy::a_journal_that_was_cut_or_removed_here_is_told_by_its_copy"],
    },
    Mutation {
        name: "copy-lost",
        guarantee: "G3",
        mechanism: "a copy that lost lines is told by the journal",
        edits: &[Edit {
            file: "gateway/src/audit/verify/copy.rs",
            from: "if breach.is_none() && acknowledged > walk.seq {",
            to: "if breach.is_none() && acknowledged > acknowledged.next() {",
        }],
        tests: &["record_copy::lines_that_the_copy_lost_or_has_twice_are_named"],
    },
    Mutation {
        name: "unverified",
        guarantee: "G5",
        mechanism: "a credential goes only to a server that was verified",
        edits: &[
            Edit {
                file: "gateway/src/protocol/postgres/upstream.rs",
                from: "Some(b\"N\") if tls.mode().insists() =>",
                to: "Some(b\"N\") if tls.mode().insists() && !tls.mode().asks() =>",
            },
            Edit {
                file: "gateway/src/upstream/credential.rs",
                from: "peer.is_verified() || self.unverified == UnverifiedServer::AllowScram",
                to: "peer.is_verified() || self.unverified == UnverifiedServer::AllowScram || !self.user.is_empty()",
            },
            Edit {
                file: "gateway/src/protocol/postgres/auth.rs",
                from: "if self.peer.is_verified() { self.password() }",
                to: "if self.peer.is_verified() || !self.proof.user.is_empty() { self.password() }",
            },
        ],
        tests: &["story_credentials::a_credential_never_reaches_a_server_that_was_not_verified"],
    },
    Mutation {
        name: "served-users",
        guarantee: "G5",
        mechanism: "a credential serves the user names that it was made for",
        edits: &[Edit {
            file: "gateway/src/upstream/credential.rs",
            from: "self.for_users.iter().any(|name| name == user)",
            to: "self.for_users.iter().any(|name| name == user || !name.is_empty())",
        }],
        tests: &["story_credentials::the_client_is_let_in_without_a_password_and_the_password_is_nowhere_near_it"],
    },
    Mutation {
        name: "statement-first",
        guarantee: "G3",
        mechanism: "a statement goes on when the journal has it",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/record.rs",
            from: "self.guard.record(&frame.with(&analysis.kept, parameters)).await.map_err(|error| self.unrecorded(&error))",
            to: "self.guard.record(&frame.with(&analysis.kept, parameters)).await.or(Ok(Seq::default()))",
        }],
        tests: &["story_ends::a_session_that_was_open_before_sends_nothing_that_cannot_be_written"],
    },
    Mutation {
        name: "overwrites",
        guarantee: "G4",
        mechanism: "a column whose masks cannot be told from values is not written by who is shown them",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/masks.rs",
            from: "find(|(class, _)| self.masked.contains(&class.name));",
            to: "find(|(class, _)| self.masked.contains(&class.name) && class.name.is_empty());",
        }],
        tests: &[
            "story_orms::sqlalchemy_saves_nothing_that_it_was_not_shown",
            "story_orms::django_saves_nothing_that_it_was_not_shown",
            "story_orms::typeorm_saves_nothing_that_it_was_not_shown",
            "story_orms::hibernate_saves_nothing_that_it_was_not_shown",
        ],
    },
    Mutation {
        name: "vacuous-conditions",
        guarantee: "G2",
        mechanism: "a column beside a branch that is the same for every row narrows nothing",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/condition.rs",
            from: "        BoolExprType::OR_EXPR => has_constant(s),\n",
            to: "",
        }],
        tests: &["story_evasions::nothing_that_is_forbidden_happens_on_15"],
    },
    Mutation {
        name: "branches",
        guarantee: "G2",
        mechanism: "a column in a CASE narrows nothing",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/condition.rs",
            from: "Place { in_where: false, ..place }",
            to: "place",
        }],
        tests: &["story_evasions::nothing_that_is_forbidden_happens_on_15"],
    },
    Mutation {
        name: "other-encodings",
        guarantee: "G2",
        mechanism: "a text is judged as the characters that the server reads in it, whatever the session's encoding",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/engine.rs",
            from: "let read = in_utf8(kind, message, link.state.encoding());",
            to: "let read = in_utf8(kind, message, link.state.encoding()).filter(|_| false);",
        }],
        tests: &["story_encodings::every_encoding_is_masked_and_otherwise_the_same_on_15"],
    },
    Mutation {
        name: "moving-encodings",
        guarantee: "G2",
        mechanism: "what comes behind a change of the encoding waits until it is known",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/state/front.rs",
            from: "if self.speech.waits()\n",
            to: "if self.awaited.len() > MAX_AWAITED\n",
        }],
        tests: &["story_encodings::a_change_that_nobody_could_follow_is_refused"],
    },
    Mutation {
        name: "other-names",
        guarantee: "G2",
        mechanism: "a name that a database in another encoding may fold or cut otherwise is refused",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/spoken.rs",
            from: ".filter(|catalog| !catalog.is_utf8())",
            to: ".filter(|catalog| !catalog.is_utf8() && catalog.has_name(\"\"))",
        }],
        tests: &["story_encodings::databases_in_other_encodings_are_masked_where_both_read_them_alike"],
    },
    Mutation {
        name: "encoded-rows",
        guarantee: "G4",
        mechanism: "values in another encoding are searched and masked in its characters",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/rows.rs",
            from: "self.encoding = (!encoding.is_utf8()).then_some(encoding);",
            to: "self.encoding = (!encoding.is_utf8()).then_some(encoding).filter(|_| false);",
        }],
        tests: &["story_encodings::every_encoding_is_masked_and_otherwise_the_same_on_15"],
    },
    Mutation {
        name: "encoded-marks",
        guarantee: "G4",
        mechanism: "masks are known again in the bytes of another encoding",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/encoding/mod.rs",
            from: "if self.is_utf8() { None } else { self.encode(MARK) }",
            to: "if self.is_utf8() { None } else { self.encode(MARK).filter(|_| false) }",
        }],
        tests: &["story_encodings::masks_are_not_written_back_in_whatever_bytes"],
    },
    Mutation {
        name: "overloads",
        guarantee: "G2",
        mechanism: "a function of somebody's that has a name of the server's asks for it",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/labels.rs",
            from: ".filter(|call| call.schema.is_none())",
            to: ".filter(|call| call.schema.is_none() && call.name.is_empty())",
        }],
        tests: &[
            "story_evasions::nothing_that_is_forbidden_happens_on_15",
            "story_evasions::nothing_that_is_forbidden_happens_on_18",
        ],
    },
    Mutation {
        name: "hidden-calls",
        guarantee: "G2",
        mechanism: "what may call a function that somebody made asks for it, as a column, an operator or a cast too",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/questions.rs",
            from: "in hidden_calls(self.statement, catalog) {",
            to: "in hidden_calls(self.statement, catalog).take(0) {",
        }],
        tests: &[
            "story_evasions::nothing_that_is_forbidden_happens_on_15",
            "story_evasions::nothing_that_is_forbidden_happens_on_18",
        ],
    },
    Mutation {
        name: "operators",
        guarantee: "G2",
        mechanism: "an operator that the server does not have is a function of a user",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/operators.rs",
            from: "    schema.is_none_or(|schema| schema == \"pg_catalog\") && (is_built_in(symbol) || is_of_extension(symbol))\n",
            to: "    schema.is_none_or(|_| true) || is_built_in(symbol) || is_of_extension(symbol)\n",
        }],
        tests: &["story_evasions::nothing_that_is_forbidden_happens_on_15"],
    },
    Mutation {
        name: "failed-alike",
        guarantee: "G2",
        mechanism: "a statement that the server would fail too fails the transaction around it",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/state/front.rs",
            from: "self.transaction == Transaction::Open && denial.is_the_servers_too;",
            to: "denial.message.is_empty() && denial.is_the_servers_too;",
        }],
        tests: &[
            "story_transparency::every_message_is_the_same_on_15",
            "story_transparency::every_message_is_the_same_on_18",
        ],
    },
    Mutation {
        name: "unnamed-statement",
        guarantee: "G2",
        mechanism: "a question of ours leaves the client's unnamed statement as it is",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/engine.rs",
            from: "&ours::question(&question)",
            to: "&ours::query(&question)",
        }],
        tests: &[
            "story_transparency::every_message_is_the_same_on_15",
            "story_transparency::every_message_is_the_same_on_18",
        ],
    },
    Mutation {
        name: "agreed-version",
        guarantee: "G2",
        mechanism: "client and server speak one protocol, and no client is told a newer one than its server knows",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/login.rs",
            from: "    let version = server.negotiated(message.agreed()).await?;\n",
            to: "    server.negotiated(message.agreed()).await?;\n    let version = message.agreed();\n",
        }],
        tests: &["story_transparency::every_message_is_the_same_on_15"],
    },
    Mutation {
        name: "written-relations",
        guarantee: "G2",
        mechanism: "every relation that a statement writes is named to policy",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/sql/query.rs",
            from: "            CmdType::CMD_DELETE => Effect::Delete,\n",
            to: "",
        }],
        tests: &["story_writes::what_the_server_wrote_was_read_in_the_statement"],
    },
    Mutation {
        name: "copied-back",
        guarantee: "G4",
        mechanism: "masks in COPY data are not written back",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/engine.rs",
            from: "if self.front.masks.ends_in(part.get(header..).unwrap_or_default()) {",
            to: "if self.front.masks.ends_in(&[]) {",
        }],
        tests: &["story_masking::masks_are_not_written_back"],
    },
    Mutation {
        name: "used-up",
        guarantee: "G2",
        mechanism: "an approval is good for one run",
        edits: &[Edit {
            file: "gateway/src/approval/desk.rs",
            from: "        fits && entries.remove(&id).is_some()",
            to: "        fits",
        }],
        tests: &["story_holds::an_approval_is_for_what_the_statement_meant_and_not_for_its_words"],
    },
    Mutation {
        name: "approved-path",
        guarantee: "G2",
        mechanism: "an approval is bound to the search path",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/hold.rs",
            from: "            path.as_bytes(),\n            temporaries",
            to: "            temporaries",
        }],
        tests: &["story_holds::an_approval_is_for_what_the_statement_meant_and_not_for_its_words"],
    },
    Mutation {
        name: "approved-temporaries",
        guarantee: "G2",
        mechanism: "an approval is bound to temporary tables",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/hold.rs",
            from: "            temporaries.as_bytes(),\n",
            to: "",
        }],
        tests: &["story_holds::an_approval_is_for_what_the_statement_meant_and_not_for_its_words"],
    },
    Mutation {
        name: "approved-names",
        guarantee: "G2",
        mechanism: "an approval is bound to what names stand for",
        edits: &[Edit {
            file: "gateway/src/protocol/postgres/decide/hold.rs",
            from: "parts.extend(understood.named.iter().map(|analysis| analysis.text.as_bytes()));",
            to: "let _ = &mut parts;",
        }],
        tests: &["story_holds::an_approval_is_for_what_the_statement_meant_and_not_for_its_words"],
    },
    Mutation {
        name: "kube-secrets",
        guarantee: "G4",
        mechanism: "what Secrets hold is hidden in every answer",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/object.rs",
            from: "            b\"data\" => whole(&self.rule.secret, true),\n",
            to: "",
        }],
        tests: &["story_secrets::no_shape_of_an_answer_shows_what_a_secret_holds"],
    },
    Mutation {
        name: "kube-last-applied",
        guarantee: "G4",
        mechanism: "the object in an annotation is hidden like the one around it",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/object.rs",
            from: "!is_object || self.key != LAST_APPLIED || self.is_nested",
            to: "!is_object || !self.key.is_empty() || self.is_nested",
        }],
        tests: &["story_secrets::no_shape_of_an_answer_shows_what_a_secret_holds"],
    },
    Mutation {
        name: "kube-accept",
        guarantee: "G4",
        mechanism: "answers are asked for in a form that can be masked",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/head.rs",
            from: "        _ => asked.iter().copied().filter(is_fit).collect::<Vec<_>>().join(\",\"),",
            to: "        _ => asked.iter().copied().filter(|item| is_fit(item) || !item.is_empty()).collect::<Vec<_>>().join(\",\"),",
        }],
        tests: &["story_secrets::no_shape_of_an_answer_shows_what_a_secret_holds"],
    },
    Mutation {
        name: "kube-fields",
        guarantee: "G4",
        mechanism: "what a label of a field names is hidden in every answer",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/object.rs",
            from: "        hide.or_else(|| self.places.hides(&self.key))",
            to: "        hide",
        }],
        tests: &["story_fields::no_shape_of_an_answer_shows_what_a_labelled_field_holds"],
    },
    Mutation {
        name: "kube-fields-quoted",
        guarantee: "G4",
        mechanism: "what the server says of a change that it refuses quotes no labelled field",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/fields.rs",
            from: "    let changes = matches!(info.verb, Verb::Update | Verb::Patch);",
            to: "    let changes = matches!(info.verb, Verb::Head);",
        }],
        tests: &["story_fields::a_change_that_is_refused_quotes_no_labelled_field"],
    },
    Mutation {
        name: "kube-masks-back",
        guarantee: "G4",
        mechanism: "bodies that hold a mask are refused",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/body.rs",
            from: "    if contains_mask(body) || holds_mask(&json) {",
            to: "    if contains_mask(&[]) && holds_mask(&json) {",
        }],
        tests: &["story_secrets::masks_are_not_written_back_and_what_was_shown_can_be"],
    },
    Mutation {
        name: "kube-handed-on",
        guarantee: "G4",
        mechanism: "who hands a Secret to code may see it",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/decide.rs",
            from: "        let secret = asked.handed_on.iter().find(",
            to: "        let secret = asked.handed_on.iter().skip(usize::MAX).find(",
        }],
        tests: &["story_secrets::a_workload_does_not_take_a_secret_that_its_maker_may_not_see"],
    },
    Mutation {
        name: "kube-handed-on-maps",
        guarantee: "G4",
        mechanism: "who hands a labelled ConfigMap to code may see it",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/decide.rs",
            from: "asked.config_maps.iter().find(hides)?",
            to: "asked.config_maps.iter().skip(usize::MAX).find(hides)?",
        }],
        tests: &["story_fields::a_workload_does_not_take_a_labelled_map_that_its_maker_may_not_see"],
    },
    Mutation {
        name: "kube-compare",
        guarantee: "G4",
        mechanism: "a patch does not compare what is hidden",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/body/json.rs",
            from: "                \"test\" => changes.compares = true,",
            to: "                \"test\" => {}",
        }],
        tests: &["story_secrets::a_patch_does_not_tell_what_a_secret_holds"],
    },
    Mutation {
        name: "kube-identity",
        guarantee: "G5",
        mechanism: "what a client says of who it is does not go on",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/head.rs",
            from: "        if IDENTITY.iter().any(|start| text.starts_with(start)) {",
            to: "        if IDENTITY.iter().all(|start| text.starts_with(start)) {",
        }],
        tests: &["story_credentials::the_server_sees_the_gateways_credential_and_the_client_never_does"],
    },
    Mutation {
        name: "kube-protocol-token",
        guarantee: "G5",
        mechanism: "bearer tokens in WebSocket subprotocols do not go on",
        edits: &[
            Edit {
                file: "gateway/src/protocol/kubernetes/stream.rs",
                from: ".filter(|one| readable.contains(one))",
                to: ".filter(|one| !one.is_empty() || readable.contains(one))",
            },
            Edit {
                file: "gateway/src/protocol/kubernetes/head.rs",
                from: ".filter(|protocol| !protocol.starts_with(TOKEN_PROTOCOL))",
                to: ".filter(|protocol| !protocol.is_empty())",
            },
        ],
        tests: &["story_exec::a_token_in_a_subprotocol_names_nobody"],
    },
    Mutation {
        name: "kube-verified",
        guarantee: "G5",
        mechanism: "a token is configured for verified servers alone",
        edits: &[Edit {
            file: "gateway/src/config/target.rs",
            from: "        section.fault(\"token\", \"goes only to a server that was verified: set [target.tls] mode to `verify-full`\");\n",
            to: "",
        }],
        tests: &["story_credentials::no_token_goes_to_a_server_that_was_not_verified"],
    },
    Mutation {
        name: "kube-streams-end",
        guarantee: "G6",
        mechanism: "answers end when policies no longer permit them",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/answer.rs",
            from: "        if this.revoked.as_mut().poll(context).is_ready() {",
            to: "        if this.is_over && this.revoked.as_mut().poll(context).is_ready() {",
        }],
        tests: &["story_policies::a_watch_ends_when_policies_no_longer_permit_it"],
    },
    Mutation {
        name: "kube-paths",
        guarantee: "G2",
        mechanism: "paths that readers differ about are refused",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/uri.rs",
            from: "    if decoded.is_empty() || decoded == \".\" || decoded == \"..\" { Err(UriError::Segment) } else { Ok(decoded) }",
            to: "    Ok(decoded)",
        }],
        tests: &["story_hostile::requests_that_can_be_read_twice_are_refused"],
    },
    Mutation {
        name: "kube-floods",
        guarantee: "G2",
        mechanism: "a connection that breaks HTTP/2 ends with an event that says so",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/engine.rs",
            from: "error.is_parse_too_large() || breaks_http2(&error) {",
            to: "error.is_parse_too_large() || (breaks_http2(&error) && error.is_parse()) {",
        }],
        tests: &["story_hostile::a_flood_of_http2_ends_its_connection_and_nobody_elses"],
    },
    Mutation {
        name: "kube-bodies",
        guarantee: "G2",
        mechanism: "a key that stands there twice is refused",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/body/json.rs",
            from: "                return Err(serde::de::Error::custom(\"a key twice\"));",
            to: "                ();",
        }],
        tests: &["story_policies::a_pod_that_reaches_for_the_node_is_denied_however_it_is_written"],
    },
    Mutation {
        name: "kube-exec-masked",
        guarantee: "G4",
        mechanism: "output of exec is masked in its frames",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/stream/channel.rs",
            from: "            Channel::Stdout => self.out.push(bytes, &mut shown),",
            to: "            Channel::Stdout => shown.extend_from_slice(bytes),",
        }],
        tests: &["story_exec::commands_run_masked_and_recorded_by_every_protocol"],
    },
    Mutation {
        name: "kube-exec-whole",
        guarantee: "G4",
        mechanism: "what goes over an exec is seen off, and stays in no layer",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/stream/tap.rs",
            from: "    to.flush().await",
            to: "    Ok(())",
        }],
        tests: &["protocol::kubernetes::stream::tap::tests::nothing_stays_in_a_layer_that_keeps_what_it_took"],
    },
    Mutation {
        name: "kube-exec-resets",
        guarantee: "G4",
        mechanism: "output that waits for the end of a value comes before what ends its stream",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/stream/spdy.rs",
            from: "                if matches!(frame.kind, Some(RST_STREAM | GOAWAY)) {",
            to: "                if false {",
        }],
        tests: &["protocol::kubernetes::stream::tests::spdy_output_that_waits_comes_before_what_ends_its_stream"],
    },
    Mutation {
        name: "kube-exec-lingers",
        guarantee: "G4",
        mechanism: "an exec closes when its client has all",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/stream/tap.rs",
            from: "        if matches!(got, Ok(_) | Err(Broken::Lost(_))) {",
            to: "        if false {",
        }],
        tests: &[
            "protocol::kubernetes::stream::tap::tests::a_client_that_still_speaks_reads_all_that_a_server_said_before_it_closed",
        ],
    },
    Mutation {
        name: "kube-exec-action",
        guarantee: "G2",
        mechanism: "exec is asked as such whatever verb it comes by",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/questions.rs",
            from: "        (_, \"exec\") => Action::KubernetesExec,",
            to: "        (_, \"exec\") if writes => Action::KubernetesExec,",
        }],
        tests: &["story_exec::a_command_that_policy_denies_is_denied_by_every_protocol"],
    },
    Mutation {
        name: "kube-recorded",
        guarantee: "G3",
        mechanism: "a request of Kubernetes goes on when the journal has it",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/decide.rs",
            from: "            Err(refusal) => return Decided::Refused(refusal),\n        };\n        match (decision, refusal) {",
            to: "            Err(_) => crate::audit::Seq(0),\n        };\n        match (decision, refusal) {",
        }],
        tests: &["story_credentials::what_cannot_be_recorded_does_not_reach_the_server"],
    },
    Mutation {
        name: "exec-words",
        guarantee: "G2",
        mechanism: "words of an exec are no code, and code among them is read as commands",
        edits: &[Edit {
            file: "gateway/src/protocol/shell/words.rs",
            from: "map(|word| format!(\"'{}'\", word.replace('\\'', r\"'\\''\"))).collect();",
            to: "map(str::to_owned).collect();",
        }],
        tests: &["protocol::shell::words::tests::words_are_no_shell_code_and_what_a_shell_is_handed_is"],
    },
    Mutation {
        name: "kube-exec-commands",
        guarantee: "G2",
        mechanism: "each command that an exec would run is asked",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/questions.rs",
            from: "for command in &shell::facts_of_words(query.all(\"command\")).commands {",
            to: "for command in shell::facts_of_words(query.all(\"command\")).commands.iter().take(1) {",
        }],
        tests: &["story_exec::a_command_that_policy_denies_is_denied_by_every_protocol"],
    },
    Mutation {
        name: "kube-forward-engine",
        guarantee: "G2",
        mechanism: "a forward into a pod is read by the engine of what it leads to",
        edits: &[Edit {
            file: "gateway/src/session/place.rs",
            from: "    let verdict =\n        target.as_ref().map_or_else(|| Tables::new(Verdict::Allow).verdict(address), |target| target.protocol);",
            to: "    let verdict = Verdict::Allow;",
        }],
        tests: &["story_forward::a_forward_to_a_database_is_read_like_a_connection_to_it"],
    },
    Mutation {
        name: "kube-forward-pod",
        guarantee: "G2",
        mechanism: "the port of a pod is a fact of its own",
        edits: &[Edit {
            file: "gateway/src/policy/vocabulary/network.rs",
            from: "if server.kind() == EntityType::KubernetesObject { \"pod\" } else { \"via\" }",
            to: "if server.kind() == EntityType::Host { \"via\" } else { \"none\" }",
        }],
        tests: &[
            "story_forward::a_port_of_a_pod_is_a_fact_for_policies_and_what_is_refused_everywhere_is_refused_there",
        ],
    },
    Mutation {
        name: "kube-forward-whole",
        guarantee: "G2",
        mechanism: "a forward says nothing before its pair of streams is whole",
        edits: &[Edit {
            file: "gateway/src/protocol/kubernetes/stream/forward/pairs.rs",
            from: "                let waits = |half: &Half| half.data == Some(frame.stream);",
            to: "                let waits = |half: &Half| half.data.is_some_and(|_| false);",
        }],
        tests: &["protocol::kubernetes::stream::forward::tests::streams_that_are_no_pair_end_it"],
    },
    Mutation {
        name: "kube-names",
        guarantee: "G2",
        mechanism: "no certificate is shown to who asks for another name",
        edits: &[Edit {
            file: "gateway/src/trust/leaf.rs",
            from: "hello.server_name().is_none_or(is_ours).then(",
            to: "(hello.server_name().is_none_or(is_ours) || !self.names.is_empty() || self.names.is_empty()).then(",
        }],
        tests: &["story_hostile::a_name_that_is_not_the_targets_is_shown_no_certificate"],
    },
    Mutation {
        name: "ssh-decision",
        guarantee: "G2",
        mechanism: "a denied command is not run",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/channel.rs",
            from: "decided = judge.decide(asked, Some(&speaker)) => decided.map_err(|refused| refused.0),",
            to: "decided = judge.decide(asked, Some(&speaker)) => match decided { Ok(granted) => Ok(granted), Err(_) => judge.log_in(\"deploy\").await.map_err(|refused| refused.0) },",
        }],
        tests: &["decide::what_is_denied_never_reaches_the_server_and_says_why"],
    },
    Mutation {
        name: "ssh-files",
        guarantee: "G2",
        mechanism: "a file operation that is denied is not sent on",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/files.rs",
            from: "                            let reply = sftp.lock().deny(&why);\n                            if let Some(reply) = reply {\n                                self.tell(reply).await?;\n",
            to: "                            drop(why);\n                            let passed = sftp.lock().allow(Seq(1));\n                            if let Some(passed) = passed {\n                                to_server.data_bytes(passed.bytes).await?;\n",
        }],
        tests: &["files::sftp_is_judged_by_operation_and_path_and_transfers_are_kept"],
    },
    Mutation {
        name: "ssh-file-contents",
        guarantee: "G4",
        mechanism: "a file that holds a value does not leave",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/files.rs",
            from: "            Err(Holds(class)) => Err(Stop::Because(format!(\"a file holds a value of the class {class}\"))),",
            to: "            Err(Holds(_)) => Ok(()),",
        }],
        tests: &["files::a_file_that_holds_a_value_does_not_leave"],
    },
    Mutation {
        name: "console-refused",
        guarantee: "G2",
        mechanism: "the console's port is refused to attached cgroups",
        edits: &[Edit {
            file: "gateway/src/capture/tables.rs",
            from: "            tables.ports.insert(console.listen.port(), Verdict::Refuse);\n",
            to: "            let _ = console;\n",
        }],
        tests: &["story_console::nobody_else_gets_in_or_has_something_decided"],
    },
    Mutation {
        name: "metrics-port",
        guarantee: "G2",
        mechanism: "the port of metrics is refused to attached cgroups",
        edits: &[Edit {
            file: "gateway/src/capture/tables.rs",
            from: "            tables.ports.insert(metrics.port(), Verdict::Refuse);\n",
            to: "            let _ = metrics;\n",
        }],
        tests: &["story_metrics::numbers_follow_what_is_decided_and_readiness_follows_the_engine"],
    },
    Mutation {
        name: "console-fresh-elsewhere",
        guarantee: "G2",
        mechanism: "a decision by the command line needs a login of the last ten minutes",
        edits: &[
            Edit {
                file: "gateway/src/console/routes.rs",
                from: "        if !visit.is_fresh() {",
                to: "        if !visit.is_fresh() && page.is_some() {",
            },
            Edit {
                file: "gateway/src/warden/console_process.rs",
                from: "            Wanted::Decide { .. } | Wanted::Revoke(_) if !is_fresh => {",
                to: "            Wanted::Revoke(_) if !is_fresh => {",
            },
        ],
        tests: &["story_command_line::who_is_logged_in_decides_by_the_command_line_and_it_happens_once"],
    },
    Mutation {
        name: "login-nonce",
        guarantee: "G2",
        mechanism: "a token that somebody brings says the nonce of the login that it is brought to",
        edits: &[Edit {
            file: "gateway/src/engine/people.rs",
            from: "        let mut known = self.enter(&terms, client, Some(&said.nonce), &said.token).await?;",
            to: "        let mut known = self.enter(&terms, client, None, &said.token).await?;",
        }],
        tests: &["story_command_line::what_was_made_for_another_login_or_client_lets_nobody_in"],
    },
    Mutation {
        name: "login-device",
        guarantee: "G2",
        mechanism: "there are logins by device code where they are configured",
        edits: &[Edit {
            file: "gateway/src/engine/people.rs",
            from: "        if !console.device_code {",
            to: "        if false {",
        }],
        tests: &["story_command_line::where_no_client_or_no_device_code_is_configured_there_is_no_such_login"],
    },
    Mutation {
        name: "console-logout",
        guarantee: "G6",
        mechanism: "a login ends where the person logs out, for who kept a copy too",
        edits: &[Edit {
            file: "gateway/src/console/routes.rs",
            from: "        self.visits.leave(cookie(head, LOGIN));\n",
            to: "        let _ = head;\n",
        }],
        tests: &["story_command_line::a_person_logs_in_by_the_command_line_until_they_log_out"],
    },
    Mutation {
        name: "console-form-token",
        guarantee: "G2",
        mechanism: "a change at the console brings the token of its login",
        edits: &[Edit {
            file: "gateway/src/console/routes.rs",
            from: "        if !token.is_some_and(|token| same(&token, &visit.token)) {",
            to: "        if token.is_some_and(|token| token == \"refused\") {",
        }],
        tests: &["story_console::a_person_logs_in_at_the_issuer_and_what_they_approve_happens_once"],
    },
    Mutation {
        name: "console-origin",
        guarantee: "G2",
        mechanism: "a change at the console comes from a page of it",
        edits: &[Edit {
            file: "gateway/src/console/routes.rs",
            from: "        if head.method == Method::POST && origin && site {",
            to: "        if head.method == Method::POST || (origin && site) {",
        }],
        tests: &["story_console::nobody_else_gets_in_or_has_something_decided"],
    },
    Mutation {
        name: "console-viewers",
        guarantee: "G4",
        mechanism: "the record is shown to those alone who may look",
        edits: &[Edit {
            file: "gateway/src/warden/console_process.rs",
            from: "            || if views { Ok(())",
            to: "            || if views || !administers { Ok(())",
        }],
        tests: &["story_console::nobody_else_gets_in_or_has_something_decided"],
    },
    Mutation {
        name: "console-drawn",
        guarantee: "G4",
        mechanism: "a recording in a browser draws and does nothing else",
        edits: &[Edit {
            file: "gateway/src/warden/console_record.rs",
            from: "recording.drawn().cast(Cast::V2)",
            to: "recording.cast(Cast::V2)",
        }],
        tests: &["shell::a_terminal_is_played_in_a_browser_as_it_was_and_does_nothing_else_there"],
    },
    Mutation {
        name: "copy-taken",
        guarantee: "G3",
        mechanism: "what ClickHouse has not taken is sent again",
        edits: &[Edit {
            file: "gateway/src/shipper/mod.rs",
            from: "store.keep(batch).await.map(|()| place)",
            to: "store.keep(batch).await.map(|()| place).or(Ok(place))",
        }],
        tests: &["record_under_way::a_batch_that_is_kept_before_the_one_in_front_of_it_is_not_noted"],
    },
    Mutation {
        name: "syslog-read",
        guarantee: "G3",
        mechanism: "what a syslog server did not read to its end is told again",
        edits: &[Edit {
            file: "gateway/src/shipper/feed.rs",
            from: "    stream.shutdown().await?;",
            to: "    if !messages.is_empty() {\n        return Ok(());\n    }",
        }],
        tests: &["story_syslog::what_a_server_did_not_read_to_its_end_is_told_again"],
    },
    Mutation {
        name: "copy-in-order",
        guarantee: "G3",
        mechanism: "of batches that are under way at once none is noted before those in front of it",
        edits: &[Edit {
            file: "gateway/src/shipper/mod.rs",
            from: "under_way.push_back(",
            to: "under_way.push_front(",
        }],
        tests: &["record_under_way::a_batch_that_is_kept_before_the_one_in_front_of_it_is_not_noted"],
    },
    Mutation {
        name: "webhook-taken",
        guarantee: "G3",
        mechanism: "what a webhook has not taken is told again",
        edits: &[Edit {
            file: "gateway/src/shipper/mod.rs",
            from: "feed.send(&self.origin, &events).await.map_err(ShipError::Feed)? {",
            to: "feed.send(&self.origin, &events).await.unwrap_or_default() {",
        }],
        tests: &["story_feeds::who_does_not_listen_keeps_nobody_waiting_and_hears_of_all_later"],
    },
    Mutation {
        name: "webhook-signed",
        guarantee: "G3",
        mechanism: "what a webhook is told is signed",
        edits: &[Edit {
            file: "gateway/src/shipper/feed.rs",
            from: "hmac::sign(&key, format!(\"{seconds}.{body}\").as_bytes())",
            to: "hmac::sign(&key, format!(\"{seconds}.{}\", body.len()).as_bytes())",
        }],
        tests: &["story_feeds::who_listens_hears_of_what_waits_and_what_became_of_it_in_their_own_words"],
    },
    Mutation {
        name: "ssh-approval-binding",
        guarantee: "G2",
        mechanism: "an approval of a command is bound to its words",
        edits: &[
            Edit { file: "gateway/src/protocol/ssh/judge/hold.rs", from: "            asked.text.clone(),\n", to: "" },
            Edit {
                file: "gateway/src/protocol/ssh/judge/hold.rs",
                from: "        parts.extend(asked.questions.iter().map(|question| question.facts().to_string()));\n",
                to: "        parts.push(String::new());\n",
            },
        ],
        tests: &["decide::what_cannot_be_read_waits_for_a_person_and_runs_once"],
    },
    Mutation {
        name: "ssh-opaque",
        guarantee: "G2",
        mechanism: "what cannot be read of a command is opaque",
        edits: &[Edit {
            file: "gateway/src/protocol/shell/asked.rs",
            from: "command.opaque.iter().map(|reason| reason.name().into()).collect()",
            to: "Vec::new()",
        }],
        tests: &["decide::what_cannot_be_read_waits_for_a_person_and_runs_once"],
    },
    Mutation {
        name: "ssh-recorded-first",
        guarantee: "G3",
        mechanism: "a command goes on when the journal has it",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/judge/record.rs",
            from: "        let event = Event::SshRequest(Box::new(self.event(asked, decision)));\n        self.guard.record(&event).await.map_err(|error| self.unrecorded(&error))\n",
            to: "        let event = Event::SshRequest(Box::new(self.event(asked, decision)));\n        Ok(self.guard.record(&event).await.unwrap_or_default())\n",
        }],
        tests: &["decide::what_cannot_be_recorded_does_not_run"],
    },
    Mutation {
        name: "ssh-masked-output",
        guarantee: "G4",
        mechanism: "what a command prints is masked",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/output.rs",
            from: "                masker.push(&chunk, &mut out);\n",
            to: "                out.extend_from_slice(&chunk);\n",
        }],
        tests: &[
            "shell::output_and_errors_of_commands_are_masked_with_their_length",
            "shell::a_shell_that_is_let_through_is_masked_recorded_and_replayed",
        ],
    },
    Mutation {
        name: "ssh-binary-output",
        guarantee: "G4",
        mechanism: "a value in binary output ends the command",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/output.rs",
            from: "                found.map_or(Ok(chunk), Err)\n",
            to: "                drop(found);\n                Ok(chunk)\n",
        }],
        tests: &["shell::binary_output_is_never_edited_and_is_stopped_where_it_holds_a_value"],
    },
    Mutation {
        name: "ssh-masked-words",
        guarantee: "G4",
        mechanism: "command lines are masked before they are kept",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/judge/record.rs",
            from: "        Masked::new(text, &self.masking().detectors).as_str().to_owned()\n",
            to: "        text.to_owned()\n",
        }],
        tests: &["shell::output_and_errors_of_commands_are_masked_with_their_length"],
    },
    Mutation {
        name: "ssh-host-key",
        guarantee: "G5",
        mechanism: "an SSH server's key is known before a login",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/server.rs",
            from: "self.unverified.then(|| ServerIdentity::Unverified(fingerprint.to_string()))",
            to: "Some(ServerIdentity::Unverified(fingerprint.to_string()))",
        }],
        tests: &["login::a_server_with_another_key_never_sees_the_login"],
    },
    Mutation {
        name: "ssh-for-users",
        guarantee: "G5",
        mechanism: "an SSH credential serves the names that it was made for",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/mod.rs",
            from: "        self.for_users.iter().any(|name| name == user)",
            to: "        self.for_users.iter().any(|name| name != user)",
        }],
        tests: &["login::names_that_the_credential_does_not_serve_get_no_login"],
    },
    Mutation {
        name: "ssh-policy-ends",
        guarantee: "G6",
        mechanism: "a policy that ends ends the commands that rest on it",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/relay.rs",
            from: "                reason = judge.withdrawn(questions) => Stop::Because(reason),\n",
            to: "                reason = judge.withdrawn(questions), if questions.is_empty() => Stop::Because(reason),\n",
        }],
        tests: &["decide::a_policy_that_ends_ends_what_rests_on_it"],
    },
    Mutation {
        name: "ssh-signal-first",
        guarantee: "G6",
        mechanism: "a command is signalled before its connection ends",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/relay.rs",
            from: "        let _ = to.signal(signal).await;\n        let gone",
            to: "        drop(signal);\n        let gone",
        }],
        tests: &["decide::a_gateway_that_stops_ends_what_runs", "decide::a_policy_that_ends_ends_what_rests_on_it"],
    },
    Mutation {
        name: "ssh-variables",
        guarantee: "G7",
        mechanism: "variables that policies do not see are not passed on",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/request.rs",
            from: "                if fits && is_passed_on(&variable_name) {",
            to: "                if fits {",
        }],
        tests: &["exec::variables_of_the_short_list_reach_a_command_and_no_others"],
    },
    Mutation {
        name: "ssh-host-certificate",
        guarantee: "G2",
        mechanism: "a certificate of our host key names its target alone",
        edits: &[Edit {
            file: "gateway/src/trust/ssh.rs",
            from: "        for name in names {\n            builder.valid_principal(name)?;\n        }\n",
            to: "        builder.all_principals_valid()?;\n",
        }],
        tests: &["trust::a_certificate_of_our_key_is_for_the_names_of_its_target_alone"],
    },
    Mutation {
        name: "ssh-strict-exchange",
        guarantee: "G2",
        mechanism: "a message too many before the keys ends an SSH connection",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/algorithms.rs",
            from: "    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,\n",
            to: "",
        }],
        tests: &["hostile::a_message_too_many_before_the_keys_ends_a_strict_exchange"],
    },
    Mutation {
        name: "ssh-channels",
        guarantee: "G2",
        mechanism: "a connection has so many channels and no more",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/door.rs",
            from: "const MAX_OPEN: usize = 256;",
            to: "const MAX_OPEN: usize = 999;",
        }],
        tests: &["hostile::floods_are_bounded"],
    },
    Mutation {
        name: "ssh-lines",
        guarantee: "G2",
        mechanism: "a line of the shell that we offer is decided before it runs",
        edits: &[Edit {
            file: "gateway/src/protocol/ssh/line_shell/mod.rs",
            from: "        let questions = ask::exec(&account, line.as_bytes(), pty);\n",
            to: "        let questions = vec![crate::policy::vocabulary::ssh::login(account)];\n",
        }],
        tests: &[
            "lines::each_line_is_judged_and_a_directory_and_variables_last",
            "lines::lines_without_a_terminal_run_one_by_one",
        ],
    },
    Mutation {
        name: "ssh-forward-via",
        guarantee: "G2",
        mechanism: "policy knows through which server a forward leads",
        edits: &[Edit {
            file: "gateway/src/session/facts.rs",
            from: "        let via = self.within.as_ref().map(|within| &within.server);\n",
            to: "        let via = None;\n",
        }],
        tests: &["forwards::what_nothing_can_read_is_not_forwarded_unless_egress_says_so"],
    },
    Mutation {
        name: "ssh-forward-depth",
        guarantee: "G2",
        mechanism: "sessions nest so deep and no deeper",
        edits: &[Edit { file: "gateway/src/session/forward.rs", from: "if depth > DEPTH {", to: "if depth > 99 {" }],
        tests: &["forwards::sessions_nest_no_deeper_than_anybody_needs"],
    },
    Mutation {
        name: "ssh-forward-ends",
        guarantee: "G6",
        mechanism: "a session inside another ends with it",
        edits: &[Edit {
            file: "gateway/src/engine/mod.rs",
            from: "        return (within.ended_by.get().copied().unwrap_or(EndCause::Shutdown), reason);\n",
            to: "        drop(reason);\n",
        }],
        tests: &["forwards::a_session_ends_with_the_one_around_it"],
    },
    Mutation {
        name: "ssh-forward-unverified",
        guarantee: "G5",
        mechanism: "a credential for unverified servers is not used through another server",
        edits: &[Edit {
            file: "gateway/src/session/postgres.rs",
            from: "            Some(_) => verified(&upstream.login),",
            to: "            Some(_) => upstream.login.clone(),",
        }],
        tests: &["forwards::a_credential_for_servers_that_nobody_verified_is_not_used_through_another"],
    },
];

/// Those whose tests tell only where the kernel runs LSM programs: tried on the usual kernel, in an emulated machine.
const IN_A_MACHINE: &[Mutation] = &[
    Mutation {
        name: "unread-tunnel",
        guarantee: "G1",
        mechanism: "a tunnel with keys of its own leads only to where the list says",
        edits: &[Edit {
            file: "gateway-ebpf/src/link.rs",
            from: "Reason::LinkDropped, packet.protocol.into());\n    DROP",
            to: "Reason::LinkDropped, packet.protocol.into());\n    NEXT",
        }],
        tests: &["bypass_links::a_tunnel_of_wireguard_leads_only_to_where_the_list_says"],
    },
    Mutation {
        name: "families",
        guarantee: "G1",
        mechanism: "LSM socket_create refuses other address families",
        edits: &[Edit {
            file: "gateway-ebpf/src/lsm.rs",
            from: "if kernel != 0 || matches!",
            to: "if kernel != 0 || family != AF_UNSPEC || matches!",
        }],
        tests: &["lsm::address_families_that_no_other_hook_sees_are_refused"],
    },
    Mutation {
        name: "passed-in",
        guarantee: "G1",
        mechanism: "LSM file_receive refuses sockets from outside",
        edits: &[Edit {
            file: "gateway-ebpf/src/lsm.rs",
            from: "Some((sk, _)) if is_inside(&layout, sk) =>",
            to: "Some((sk, _)) if is_inside(&layout, sk) || sk != 0 =>",
        }],
        tests: &[
            "lsm::a_socket_from_outside_is_not_received_and_one_from_inside_is",
            "lsm::a_socket_is_not_taken_out_of_a_process_outside",
        ],
    },
    Mutation {
        name: "unix-connects",
        guarantee: "G1",
        mechanism: "LSM hooks refuse connects to unix sockets outside",
        edits: &[Edit {
            file: "gateway-ebpf/src/lsm.rs",
            from: "if is_inside(layout, other) {",
            to: "if is_inside(layout, other) || other != 0 {",
        }],
        tests: &["lsm::unix_sockets_outside_are_refused_unless_they_are_listed"],
    },
];

/// Guarantees and the tests that hold them, each pair once.
pub(crate) fn guaranteed() -> BTreeSet<(&'static str, &'static str)> {
    let all = MUTATIONS.iter().chain(IN_A_MACHINE);
    all.flat_map(|mutation| mutation.tests.iter().map(|test| (mutation.guarantee, *test))).collect()
}

/// Takes out these mechanisms, or each there is, one at a time, and requires that its tests fail.
pub(crate) fn check(only: &[String]) -> Result<()> {
    ensure!(ebpf::is_root(), "the tests load eBPF programs: run it as root");
    let chosen = |list: &'static [Mutation]| -> Vec<&Mutation> {
        let is_chosen = |mutation: &&Mutation| only.is_empty() || only.iter().any(|name| name == mutation.name);
        list.iter().filter(is_chosen).collect()
    };
    let places = [
        (Place::Library, chosen(IN_THE_LIBRARY)),
        (Place::Here, chosen(MUTATIONS)),
        (Place::Machine, chosen(IN_A_MACHINE)),
    ];
    let all = || places.iter().flat_map(|(place, chosen)| chosen.iter().map(move |mutation| (*place, *mutation)));
    if let Some(unknown) = only.iter().find(|name| every().all(|mutation| mutation.name != **name)) {
        let names: Vec<_> = every().map(|mutation| mutation.name).collect();
        bail!("there is no mutation `{unknown}`; known are {}", names.join(", "));
    }
    let copy = Copy::make()?;
    // All texts are looked for first: a list that does not fit the tree is found out before an hour of builds.
    for edit in all().flat_map(|(_, mutation)| mutation.edits) {
        copy.edited(edit)?;
    }
    println!("mutate: building, and running the tests of {} mutations as they are", all().count());
    for (place, chosen) in places.iter().filter(|(_, chosen)| !chosen.is_empty()) {
        let tests: Vec<_> = chosen.iter().flat_map(|mutation| mutation.tests.iter().copied()).collect();
        copy.build(*place, &tests)?;
        let failed = copy.failed(*place, &tests)?;
        ensure!(failed.is_empty(), "without any mutation these fail already: {}", failed.join(", "));
    }
    let mut survivors = Vec::new();
    let mut rows = Vec::new();
    for (place, mutation) in all() {
        let (outcome, took) = timed(|| copy.without(place, mutation));
        let failed = outcome.with_context(|| format!("mutation `{}`", mutation.name))?;
        for test in mutation.tests {
            let noticed = failed.iter().any(|failed| failed == test);
            let result = if noticed { "fails without it" } else { "PASSES WITHOUT IT" };
            let row =
                format!("{}  {:<18} {:<58} {test}: {result}", mutation.guarantee, mutation.name, mutation.mechanism);
            println!("mutate: {row}");
            rows.push(row);
            if !noticed {
                survivors.push(*test);
            }
        }
        println!("mutate: `{}` took {} s", mutation.name, took.as_secs());
    }
    println!("\n{}", rows.join("\n"));
    ensure!(survivors.is_empty(), "tests that do not notice: {}", survivors.join(", "));
    Ok(())
}

/// Where the tests of a mutation run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Library,
    Here,
    Machine,
}

fn every() -> impl Iterator<Item = &'static Mutation> {
    IN_THE_LIBRARY.iter().chain(MUTATIONS).chain(IN_A_MACHINE)
}

/// The programs of tests of the gateway.
const PROGRAMS: [&str; 4] = ["it", "pg", "kube", "ssh"];

/// A copy of the tree, with a target folder that all mutations share.
struct Copy {
    tree: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn make() -> Result<Self> {
        let home = ebpf::cache_dir()?.join("mutate");
        let tree = home.join("tree");
        if tree.exists() {
            fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
        }
        copy_folder(checkout()?, &tree)?;
        Ok(Self { tree, target: home.join("target") })
    }

    /// The text of a file with the edit made.
    fn edited(&self, edit: &Edit) -> Result<String> {
        let path = self.tree.join(edit.file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", edit.file))?;
        replaced(&text, edit.from, edit.to).with_context(|| format!("in {}", edit.file))
    }

    /// Which of its tests fail without a mechanism.
    fn without(&self, place: Place, mutation: &Mutation) -> Result<Vec<String>> {
        let mut originals = Vec::new();
        for edit in mutation.edits {
            let path = self.tree.join(edit.file);
            originals.push((path.clone(), fs::read_to_string(&path)?));
            fs::write(&path, self.edited(edit)?)?;
        }
        let outcome = self.build(place, mutation.tests).and_then(|()| self.failed(place, mutation.tests));
        for (path, text) in originals.into_iter().rev() {
            fs::write(path, text)?;
        }
        outcome
    }

    fn build(&self, place: Place, tests: &[&str]) -> Result<()> {
        let mut cargo = self.cargo(["test", "--package", "gateway", "--quiet", "--no-run"]);
        run(cargo.args(self.programs(place, tests))).context("a mutation has to compile")
    }

    /// For cargo: the programs in which these tests are, and that one goes on when another has failed.
    fn programs(&self, place: Place, tests: &[&str]) -> Vec<&'static str> {
        let has = |program: &str, test: &str| {
            let module = test.split("::").next().unwrap_or_default();
            let path = self.tree.join("gateway/tests").join(program).join(module);
            path.is_dir() || path.with_extension("rs").is_file()
        };
        let mut words = vec!["--no-fail-fast"];
        if place == Place::Library {
            words.push("--lib");
        } else {
            let needed = PROGRAMS.into_iter().filter(|program| tests.iter().any(|test| has(program, test)));
            words.extend(needed.flat_map(|program| ["--test", program]));
        }
        words
    }

    fn failed(&self, place: Place, tests: &[&str]) -> Result<Vec<String>> {
        let mut command = match place {
            Place::Library | Place::Here => self.cargo(["test", "--package", "gateway"]),
            Place::Machine => self.cargo(["run", "--package", "xtask"]),
        };
        match place {
            Place::Library | Place::Here => command.args(self.programs(place, tests)).args(["--", "--exact"]),
            Place::Machine => command.args(["--quiet", "--", "vm", vm::USUAL.series]),
        };
        let output = command.args(tests).output().context("cannot run the tests")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let ran = outcomes(&text);
        for test in tests {
            ensure!(ran.iter().any(|(name, _)| name == test), "the test {test} did not run:\n{text}");
        }
        if let Some((_, details)) = text.split_once("\nfailures:\n") {
            fs::write(self.target.join("mutate-failures.txt"), details).context("cannot keep what the tests said")?;
        }
        Ok(ran.into_iter().filter(|(_, passed)| !passed).map(|(name, _)| name.to_owned()).collect())
    }

    fn cargo<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&self.tree).args(words).arg("--locked");
        // A ready object would be the unchanged one.
        cargo.env_remove("GATEWAY_EBPF_OBJECT").env("CARGO_TARGET_DIR", &self.target);
        cargo
    }
}

/// The text with the one place replaced.
fn replaced(text: &str, from: &str, to: &str) -> Result<String> {
    let found = text.matches(from).count();
    ensure!(found == 1, "the text to replace is there {found} times, not once:\n{from}");
    Ok(text.replacen(from, to, 1))
}

/// Names of tests, and whether they passed, from what the test harness prints, here or on a machine's console.
fn outcomes(text: &str) -> Vec<(&str, bool)> {
    text.lines().filter_map(outcome).collect()
}

/// The test that a line says the outcome of, and whether it passed.
pub(crate) fn outcome(line: &str) -> Option<(&str, bool)> {
    let said = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(line, |(_, said)| said);
    let (name, outcome) = said.strip_prefix("test ")?.split_once(" ... ")?;
    matches!(outcome, "ok" | "FAILED").then_some((name, outcome == "ok"))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "target" || name == ".git" {
            continue;
        }
        let (source, copy) = (entry.path(), to.join(&name));
        if source.is_dir() {
            copy_folder(&source, &copy)?;
        } else {
            fs::copy(&source, &copy).with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_is_there_once_and_nothing_else() {
        assert_eq!(replaced("a b c", "b", "x").unwrap(), "a x c");
        assert!(replaced("a b b", "b", "x").unwrap_err().to_string().contains("2 times"));
        assert!(replaced("a", "b", "x").is_err());
    }

    #[test]
    fn every_mutation_fits_the_tree() {
        let root = checkout().unwrap();
        for edit in every().flat_map(|mutation| mutation.edits) {
            let text = fs::read_to_string(root.join(edit.file)).unwrap();
            assert_eq!(text.matches(edit.from).count(), 1, "{}: {}", edit.file, edit.from);
            assert_ne!(edit.from, edit.to);
        }
    }

    #[test]
    fn reads_the_outcomes_of_tests() {
        let text = "running 2 tests\ntest a::b ... ok\ntest c ... FAILED\ntest result: FAILED. 1 passed";
        assert_eq!(outcomes(text), [("a::b", true), ("c", false)]);
        assert_eq!(outcomes("[6.1] test a::b ... FAILED\r\n[6.1] test result: ok."), [("a::b", false)]);
    }
}
