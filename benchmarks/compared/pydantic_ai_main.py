"""Start, resume, decide and fork the coder in Pydantic AI from a shell, in a SQLite file."""

import json
import os
import sys
import time

from dbos import DBOS, SetWorkflowID

from pydantic_ai_coder import code


def main(action, workflow, *arguments):
    DBOS(config={"name": "coder", "system_database_url": "sqlite:///dbos.sqlite"})
    # It also resumes the workflows that a process left.
    DBOS.launch()
    if action == "start":
        with SetWorkflowID(workflow):
            DBOS.start_workflow(code, arguments[0])
    elif action in ("approve", "deny"):
        DBOS.send(workflow, action == "approve", "decision")
        while DBOS.get_event(workflow, "waiting", timeout_seconds=0):
            time.sleep(0.02)
    elif action == "fork":
        workflow = _forked(workflow, int(arguments[0]))
    waiting = None
    while DBOS.get_workflow_status(workflow).status in ("ENQUEUED", "PENDING") and not waiting:
        waiting = DBOS.get_event(workflow, "waiting", timeout_seconds=0.1)
    status = DBOS.get_workflow_status(workflow)
    print(
        json.dumps(
            {
                "id": workflow,
                "waiting": waiting,
                "state": status.status,
                "text": str(status.output or status.error),
            }
        ),
        flush=True,
    )
    # A workflow that waits stays pending in the file; the next launch resumes it.
    os._exit(0)


def _forked(workflow, answer):
    """Fork before the model's answer of that number."""
    steps = DBOS.list_workflow_steps(workflow)
    requests = [each for each in steps if each["function_name"].endswith("model.request")]
    return DBOS.fork_workflow(workflow, requests[answer]["function_id"]).get_workflow_id()


if __name__ == "__main__":
    main(*sys.argv[1:])
