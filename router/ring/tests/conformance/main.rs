//! What every driver must do, run on all three: io_uring, recvmmsg/sendmmsg, simulated.
//!
//! A case is one async function over a [`harness::Net`]. The ring's cases fail where io_uring is
//! missing, unless RILLWAY_RING_OPTIONAL is set; cases that need root say so and pass.

mod bulk;
mod harness;
mod limits;
mod netns;
mod receiving;
mod sending;
mod sharing;
mod shutdown;
mod streams;
mod waking;

macro_rules! on_every_driver {
    ($($module:ident :: $case:ident),* $(,)?) => {
        mod ring {
            use rillway_ring::DriverKind::Ring;
            $(#[test] fn $case() { crate::harness::run(Ring, crate::$module::$case); })*
        }
        mod mmsg {
            use rillway_ring::DriverKind::Mmsg;
            $(#[test] fn $case() { crate::harness::run(Mmsg, crate::$module::$case); })*
        }
        mod sim {
            use rillway_ring::DriverKind::Sim;
            $(#[test] fn $case() { crate::harness::run(Sim, crate::$module::$case); })*
        }
    };
}

on_every_driver! {
    sending::segments_of_unequal_size,
    sending::a_last_shorter_segment,
    sending::a_run_longer_than_a_message,
    sending::the_longest_datagram,
    sending::a_segment_above_the_mtu,
    sending::a_full_socket_buffer,
    sending::a_full_send_queue,
    sending::a_full_arena,
    sending::unsendable_runs,
    sending::one_flush_is_one_system_call,
    receiving::buffers_exhausted_and_armed_again,
    receiving::a_budget_and_the_rest_later,
    receiving::a_datagram_longer_than_the_buffer,
    receiving::an_empty_datagram,
    receiving::several_sockets,
    receiving::trains_come_in_one_batch,
    receiving::the_time_of_arrival,
    receiving::trains_into_short_buffers,
    receiving::data_changed_in_place,
    waking::a_parked_thread,
    waking::a_never_idle_neighbour,
    waking::an_idle_driver_sleeps,
    waking::leftovers_need_no_new_packet,
    bulk::a_quarter_million_intact,
    bulk::buffers_reused_after_flush,
    shutdown::with_buffers_in_flight,
    shutdown::by_drop,
    shutdown::refuses_work_afterwards,
    limits::a_port_in_use,
    limits::an_address_of_nobody,
    limits::configuration_bounds,
}

/// What needs a kernel: the simulated network has no TCP.
macro_rules! on_kernel_drivers {
    ($($module:ident :: $case:ident),* $(,)?) => {
        mod tcp_ring {
            use rillway_ring::DriverKind::Ring;
            $(#[test] fn $case() { crate::harness::run(Ring, crate::$module::$case); })*
        }
        mod tcp_mmsg {
            use rillway_ring::DriverKind::Mmsg;
            $(#[test] fn $case() { crate::harness::run(Mmsg, crate::$module::$case); })*
        }
    };
}

on_kernel_drivers! {
    streams::frames_both_ways,
    streams::garbage_ends_its_connection_alone,
    streams::what_goes_to_nobody_is_lost,
    streams::silent_connections_make_room,
    streams::one_address_has_its_share,
    streams::who_does_not_read_costs_little,
    streams::a_taken_port_is_an_error,
    streams::the_end_frees_ports_and_connections,
    streams::an_idle_set_sleeps,
    sharing::a_port_is_opened_by_one_and_joined_by_others,
    sharing::tcp_beside_it_has_ports_of_its_own,
    sharing::the_kernel_steers_to_whom_it_was_told,
}
