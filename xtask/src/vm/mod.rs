//! The tests on other kernels: the same programs, in emulated machines that see this machine's files. In: a kernel and
//! names of tests. Out: what they came to. It must never weaken a test for a kernel: what one lacks is listed here with
//! the reason, and all else has to pass.
// TABLE: tests for every run, and what some kernels lack

mod archive;
mod boot;
mod kernels;
mod programs;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;

use crate::ci::Totals;
use crate::run::{checkout, timed};
pub(crate) use boot::{Machine, Modules, Start, as_root};
use boot::{Outcome, words};
pub(crate) use kernels::{ALL, Kernel, USUAL};
use programs::{Program, takes_all};

/// What every run tries on the usual kernel: each hook, what stays closed, what the kernel tells us. The whole of `it`
/// goes with `soak`.
const USUAL_TESTS: [&str; 55] = [
    "containers::a_container_is_served_at_its_first_connect_and_named_whenever_it_was_started",
    "containers::root_of_a_container_gets_no_packet_past_though_it_may_make_raw_sockets",
    "containers::a_sidecar_on_loopback_is_reached_from_its_own_namespace_and_never_the_hosts",
    "redirect::catches_ipv4_ipv6_and_mapped_connects_and_shows_the_client_its_own_destination",
    "redirect::catches_a_connect_that_does_not_block",
    "redirect::catches_data_sent_with_the_syn",
    "redirect::catches_sockets_that_were_bound_to_a_source_first",
    "redirect::catches_connects_to_this_host_by_its_unspecified_address",
    "redirect::catches_processes_of_cgroups_made_below_after_the_attach",
    "redirect::a_socket_that_is_disconnected_and_connected_anew_gets_a_record_of_its_new_destination",
    "redirect::processes_outside_are_left_alone",
    "refusals::nobody_inside_takes_the_port_of_the_listener",
    "refusals::nobody_inside_connects_to_the_listener_directly",
    "refusals::a_connection_to_the_listener_from_outside_is_reset_without_a_session",
    "refusals::udp_to_a_protected_port_reaches_nobody",
    "refusals::metadata_services_kubelets_and_etcd_are_refused_by_default",
    "refusals::the_ssh_client_shows_its_user_why",
    "egress::deny_by_default_leaves_what_the_list_names_and_the_list_opens_no_protected_port",
    "names::an_allowed_name_connects_at_its_first_try_and_opens_its_port_alone",
    "names::whichever_server_is_meant_the_question_comes_to_us_and_the_answer_from_there",
    "sockets::sockets_of_other_kinds_are_refused",
    "sockets::a_raw_socket_made_before_the_attach_sends_nothing_to_a_protected_port",
    "bypass::catches_connects_by_io_uring_in_the_task_and_in_its_worker",
    "bypass::an_ipv4_source_route_hides_no_destination",
    "bypass::an_ipv6_routing_header_hides_no_destination",
    "bypass_cgroups::hooks_of_a_cgroup_below_have_no_last_word",
    "bypass_cgroups::old_network_controllers_take_nobody_out",
    "bypass_cgroups::sockets_brought_in_from_outside_are_made_deaf",
    "bypass_links::what_a_namespace_forwards_is_dropped_at_the_hosts_end_of_its_link",
    "bypass_links::a_destination_that_is_rewritten_behind_the_hooks_is_dropped_at_the_hosts_end_of_the_link",
    "bypass_links::a_tunnel_of_wireguard_leads_only_to_where_the_list_says",
    "existing::a_connection_opened_before_the_attach_is_cut",
    "existing::a_connection_brought_in_from_another_cgroup_before_the_attach_is_cut",
    "existing::a_connection_that_is_kept_sends_nothing_any_more_and_is_journaled_as_a_gap",
    "namespaces::a_new_network_namespace_is_served_at_its_first_connect",
    "namespaces::a_namespace_of_another_user_namespace_is_refused_since_its_root_is_the_workloads",
    "fail_closed::a_killed_gateway_leaves_the_gate_closed",
    "fail_closed::a_killed_engine_is_replaced_and_until_then_connects_are_refused",
    "fail_closed::nobody_hangs_on_a_stopped_engine",
    "lifecycle::a_restarted_gateway_adopts_what_is_pinned_and_doubles_nothing",
    "lifecycle::a_removed_hook_is_noticed_journaled_and_put_back",
    "lifecycle::a_cgroup_removed_and_made_anew_is_intercepted_again",
    "lifecycle::detach_opens_the_gate_and_is_journaled",
    "attach_rules::a_subtree_that_its_user_can_leave_is_refused",
    "control_socket::a_process_inside_an_attachment_may_not_ask_even_as_root",
    "engine_process::the_engine_has_a_user_of_its_own_no_capability_and_a_filter",
    "engine_process::the_journal_can_be_added_to_and_not_changed_even_by_root",
    "lsm::address_families_that_no_other_hook_sees_are_refused",
    "lsm::a_socket_from_outside_is_not_received_and_one_from_inside_is",
    "lsm::a_socket_is_not_taken_out_of_a_process_outside",
    "lsm::unix_sockets_outside_are_refused_unless_they_are_listed",
    "lsm::lsm_hooks_outlive_the_gateway_are_adopted_put_back_and_removed",
    "exec::the_commands_first_connect_is_served",
    "exec::leaves_no_process_no_cgroup_and_no_hook_behind",
    "journal::sessions_events_and_status_print_json_for_programs",
];

