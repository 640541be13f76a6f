"""What commands print: results to the output, everything else to the error stream, nothing that commands a terminal."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO

from snnax.shown import printable, shown


def say(text: str, *, to_errors: bool = False) -> None:
    """Lines of a result; or, where the output is JSON, of what goes on, to the error stream.

    Raises:
        OSError: where the stream is full, or nobody reads it any more.
    """
    _write(text, sys.stderr if to_errors else sys.stdout)


def say_json(content: Mapping[str, Any]) -> None:
    """A result as one JSON object; numbers that are not finite, which JSON has not, are ``null``."""
    say(json.dumps(_finite(content), indent=2, allow_nan=False).replace("\x7f", "\\u007f"))


def complain(text: str) -> None:
    """One line on the error stream; where there is none, nothing."""
    with suppress(OSError):
        _write(shown(" ".join(text.split())), sys.stderr)


def failed(who: str, error: BaseException, *, as_json: bool, unexpected: bool = False) -> None:
    """Say what went wrong: one line on the error stream, and with ``--json`` an object on the output."""
    message = " ".join(_said(error).split())
    kind = type(error).__name__
    if unexpected:
        message = f"{kind}: {message}" if message else kind
        complain(f"{who}: {message} (unexpected; python -X dev -m snnax shows where)")
    else:
        complain(f"{who}: {message or kind}")
    if as_json:
        with suppress(OSError):
            say_json({"error": {"command": who, "type": kind, "message": message}})
    close()


def _said(error: BaseException) -> str:
    """What an error says; of the system's own, which file it was instead of their number."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the output cannot be written'}: {error.strerror}"
    return str(error)


def close() -> None:
    """Send what was printed; what cannot be is given up, so that Python does not complain again at its end."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(text: str, stream: TextIO | None) -> None:
    if stream is not None:  # as it is for a program without a console
        stream.write(printable(text, getattr(stream, "encoding", None)) + "\n")
        stream.flush()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
