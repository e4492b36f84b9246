"""The bare limit of webhook_to_order.py: a FastAPI endpoint that parses the alert and awaits ccxt. It keeps and checks nothing."""

import asyncio
import os
import socket

import ccxt.async_support as ccxt
import uvicorn
from fastapi import FastAPI, Request

app = FastAPI()


def make_exchange() -> ccxt.binance:
    """Return ccxt's Binance on the emulator."""
    exchange = ccxt.binance(
        {
            "apiKey": os.environ["KEY"],
            "secret": os.environ["SECRET"],
            "enableRateLimit": False,
            "options": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "fetchCurrencies": False},
        }
    )
    base = os.environ["EMULATOR_URL"]
    exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], f"{base}/BLOCKED") | {
        "public": f"{base}/api/v3",
        "private": f"{base}/api/v3",
        "sapi": f"{base}/sapi/v1",
    }
    return exchange


@app.post("/hook")
async def hook(request: Request) -> dict[str, str]:
    """Send the order the alert asks for."""
    alert = await request.json()
    order = await app.state.exchange.create_order(
        "BTC/USDT", "market", alert["action"], float(alert["quantity"]), None, {"newClientOrderId": alert["client_intent_id"]}
    )
    return {"id": order["id"]}


async def main() -> None:
    """Serve on a free port and print the endpoint's address."""
    app.state.exchange = make_exchange()
    await app.state.exchange.load_markets()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/hook", flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, loop="uvloop", http="httptools"))
    await server.serve(sockets=[listener])
    await app.state.exchange.close()


if __name__ == "__main__":
    asyncio.run(main())
