"""The first seed in which each planted bug was found, as `scripts/simulate --mutants` says.

Tried first in the normal run, so that it need not search. A change of the simulation or of the
product makes other worlds of the same seeds: then a test searches, and this table is made anew.
"""

from __future__ import annotations

FOUND_IN: dict[str, int] = {
    "comes_in_beside_the_lock": 0,
    "no_fence": 104,
    "not_told_of_the_line": 21,
    "half_way_to_the_log": 39,
    "ghosts_for_newcomers": 0,
    "ready_without_push_id": 0,
    "outcomes_told_once": 20,
    "hello_counts_as_received": 6,
    "received_is_the_head": 1,
    "pusher_vanishes": 0,
    "one_failing_line_stops_the_rest": 0,
    "later_push_of_a_failed_one": 23,
    "acked_by_a_failed_store": 17,
    "lock_lost_in_a_cancel": 13,
    "log_with_a_hole": 11,
    "acked_before_handed_out_in_order": 0,
    "half_way_from_a_level_is_at_the_head": 31,
    "nobody_begins_to_poll": 23,
    "pollers_not_told": 19,
    "acked_before_the_sync": 3,
    "acked_and_not_stored": 0,
    "stored_twice": 0,
    "push_ids_not_folded": 2,
    "received_not_folded_right": 3,
    "head_without_objects": 2,
    "unfolded_rows_not_read": 4,
    "unfolded_rows_lost_at_the_start": 3,
    "row_dropped_that_is_needed": 1,
    "tombstone_dropped_that_is_needed": 3,
    "line_does_not_rise": 2,
    "line_not_told": 4,
    "tombstones_stay_in_memory": 5,
    "folds_for_ever": 0,
    "base_half_way": 0,
    "folds_into_a_push": 0,
    "folds_a_delete_of_what_is_there": 3,
    "sent_before_it_is_stored": 0,
    "received_before_it_is_stored": 0,
    "received_half_way": 0,
    "counter_not_kept": 0,
    "old_socket_heard": 0,
    "ready_forgets_what_is_pending": 0,
    "pages_on_top": 0,
    "older_socket_stays": 1,
    "pong_overtakes": 72,
    "head_loaded_beside_the_lock": 70,
    "slow_device_without_bound": 50,
    "loses_to_itself": 29,
    "outcomes_go_with_the_log": 18,
    "group_half_stored": 9,
    "memory_kept_after_a_failure": 9,
    "half_way_forgotten": 6,
    "reset_takes_the_edits": 1,
    "reset_keeps_the_objects": 1,
    "time_goes_back": 1,
    "offers_without_a_version": 1,
    "offers_forgotten_at_a_restart": 1,
    "deletions_not_offered": 1,
    "own_refill_unseen": 3,
    "since_undone": 1,
    "deletion_since_undone": 3,
    "older_offer_wins": 1,
    "put_back_not_found": 2,
    "epochs_not_looked_at": 2,
    "forks_at_the_head": 2,
    "offers_behind_what_was_cut": 1,
    "pollers_told_of_creates": 50,
}
ELUSIVE: dict[str, str] = {
    "folded_past_the_rest": (
        "The hub has to die between the folds of two users who both pushed, in a world with small "
        "steps. tests/hub/store/test_folding.py crashes everywhere."
    ),
    "seen_not_said": (
        "An edit that the hub stored and did not ack has to meet what another device offers of its "
        "object, newer and not level in time. tests/refill/test_stories.py has it by name."
    ),
    "told_twice_across_a_fire": (
        "One fire in a hundred: it has to break out while a device is half-way that has just heard "
        "of a refused edit. tests/protocol/test_replica_pushing.py has it by name."
    ),
}
"""Bugs that need more seeds than the normal run has, and why, and which suite shows them.

Only the command hunts them here.
"""
