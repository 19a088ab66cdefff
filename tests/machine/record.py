"""What the hub stored of one user, next to what the model says that it had to store."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from hub.retention import Retention
from hub.store.interface import Incoming, Stored
from protocol.diffs import Object, Tombstone
from protocol.history import NO_HISTORY
from protocol.records import LostFields, RejectedEdit
from tests.machine.keeping import Gone, Keeping
from tests.model.hub import POLLER, ModelHub, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from protocol.diffs import Held, Key
    from protocol.records import Setback
    from tests.machine.phone import Claim

KEEPS = Retention()
State = dict["Key", dict[str, Any]]


class Decided(NamedTuple):
    """A stored push that did not wholly stay."""

    clock: int
    push_id: int
    lost: list[dict[str, int]]
    rejected: list[str]


class Record:
    """One user's history; `states[n]` are the objects, by key, after the push with clock n."""

    def __init__(
        self, max_object_bytes: int, happened: Counter[str], keeps: Retention = KEEPS
    ) -> None:
        self.keeping = Keeping(keeps)
        self.model = ModelHub(max_object_bytes=max_object_bytes)
        self.states: list[State] = [{}]
        self.changed: list[dict[Key, int]] = [{}]
        self.history = NO_HISTORY
        self.lineage: list[tuple[str, int, str]] = []
        self.happened = happened
        self._keys: set[Key] = set()
        self._fields: dict[str, set[str]] = {}
        self._decided: dict[str, list[Decided]] = defaultdict(list)
        self._ids: list[set[str]] = [set()]

    @property
    def head(self) -> int:
        return self.model.head

    @property
    def keys(self) -> list[Key]:
        """Every object that ever was, those that are forgotten among them."""
        return sorted(self._keys)

    def observe(self, incoming: Incoming, stored: Stored | None, now: int) -> None:
        """The hub has decided a push at its own time `now`: so must the model."""
        expected = self._expected(incoming, now)
        if expected is None:
            assert stored is None, "a push was stored twice"
            self.happened["polled twice" if incoming.polled else "sent twice"] += 1
            return
        assert stored is not None, "a push was not stored"
        assert _seen(stored) == _seen_in_model(expected)
        assert stored.differs == expected["differs"]
        self._extend(incoming, expected, now)

    def observe_row(self, incoming: Incoming, row: Stored | None, now: int) -> bool:
        """As `observe`, of a push that may be next in the log after a crash; whether it was."""
        expected = self._expected(incoming, now)
        if expected is None:
            return False
        assert row is not None, "half of a group was stored"
        assert _seen(row) == _seen_in_model(expected)
        self._extend(incoming, expected, now)
        return True

    def let_go(self, gone: Gone, now: int) -> None:
        """The store has forgotten so much: it was allowed to, and the model forgets it, too."""
        before = self.keeping.gone
        if gone == before:
            return
        self.keeping.let_go(gone, self.head, self._tombstone_clocks(), now)
        self.model.forget_log(gone.dropped)
        self.model.forget_tombstones(gone.line)
        self.happened["rows let go"] += gone.dropped > before.dropped
        self.happened["tombstones let go"] += gone.line > before.line

    def check_rest(self, now: int) -> None:
        """Nothing is due any more."""
        self.keeping.check_rest(self.head, self._tombstone_clocks(), now)

    def _tombstone_clocks(self) -> list[int]:
        return [stone["logical_clock"] for stone in self.model.tombstones().values()]

    def _expected(self, incoming: Incoming, now: int) -> dict[str, Any] | None:
        """What the model makes of it; its indices are those of the push as it was sent."""
        left = self._left_to_decide(incoming)
        if not left:
            return None
        expected = self.model.push(
            incoming.device,
            incoming.push_id,
            [incoming.diffs[index] for index in left],
            now=now,
            again=incoming.again,
            polled=incoming.polled,
            continues=tuple(
                (place.log_id, place.logical_clock) for place in self.history.continues
            ),
            opened=self.history.opened,
        )
        if expected is not None:
            expected["differs"] |= len(left) < len(incoming.diffs)
            for part in (*expected["lost"], *expected["rejected"]):
                part["index"] = left[part["index"]]
        return expected

    def _left_to_decide(self, incoming: Incoming) -> list[int]:
        """Of a polled push, what the log behind its base does not hold yet (section 9)."""
        known: set[str] = set()
        if incoming.polled:
            base = min(diff["logical_clock"] for diff in incoming.diffs)
            first = max(base, self.keeping.gone.dropped) + 1
            known = {name for ids in self._ids[first:] for name in ids}
        return [at for at, diff in enumerate(incoming.diffs) if diff["id"] not in known]

    def _extend(self, incoming: Incoming, expected: dict[str, Any], now: int) -> None:
        clock = expected["logical_clock"]
        self.keeping.stored_at[clock] = now
        self.keeping.see(incoming.device, now)
        assert clock == len(self.states), "a clock was left out or given twice"
        self.lineage.append((incoming.device, incoming.push_id, repr(expected["diffs"])))
        self._ids.append({diff["id"] for diff in incoming.diffs})
        self._account(incoming)
        objects = self.model.objects()
        self._keys |= objects.keys() | self.model.tombstones().keys()
        self.states.append({key: copy.deepcopy(held["fields"]) for key, held in objects.items()})
        self.changed.append({key: held["logical_clock"] for key, held in objects.items()})
        lost = [loss["fields"] for loss in expected["lost"]]
        codes = [rejection["code"] for rejection in expected["rejected"]]
        if incoming.device != POLLER and (lost or codes):
            self._decided[incoming.device].append(Decided(clock, incoming.push_id, lost, codes))
        self._note(incoming, expected, codes)

    def _account(self, incoming: Incoming) -> None:
        """An edit is decided once: a device that sends it anew says `again`, and it is left out."""
        for diff in incoming.diffs:
            name = diff["id"]
            if diff.get("was"):
                self.happened["offered"] += 1
            elif name not in self._fields:
                self._fields[name] = diff["json_data"].keys() - {"id"}
            else:
                assert incoming.again or incoming.polled, f"the edit {name} was stored twice"

    def _note(self, incoming: Incoming, expected: dict[str, Any], codes: list[str]) -> None:
        self.happened["stored"] += 1
        self.happened["polled"] += incoming.polled
        self.happened["lost fields"] += bool(expected["lost"])
        self.happened["empty push"] += not expected["diffs"]
        self.happened.update(f"rejected {code}" for code in codes)
        left_out = len(incoming.diffs) - len(expected["diffs"]) - len(codes) - len(expected["lost"])
        self.happened["again left out"] += incoming.again and left_out > 0

    def copy(self) -> Record:
        """This history as it is now, for a hub that is restored to it."""
        return copy.deepcopy(self, {id(self.happened): self.happened})

    # What must hold

    def check_objects(self, held: Mapping[Key, Held]) -> None:
        """The store's objects and tombstones are the model's, and both are the fold of the log."""
        there = {
            key: {"fields": dict(what.fields), "logical_clock": what.clock}
            for key, what in held.items()
            if isinstance(what, Object)
        }
        gone = {
            key: {
                "logical_clock": what.clock,
                "utc_timestamp": what.timestamp,
                "device": what.device,
            }
            for key, what in held.items()
            if isinstance(what, Tombstone)
        }
        assert there == self.model.objects() == fold(self.model.log, self._before_the_log())
        assert gone == self.model.tombstones()

    def _before_the_log(self) -> State:
        dropped = self.keeping.gone.dropped
        return {
            key: {"fields": dict(fields), "logical_clock": self.changed[dropped][key]}
            for key, fields in self.states[dropped].items()
        }

    def check_log(self, rows: Iterable[Stored]) -> None:
        assert [_seen(row) for row in rows] == [_seen_in_model(push) for push in self.model.log]

    def check_claims(
        self, claims: Mapping[str, Claim], folded: Mapping[str, frozenset[str]]
    ) -> None:
        """No edit disappears in silence: the hub has decided each, as far as it did not fold."""
        for name, claim in claims.items():
            assert name in self._fields, f"the edit {name} has disappeared"
            left = claim.fields - self._fields[name] - folded.get(name, frozenset())
            assert not left, f"a part of the edit {name} has disappeared"

    def knows(self, name: str) -> bool:
        """Whether an edit was ever decided here."""
        return name in self._fields

    def has_decided(self, device: str, push_id: int) -> bool:
        """Whether a push of this device that did not wholly stay is in this history."""
        return any(push.push_id == push_id for push in self._decided[device])

    def check_told(self, device: str, setbacks: Iterable[Setback], exempt: int) -> None:
        """Whatever lost or was rejected, the device knows of it, and heard of it once."""
        told: dict[int, tuple[list[Any], list[str]]] = defaultdict(lambda: ([], []))
        for setback in setbacks:
            match setback:
                case LostFields():
                    told[setback.push_id][0].append(dict(setback.fields))
                case RejectedEdit():
                    told[setback.push_id][1].append(setback.code)
        for push in self._decided[device]:
            if push.clock > exempt or push.push_id in told:
                assert told.pop(push.push_id, None) == (push.lost, push.rejected)
        assert not told


def _seen(stored: Stored) -> dict[str, Any]:
    return {
        "logical_clock": stored.clock,
        "device": stored.device,
        "push_id": stored.push_id,
        "diffs": msgspec.json.decode(stored.diffs),
        "lost": [(loss.index, loss.id, loss.fields) for loss in stored.lost],
        "rejected": [(refused.index, refused.id, refused.code) for refused in stored.rejected],
    }


def _seen_in_model(push: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: push[name] for name in ("logical_clock", "device", "push_id", "diffs")},
        "lost": [(loss["index"], loss["id"], loss["fields"]) for loss in push["lost"]],
        "rejected": [(r["index"], r["id"], r["code"]) for r in push["rejected"]],
    }
