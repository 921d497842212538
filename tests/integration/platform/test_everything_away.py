"""Each of the four services without broker and without database: it lives, is not ready, idles, and ends cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx2
import psutil

from deploy.databases import SERVICES
from deploy.local.processes import free_port
from services.runtime.auth import Issuer

_CHECKOUT = Path(__file__).parents[3]
_GENEROUS = 60.0
_WATCHED_SECONDS = 2.0


async def test_with_broker_and_database_away_at_start_every_service_lives_waits_idly_and_ends_with_zero(
    tmp_path: Path,
) -> None:
    operations = {service: free_port() for service in SERVICES}
    issuer = Issuer(tmp_path / "issuer", "https://login.tenure.invalid", "tenure")
    (tmp_path / "sources.toml").write_text("own_domains = []\n")
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    common = {
        "KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",
        "DATABASE_URL": nowhere,
        "API_DATABASE_URL": nowhere,
        "SOURCES_FILE": str(tmp_path / "sources.toml"),
        "AUTH_JWKS_FILE": str(issuer.jwks_file),
        "AUTH_ISSUER": issuer.issuer,
        "AUTH_AUDIENCE": issuer.audience,
        **{f"{name.upper()}_OPERATIONS_URL": f"http://127.0.0.1:{port}" for name, port in operations.items()},
    }
    processes = {}
    try:
        for service in SERVICES:
            settings = {**common, "OPERATIONS_PORT": str(operations[service]), "HTTP_PORT": str(free_port())}
            processes[service] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"services.{service}.app"),
                cwd=_CHECKOUT,
                env={
                    **{name: value for name, value in os.environ.items() if not name.startswith("TENURE_")},
                    **{f"TENURE_{name}": value for name, value in settings.items()},
                },
                stderr=asyncio.subprocess.PIPE,
            )
        async with httpx2.AsyncClient() as client:
            for port in operations.values():
                await _lives(client, port)
            used = {service: _cpu_seconds(process.pid) for service, process in processes.items()}
            await asyncio.sleep(_WATCHED_SECONDS)
            for service, process in processes.items():
                # Polling for what is away must cost next to nothing; starting up just before may still echo.
                assert _cpu_seconds(process.pid) - used[service] < _WATCHED_SECONDS / 2, service
            for service, port in operations.items():
                ready = await client.get(f"http://127.0.0.1:{port}/readyz", timeout=_GENEROUS)
                assert ready.status_code == 503, service
                assert "waiting: " in ready.text, service
                assert (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200, service
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for service, process in processes.items():
            _, log = await asyncio.wait_for(process.communicate(), _GENEROUS)
            assert process.returncode == 0, (service, log.decode())
            assert [line for line in log.decode().splitlines() if "Traceback" in line] == [], service
    finally:
        for process in processes.values():
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def _lives(client: httpx2.AsyncClient, port: int) -> None:
    async with asyncio.timeout(_GENEROUS):
        while True:
            try:
                if (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.1)


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
