"""Several devices, a hub and all that can go wrong between them, in any order (section 6).

A longer run than the normal one: MOBYNC_MACHINE_EXAMPLES=5000 pytest tests/machine.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from hub.retention import Retention
from tests.machine.phone import COPIES, Kept, Phone, Sketch
from tests.machine.sizes import Sizes
from tests.machine.world import ALL, FOLD, LONG, World

if TYPE_CHECKING:
    from protocol.diffs import DiffType, Key

NORMAL_EXAMPLES = 200
"""Those of the normal run, the same ones each time; the longer forms try others each time."""
EXAMPLES = int(os.environ.get("MOBYNC_MACHINE_EXAMPLES", NORMAL_EXAMPLES))
STEPS = 50

USER = "alice"
PHONES = ("alice/phone", "alice/laptop", "alice/tab", "alice/guest", "bob/phone")
OBJECTS: tuple[Key, ...] = (
    *(("tasks", "t1"),) * 2,
    ("tasks", "t2"),
    ("tasks", "t3"),
    ("notes", "t1"),
)
FIELDS = (("a",), ("b",), ("a", "b"), ("c", "a"), ())
KEEPS = (
    Retention(),
    Retention(log_days=2, log_rows=6, held_log_rows=12, device_days=10, tombstone_days=30),
    Retention(log_days=0, log_rows=0, held_log_rows=3, device_days=3, tombstone_days=5),
)
"""What the hub keeps: as it comes, a little, and as good as nothing."""
LARGE = "x" * 250
"""Two of these are more than an object may hold."""

phones = st.sampled_from((*PHONES[:3] * 4, *PHONES[3:]))
few = st.sampled_from((0, 1, 2, ALL, ALL))
users = st.sampled_from(("alice", "alice", "alice", "bob"))
values: st.SearchStrategy[Any] = st.sampled_from((*range(8), None, "text", LARGE))


@st.composite
def sketches(draw: st.DrawFn) -> Sketch:
    kind: DiffType = draw(
        st.sampled_from(("create", "create", "update", "update", "update", "delete", "delete"))
    )
    names = draw(st.sampled_from(FIELDS)) if kind != "delete" else ()
    return Sketch(kind, draw(st.sampled_from(OBJECTS)), {name: draw(values) for name in names})


batches = st.lists(sketches(), min_size=1, max_size=4)


class Devices(RuleBasedStateMachine):
    """Whatever happens, every device ends where the model of section 4 says."""

    happened: ClassVar[Counter[str]] = Counter()
    """In how many runs each thing happened, to see that what is looked for does happen."""

    @initialize(
        online=st.booleans(),
        furnished=st.booleans(),
        log_pushes=st.sampled_from((1, 3, 100)),
        send_buffer=st.sampled_from((300, 800, 100_000)),
        page_bytes=st.sampled_from((1, 1, 60, 100_000)),
        last_step=st.sampled_from((1, 3, 64)),
        fold_rows=st.sampled_from((1, 1, 4, 1000)),
        under_way=st.sampled_from((1, 2, 64)),
        keeps=st.sampled_from(KEEPS),
    )
    def begin(self, *, online: bool, furnished: bool, **sizes: Any) -> None:
        self.world = World(Sizes(**sizes))
        self.guests = 0
        for place in PHONES:
            self.world.add_phone(*place.split("/"))
            if online:
                self.connect_and_be_served(place)
        if furnished:
            furniture = [Sketch("create", key, {"a": 0}) for key in dict.fromkeys(OBJECTS)]
            self.edit_together(PHONES[0], furniture)
            self.connect_and_be_served(PHONES[0])

    def phone(self, place: str) -> Phone:
        return self.world.phones[place]

    # What users do

    @rule(place=phones, sketch=sketches(), later=st.sampled_from((0, 0, 1, 5000)))
    def edit(self, place: str, sketch: Sketch, later: int) -> None:
        self.world.now += later
        self.world.edit(self.phone(place), sketch)

    @rule(place=phones, batch=batches)
    def edit_together(self, place: str, batch: list[Sketch]) -> None:
        self.world.edit(self.phone(place), *batch)

    @rule(place=phones, sketch=sketches(), twice=st.booleans(), down=few)
    def edit_and_push(self, place: str, sketch: Sketch, twice: bool, down: int) -> None:
        """Stored by the hub; who hears of it, and the ack, is another matter."""
        self.world.edit(self.phone(place), sketch)
        if twice:
            self.world.say_twice(self.phone(place))
        self.world.deliver(self.phone(place), down=down)

    @rule(place=phones, sketch=sketches(), served=st.booleans(), save=st.booleans())
    def edit_and_lose_the_ack(self, place: str, sketch: Sketch, served: bool, save: bool) -> None:
        if served:
            self.connect_and_be_served(place)
        self.world.edit(self.phone(place), sketch)
        self.world.cut(self.phone(place), up=ALL, down=0, save=save)

    @rule(user=users, batch=batches, behind=st.integers(0, 4), late=st.integers(0, 3))
    def poll(self, user: str, batch: list[Sketch], behind: int, late: int) -> None:
        """An application in the field that polls (section 9)."""
        self.world.polls.poll(user, self.polled(user, batch, behind, late))

    def polled(self, user: str, batch: list[Sketch], behind: int, late: int) -> list[Any]:
        world = self.world
        return [
            {
                "id": f"polled-{next(world.numbers)}",
                "logical_clock": max(world.witness.record(user).head - behind, 0),
                "utc_timestamp": world.now - late + at,
                "type": sketch.kind,
                "model": sketch.key[0],
                "json_data": {"id": sketch.key[1], **sketch.fields},
            }
            for at, sketch in enumerate(batch)
        ]

    @rule(user=users)
    def poll_again(self, user: str) -> None:
        self.world.polls.poll_again(user)

    # What lines do

    @rule(place=phones)
    def connect(self, place: str) -> None:
        """Offline, it comes online; online, it does so a second time."""
        self.world.connect(self.phone(place))

    @rule(place=phones)
    def connect_and_be_served(self, place: str) -> None:
        if self.phone(place).line is None:
            self.world.connect(self.phone(place))
        self.world.deliver(self.phone(place))
        self.world.deliver(self.phone(place))

    @rule(
        place=phones,
        new=st.booleans(),
        mine=st.none() | sketches(),
        taken=st.integers(1, 4),
        busy=phones,
        batch=batches,
        loses_the_line=st.booleans(),
        save=st.booleans(),
    )
    def catch_up_while_others_edit(
        self,
        place: str,
        new: bool,
        mine: Sketch | None,
        taken: int,
        busy: str,
        batch: list[Sketch],
        loses_the_line: bool,
        save: bool,
    ) -> None:
        """So many frames into a device's catching up, its user and others go on."""
        world, phone = self.world, self.phone(place)
        if new:
            phone.put_back(Kept())
        if busy != place:
            self.connect_and_be_served(busy)
        self.edit_if_any(phone, mine)
        world.connect(phone)
        for _ in range(taken):
            world.deliver(phone, down=1)
        self.edit_if_any(phone, mine)
        if busy != place:
            self.edit_one_by_one(busy, batch)
        if loses_the_line:
            world.cut(phone, up=0, down=0, save=save)

    def edit_if_any(self, phone: Phone, sketch: Sketch | None) -> None:
        if sketch is not None:
            self.world.edit(phone, sketch)

    @rule(place=phones, batch=batches, up=few)
    def come_back_while_the_disk_is_slow(self, place: str, batch: list[Sketch], up: int) -> None:
        """Pushes of the old line wait to be stored when the new one says hello."""
        self.connect_and_be_served(place)
        self.world.hold_disk(0)
        self.edit_one_by_one(place, batch)
        self.world.connect(self.phone(place))
        self.world.deliver(self.phone(place), up=up)
        self.world.release_disks()
        self.world.deliver(self.phone(place))

    @rule(place=phones, batch=batches)
    def edit_one_by_one(self, place: str, batch: list[Sketch]) -> None:
        """As many pushes as edits."""
        for sketch in batch:
            self.world.edit(self.phone(place), sketch)
            self.world.deliver(self.phone(place))

    @rule(place=phones, up=few, down=few, save=st.booleans())
    def deliver(self, place: str, up: int, down: int, save: bool) -> None:
        self.world.deliver(self.phone(place), up, down, save=save)

    @rule()
    def deliver_everything(self) -> None:
        for phone in self.world.phones.values():
            self.world.deliver(phone)

    @rule(place=phones)
    def report(self, place: str) -> None:
        self.world.report(self.phone(place))

    @rule(place=phones, up=few, down=few, save=st.booleans())
    def cut(self, place: str, up: int, down: int, save: bool) -> None:
        self.world.cut(self.phone(place), up, down, save=save)

    @rule(which=st.integers(0, 3), up=few)
    def a_ghost_speaks(self, which: int, up: int) -> None:
        """What a dead socket still had under way."""
        if which < len(self.world.ghosts):
            self.world.ghost_speaks(self.world.ghosts[which], up)

    # What happens to devices

    @rule(place=phones)
    def drop(self, place: str) -> None:
        """Only the device notices that its line is dead."""
        self.world.drop(self.phone(place))

    @rule(place=phones)
    def crash_a_device(self, place: str) -> None:
        self.world.drop(self.phone(place))
        self.phone(place).crash()

    @rule(place=phones, which=st.integers(0, COPIES))
    def put_a_device_back(self, place: str, which: int) -> None:
        """To what it was before one of its last edits, or to nothing."""
        phone = self.phone(place)
        self.world.drop(phone)
        phone.put_back(phone.copies[which] if which < len(phone.copies) else Kept())

    @rule(place=phones, ahead=st.sampled_from((0, -2000, -1, 1, 2000, 120_000)))
    def set_the_clock_of_a_device(self, place: str, ahead: int) -> None:
        self.phone(place).ahead = ahead

    @rule()
    def a_new_guest_comes(self) -> None:
        """A device that nobody has seen before, in the place of one that is never seen again."""
        self.guests += 1
        self.world.drop(self.phone("alice/guest"))
        guest = self.world.add_phone(USER, f"guest-{self.guests}", place="alice/guest")
        self.world.connect(guest)

    # What happens to the hub

    @rule(seconds=st.sampled_from((FOLD, FOLD, FOLD, 2.0, LONG)))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(days=st.sampled_from((0.5, 1, 4, 12, 40)), steps=st.sampled_from((0, 1, 3, 10)))
    def days_pass(self, days: float, steps: int) -> None:
        """The hub begins to let go of what is old; what follows happens in the middle of that."""
        self.world.days.go_by(days, steps)

    @rule(days=st.sampled_from((1, 12, 40)), place=phones, sketch=sketches())
    def be_away_for_days(self, days: float, place: str, sketch: Sketch) -> None:
        """Others are here meanwhile and say what they have; then all that may go is gone."""
        self.world.drop(self.phone(place))
        self.world.edit(self.phone(place), sketch)
        self.world.days.go_by(days, steps=1)
        for other in PHONES:
            if other != place:
                self.connect_and_be_served(other)
                self.world.report(self.phone(other))
                self.world.deliver(self.phone(other))
        self.world.days.let_go()

    @rule()
    def all_that_may_go_is_gone(self) -> None:
        self.world.days.let_go()

    @rule(place=phones, sketch=sketches(), unheard=st.booleans())
    def crash_the_hub(self, place: str, sketch: Sketch, unheard: bool) -> None:
        """Before it has heard of an edit, or after it was stored and before anybody knows."""
        self.world.edit(self.phone(place), sketch)
        self.world.crash_hub(after_commit=unheard)

    @rule()
    def back_the_hub_up(self) -> None:
        self.world.back_up()

    @rule(by_hand=st.booleans())
    def restore_the_hub(self, by_hand: bool) -> None:
        self.world.restore_hub(by_hand=by_hand)

    @rule(down=few)
    def stop_the_hub(self, down: int) -> None:
        self.world.stop_hub(down)

    @rule()
    def start_the_hub(self) -> None:
        self.world.start_hub()

    @rule(which=st.integers(0, 1))
    def hold_a_disk(self, which: int) -> None:
        self.world.hold_disk(which)

    @rule()
    def release_the_disks(self) -> None:
        self.world.release_disks()

    @rule(place=phones, sketch=sketches(), steps=st.integers(1, 200))
    def push_while_the_disk_fails(self, place: str, sketch: Sketch, steps: int) -> None:
        self.world.edit(self.phone(place), sketch)
        self.world.fail_next_write(steps)
        self.world.deliver(self.phone(place))

    # What must hold

    @rule()
    def calm(self) -> None:
        self.world.calm()

    def teardown(self) -> None:
        """All ends well, unless it has already ended badly."""
        with self.world:
            if sys.exc_info()[0] is None:
                self.world.calm()
                self.world.stop_hub()
            self.happened.update(name for name, times in self.world.happened.items() if times)


@pytest.mark.long
@pytest.mark.timeout(60 + 2 * EXAMPLES)
def test_every_device_equals_the_model_whatever_happens() -> None:
    run_state_machine_as_test(
        Devices,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=EXAMPLES == NORMAL_EXAMPLES,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(Devices.happened)
