"""A web service in one process: predict and explain, a deadline for each request, a clean end under load.

    pip install uvicorn
    BUNDLE=linformer-bundle uvicorn --app-dir samples/embedding service:app --timeout-graceful-shutdown 10
    curl --data-binary @README.md 'localhost:8000/predict?timeout=2'
    curl --data-binary @README.md 'localhost:8000/explain?target=python'

In: the bytes of an input as the body of a POST request. Out: JSON. The session opens before the first request and closes
after the last one. `throughput` gives each request one thread, so that short requests don't wait for a long one.
"""

import json
import logging
import os
from urllib.parse import parse_qs

import edgexf
from edgexf.errors import BundleError, Cancelled, ClosedError, DeviceError, EdgexfError, TimedOut

LARGEST = 1 << 20  # bytes of a body
TIMEOUT = 5.0  # seconds of a request that names no timeout
STATUS = {TimedOut: 504, Cancelled: 503, ClosedError: 503, BundleError: 500, DeviceError: 500}  # else it is the input
LOGGER = logging.getLogger("service")


class Service:
    """The ASGI application (asgi.readthedocs.io, specification 3.0)."""

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["type"] == "http":
            status, answer = await self.answer(scope, receive)
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    async def live(self, receive, send):
        await receive()
        try:
            self.session = edgexf.load(os.environ["BUNDLE"], profile="throughput", on_run=LOGGER.debug)
        except EdgexfError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.session.cancel()  # what uvicorn's graceful time left unfinished
        self.session.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def answer(self, scope, receive):
        """The status and the JSON value that answer a request."""
        body, more = b"", True
        while more and len(body) <= LARGEST:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > LARGEST:
            return 413, {"error": f"a body must have at most {LARGEST} bytes, got more; send less."}
        asked = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
        try:
            timeout = float(asked.get("timeout", TIMEOUT))
            if scope["path"] == "/predict":
                (found,) = await self.session.predict_async([body], timeout=timeout)
                return 200, {"label": found.label, "score": found.score}
            if scope["path"] == "/explain":
                why = await self.session.explain_async(body, asked.get("target"), timeout=timeout)
                return 200, {"target": why.target, "scores": why.scores.tolist(), "residual": why.residual}
        except EdgexfError as error:
            return STATUS.get(type(error), 422), {"error": str(error)}
        except ValueError as error:
            return 422, {"error": f"timeout must be a number of seconds, got another ({error}); leave it out."}
        return 404, {"error": "a path must be /predict or /explain, got another; choose one of them."}


app = Service()
