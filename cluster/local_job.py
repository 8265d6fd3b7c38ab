"""Submit a job to the cluster of cluster/local.sh, print what it prints, and exit as it ended.

python cluster/local_job.py URL FOLDER COMMAND...

`ray job submit` does the same with some thirty lines of its own around it.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys

BEFORE = ("Running entrypoint for job", "Runtime env is setting up.")
"""Parts of the lines that Ray writes at the head of a job's log."""


async def follow(client: object, job: str) -> None:
    """Print the job's log until it ends, line by line, without Ray's own first lines."""
    left, begun = "", False
    async for text in client.tail_job_logs(job):  # type: ignore[attr-defined]
        *lines, left = (left + text).split("\n")
        for line in lines:
            begun = begun or not any(own in line for own in BEFORE)
            if begun:
                print(line, flush=True)
    if left:
        print(left, flush=True)


def main(url: str, folder: str, *command: str) -> int:
    """Submit the command, with the folder's files as its working directory. Return 0 where the job succeeded."""
    logging.disable(logging.WARNING)  # of Ray's loggers, some of which set their own level
    from ray.job_submission import JobStatus, JobSubmissionClient

    client = JobSubmissionClient(url)
    job = client.submit_job(entrypoint=shlex.join(command), runtime_env={"working_dir": folder})
    print(f"job {job}; to stop it: cluster/local.sh job stop {job}", flush=True)
    try:
        asyncio.run(follow(client, job))
    except KeyboardInterrupt:
        print(f"job {job} goes on; to see it again: cluster/local.sh job logs --follow {job}", flush=True)
        return 130
    info = client.get_job_info(job)
    if info.status == JobStatus.SUCCEEDED:
        return 0
    reason = f": {info.message.strip()}" if info.message and info.driver_exit_code is None else ""
    print(f"job {job} {info.status.value.lower()}{reason}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
