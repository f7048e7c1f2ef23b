"""What the SDKs log holds no keys either."""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs

from kando_llm.scrubber import Scrubber

__all__ = ["cleaned_logs"]

#: The SDKs, and the HTTP library that both are on.
_ROOTS = ("anthropic", "openai", "httpx2", "httpcore2")


def cleaned_logs(scrubber: Scrubber) -> Callable[[], None]:
    """Have keys taken out of what the SDKs log, and return what ends that.

    Below WARNING they log whole headers: they do so only if somebody sets the level of their own
    loggers, and not because that of all is set.

    Args:
        scrubber: takes the keys out.
    """
    cleaner = _Cleaner(scrubber)
    known = [each for each in list(logging.root.manager.loggerDict) if each.split(".")[0] in _ROOTS]
    loggers = [logging.getLogger(name) for name in {*_ROOTS, *known}]
    for logger in loggers:
        if logger.name in _ROOTS and logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
        # A logger's filters do not see what is logged below it, so that each has its own.
        logger.addFilter(cleaner)

    def end() -> None:
        for logger in loggers:
            logger.removeFilter(cleaner)

    return end


@attrs.frozen(eq=False)
class _Cleaner:
    scrubber: Scrubber

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.scrubber.text(record.getMessage()), ()
        # A traceback shows what the SDK was about to send.
        record.exc_info = record.exc_text = None
        return True
