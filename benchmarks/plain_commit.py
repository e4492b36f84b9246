"""The measure of webhooks.py: a FastAPI endpoint that keeps each alert with one INSERT and one commit of its own. It judges nothing."""

import asyncio
import os
import socket
import uuid

import asyncpg
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.post("/hook")
async def hook(request: Request) -> Response:
    """Keep the alert."""
    body = await request.body()
    delivery_id = uuid.uuid4()
    async with app.state.pool.acquire() as connection:
        await connection.execute("INSERT INTO plain_alerts (id, body) VALUES ($1, $2)", delivery_id, body.decode())
    return Response(orjson.dumps({"delivery_id": str(delivery_id), "decision": "pending"}), 202, media_type="application/json")


async def main() -> None:
    """Serve on a free port and print the endpoint's address."""
    size = int(os.environ["POOL"])
    app.state.pool = await asyncpg.create_pool(os.environ["DATABASE"], min_size=size, max_size=size)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/hook", flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, loop="uvloop", http="httptools"))
    await server.serve(sockets=[listener])
    await app.state.pool.close()


if __name__ == "__main__":
    asyncio.run(main())
