"""What becomes of connections when a server of devnet's stops."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from tallygate.devnet.server import Exchange, HttpServer, Reply


class Silent:
    """Answers nothing."""

    async def answer(self, exchange: Exchange) -> None:
        """Wait until the client has left."""
        await exchange.wait_gone(60)

    def refuse(self, status: int, message: str) -> Reply:
        """Word an error."""
        return Reply(status, message.encode())


@pytest.mark.parametrize("steps", range(8))
async def test_no_connection_outlives_its_server(steps: int) -> None:
    """However far a connection has come when its server stops, its client sees it end."""
    server, loop = HttpServer(Silent()), asyncio.get_running_loop()
    await server.start("127.0.0.1", 0)
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", server.port))
        for _ in range(steps):
            await asyncio.sleep(0)
        await server.stop()

        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(loop.sock_recv(client, 1), 120) == b""
