"""An MCP server over stdio without the SDK, which starts at once: `python plain_tool_server.py`.

It appends its starts and its calls to the file ``log`` in the folder that the variable ``PLACE`` names,
and keeps what it books in the file ``booked``, once for each name.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

PLACE = Path(os.environ["PLACE"])

TOOL = {
    "name": "book",
    "description": "Book a place.",
    "inputSchema": {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
    },
    "annotations": {"idempotentHint": True},
}


def log(text: str) -> None:
    with (PLACE / "log").open("a") as file:
        file.write(f"{text}\n")


def book(name: str) -> str:
    log(f"book {name}")
    file = PLACE / "booked"
    booked = file.read_text().split() if file.exists() else []
    if name not in booked:
        booked.append(name)
        file.write_text(" ".join(booked))
    return f"{name} is number {booked.index(name) + 1}"


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the result of a request; None for a method that it lacks."""
    if method == "initialize":
        about = {"name": "plain", "version": "1"}
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": book(**params["arguments"])}]}
    return {} if method == "ping" else None


def main() -> None:
    log(f"start {os.getpid()}")
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        result = answer(request["method"], request.get("params") or {})
        error = {"error": {"code": -32601, "message": "Method not found"}}
        body = error if result is None else {"result": result}
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **body}), flush=True)


if __name__ == "__main__":
    main()
