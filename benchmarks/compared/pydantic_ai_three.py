"""Three tasks at once in one workflow of DBOS, whose runs of the agent share their usage."""

import asyncio
import json
import sys

from dbos import DBOS, SetWorkflowID
from pydantic_ai import RunUsage, UsageLimitExceeded

from pydantic_ai_coder import LIMITS, agent


@DBOS.workflow()
async def code_all(goals: list[str]) -> str:
    usage = RunUsage()
    runs = [agent.run(each, usage=usage, usage_limits=LIMITS) for each in goals]
    results = await asyncio.gather(*runs, return_exceptions=True)
    for each in results:
        if isinstance(each, BaseException) and not isinstance(each, UsageLimitExceeded):
            raise each
    return ", ".join(map(str, results))


def main(action, workflow, goal):
    DBOS(config={"name": "coder", "system_database_url": "sqlite:///dbos.sqlite"})
    DBOS.launch()
    with SetWorkflowID(workflow):
        text = asyncio.run(code_all([goal] * 3))
    print(json.dumps({"id": workflow, "waiting": None, "state": "SUCCESS", "text": text}))
    DBOS.destroy()


if __name__ == "__main__":
    main(*sys.argv[1:])
