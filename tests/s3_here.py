"""An S3 server of this machine, moto's, for the time of a block: a process of its own, with a bucket `studies`."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gated import until


@contextmanager
def s3(log: Path) -> Generator[str]:
    """Its address, for AWS_ENDPOINT_URL."""
    pytest.importorskip("moto", reason="needs moto[server]")
    boto3 = pytest.importorskip("boto3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with log.open("wb") as out:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
        child = subprocess.Popen(command, stdout=out, stderr=out)
        address = f"http://127.0.0.1:{port}"
        words = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        try:
            client = boto3.client("s3", endpoint_url=address, **words)

            def made() -> bool:
                try:
                    client.create_bucket(Bucket="studies")
                except Exception:  # it is not up yet
                    return False
                return True

            until(made, "the server is up")
            yield address
        finally:
            child.kill()
            child.communicate()
