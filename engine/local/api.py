"""The supervisor's HTTP API on loopback: what the API server is to a controller in a cluster.

    GET /healthz
    GET /v1/targets                                      {"targets": {"ns/fleet": {"variant": ScaleTarget}}}
    PUT /v1/targets/{namespace}/{name}/{variant}/scale   {"replicas", "resourceVersion", "victims"} -> {"target"}
    GET /v1/weights                                      {"weights": {"ns/fleet": {"subset": percent}}}
    GET /v1/weights/{namespace}/{name}                   {"weights": {"subset": percent}}
    PUT /v1/weights/{namespace}/{name}                   {"weights": {...}} -> {"weights"}

Refusals are {"error": sentence} with 400 (not understood), 404, 409 (resource version) or 422 (makes no sense).
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import Field, Strict, ValidationError

from controller.model.codec import to_plain
from controller.model.fields import Model
from engine.local.cluster import LocalCluster
from engine.local.state import ConflictError, InvalidError, NotFoundError

M = TypeVar("M", bound=Model)
WholeNumber = Annotated[int, Strict()]
_CLUSTER = web.AppKey("cluster", LocalCluster)
_STATUS = {NotFoundError: 404, ConflictError: 409, InvalidError: 422}


class ScaleOrder(Model):
    """Body of a scale order."""

    replicas: WholeNumber
    resource_version: str = Field(min_length=1)
    victims: tuple[str, ...] = ()


class WeightsOrder(Model):
    """Body of a weight order: percent by subset."""

    weights: dict[str, WholeNumber] = Field(min_length=1)


def make_app(cluster: LocalCluster) -> web.Application:
    """The application that serves one cluster."""
    app = web.Application(middlewares=[_refusals])
    app[_CLUSTER] = cluster
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/v1/targets", _targets),
            web.put("/v1/targets/{namespace}/{name}/{variant}/scale", _scale),
            web.get("/v1/weights", _all_weights),
            web.get("/v1/weights/{namespace}/{name}", _weights),
            web.put("/v1/weights/{namespace}/{name}", _set_weights),
        ]
    )
    return app


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (NotFoundError, ConflictError, InvalidError) as error:
        return web.json_response({"error": str(error)}, status=_STATUS[type(error)])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        return web.json_response({"error": f"{where}: {first['msg']}"}, status=400)


def _key(request: web.Request) -> str:
    return f"{request.match_info['namespace']}/{request.match_info['name']}"


async def _body(request: web.Request, kind: type[M]) -> M:
    return kind.model_validate_json(await request.read())


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _targets(request: web.Request) -> web.Response:
    targets = request.app[_CLUSTER].targets()
    plain = {key: {name: to_plain(target) for name, target in fleet.items()} for key, fleet in targets.items()}
    return web.json_response({"targets": plain})


async def _scale(request: web.Request) -> web.Response:
    order = await _body(request, ScaleOrder)
    target = request.app[_CLUSTER].scale(
        _key(request), request.match_info["variant"], order.replicas, order.resource_version, order.victims
    )
    return web.json_response({"target": to_plain(target)})


async def _all_weights(request: web.Request) -> web.Response:
    cluster = request.app[_CLUSTER]
    return web.json_response({"weights": {key: dict(cluster.weights(key)) for key in cluster.targets()}})


async def _weights(request: web.Request) -> web.Response:
    return web.json_response({"weights": dict(request.app[_CLUSTER].weights(_key(request)))})


async def _set_weights(request: web.Request) -> web.Response:
    order = await _body(request, WeightsOrder)
    return web.json_response({"weights": dict(request.app[_CLUSTER].set_weights(_key(request), order.weights))})
