"""Photos that arrive in a bucket to a table for each event: the handler of an AWS Lambda function, or a program for a task.

As a function it gets the events of S3, by themselves or in a queue of SQS. As a program it reads one from standard input.
`TABLES` is where tables go, such as `s3://tables/faces`: never below what the events tell of. `FACET_URL` names a running
service; without it the models of the image answer. A command that fails raises, so that the queue sends the event again.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

UNKNOWN = "This is no event of S3, nor one of SQS with such events in it."


def addresses(event: Mapping[str, Any]) -> Iterator[str]:
    """The photos of an event.

    Args:
        event: Of S3, or of SQS with such events in it.

    Yields:
        Addresses such as `s3://bucket/key`; none of the event that S3 sends as a test, nor of a folder that its console made.

    Raises:
        ValueError: It is another event, such as one that SNS or EventBridge hands on, whose photos would be lost.
    """
    if "Records" not in event and event.get("Event") != "s3:TestEvent":
        raise ValueError(UNKNOWN)
    for record in event.get("Records", ()):
        if "body" in record:
            yield from addresses(json.loads(record["body"]))
        elif "s3" not in record:
            raise ValueError(UNKNOWN)
        elif record["eventName"].startswith("ObjectCreated"):
            key = unquote_plus(record["s3"]["object"]["key"])
            if "\n" in key or "\r" in key:  # its second line would be an address of whoever may write to the bucket
                print(f"{key!r} is left out: a list has a photo a line.", file=sys.stderr)
            elif not key.endswith("/"):  # such an address is that of all photos in the folder
                yield f"s3://{record['s3']['bucket']['name']}/{key}"


def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, str | int]:
    """Write the table of an event.

    Args:
        event: As of `addresses`.
        _context: What Lambda says of the call.

    Returns:
        The table's address and the number of photos. An event that comes twice writes the same table.

    Raises:
        ValueError: As of `addresses`.
        CalledProcessError: The photos cannot be looked at, or the table cannot be written.
    """
    photos = list(dict.fromkeys(addresses(event)))
    if not photos:
        return {"photos": 0}
    listed = "".join(f"{photo}\n" for photo in photos)
    name = hashlib.sha256(listed.encode()).hexdigest()[:32]
    table = f"{os.environ['TABLES'].rstrip('/')}/{name}.csv"
    service = ["--url", os.environ["FACET_URL"]] if os.environ.get("FACET_URL") else []
    command = ["facet", "predict", "--from", "-", "--out", table, "--overwrite", *service]
    subprocess.run(command, input=listed, text=True, check=True)
    return {"photos": len(photos), "table": table}


if __name__ == "__main__":
    json.dump(handler(json.load(sys.stdin)), sys.stdout)
