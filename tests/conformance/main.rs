//! One suite for every engine: what the boundary promises is shown on the simulated engine and on the real one by the
//! same code, so that whatever is proved with the simulation holds.
//!
//! The real engine is `MASTIC_TEST_ENGINE`, or the local socket. If it does not answer, its tests fail. The same cases
//! pass behind TLS (`tls`) and with the engines of later distributions (`newer`).

mod builds;
mod containers;
#[path = "../support/engine.rs"]
mod engine;
mod faults;
mod fixture;
mod images;
mod newer;
mod observe;
mod programs;
mod real_only;
mod streams;
mod tls;
mod volumes;

/// Makes two tests of each case, one of those that only a kernel can show, and a list of all for other engines.
macro_rules! cases {
    (
        both { $($module:ident: $($case:ident),+ $(,)?;)+ }
        real { $($real_module:ident: $($real_case:ident),+ $(,)?;)+ }
    ) => {
        mod simulated {
            $($(
                #[tokio::test(start_paused = true)]
                async fn $case() {
                    crate::fixture::simulated(|f| Box::pin(crate::$module::$case(f))).await;
                }
            )+)+
        }
        mod real {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::fixture::real(|f| Box::pin(crate::$module::$case(f))).await;
                }
            )+)+
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $real_case() {
                    crate::fixture::real(|f| Box::pin(crate::$real_module::$real_case(f))).await;
                }
            )+)+
        }
        /// Every case, by its name.
        const ALL: &[(&str, fn(std::sync::Arc<fixture::Fixture>) -> fixture::Case)] = &[
            $($((stringify!($case), |f| Box::pin($module::$case(f))),)+)+
            $($((stringify!($real_case), |f| Box::pin($real_module::$real_case(f))),)+)+
        ];
    };
}

cases! {
both {
    containers:
        a_name_must_be_claimed_by_exactly_one_of_many,
        a_missing_image_must_be_not_found,
        a_missing_container_must_be_not_found_by_every_request,
        uploaded_files_must_keep_owner_and_mode_over_stop_and_start,
        an_upload_must_leave_existing_folders_alone_and_make_missing_ones_roots,
        a_damaged_archive_must_be_refused,
        a_container_without_its_pid_1_must_fail_to_start_and_say_why,
        starting_and_stopping_twice_must_be_harmless,
        what_ignores_its_stop_signal_must_be_killed_after_the_grace,
        what_is_frozen_must_stand_still_and_go_on_where_it_was,
        a_restart_policy_must_be_taken_away_and_given_back,
        a_signal_must_reach_a_running_container_only,
        a_running_container_must_not_be_removed_without_force,
        waiting_must_give_the_exit_code_before_and_after_the_end,
        a_service_must_be_restarted_until_it_is_stopped,
        a_task_must_not_be_restarted,
        lists_must_hold_this_deployment_only_by_name,
        the_moments_of_a_life_must_be_told,
        memory_must_be_told_of_running_containers_only;
    programs:
        an_exec_must_give_code_and_both_streams,
        an_exec_must_be_fed_and_placed,
        an_exec_must_need_a_running_container,
        an_interactive_exec_must_stream_and_tell_its_code,
        the_check_of_pid_1_must_wait_until_it_passes,
        health_must_become_good_and_be_told,
        health_must_become_bad_once_the_deadline_is_over;
    streams:
        logs_must_hold_both_streams_in_order,
        logs_must_be_cut_as_asked,
        a_followed_log_must_end_with_its_container,
        events_must_come_in_order_and_of_this_deployment_only;
    volumes:
        a_volume_must_be_made_once_and_listed_by_label,
        a_volume_in_use_must_not_be_removed,
        the_content_of_a_volume_must_outlive_its_containers,
        an_empty_volume_must_be_filled_from_the_image,
        a_container_that_never_starts_must_carry_files_to_and_fro;
    images:
        an_imported_image_must_be_found_by_id_and_tag_with_its_labels,
        a_tag_must_move_and_be_removed_alone,
        an_image_in_use_must_not_be_removed,
        a_pull_from_nowhere_must_fail,
        a_push_to_nowhere_must_fail,
        the_engine_must_say_what_it_is;
    builds:
        a_build_must_end_with_an_image_that_has_its_labels,
        a_second_build_must_come_from_the_cache,
        a_failed_build_must_say_what_failed,
        several_builds_must_run_at_once;
    observe:
        observing_must_give_all_of_a_deployment_and_nothing_else;
}
real {
    real_only:
        a_container_must_have_no_more_than_its_spec_gives,
        what_a_spec_shares_with_the_host_must_be_shared;
}
}
