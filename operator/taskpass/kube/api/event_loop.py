"""The event loop that everything here runs on: uvloop where it is installed, which costs less."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of its own for a thread; asyncio's where there is no uvloop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
