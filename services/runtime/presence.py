"""Is the broker there? For services that only write to it; a consumer knows by itself."""

import asyncio
import contextlib

from aiokafka.errors import UnknownTopicOrPartitionError

from contracts.topics import Topic
from services.runtime.backoff import pause
from services.runtime.lasting import lasting
from services.runtime.settings import RuntimeSettings
from services.runtime.watermarks import Watermarks

_EVERY_SECONDS = 1.0


class BrokerPresence:
    """Asks the broker about `topic` every second. A broker that falls silent is noticed within 7 s."""

    def __init__(self, settings: RuntimeSettings, topic: Topic) -> None:
        self._names = {settings.physical(topic.name): topic.name}
        self._watermarks = Watermarks(settings)
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._status = "waiting: the broker has not answered yet"

    @property
    def there(self) -> bool:
        """Whether the broker answered the last time and has the topic."""
        return self._status == "running"

    @property
    def status(self) -> str:
        """Return "running", or "waiting: …" in words for people."""
        return self._status

    async def start(self) -> None:
        """Begin to ask."""
        self._task = lasting(self._run(), name="broker presence")

    async def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._watermarks.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._watermarks.ends(self._names)
                self._status = "running"
            except UnknownTopicOrPartitionError as missing:
                self._status = f"waiting: {missing}"
            except Exception as away:  # noqa: BLE001 - whatever it was, the broker did not answer; it is asked again
                self._status = f"waiting: the broker does not answer ({type(away).__name__})"
            if await pause(self._stopping, _EVERY_SECONDS):
                return
