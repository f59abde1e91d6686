from __future__ import annotations

from tana.mesh.events import Event, EventLog
from tana.mesh.records import EventDraft
from tests.mesh.helpers import World


def publish(log: EventLog, count: int) -> None:
    for number in range(count):
        log.publish((EventDraft("heartbeat", {"number": number}),), now_ms=number)


def list_ids(events: tuple[Event, ...] | None) -> list[int] | None:
    return None if events is None else [event.id for event in events]


def test_ids_rise_from_the_last_one() -> None:
    log = EventLog(last_id=10)
    assert list_ids(log.publish((EventDraft("a", {}), EventDraft("b", {})), 5)) == [11, 12]
    assert log.last_id == 12


def test_listeners_hear_each_event_until_they_leave() -> None:
    log = EventLog(0)
    heard: list[Event] = []
    leave = log.subscribe(heard.append)
    publish(log, 2)
    leave()
    leave()
    publish(log, 1)
    assert [event.id for event in heard] == [1, 2]


def test_a_listener_that_leaves_while_it_is_told_disturbs_nobody() -> None:
    log = EventLog(0)
    heard: list[str] = []

    def hear_and_leave(event: Event) -> None:
        heard.append("first")
        leave()

    leave = log.subscribe(hear_and_leave)
    log.subscribe(lambda event: heard.append("second"))
    publish(log, 1)
    assert heard == ["first", "second"]


def test_missed_events_are_listed_as_far_as_they_are_kept() -> None:
    log = EventLog(last_id=100, capacity=3)
    assert list_ids(log.list_after(100)) == []
    assert log.list_after(99) is None
    publish(log, 5)
    assert list_ids(log.list_after(105)) == []
    assert list_ids(log.list_after(102)) == [103, 104, 105]
    assert log.list_after(101) is None
    assert log.list_after(106) is None


def test_everything_that_happens_is_told_in_order(world: World) -> None:
    world.admit()
    world.beat()
    world.deny()
    assert [(event.id, event.type) for event in world.events] == [
        (1, "registration"),
        (2, "approval"),
        (3, "status"),
        (4, "heartbeat"),
        (5, "denial"),
        (6, "status"),
    ]
    assert world.events[0].to_json()["at"] == world.events[0].at_ms


def test_ids_go_on_after_a_restart(world: World) -> None:
    world.admit()
    last = world.events[-1].id
    world.restart()
    world.beat()
    assert world.events[-1].id == last + 1


def test_refused_requests_are_not_told(world: World) -> None:
    world.register()
    told = len(world.events)
    world.register()
    world.beat()
    world.approve("nobody")
    assert len(world.events) == told