/// Of the stories with a server: sessions with allowed and denied statements, and their journal. The others are about
/// the protocol, which no kernel changes.
const POSTGRES: [&str; 2] = [
    "story_default::a_denial_inside_a_transaction_leaves_it_open_and_whole",
    "story_default::the_journal_has_texts_without_secrets_and_outcomes_and_is_sound",
];

/// The same with the other PostgreSQL, and from containers.
const MORE_POSTGRES: [&str; 2] = [
    "story_default::the_newest_server_is_served_and_guarded_alike",
    "story_containers::psql_in_a_container_is_served_and_guarded_with_every_network",
];

/// Tests that a kernel cannot pass: its series, the test, what it lacks.
const LACKING: [(&str, &str, &str); 0] = [];

/// Tests after which no other can be run: before Linux 5.15 old controllers that were in use once take sockets out of every
/// hook until the machine is booted again, and every later `attach` refuses.
const LAST: [&str; 1] = ["bypass_cgroups::old_network_controllers_take_nobody_out"];

/// How long a machine may take for the tests of one kernel, on a busy machine.
const TIME: Duration = Duration::from_secs(1800);
/// And for all tests.
const WHOLE_TIME: Duration = Duration::from_secs(4 * 3600);

/// What to try where.
#[derive(Args)]
pub(crate) struct Choice {
    /// The kernel's series, such as 6.1
    kernel: String,
    /// Parts of names of tests [default: those of `cargo xtask test`]
    tests: Vec<String>,
    /// The names are of the program `pg`, not of `it`
    #[arg(long)]
    pg: bool,
    /// Boot it without `bpf` among its security modules
    #[arg(long)]
    without_lsm: bool,
    /// Write what it came to into the table of README, beside what other tests came to before
    #[arg(long, conflicts_with = "without_lsm")]
    record: bool,
    /// Run all that `soak` runs on it, and write what it came to into the table of README
    #[arg(long, conflicts_with_all = ["tests", "pg", "without_lsm"])]
    whole: bool,
}

/// Runs chosen tests on one kernel.
pub(crate) fn perform(choice: &Choice) -> Result<()> {
    let known = || ALL.map(|kernel| kernel.series).join(", ");
    let kernel = ALL.into_iter().find(|kernel| kernel.series == choice.kernel);
    let kernel = kernel.with_context(|| format!("there is no kernel {}; known are {}", choice.kernel, known()))?;
    if choice.whole {
        return whole(kernel).map(|totals| println!("{totals}"));
    }
    let programs = Programs::build()?;
    let (it, pg) = (&programs.it, &programs.pg);
    let named = |program: &Program| -> Vec<String> {
        let chosen = |test: &&String| choice.tests.iter().any(|part| test.contains(part));
        program.tests.iter().filter(chosen).cloned().collect()
    };
    let jobs = match (choice.tests.is_empty(), choice.pg) {
        (true, _) => vec![(it, owned(&USUAL_TESTS)), (pg, owned(&POSTGRES))],
        (false, true) => vec![(pg, named(pg))],
        (false, false) => {
            let (alone, all) = named(it).into_iter().partition(|test| takes_all(test));
            vec![(it, all), (it, alone)]
        }
    };
    if choice.record {
        return recorded((kernel, TIME), &programs, &jobs).map(drop);
    }
    let modules = if choice.without_lsm { Modules::WithoutBpf } else { Modules::Own };
    run((kernel, modules, TIME), kernel.series, &jobs).map(drop)
}

fn owned(tests: &[&str]) -> Vec<String> {
    tests.iter().map(|test| (*test).to_owned()).collect()
}

/// Tests of capture and a Postgres session on the usual kernel, on two machines at a time.
pub(crate) fn usual() -> Result<Totals> {
    let programs = Programs::build()?;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (number, test) in owned(&USUAL_TESTS).into_iter().enumerate() {
        if number % 2 == 0 { first.push(test) } else { second.push(test) }
    }
    let (it, pg) = (&programs.it, &programs.pg);
    let outcomes = std::thread::scope(|scope| {
        let machine = (USUAL, Modules::Own, TIME);
        let one = scope.spawn(move || run(machine, "6.1 a", &[(it, first)]));
        let other = scope.spawn(move || run(machine, "6.1 b", &[(it, second), (pg, owned(&POSTGRES))]));
        [one.join(), other.join()]
    });
    let mut totals = Totals::default();
    for outcome in outcomes {
        totals.join(&outcome.map_err(|_| anyhow!("the thread of a machine panicked"))??.totals);
    }
    Ok(totals)
}

