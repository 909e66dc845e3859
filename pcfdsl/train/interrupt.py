"""Stopping between two steps instead of in the middle of one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["deferred_interrupts"]


@contextmanager
def deferred_interrupts() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event instead of breaking a step in two; a second one breaks as usual."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def note(kind, frame):
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    for kind in kinds:
        signal.signal(kind, note)
    try:
        yield event
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
