"""What the machine found, as the shortest way to it."""

import pytest

from hub.retention import Retention
from tests.machine.phone import Phone, Sketch
from tests.machine.sizes import Sizes
from tests.machine.world import World

TASKS = [("tasks", f"t{number}") for number in (1, 2, 3)]


def one_object_a_page() -> World:
    return World(
        Sizes(
            log_pushes=1,
            send_buffer=300,
            page_bytes=1,
            last_step=1,
            fold_rows=1,
            under_way=1,
            keeps=Retention(),
        )
    )


def set_together(world: World, phone: Phone, value: int, *numbers: int) -> None:
    """Edits of one push, which is stored when this returns."""
    keys = [TASKS[number] for number in numbers]
    world.edit(phone, *(Sketch("create", key, {"a": value}) for key in keys))
    world.deliver(phone)
    world.deliver(phone)


def take_pages_until(world: World, phone: Phone, clock: int) -> None:
    """Until an object that was last changed at this clock has come; then the line breaks."""
    world.connect(phone)
    while clock not in {known.clock for known in phone.kept.objects.values()}:
        world.deliver(phone, down=1, save=True)
    world.cut(phone, up=0, down=0, save=True)


@pytest.mark.parametrize("by_hand", [False, True])
def test_half_of_a_push_that_a_restored_hub_lacks_does_not_stay_on_one_device(
    by_hand: bool,
) -> None:
    """A laptop is cut off in its first catch-up, comes back after more pushes, and is cut off in
    the middle of the third: it has one of its two objects, and is at clock 2. The hub goes back to
    a copy of clock 2. The laptop was taken for one of its line, for its clock and its paging were;
    its object of the third push was there and nowhere else, and nobody ever told it.
    """
    with one_object_a_page() as world:
        phone = world.add_phone("alice", "phone")
        laptop = world.add_phone("alice", "laptop")
        world.connect(phone)
        set_together(world, phone, 0, 0, 1, 2)
        set_together(world, phone, 1, 0)
        take_pages_until(world, laptop, 1)
        world.back_up()
        set_together(world, phone, 2, 1, 2)
        take_pages_until(world, laptop, 3)
        assert laptop.kept.position.clock == 2
        world.restore_hub(by_hand=by_hand)
        world.calm()
