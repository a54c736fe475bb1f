"""The log as JSON, one document a line."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from service.tracing import CURRENT

_LEFT_OUT: Final = [*RESERVED_ATTRS, "color_message"]
"""What every record has, and uvicorn's message once more in colours."""


class JsonLogFormatter(JsonFormatter):
    """Formats a record as one line: time, level, logger, message, what is its own, and the ids of its request."""

    def __init__(self) -> None:
        super().__init__("%(message)s", reserved_attrs=_LEFT_OUT, json_ensure_ascii=False)

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Fill a line's document.

        Args:
            log_data: The document, still empty.
            record: What was logged.
            message_dict: What was logged as a dictionary.
        """
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        super().add_fields(log_data, record, message_dict)
        request = CURRENT.get()
        if request is not None:
            log_data.setdefault("request_id", request.request_id)
            if request.trace_id:
                log_data.setdefault("trace_id", request.trace_id)
