"""Removes keys from what the SDKs log."""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs

from kando_llm.scrubber import Scrubber

__all__ = ["scrub_logs"]

#: The loggers of the SDKs, of the HTTP library that both use, and of the signer of Bedrock's requests.
_ROOTS = ("anthropic", "openai", "httpx2", "httpcore2", "botocore.auth")


def scrub_logs(scrubber: Scrubber) -> Callable[[], None]:
    """Remove keys from what the SDKs log; return a function that stops this.

    Below WARNING the SDKs log whole headers. They do so only if the level of their own loggers
    is set; the level of the root logger is not enough.

    Args:
        scrubber: removes the keys.
    """
    cleaner = _Cleaner(scrubber)
    known = [each for each in list(logging.root.manager.loggerDict) if each.split(".")[0] in _ROOTS]
    loggers = [logging.getLogger(name) for name in {*_ROOTS, *known}]
    for logger in loggers:
        if logger.name in _ROOTS and logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
        # A logger's filters do not apply to its children, so each logger needs its own.
        logger.addFilter(cleaner)

    def stop() -> None:
        for logger in loggers:
            logger.removeFilter(cleaner)

    return stop


@attrs.frozen(eq=False)
class _Cleaner:
    scrubber: Scrubber

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.scrubber.text(record.getMessage()), ()
        # A traceback shows the request that the SDK was sending.
        record.exc_info = record.exc_text = None
        return True