/// All that a kernel is tried with, on one machine.
pub(crate) fn whole(kernel: Kernel) -> Result<Totals> {
    let programs = Programs::build()?;
    let (last, all): (Vec<_>, Vec<_>) =
        programs.for_kernel(kernel).into_iter().partition(|test| LAST.contains(&test.as_str()));
    let (alone, all) = all.into_iter().partition(|test| takes_all(test));
    let it = &programs.it;
    let jobs = [(it, all), (it, alone), (&programs.pg, every_postgres()), (it, last)];
    let mut totals = recorded((kernel, WHOLE_TIME), &programs, &jobs)?.totals;
    if kernel.runs_lsm {
        // Hooks that load and do not run must not be taken for hooks.
        let lsm = programs.it.tests.iter().filter(|test| test.starts_with("lsm::")).cloned().collect();
        let label = format!("{} without bpf", kernel.series);
        totals.join(&run((kernel, Modules::WithoutBpf, TIME), &label, &[(&programs.it, lsm)])?.totals);
    }
    Ok(totals)
}

fn every_postgres() -> Vec<String> {
    [owned(&POSTGRES), owned(&MORE_POSTGRES)].concat()
}

/// Runs tests, and has README's table say what came of each, also where that is not well.
fn recorded(
    (kernel, time): (Kernel, Duration),
    programs: &Programs,
    jobs: &[(&Program, Vec<String>)],
) -> Result<Outcome> {
    let outcome = boot((kernel, Modules::Own, time), kernel.series, jobs)?;
    if !outcome.release.is_empty() {
        table::record(kernel, &outcome, &[programs.for_kernel(kernel), every_postgres()].concat())?;
    }
    checked(outcome, jobs)
}

struct Programs {
    it: Program,
    pg: Program,
}

impl Programs {
    fn build() -> Result<Self> {
        let root = checkout()?;
        let (it, pg) = (Program::build(root, "it")?, Program::build(root, "pg")?);
        let of_it = USUAL_TESTS.into_iter().chain(LAST).chain(LACKING.map(|lack| lack.1)).map(|test| (&it, test));
        let of_pg = POSTGRES.into_iter().chain(MORE_POSTGRES).map(|test| (&pg, test));
        for (program, test) in of_it.chain(of_pg) {
            ensure!(program.tests.iter().any(|there| there == test), "there is no test `{test}` any more");
        }
        Ok(Self { it, pg })
    }

    /// The tests of `it`, but for what the kernel lacks.
    fn for_kernel(&self, kernel: Kernel) -> Vec<String> {
        let lacks = |test: &&String| {
            let lack = LACKING.iter().find(|(series, name, _)| *series == kernel.series && name == test);
            lack.inspect(|(series, name, why)| println!("not on {series}: {name}: {why}")).is_some()
        };
        self.it.tests.iter().filter(|test| !lacks(test)).cloned().collect()
    }
}

fn run(machine: (Kernel, Modules, Duration), label: &str, jobs: &[(&Program, Vec<String>)]) -> Result<Outcome> {
    checked(boot(machine, label, jobs)?, jobs)
}

/// What came of these tests, where it is that all of them passed.
fn checked(outcome: Outcome, jobs: &[(&Program, Vec<String>)]) -> Result<Outcome> {
    if let Some(fault) = outcome.fault {
        bail!("{fault}");
    }
    let wanted: usize = jobs.iter().map(|(_, tests)| tests.len()).sum();
    // A name that the program does not know is no error to it.
    ensure!(wanted > 0 && outcome.totals.passed as usize == wanted, "{}, and {wanted} were to run", outcome.totals);
    Ok(outcome)
}

fn boot(
    (kernel, modules, time): (Kernel, Modules, Duration),
    label: &str,
    jobs: &[(&Program, Vec<String>)],
) -> Result<Outcome> {
    let root = checkout()?;
    let mut commands = vec![words(["cd", &root.join("gateway").display().to_string()])];
    if let Some((program, _)) = jobs.first() {
        commands.push(words([program.gateway()?.as_str(), "doctor"]));
    }
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    for (program, tests) in jobs.iter().filter(|(_, tests)| !tests.is_empty()) {
        commands.push(program.command(tests));
        folders.push(program.folder()?);
    }
    folders.dedup();
    let (label, start) = (label.replace(' ', "-"), Start::Commands(commands));
    let machine = Machine { kernel, modules, label, start, folders: &folders, forward: None, disk: None, time };
    let (outcome, took) = timed(|| machine.run());
    let outcome = outcome?;
    println!("[{}] {} on Linux {} in {} s", machine.label, outcome.totals, kernel.series, took.as_secs());
    Ok(outcome)
}
