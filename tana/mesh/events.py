"""What happened at the mesh, numbered, with the latest kept so that a listener can go on where it was cut off."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tana.mesh.records import EventDraft

BUFFER_EVENTS = 1024


@dataclass(frozen=True, slots=True)
class Event:
    """`id` rises by one from event to event, also over restarts; `at_ms` is the mesh's clock."""

    id: int
    type: str
    at_ms: int
    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The data of the event on the wire: its own fields, and `at`."""
        return self.data | {"at": self.at_ms}


Listener = Callable[[Event], None]


class EventLog:
    """The last `capacity` events, and who listens."""

    def __init__(self, last_id: int, capacity: int = BUFFER_EVENTS) -> None:
        self.last_id = last_id
        self._recent: deque[Event] = deque(maxlen=capacity)
        self._listeners: list[Listener] = []

    def publish(self, drafts: Sequence[EventDraft], now_ms: int) -> tuple[Event, ...]:
        """Number the events, keep them and tell every listener, in order."""
        events = tuple(
            Event(number, draft.type, now_ms, draft.data) for number, draft in enumerate(drafts, self.last_id + 1)
        )
        for event in events:
            self.last_id = event.id
            self._recent.append(event)
            for listener in tuple(self._listeners):
                listener(event)
        return events

    def list_after(self, event_id: int) -> tuple[Event, ...] | None:
        """The events behind `event_id`; None where some of them are no longer kept, or it is from the future."""
        if event_id > self.last_id or event_id < self.last_id - len(self._recent):
            return None
        return tuple(event for event in self._recent if event.id > event_id)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each event from now on; the returned function ends that. A listener must not raise."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe
